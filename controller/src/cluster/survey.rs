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
use std::collections::BTreeMap;

/// How much longer than its grace a pod may be Terminating: clocks differ.
const STUCK_MARGIN: SignedDuration = SignedDuration::from_secs(10);

pub(super) async fn survey(cluster: &KubeCluster) -> Result<Vec<NodeView>, ClusterError> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let leases: Api<Lease> = cluster.namespaced("kube-node-lease");
    let nodes = cluster.list("list nodes", &nodes, None).await?;
    let leases = cluster
        .list("list leases in kube-node-lease", &leases, None)
        .await?;
    let renewed: BTreeMap<String, String> = leases
        .into_iter()
        .filter_map(|lease| Some((lease.metadata.name?, lease.spec?.renew_time?.0.to_string())))
        .collect();
    Ok(nodes
        .into_iter()
        .filter_map(|node| view(node, &renewed))
        .collect())
}

fn view(node: Node, renewed: &BTreeMap<String, String>) -> Option<NodeView> {
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
    let pods = pods_of(cluster, node).await?;
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let volumes = cluster
        .list("list persistentvolumes", &volumes, None)
        .await?;
    let now = Timestamp::now();
    let stuck = pods.iter().filter(|pod| is_stuck(pod, now)).count();
    Ok(Contents {
        stuck_pods: u32::try_from(stuck).unwrap_or(u32::MAX),
        local_data: local_data::of(node.as_str(), &pods, &volumes),
    })
}

/// Kubernetes writes the end of the grace into the deletion's time.
fn is_stuck(pod: &Pod, now: Timestamp) -> bool {
    let deleted = pod.metadata.deletion_timestamp.as_ref();
    deleted.is_some_and(|time| now.duration_since(time.0) > STUCK_MARGIN)
}
