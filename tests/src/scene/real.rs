//! A scene's cluster on a real API server with real controllers.

use super::{HOSTS, LabOptions};
use crate::kubeapi::{KubeApi, seed};
use crate::kubereal::{Options, RealKube};
use anyhow::{Context, Result};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;

/// What plugins read with their node's own credentials, and what the cluster's operator would have granted to nodes.
const GRANTED_TO_NODES: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Starts it, with the shipped roles, behind the lab's door.
pub(super) async fn start(bind: SocketAddr, lab: &Path, options: &LabOptions) -> Result<KubeApi> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let speeds = Options {
        controllers: true,
        collector: false,
        grace: options.lifecycle.grace,
        toleration: options.lifecycle.toleration,
    };
    let kube = RealKube::start(&lab.join("kubernetes"), lab, speeds).await?;
    let base = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kustomize/base");
    kube.kubectl(&["apply", "-k", base]).await?;
    KubeApi::before(bind, kube).await
}

/// Nodes as they are before the hosts join, their pods, and the right to read that plugins need.
pub(super) async fn fill(kube: &KubeApi) -> Result<()> {
    let real = kube.real().context("this cluster is not real")?;
    let hands = real.lock().await.seed().await?;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "lab-plugins"},
        "rules": [
            {"apiGroups": [""], "resources": ["pods", "services", "endpoints"], "verbs": ["get", "list"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list"]},
        ],
    });
    let path = format!("{GRANTED_TO_NODES}/clusterroles");
    hands.create(&path, &role).await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "lab-plugins"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lab-plugins"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}],
    });
    let path = format!("{GRANTED_TO_NODES}/clusterrolebindings");
    hands.create(&path, &binding).await?;
    for (name, _, _, role) in HOSTS {
        let mut labels = json!({"iaso.lab/disk": "ssd"});
        if role == "server" {
            seed::set(&mut labels, "node-role.kubernetes.io/control-plane", "true");
        }
        let taints = if name == "calypso" {
            json!([{"key": "gpu", "value": "true", "effect": "NoSchedule"}])
        } else {
            json!([])
        };
        hands.node(name, &labels, &taints).await?;
        hands
            .pod(&format!("web-{name}"), name, Some("ReplicaSet"))
            .await?;
    }
    Ok(())
}

/// A join token of the real cluster, in the form that a node takes.
pub(super) async fn join_token(kube: &KubeApi, id: &str, secret: &str) -> Result<String> {
    let Some(real) = kube.real() else {
        return Ok(seed::bootstrap_token(kube, id, secret));
    };
    let (object, token) = seed::bootstrap_secret(id, secret);
    let hands = real.lock().await.seed().await?;
    hands
        .create("/api/v1/namespaces/kube-system/secrets", &object)
        .await?;
    Ok(token)
}
