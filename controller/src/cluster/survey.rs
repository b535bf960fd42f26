//! Reading: nodes, leases, and what lies on a node.

use super::kube::KubeCluster;
use super::{ClusterError, Contents, NodeView, local_data};
use crate::text::bounded;
use iaso_engine::fact::Ready;
use iaso_engine::id::NodeName;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::ListParams;
use std::collections::BTreeMap;

/// How much longer than its grace a pod may be Terminating: clocks differ.
const STUCK_MARGIN: SignedDuration = SignedDuration::from_secs(10);

const LIST_LEASES: &str = "list leases in kube-node-lease";
/// More doubtful nodes than these are asked about all at once.
const ASKED_MAX: usize = 8;

/// What the watches know, and the API server's own word on every node that does not look well; without watches its word on all.
pub(super) async fn survey(cluster: &KubeCluster) -> Result<Vec<NodeView>, ClusterError> {
    let watched = cluster.watched.as_ref().and_then(|watched| watched.views());
    let Some((mut views, doubtful)) = watched.filter(|(_, doubtful)| doubtful.len() <= ASKED_MAX)
    else {
        return ask(cluster, None).await;
    };
    // That nothing is heard may mean that nobody speaks: one small question goes through to the API server's store.
    let leases: Api<Lease> = cluster.namespaced("kube-node-lease");
    let one = ListParams::default().limit(1);
    cluster.call(LIST_LEASES, leases.list(&one)).await?;
    views.retain(|view| !doubtful.contains(&view.name));
    for name in doubtful {
        views.extend(ask(cluster, Some(&name)).await?);
    }
    Ok(views)
}

/// The API server's word, on one node or on all.
async fn ask(cluster: &KubeCluster, name: Option<&str>) -> Result<Vec<NodeView>, ClusterError> {
    let fields = name.map(|name| format!("metadata.name={name}"));
    let fields = fields.as_deref();
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let leases: Api<Lease> = cluster.namespaced("kube-node-lease");
    let nodes = cluster.list("list nodes", &nodes, fields).await?;
    let leases = cluster.list(LIST_LEASES, &leases, fields).await?;
    let renewed: BTreeMap<String, String> = leases
        .into_iter()
        .filter_map(|lease| Some((lease.metadata.name?, lease.spec?.renew_time?.0.to_string())))
        .collect();
    Ok(nodes
        .into_iter()
        .filter_map(|node| view(node, &renewed))
        .collect())
}

pub(super) fn view(node: Node, renewed: &BTreeMap<String, String>) -> Option<NodeView> {
    let name = node.metadata.name?;
    let status = node.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready");
    let ready = match ready.map(|condition| condition.status.as_str()) {
        Some("True") => Ready::True,
        Some("False") => Ready::False,
        Some(_) | None => Ready::Unknown,
    };
    Some(NodeView {
        opt_out: opt_out(
            node.metadata.labels.as_ref(),
            node.metadata.annotations.as_ref(),
        ),
        renewed: renewed.get(&name).cloned(),
        name,
        ready,
        unschedulable: node
            .spec
            .and_then(|spec| spec.unschedulable)
            .unwrap_or(false),
        uid: node.metadata.uid.unwrap_or_default(),
        kubelet_version: status
            .node_info
            .map(|info| bounded(&info.kubelet_version, 100))
            .unwrap_or_default(),
    })
}

/// The label or annotation by which a node's owner opts out of repairs. Its value says why; `false` takes it back.
const OPT_OUT: &str = "iaso.dev/opt-out";

fn opt_out(
    labels: Option<&BTreeMap<String, String>>,
    annotations: Option<&BTreeMap<String, String>>,
) -> Option<String> {
    let said = |map: Option<&BTreeMap<String, String>>| map?.get(OPT_OUT).cloned();
    // The annotation first: a label's value has no room for a sentence.
    let why = said(annotations).or_else(|| said(labels))?;
    if why.trim().eq_ignore_ascii_case("false") {
        return None;
    }
    let why = why.trim();
    Some(if why.is_empty() || why.eq_ignore_ascii_case("true") {
        format!("{OPT_OUT} is set")
    } else {
        bounded(why, 200)
    })
}

pub(super) async fn pods_of(
    cluster: &KubeCluster,
    node: &NodeName,
) -> Result<Vec<Pod>, ClusterError> {
    let pods: Api<Pod> = Api::all(cluster.client.clone());
    cluster
        .list("list pods", &pods, Some(&format!("spec.nodeName={node}")))
        .await
}

pub(super) async fn contents(
    cluster: &KubeCluster,
    node: &NodeName,
) -> Result<Contents, ClusterError> {
    let watched = cluster.watched.as_ref();
    if let Some(contents) = watched.and_then(|watched| watched.contents(node)) {
        return Ok(contents);
    }
    let pods = pods_of(cluster, node).await?;
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let volumes = cluster
        .list("list persistentvolumes", &volumes, None)
        .await?;
    let now = Timestamp::now();
    let deleted = |pod: &Pod| Some(pod.metadata.deletion_timestamp.as_ref()?.0);
    let stuck = pods
        .iter()
        .filter(|pod| is_stuck(deleted(pod), now))
        .count();
    Ok(Contents {
        stuck_pods: u32::try_from(stuck).unwrap_or(u32::MAX),
        local_data: local_data::of(node.as_str(), &pods, &volumes),
    })
}

/// Kubernetes writes the end of the grace into the deletion's time.
pub(super) fn is_stuck(deleted: Option<Timestamp>, now: Timestamp) -> bool {
    deleted.is_some_and(|deleted| now.duration_since(deleted) > STUCK_MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_opts_out_by_label_or_annotation_and_back_by_false() {
        let map = |value: &str| Some(BTreeMap::from([(OPT_OUT.to_owned(), value.to_owned())]));
        let asked = |label: Option<&str>, annotation: Option<&str>| {
            opt_out(
                label.and_then(map).as_ref(),
                annotation.and_then(map).as_ref(),
            )
        };
        let set = Some(format!("{OPT_OUT} is set"));
        assert_eq!(asked(None, None), None);
        assert_eq!(asked(Some("true"), None), set);
        assert_eq!(asked(Some(""), None), set);
        assert_eq!(asked(Some("false"), None), None);
        assert_eq!(
            asked(Some("true"), Some("training until Friday")),
            Some("training until Friday".into())
        );
    }
}
