//! A small Kubernetes API server, in memory, for the lab.
//!
//! It answers what Iaso's cluster adapter, its agents and the lab's kubelets ask through plain REST: nodes, leases, pods, secrets, volumes,
//! services and endpoint slices, with resource versions, `Status` errors, selectors, pages, merge patches, delete preconditions and grace; the
//! k3s supervisor's join endpoint; server-side apply for managers that never meet, eviction without budgets; and a node life cycle (stale
//! lease, Ready unknown, taint, eviction). It is not Kubernetes: no admission, no watch, no RBAC beyond "who may write", strategic merge patches
//! are treated as plain merges, and `resourceVersion` orders
//! nothing across objects. Where it and Kubernetes differ, Kubernetes is right (ADR 5).
//!
//! **Invariants**
//! - Every write is recorded with who made it, so that a test can say what was *not* touched.
//! - A hung server answers nothing, a stopped one refuses; neither loses an object.

mod k3s;
mod lifecycle;
mod route;
pub mod seed;
mod serve;
mod store;
mod upstream;

pub use lifecycle::Lifecycle;
pub use store::{Deed, Verb, merge};

use anyhow::{Context, Result};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The token of the administrator's kubeconfig.
pub const ADMIN_TOKEN: &str = "lab-admin";

/// What the handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    store: Arc<Mutex<Store>>,
    hung: watch::Sender<bool>,
    /// A real API server, which then has the objects.
    upstream: Option<Arc<upstream::Upstream>>,
}

impl Shared {
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running API server. Its objects outlive [`KubeApi::stop`].
#[derive(Debug)]
pub struct KubeApi {
    shared: Shared,
    address: SocketAddr,
    running: Mutex<Option<(CancellationToken, JoinHandle<()>)>>,
    lifecycle: Option<JoinHandle<()>>,
}

impl KubeApi {
    /// Starts one. Port 0 takes a free one.
    pub async fn start(bind: SocketAddr, lifecycle: Lifecycle) -> Result<Self> {
        Self::open(bind, None, Some(lifecycle)).await
    }

    async fn open(
        bind: SocketAddr,
        upstream: Option<Arc<upstream::Upstream>>,
        lifecycle: Option<Lifecycle>,
    ) -> Result<Self> {
        let shared = Shared {
            store: Arc::default(),
            hung: watch::channel(false).0,
            upstream,
        };
        let listener = TcpListener::bind(bind)
            .await
            .with_context(|| format!("cannot listen on {bind} for the Kubernetes API"))?;
        let address = listener.local_addr()?;
        let lifecycle =
            lifecycle.map(|lifecycle| tokio::spawn(lifecycle::run(shared.clone(), lifecycle)));
        let running = Mutex::new(Some(serve::spawn(listener, shared.clone())));
        Ok(Self {
            shared,
            address,
            running,
            lifecycle,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses connections from now on.
    pub async fn stop(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((token, task)) = running {
            token.cancel();
            let _ = task.await;
        }
    }

    /// Listens again, with the same objects.
    pub async fn start_again(&self) -> Result<()> {
        self.stop().await;
        let listener = TcpListener::bind(self.address)
            .await
            .context("cannot listen again")?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(serve::spawn(listener, self.shared.clone()));
        Ok(())
    }

    /// Takes requests and answers none, until [`KubeApi::unhang`].
    pub fn hang(&self) {
        self.shared.hung.send_replace(true);
    }

    /// Answers again.
    pub fn unhang(&self) {
        self.shared.hung.send_replace(false);
    }

    /// Puts an object as it is, without a trace in the deeds.
    pub fn put(&self, resource: &str, object: Value) {
        self.shared.store().seed(resource, object);
    }

    /// One object, if it is there. `namespace` is empty for what has none.
    #[must_use]
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let store = self.shared.store();
        store.get(resource, namespace, name).cloned()
    }

    /// All objects of a resource.
    #[must_use]
    pub fn all(&self, resource: &str) -> Vec<Value> {
        self.shared.store().all(resource).cloned().collect()
    }

    /// Everything that was written over the network, oldest first.
    #[must_use]
    pub fn deeds(&self) -> Vec<Deed> {
        self.shared.store().deeds.clone()
    }

    /// The status of a node's Ready condition; empty when there is none.
    #[must_use]
    pub fn ready(&self, node: &str) -> String {
        self.get("nodes", "", node)
            .map(|node| lifecycle::ready_status(&node))
            .unwrap_or_default()
    }

    /// The same, wherever the objects are.
    pub async fn is_ready(&self, node: &str) -> bool {
        let Some(real) = self.real() else {
            return self.ready(node) == "True";
        };
        let seed = real.lock().await.seed().await;
        let Ok(seed) = seed else { return false };
        let node = seed.get(&format!("/api/v1/nodes/{node}")).await;
        node.ok()
            .flatten()
            .is_some_and(|node| lifecycle::ready_status(&node) == "True")
    }

    /// Writes an administrator's kubeconfig that reaches this server at `server`.
    pub fn write_kubeconfig(path: &Path, server: &str, token: &str) -> Result<()> {
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: lab\n  cluster:\n    server: {server}\nusers:\n- name: lab\n  user:\n    token: {token}\n\
             contexts:\n- name: lab\n  context:\n    cluster: lab\n    user: lab\ncurrent-context: lab\n"
        );
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for KubeApi {
    fn drop(&mut self) {
        self.lifecycle.iter().for_each(JoinHandle::abort);
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((token, task)) = running {
            token.cancel();
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests;
