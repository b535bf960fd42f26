//! What a test's cluster begins with: nodes, leases, pods, volumes, budgets, and reading them back.
//!
//! Tests say short names. On somebody else's cluster they stand for long ones that nobody else has, and what is made is put down.

use super::owned::{Names, Owned};
use anyhow::{Context, Result};
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use std::time::Duration;

const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const ATTACHMENTS: &str = "/apis/storage.k8s.io/v1/volumeattachments";
/// How long the controllers may take to count a budget.
const COUNTED_WITHIN: Duration = Duration::from_mins(1);

/// An administrator's hands. Paths are the API's own, so that a test reads as its documentation.
#[derive(Clone)]
pub struct Seed {
    client: Client,
    names: Names,
    owned: Owned,
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed")
    }
}

/// Whether the API server answered with one of these codes.
fn is_status(error: &anyhow::Error, codes: &[u16]) -> bool {
    let status = error.downcast_ref::<kube::Error>();
    matches!(status, Some(kube::Error::Api(status)) if codes.contains(&status.code))
}

/// A lease's path.
#[must_use]
pub fn lease_of(node: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}")
}

/// Renewed now, as a kubelet does it.
#[must_use]
pub fn lease_now(node: &str) -> Value {
    json!({"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": format!("{:.6}", Timestamp::now())})
}

impl Seed {
    pub(super) fn new(client: Client, names: Names) -> Self {
        Self {
            client,
            names,
            owned: Owned::default(),
        }
    }

    /// The same hands and the same list of what was made, by other names.
    pub(super) fn known_as(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// What a name stands for in what all namespaces share.
    #[must_use]
    pub fn name(&self, short: &str) -> String {
        format!("{}{short}", self.names.prefix)
    }

    /// The namespace of pods and budgets.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.names.namespace
    }

    /// A Node's path.
    #[must_use]
    pub fn node_path(&self, name: &str) -> String {
        format!("/api/v1/nodes/{}", self.name(name))
    }

    /// A pod's path; of no name: the collection's.
    #[must_use]
    pub fn pod_path(&self, name: &str) -> String {
        self.within("/api/v1", "pods", name)
    }

    /// A volume attachment's path.
    #[must_use]
    pub fn attachment_path(&self, name: &str) -> String {
        format!("{ATTACHMENTS}/{}", self.name(name))
    }

    /// The path of a node's password.
    #[must_use]
    pub fn password_path(&self, node: &str) -> String {
        format!("{SECRETS}/{}.node-password.k3s", self.name(node))
    }

    fn within(&self, group: &str, resource: &str, name: &str) -> String {
        let path = format!(
            "{group}/namespaces/{}/{resource}/{name}",
            self.names.namespace
        );
        path.trim_end_matches('/').to_owned()
    }

    /// Removes what was created, and nothing else.
    ///
    /// # Errors
    /// With what is still there.
    pub async fn remove_all(&self) -> Result<()> {
        self.owned.remove_all(self).await
    }

    /// Sends one request; `APPLY` is a server-side apply.
    ///
    /// # Errors
    /// With the API server's words.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let (method, kind) = match method {
            "PATCH" => ("PATCH", "application/merge-patch+json"),
            "APPLY" => ("PATCH", "application/apply-patch+yaml"),
            other => (other, "application/json"),
        };
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(bytes)?;
        let answer = self.client.request::<Value>(request).await;
        answer.with_context(|| format!("{method} {path}"))
    }

    /// Creates an object in a collection. Fails if it is there.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        let made = self
            .call("POST", path, &self.names.labelled(object))
            .await?;
        self.owned.put_down(path, &made);
        Ok(made)
    }

    /// Merges over an object, or over its `/status`.
    pub async fn merge(&self, path: &str, change: &Value) -> Result<Value> {
        self.call("PATCH", path, change).await
    }

    /// An object; `None`: it is not there.
    pub async fn get(&self, path: &str) -> Result<Option<Value>> {
        let request = http::Request::get(path).body(Vec::new())?;
        match self.client.request::<Value>(request).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error).with_context(|| format!("GET {path}")),
        }
    }

    /// Deletes at once.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        let now = json!({"gracePeriodSeconds": 0});
        self.call("DELETE", path, &now).await
    }

    /// Deletes at once if it is the very object; whether it was there.
    pub(super) async fn delete_only(&self, path: &str, uid: &str) -> Result<bool> {
        let only = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
        match self.call("DELETE", path, &only).await {
            Ok(_) => Ok(true),
            // Gone, or another object of the same name.
            Err(error) if is_status(&error, &[404, 409]) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A node that is Ready, with its lease.
    pub async fn node(&self, name: &str, labels: &Value, taints: &Value) -> Result<()> {
        let full = &self.name(name);
        let mut all = json!({"kubernetes.io/hostname": full, "kubernetes.io/os": "linux"});
        crate::kubeapi::merge(&mut all, labels);
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": full, "labels": all, "annotations": {"iaso.lab/owner": "ops"}},
            "spec": {"taints": self.names.tainted(taints)},
        });
        self.create("/api/v1/nodes", &node).await?;
        self.ready(name, "True").await?;
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": full, "namespace": "kube-node-lease"}, "spec": lease_now(full),
        });
        if self.get(&lease_of(full)).await?.is_none() {
            let leases = lease_of("");
            self.create(leases.trim_end_matches('/'), &lease).await?;
        }
        Ok(())
    }

    /// Says a node's Ready condition.
    pub async fn ready(&self, name: &str, status: &str) -> Result<()> {
        let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let status = json!({"status": {
            "conditions": [{"type": "Ready", "status": status, "reason": "Test", "lastHeartbeatTime": at, "lastTransitionTime": at}],
            "nodeInfo": {
                "architecture": "amd64", "bootID": "lab", "containerRuntimeVersion": "containerd://lab", "kernelVersion": "lab",
                "kubeProxyVersion": "v1.33.4+k3s1", "kubeletVersion": "v1.33.4+k3s1", "machineID": "lab",
                "operatingSystem": "linux", "osImage": "lab", "systemUUID": "lab",
            },
        }});
        self.merge(&format!("{}/status", self.node_path(name)), &status)
            .await
            .map(drop)
    }

    /// A running pod on a node, of a controller or of nobody.
    pub async fn pod(&self, name: &str, node: &str, owner: Option<&str>) -> Result<Value> {
        let owners: Vec<Value> = owner
            .map(|kind| self.names.owner(kind))
            .into_iter()
            .collect();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "web"}, "ownerReferences": owners},
            "spec": {
                "nodeName": self.name(node), "terminationGracePeriodSeconds": 1,
                "serviceAccountName": self.names.account, "automountServiceAccountToken": false,
                "containers": [{"name": "main", "image": "lab"}],
            },
        });
        let made = self.create(&self.pod_path(""), &pod).await?;
        let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        let path = format!("{}/status", self.pod_path(name));
        self.merge(&path, &running).await?;
        Ok(made)
    }

    /// Begins a pod's end, which its kubelet would confirm.
    pub async fn terminate(&self, name: &str) -> Result<()> {
        let graceful = json!({"gracePeriodSeconds": 1});
        self.call("DELETE", &self.pod_path(name), &graceful)
            .await
            .map(drop)
    }

    /// A volume whose data lies on one node's disk, claimed under the same name.
    pub async fn local_volume(&self, name: &str, node: &str) -> Result<()> {
        let (name, node) = (self.name(name), self.name(node));
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "local-path",
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": format!("/var/lib/rancher/k3s/storage/{name}")},
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": self.names.namespace, "name": name},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
                ]}},
            },
        });
        self.create("/api/v1/persistentvolumes", &volume)
            .await
            .map(drop)
    }

    /// A volume's attachment to a node.
    pub async fn attachment(&self, name: &str, node: &str) -> Result<()> {
        let attachment = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": self.name(name)},
            "spec": {"attacher": "csi.lab", "nodeName": self.name(node), "source": {"persistentVolumeName": "networked"}},
        });
        self.create(ATTACHMENTS, &attachment).await.map(drop)
    }

    /// The Secret by which k3s refuses another machine of the same name.
    pub async fn node_password(&self, node: &str) -> Result<()> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
            "metadata": {"name": format!("{}.node-password.k3s", self.name(node)), "namespace": "kube-system"},
            "data": {"hash": "b2xk"},
        });
        self.create(SECRETS, &secret).await.map(drop)
    }

    /// A disruption budget over `app=web`, in the version that the server has.
    pub async fn budget(&self, name: &str, least: u32) -> Result<()> {
        let group = self.budgets().await?;
        let version = group.trim_start_matches("/apis/").to_owned();
        let budget = json!({
            "apiVersion": version, "kind": "PodDisruptionBudget", "metadata": {"name": name},
            "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": "web"}}},
        });
        let path = self.within(&group, "poddisruptionbudgets", "");
        self.create(&path, &budget).await.map(drop)
    }

    /// Waits until the controller has counted: so many healthy pods, so many of which may go.
    pub async fn budget_counts(&self, name: &str, healthy: u32, allowed: u32) -> Result<()> {
        let path = self.within(&self.budgets().await?, "poddisruptionbudgets", name);
        crate::until(COUNTED_WITHIN, "the budget to be counted", || async {
            let budget = self.get(&path).await.ok().flatten().unwrap_or_default();
            let status = budget.get("status").cloned().unwrap_or_default();
            status.get("currentHealthy") == Some(&json!(healthy))
                && status.get("disruptionsAllowed") == Some(&json!(allowed))
        })
        .await
    }

    async fn budgets(&self) -> Result<String> {
        let current = "/apis/policy/v1";
        let known = self.get(current).await?.unwrap_or_default().to_string();
        Ok(if known.contains("poddisruptionbudgets") {
            current.into()
        } else {
            "/apis/policy/v1beta1".into()
        })
    }

    /// Names of a collection, in order.
    pub async fn names(&self, path: &str) -> Result<Vec<String>> {
        let list = self.get(path).await?.unwrap_or_default();
        let items = list.get("items").and_then(Value::as_array);
        let mut names: Vec<String> = items
            .into_iter()
            .flatten()
            .filter_map(|item| item.pointer("/metadata/name")?.as_str())
            .map(str::to_owned)
            .collect();
        names.sort();
        Ok(names)
    }
}
