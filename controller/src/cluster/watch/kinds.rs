//! What is kept of each kind.

use super::super::{NodeView, local_data, survey};
use super::Kept;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, Pod};
use k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// A declared node, without its lease.
#[derive(Debug, Clone)]
pub(super) struct Registered(pub(super) NodeView);

impl Kept for Registered {
    type Object = Node;
    const LIST: &'static str = "list nodes";
    const WATCH: &'static str = "watch nodes";

    fn of(node: Node, _: Option<&Self>, nodes: &BTreeSet<String>) -> Option<Self> {
        let view = survey::view(node, &BTreeMap::new())?;
        nodes.contains(&view.name).then_some(Self(view))
    }
}

/// A declared node's lease, and when it was heard to change.
#[derive(Debug, Clone)]
pub(super) struct Renewed {
    pub(super) time: String,
    pub(super) at: Instant,
}

impl Kept for Renewed {
    type Object = Lease;
    const LIST: &'static str = "list leases in kube-node-lease";
    const WATCH: &'static str = "watch leases in kube-node-lease";

    fn of(lease: Lease, before: Option<&Self>, nodes: &BTreeSet<String>) -> Option<Self> {
        if !nodes.contains(lease.metadata.name.as_deref()?) {
            return None;
        }
        let time = lease.spec?.renew_time?.0.to_string();
        let same = before.filter(|before| before.time == time);
        Some(Self {
            at: same.map_or_else(Instant::now, |same| same.at),
            time,
        })
    }
}

/// A pod on a declared node that is Terminating or whose data lies there. The others are not kept.
#[derive(Debug, Clone)]
pub(super) struct OnNode {
    pub(super) node: String,
    pub(super) host_path: Option<String>,
    deleted: Option<Timestamp>,
}

impl OnNode {
    pub(super) fn is_stuck(&self, now: Timestamp) -> bool {
        survey::is_stuck(self.deleted, now)
    }
}

impl Kept for OnNode {
    type Object = Pod;
    const LIST: &'static str = "list pods";
    const WATCH: &'static str = "watch pods";

    fn of(pod: Pod, _: Option<&Self>, nodes: &BTreeSet<String>) -> Option<Self> {
        let node = pod.spec.as_ref()?.node_name.clone()?;
        if !nodes.contains(&node) {
            return None;
        }
        let host_path = local_data::host_path_of(&pod);
        let deleted = pod.metadata.deletion_timestamp.map(|time| time.0);
        (host_path.is_some() || deleted.is_some()).then_some(Self {
            node,
            host_path,
            deleted,
        })
    }
}

/// A volume whose data lies on one declared node's disk.
#[derive(Debug, Clone)]
pub(super) struct OnDisk {
    pub(super) hosts: Vec<String>,
    pub(super) line: String,
}

impl Kept for OnDisk {
    type Object = PersistentVolume;
    const LIST: &'static str = "list persistentvolumes";
    const WATCH: &'static str = "watch persistentvolumes";

    fn of(volume: PersistentVolume, _: Option<&Self>, nodes: &BTreeSet<String>) -> Option<Self> {
        let mut hosts = local_data::hosts_of(&volume);
        hosts.retain(|host| nodes.contains(host));
        (!hosts.is_empty()).then(|| Self {
            hosts,
            line: local_data::line_of(&volume),
        })
    }
}
