//! Writing to Node objects: cordon, uncordon, and what a recreated node gets back.

use super::ClusterError;
use super::kube::KubeCluster;
use iaso_engine::effect::Remembered;
use iaso_engine::id::NodeName;
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;

/// Says that it was Iaso that cordoned the node.
const CORDONED_BY: &str = "iaso.dev/cordoned";
/// Prefixes of what Kubernetes, k3s and Iaso put there themselves.
const OWN: [&str; 6] = [
    "kubernetes.io/",
    "k8s.io/",
    "k3s.io/",
    "rancher.io/",
    "cattle.io/",
    "iaso.dev/",
];

fn nodes(cluster: &KubeCluster) -> Api<Node> {
    Api::all(cluster.client.clone())
}

/// Whether a key's domain is one of the system's: those come back by themselves. Roles are people's words.
fn is_own(key: &str) -> bool {
    if key.starts_with("node-role.kubernetes.io/") {
        return false;
    }
    OWN.iter().any(|own| {
        let domain = own.trim_end_matches('/');
        key.split_once('/')
            .is_some_and(|(prefix, _)| prefix == domain || prefix.ends_with(&format!(".{domain}")))
    })
}

fn kept(map: Option<BTreeMap<String, String>>) -> BTreeMap<String, String> {
    map.unwrap_or_default()
        .into_iter()
        .filter(|(key, _)| !is_own(key) && !key.starts_with("flannel.alpha.coreos.com/"))
        .collect()
}

pub(super) async fn remember(
    cluster: &KubeCluster,
    name: &NodeName,
) -> Result<Remembered, ClusterError> {
    let node = cluster
        .call("get nodes", nodes(cluster).get(name.as_str()))
        .await?;
    let spec = node.spec.unwrap_or_default();
    let annotations = node.metadata.annotations.unwrap_or_default();
    let by_iaso = annotations.contains_key(CORDONED_BY);
    let taints = spec
        .taints
        .unwrap_or_default()
        .into_iter()
        .filter(|taint| !is_own(&taint.key));
    Ok(Remembered {
        labels: kept(node.metadata.labels),
        taints: taints.map(|taint| text_of(&taint)).collect(),
        annotations: kept(Some(annotations)),
        kubelet_version: node
            .status
            .and_then(|s| s.node_info)
            .map(|info| info.kubelet_version)
            .unwrap_or_default(),
        was_cordoned: spec.unschedulable.unwrap_or(false) && !by_iaso,
    })
}

fn text_of(taint: &Taint) -> String {
    format!(
        "{}={}:{}",
        taint.key,
        taint.value.as_deref().unwrap_or_default(),
        taint.effect
    )
}

fn taint_of(text: &str) -> Option<Taint> {
    let (key_value, effect) = text.rsplit_once(':')?;
    let (key, value) = key_value.split_once('=').unwrap_or((key_value, ""));
    let value = (!value.is_empty()).then(|| value.to_owned());
    Some(Taint {
        key: key.into(),
        value,
        effect: effect.into(),
        time_added: None,
    })
}

async fn patch(
    cluster: &KubeCluster,
    name: &NodeName,
    body: serde_json::Value,
) -> Result<(), ClusterError> {
    let api = nodes(cluster);
    let params = PatchParams::default();
    cluster
        .call(
            "patch nodes",
            api.patch(name.as_str(), &params, &Patch::Merge(body)),
        )
        .await
        .map(drop)
}

pub(super) async fn cordon(cluster: &KubeCluster, name: &NodeName) -> Result<(), ClusterError> {
    let node = cluster
        .call("get nodes", nodes(cluster).get(name.as_str()))
        .await?;
    if node
        .spec
        .and_then(|spec| spec.unschedulable)
        .unwrap_or(false)
    {
        // Somebody's cordon stays somebody's.
        return Ok(());
    }
    let body = json!({"metadata": {"annotations": {CORDONED_BY: "true"}}, "spec": {"unschedulable": true}});
    patch(cluster, name, body).await
}

pub(super) async fn uncordon(cluster: &KubeCluster, name: &NodeName) -> Result<(), ClusterError> {
    let node = cluster
        .call("get nodes", nodes(cluster).get(name.as_str()))
        .await?;
    let cordoned = node
        .spec
        .and_then(|spec| spec.unschedulable)
        .unwrap_or(false);
    let by_iaso = node
        .metadata
        .annotations
        .unwrap_or_default()
        .contains_key(CORDONED_BY);
    if cordoned && !by_iaso {
        return Ok(());
    }
    let body =
        json!({"metadata": {"annotations": {CORDONED_BY: null}}, "spec": {"unschedulable": null}});
    patch(cluster, name, body).await
}

pub(super) async fn restore(
    cluster: &KubeCluster,
    name: &NodeName,
    was: &Remembered,
) -> Result<(), ClusterError> {
    let node = cluster
        .call("get nodes", nodes(cluster).get(name.as_str()))
        .await?;
    // Taints are one list: those of the moment stay, and the resource version keeps a writer in between from being lost.
    let mut taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    for taint in was.taints.iter().filter_map(|text| taint_of(text)) {
        if !taints
            .iter()
            .any(|there| there.key == taint.key && there.effect == taint.effect)
        {
            taints.push(taint);
        }
    }
    let body = json!({
        "metadata": {
            "labels": was.labels,
            "annotations": was.annotations,
            "resourceVersion": node.metadata.resource_version,
        },
        "spec": {"taints": taints},
    });
    patch(cluster, name, body).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_brings_itself_is_not_remembered_and_what_people_wrote_is() {
        for own in [
            "kubernetes.io/hostname",
            "beta.kubernetes.io/arch",
            "node.kubernetes.io/not-ready",
            "k3s.io/node-args",
            "iaso.dev/cordoned",
        ] {
            assert!(is_own(own), "{own}");
        }
        for theirs in [
            "gpu",
            "example.com/zone",
            "node-role.kubernetes.io/worker",
            "notkubernetes.io/a",
        ] {
            assert!(!is_own(theirs), "{theirs}");
        }
    }

    #[test]
    fn a_taint_survives_the_journal() {
        for text in [
            "gpu=true:NoSchedule",
            "a=:NoExecute",
            "example.com/b=c=d:PreferNoSchedule",
        ] {
            assert_eq!(text_of(&taint_of(text).unwrap()), text);
        }
        assert!(taint_of("nonsense").is_none());
    }
}
