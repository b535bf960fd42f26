//! Clearing what a dead machine left, after it provably cannot run any more.
//!
//! Each part is done whatever becomes of the others: what may not be done is said, and the rest is still a help.

use super::ClusterError;
use super::evict::evict;
use super::kube::KubeCluster;
use super::survey::pods_of;
use iaso_engine::id::NodeName;
use iaso_engine::timeline::counted;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};

/// What was done, and what could not be.
#[derive(Default)]
struct Account {
    done: Vec<String>,
    failed: Option<ClusterError>,
}

impl Account {
    fn add(&mut self, part: Result<String, ClusterError>) {
        match (part, &mut self.failed) {
            (Ok(words), _) => self.done.push(words),
            (Err(error), failed @ None) => *failed = Some(error),
            (Err(error), Some(first)) => {
                first.detail = format!("{}; {}", first.detail, error.detail);
            }
        }
    }

    /// What Kubernetes, or the node when it is back, does later without us: a right that is missing costs time, and is said.
    fn add_unless_denied(&mut self, part: Result<String, ClusterError>) {
        match part {
            Err(error) if error.class == "forbidden" => self.done.push(error.detail),
            part @ (Ok(_) | Err(_)) => self.add(part),
        }
    }
}

pub(super) async fn release(
    cluster: &KubeCluster,
    node: &NodeName,
) -> Result<String, ClusterError> {
    let mut account = Account::default();
    match pods_of(cluster, node).await {
        Ok(pods) => {
            account.add_unless_denied(delete_terminating(cluster, &pods).await);
            match evict(cluster, &pods).await {
                Ok(evicted) => account.done.extend(evicted.words()),
                Err(error) => account.add_unless_denied(Err(error)),
            }
        }
        Err(error) => account.add_unless_denied(Err(error)),
    }
    account.add_unless_denied(delete_attachments(cluster, node).await);
    account.add(delete_password(cluster, node).await);
    let done = account.done.join("; ");
    match account.failed {
        None => Ok(done),
        Some(error) if done.is_empty() => Err(error),
        Some(error) => Err(ClusterError {
            class: error.class,
            detail: format!("{}; done: {done}", error.detail),
        }),
    }
}

async fn delete_terminating(cluster: &KubeCluster, pods: &[Pod]) -> Result<String, ClusterError> {
    let mut count = 0;
    let terminating = |pod: &&Pod| pod.metadata.deletion_timestamp.is_some();
    for pod in pods.iter().filter(terminating) {
        if delete_pod(cluster, pod).await? {
            count += 1;
        }
    }
    Ok(format!("{} deleted", counted(count, "Terminating pod")))
}

/// At once, and only this very pod. Whether it was there.
pub(super) async fn delete_pod(cluster: &KubeCluster, pod: &Pod) -> Result<bool, ClusterError> {
    let (Some(name), Some(namespace)) = (&pod.metadata.name, &pod.metadata.namespace) else {
        return Ok(false);
    };
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        ..only(pod.metadata.uid.clone())
    };
    let api: Api<Pod> = cluster.namespaced(namespace);
    gone(
        cluster
            .call_opt("delete pods", api.delete(name, &params))
            .await,
    )
}

async fn delete_attachments(
    cluster: &KubeCluster,
    node: &NodeName,
) -> Result<String, ClusterError> {
    let api: Api<VolumeAttachment> = Api::all(cluster.client.clone());
    let mut count = 0;
    for attachment in cluster.list("list volumeattachments", &api, None).await? {
        let Some(name) = attachment
            .metadata
            .name
            .filter(|_| attachment.spec.node_name == node.as_str())
        else {
            continue;
        };
        let params = only(attachment.metadata.uid);
        if gone(
            cluster
                .call_opt("delete volumeattachments", api.delete(&name, &params))
                .await,
        )? {
            count += 1;
        }
    }
    Ok(format!("{} deleted", counted(count, "volume attachment")))
}

/// k3s refuses a new machine under the old one's password; without the Secret it takes the new one's.
async fn delete_password(cluster: &KubeCluster, node: &NodeName) -> Result<String, ClusterError> {
    let api: Api<Secret> = cluster.namespaced("kube-system");
    let name = format!("{node}.node-password.k3s");
    let deleted = cluster
        .call_opt(
            "delete secrets in kube-system",
            api.delete(&name, &DeleteParams::default()),
        )
        .await?;
    Ok(if deleted.is_some() {
        "the node-password Secret is deleted".into()
    } else {
        "the node-password Secret was not there".into()
    })
}

/// Only the very object that was listed: a new one of the same name is somebody's living pod.
pub(super) fn only(uid: Option<String>) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            resource_version: None,
            uid,
        }),
        ..DeleteParams::default()
    }
}

pub(super) fn gone<T>(deleted: Result<Option<T>, ClusterError>) -> Result<bool, ClusterError> {
    match deleted {
        Ok(found) => Ok(found.is_some()),
        // The precondition: it is another object by now.
        Err(error) if error.class == "conflict" => Ok(false),
        Err(error) => Err(error),
    }
}
