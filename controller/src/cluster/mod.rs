//! Kubernetes: what it knows of nodes, and the few things Iaso does to it. Kubernetes' types stay in this module.
//!
//! **Invariants**
//! - Every call has a deadline, every list is read in pages with a bound.
//! - What could not be looked at is said as such: "cannot be listed" is local data, never the absence of it.
//! - A refusal by RBAC names the verb and the resource that are missing, and what is left out without them.

mod acts;
mod crd;
mod evict;
mod kube;
mod local_data;
mod poll;
mod publish;
mod release;
mod rights;
mod survey;
mod token;
mod watch;

pub use self::kube::KubeCluster;
pub use crd::{Manifest, manifests};
pub use evict::EvictPolicy;
pub use poll::Poller;
pub use publish::Publisher;
pub use rights::{RIGHTS, Right};

use async_trait::async_trait;
use iaso_engine::effect::Remembered;
use iaso_engine::fact::Ready;
use iaso_engine::id::NodeName;
use iaso_providers::Secret;
use std::time::Duration;

/// Kubernetes did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct ClusterError {
    /// `forbidden`, `unauthorized`, `not-found`, `conflict`, `unavailable` or `unexpected`.
    pub class: &'static str,
    /// In words, with what to do.
    pub detail: String,
}

/// One node as a survey saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its Ready condition.
    pub ready: Ready,
    /// Cordoned.
    pub unschedulable: bool,
    /// The object's uid.
    pub uid: String,
    /// Version of its kubelet.
    pub kubelet_version: String,
    /// Its owner opted out of repairs, and why.
    pub opt_out: Option<String>,
    /// Its lease's `renewTime` as text: only whether it changes matters, so no skew can fake it.
    pub renewed: Option<String>,
}

/// What lies on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Pods that have been Terminating for longer than their grace.
    pub stuck_pods: u32,
    /// Local volumes, in words.
    pub local_data: Vec<String>,
}

/// A join token that only agents can use.
#[derive(Debug)]
pub struct JoinToken {
    /// Name of its Secret.
    pub name: String,
    /// In the form that k3s takes.
    pub secret: Secret,
}

/// What Iaso asks of Kubernetes.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// All nodes and their leases.
    async fn survey(&self) -> Result<Vec<NodeView>, ClusterError>;
    /// What lies on one node.
    async fn contents(&self, node: &NodeName) -> Result<Contents, ClusterError>;
    /// The server's version, such as `v1.33.4+k3s1`.
    async fn server_version(&self) -> Result<String, ClusterError>;
    /// What the node is, to put it back later.
    async fn remember(&self, node: &NodeName) -> Result<Remembered, ClusterError>;
    /// Marks it unschedulable, and that Iaso did it. Answers what was done, in words.
    async fn cordon(&self, node: &NodeName) -> Result<String, ClusterError>;
    /// Undoes it, and leaves somebody else's cordon. Answers what was done, in words.
    async fn uncordon(&self, node: &NodeName) -> Result<String, ClusterError>;
    /// Puts labels, taints and annotations back.
    async fn restore(&self, node: &NodeName, remembered: &Remembered) -> Result<(), ClusterError>;
    /// Clears what a dead machine left. Only when it provably does not run any more.
    async fn release(&self, node: &NodeName) -> Result<String, ClusterError>;
    /// Makes an agent-only token. The same seed again replaces it.
    async fn mint_token(
        &self,
        seed: &str,
        ttl: Duration,
        server: &str,
    ) -> Result<JoinToken, ClusterError>;
    /// Deletes it. One that is gone is no error.
    async fn delete_token(&self, name: &str) -> Result<(), ClusterError>;
}
