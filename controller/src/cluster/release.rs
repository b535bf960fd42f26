//! Clearing what a dead machine left, after it provably cannot run any more.

use super::ClusterError;
use super::kube::KubeCluster;
use super::survey::pods_of;
use iaso_engine::id::NodeName;
use iaso_engine::timeline::counted;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};

pub(super) async fn release(
    cluster: &KubeCluster,
    node: &NodeName,
) -> Result<String, ClusterError> {
    let pods = delete_pods(cluster, node).await?;
    let attachments = delete_attachments(cluster, node).await?;
    let password = delete_password(cluster, node).await?;
    Ok(format!(
        "{} and {} deleted; the node-password Secret {}",
        counted(pods, "Terminating pod"),
        counted(attachments, "volume attachment"),
        if password {
            "is deleted"
        } else {
            "was not there"
        }
    ))
}

async fn delete_pods(cluster: &KubeCluster, node: &NodeName) -> Result<usize, ClusterError> {
    let mut count = 0;
    for pod in pods_of(cluster, node).await? {
        let (Some(name), Some(namespace), Some(_)) = (
            &pod.metadata.name,
            &pod.metadata.namespace,
            &pod.metadata.deletion_timestamp,
        ) else {
            continue;
        };
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            ..only(pod.metadata.uid.clone())
        };
        let api: Api<Pod> = cluster.namespaced(namespace);
        if gone(
            cluster
                .call_opt("delete pods", api.delete(name, &params))
                .await,
        )? {
            count += 1;
        }
    }
    Ok(count)
}

async fn delete_attachments(cluster: &KubeCluster, node: &NodeName) -> Result<usize, ClusterError> {
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
    Ok(count)
}

/// k3s refuses a new machine under the old one's password; without the Secret it takes the new one's.
async fn delete_password(cluster: &KubeCluster, node: &NodeName) -> Result<bool, ClusterError> {
    let api: Api<Secret> = cluster.namespaced("kube-system");
    let name = format!("{node}.node-password.k3s");
    let deleted = cluster
        .call_opt(
            "delete secrets in kube-system",
            api.delete(&name, &DeleteParams::default()),
        )
        .await?;
    Ok(deleted.is_some())
}

/// Only the very object that was listed: a new one of the same name is somebody's living pod.
fn only(uid: Option<String>) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            resource_version: None,
            uid,
        }),
        ..DeleteParams::default()
    }
}

fn gone<T>(deleted: Result<Option<T>, ClusterError>) -> Result<bool, ClusterError> {
    match deleted {
        Ok(found) => Ok(found.is_some()),
        // The precondition: it is another object by now.
        Err(error) if error.class == "conflict" => Ok(false),
        Err(error) => Err(error),
    }
}
