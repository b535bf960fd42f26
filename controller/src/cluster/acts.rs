//! Writing to Node objects: cordon, uncordon, and what a recreated node gets back.
//!
//! **Invariants**
//! - A cordon is applied by the server for one field manager, to the very node that was read; what others hold stays theirs.
//! - What a node gets back is merged, not applied: a later cordon must not take it away again.

use super::ClusterError;
use super::kube::{FIELD_CONFLICT, KubeCluster};
use iaso_engine::effect::Remembered;
use iaso_engine::id::NodeName;
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;

/// The one field manager.
pub(super) const MANAGER: &str = "iaso";
/// Writes that lost against another writer are done again so often.
const TRIES_MAX: u32 = 5;
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
    let node = get(cluster, name).await?;
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

/// Reads the node: what is written to it rests on what it is.
async fn get(cluster: &KubeCluster, name: &NodeName) -> Result<Node, ClusterError> {
    cluster
        .call("get nodes", nodes(cluster).get(name.as_str()))
        .await
}

/// Merges. The body carries the resource version that was read: a writer in between is a conflict, and is not lost.
async fn merge(
    cluster: &KubeCluster,
    name: &NodeName,
    body: serde_json::Value,
) -> Result<(), ClusterError> {
    let params = PatchParams {
        field_manager: Some(MANAGER.into()),
        ..PatchParams::default()
    };
    cluster
        .call(
            "patch nodes",
            nodes(cluster).patch(name.as_str(), &params, &Patch::Merge(body)),
        )
        .await
        .map(drop)
}

/// Says, as the one field manager, all that Iaso wants of this very node; what it wanted before and does not any more goes. Fields that
/// somebody else holds with another value are taken over, and whose they were is answered.
async fn apply(
    cluster: &KubeCluster,
    node: &Node,
    annotations: serde_json::Value,
    spec: serde_json::Value,
) -> Result<(Node, Option<String>), ClusterError> {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let body = json!({
        "apiVersion": "v1", "kind": "Node",
        // The UID, because applying would make a node that is gone.
        "metadata": {"name": name, "uid": node.metadata.uid, "annotations": annotations},
        "spec": spec,
    });
    let api = nodes(cluster);
    let patch = Patch::Apply(&body);
    let params = PatchParams::apply(MANAGER);
    let applied = cluster
        .call("patch nodes", api.patch(name, &params, &patch))
        .await;
    match applied {
        Ok(node) => Ok((node, None)),
        Err(error) if error.class == FIELD_CONFLICT => {
            let params = params.force();
            let node = cluster
                .call("patch nodes", api.patch(name, &params, &patch))
                .await?;
            Ok((node, Some(error.detail)))
        }
        Err(error) => Err(error),
    }
}

fn is_cordoned(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    spec.and_then(|spec| spec.unschedulable).unwrap_or(false)
}

fn is_marked(node: &Node) -> bool {
    let annotations = node.metadata.annotations.as_ref();
    annotations.is_some_and(|annotations| annotations.contains_key(CORDONED_BY))
}

/// What was done, in words. Without the right to do it, it is left out: the node is down, and is not scheduled to as it is.
pub(super) async fn cordon(cluster: &KubeCluster, name: &NodeName) -> Result<String, ClusterError> {
    let node = get(cluster, name).await?;
    match (is_cordoned(&node), is_marked(&node)) {
        (true, true) => return Ok("cordoned before, by Iaso".into()),
        (true, false) => return Ok("somebody cordoned it before: it stays theirs".into()),
        (false, _) => {}
    }
    let (mark, spec) = (json!({CORDONED_BY: "true"}), json!({"unschedulable": true}));
    match apply(cluster, &node, mark, spec).await {
        Ok((_, None)) => Ok("cordoned".into()),
        Ok((_, Some(theirs))) => Ok(format!("cordoned, against another's word: {theirs}")),
        Err(error) if error.class == "forbidden" => Ok(format!("not cordoned: {}", error.detail)),
        Err(error) => Err(error),
    }
}

/// What was done, in words. Somebody else's cordon stays.
pub(super) async fn uncordon(
    cluster: &KubeCluster,
    name: &NodeName,
) -> Result<String, ClusterError> {
    let node = get(cluster, name).await?;
    match (is_cordoned(&node), is_marked(&node)) {
        (false, false) => return Ok("it was not cordoned".into()),
        (true, false) => return Ok("the cordon is somebody else's: it stays".into()),
        (_, true) => {}
    }
    let (after, _) = apply(cluster, &node, json!({}), json!({})).await?;
    if is_marked(&after) {
        // The mark is not the field manager's: written by an earlier release, or restored from elsewhere.
        let gone = json!({
            "metadata": {"resourceVersion": after.metadata.resource_version, "annotations": {CORDONED_BY: null}},
            "spec": {"unschedulable": null},
        });
        merge(cluster, name, gone).await?;
    } else if is_cordoned(&after) {
        return Ok("Iaso's cordon is taken back; somebody else's stays".into());
    }
    Ok("uncordoned".into())
}

pub(super) async fn restore(
    cluster: &KubeCluster,
    name: &NodeName,
    was: &Remembered,
) -> Result<(), ClusterError> {
    let mut tries = 1;
    loop {
        let node = get(cluster, name).await?;
        // Taints are one list: those of the moment stay.
        let mut taints = node
            .spec
            .as_ref()
            .and_then(|spec| spec.taints.clone())
            .unwrap_or_default();
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
                "resourceVersion": node.metadata.resource_version,
                "labels": was.labels, "annotations": was.annotations,
            },
            "spec": {"taints": taints},
        });
        match merge(cluster, name, body).await {
            // Kubelets and controllers write to nodes all the time.
            Err(error) if error.class == "conflict" && tries < TRIES_MAX => tries += 1,
            done @ (Ok(()) | Err(_)) => return done,
        }
    }
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
