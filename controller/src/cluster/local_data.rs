//! What a recreate would destroy: volumes that lie on one node's disk.

use crate::text::bounded;
use k8s_openapi::api::core::v1::{PersistentVolume, Pod};

/// Most lines about one node.
const LINES_MAX: usize = 50;
/// Namespaces of the system itself: their host paths are made anew with the node.
const SYSTEM: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// In words, one line for each volume; empty: none.
pub(super) fn of(node: &str, pods: &[Pod], volumes: &[PersistentVolume]) -> Vec<String> {
    let on_node = |volume: &&PersistentVolume| hosts_of(volume).iter().any(|host| host == node);
    let volumes = volumes.iter().filter(on_node).map(line_of);
    bounded_lines(
        volumes
            .chain(pods.iter().filter_map(host_path_of))
            .collect(),
    )
}

/// Not more than a person reads.
pub(super) fn bounded_lines(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > LINES_MAX {
        let more = lines.len() - LINES_MAX;
        lines.truncate(LINES_MAX);
        lines.push(format!("and {more} more"));
    }
    lines
}

/// The nodes on whose disks a volume's data lies: networked volumes are tied to zones; only a term that names the host ties one to its disk.
pub(super) fn hosts_of(volume: &PersistentVolume) -> Vec<String> {
    let affinity = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    let terms = affinity
        .iter()
        .flat_map(|required| &required.node_selector_terms);
    let mut hosts = Vec::new();
    for term in terms {
        let by_label = term.match_expressions.iter().flatten();
        let by_label = by_label.filter(|e| e.key == "kubernetes.io/hostname");
        let by_field = term.match_fields.iter().flatten();
        let by_field = by_field.filter(|e| e.key == "metadata.name");
        let named = by_label.chain(by_field).filter(|e| e.operator == "In");
        hosts.extend(named.flat_map(|e| e.values.iter().flatten().cloned()));
    }
    hosts
}

/// A volume in words.
pub(super) fn line_of(volume: &PersistentVolume) -> String {
    let name = volume.metadata.name.as_deref().unwrap_or("?");
    let spec = volume.spec.as_ref();
    let claim = spec.and_then(|spec| spec.claim_ref.as_ref()).map(|claim| {
        format!(
            "{}/{}",
            claim.namespace.as_deref().unwrap_or("?"),
            claim.name.as_deref().unwrap_or("?")
        )
    });
    let class = spec.and_then(|spec| spec.storage_class_name.as_deref());
    bounded(
        &format!(
            "volume {name} ({}) of claim {}",
            class.unwrap_or("no class"),
            claim.as_deref().unwrap_or("none")
        ),
        300,
    )
}

/// A pod's data on its node's disk, in words.
pub(super) fn host_path_of(pod: &Pod) -> Option<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let by_daemon_set = pod
        .metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.kind == "DaemonSet" || owner.kind == "Node");
    if by_daemon_set || SYSTEM.contains(&namespace) {
        return None;
    }
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    let paths: Vec<&str> = volumes
        .iter()
        .filter_map(|volume| Some(volume.host_path.as_ref()?.path.as_str()))
        .collect();
    if paths.is_empty() {
        return None;
    }
    let name = pod.metadata.name.as_deref().unwrap_or("?");
    Some(bounded(
        &format!("host path {} of pod {namespace}/{name}", paths.join(", ")),
        300,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn volume(key: &str, node: &str) -> PersistentVolume {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": "pvc-1"},
            "spec": {
                "storageClassName": "local-path",
                "claimRef": {"namespace": "db", "name": "data"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": key, "operator": "In", "values": [node]}]}
                ]}}
            }
        }))
        .unwrap()
    }

    fn pod(namespace: &str, owner: &str) -> Pod {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": namespace,
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": owner, "name": "o", "uid": "u"}]},
            "spec": {"containers": [], "volumes": [{"name": "v", "hostPath": {"path": "/data"}}]}
        }))
        .unwrap()
    }

    #[test]
    fn a_local_volume_is_data_and_a_zone_is_not() {
        let lines = of("styx", &[], &[volume("kubernetes.io/hostname", "styx")]);
        assert_eq!(lines, ["volume pvc-1 (local-path) of claim db/data"]);
        assert!(of("styx", &[], &[volume("kubernetes.io/hostname", "tethys")]).is_empty());
        assert!(
            of(
                "styx",
                &[],
                &[volume("topology.kubernetes.io/zone", "styx")]
            )
            .is_empty()
        );
    }

    #[test]
    fn a_host_path_is_data_unless_a_daemon_set_or_the_system_brings_it() {
        assert_eq!(
            of("styx", &[pod("apps", "ReplicaSet")], &[]),
            ["host path /data of pod apps/p"]
        );
        assert!(
            of(
                "styx",
                &[pod("apps", "DaemonSet"), pod("kube-system", "ReplicaSet")],
                &[]
            )
            .is_empty()
        );
    }
}
