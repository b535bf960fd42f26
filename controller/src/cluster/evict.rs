//! Moving pods off a machine that provably does not run any more, within their disruption budgets.
//!
//! Such a pod does not run, whatever its status says: its controller should make it anew elsewhere, and would otherwise wait for
//! Kubernetes' own eviction. The budget is asked all the same, because it is its owner's word on how many may be missing.
//!
//! **Invariants**
//! - Only the very pod that was listed is evicted or deleted: its UID is a precondition.
//! - A budget is overruled only after the deadline, and only when the configuration says so.
//! - What no controller would make anew is left alone, and so is what belongs to the node itself.

use super::ClusterError;
use super::kube::KubeCluster;
use super::release::delete_pod;
use crate::text::bounded;
use k8s_openapi::api::core::v1::Pod;
use kube::core::response::Status;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// Pause between two rounds of asking the budgets.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Pods that are named in the account.
const NAMED_MAX: usize = 5;

/// How long budgets are asked, and what then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvictPolicy {
    /// Budgets may refuse for so long.
    pub within: Duration,
    /// Then the pods are deleted against the budget's word; else they stay.
    pub overrule_budgets: bool,
}

/// What became of the pods.
#[derive(Debug, Default)]
pub(super) struct Evicted {
    /// Evicted, with their budget's consent.
    pub(super) with_consent: usize,
    /// Deleted against it.
    pub(super) overruled: usize,
    /// Left where they are, by name: the budget refuses.
    pub(super) kept: Vec<String>,
}

impl Evicted {
    /// In words, if there is anything to say.
    pub(super) fn words(&self) -> Option<String> {
        let mut words = Vec::new();
        if self.with_consent > 0 {
            words.push(format!("{} evicted", self.with_consent));
        }
        if self.overruled > 0 {
            words.push(format!(
                "{} deleted against a disruption budget, as cluster.overrule_budgets says",
                self.overruled
            ));
        }
        if !self.kept.is_empty() {
            let named: Vec<&str> = self
                .kept
                .iter()
                .take(NAMED_MAX)
                .map(String::as_str)
                .collect();
            words.push(format!(
                "{} left to its disruption budget ({})",
                self.kept.len(),
                bounded(&named.join(", "), 300)
            ));
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// What one budget said.
enum Answer {
    Gone,
    Refused,
}

/// Evicts what a controller makes anew. The node's machine must provably not run.
pub(super) async fn evict(cluster: &KubeCluster, pods: &[Pod]) -> Result<Evicted, ClusterError> {
    let policy = cluster.evict;
    let deadline = Instant::now() + policy.within;
    let mut left: Vec<&Pod> = pods.iter().filter(|pod| is_movable(pod)).collect();
    let mut evicted = Evicted::default();
    if policy.within.is_zero() {
        return Ok(evicted);
    }
    loop {
        let mut refused = Vec::new();
        for pod in left {
            match ask(cluster, pod).await? {
                Answer::Gone => evicted.with_consent += 1,
                Answer::Refused => refused.push(pod),
            }
        }
        left = refused;
        if left.is_empty() {
            return Ok(evicted);
        }
        if Instant::now() + ASK_EVERY >= deadline {
            break;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    for pod in left {
        if !policy.overrule_budgets {
            evicted.kept.push(name_of(pod));
        } else if delete_pod(cluster, pod).await? {
            evicted.overruled += 1;
        }
    }
    Ok(evicted)
}

async fn ask(cluster: &KubeCluster, pod: &Pod) -> Result<Answer, ClusterError> {
    let unusable = || ClusterError {
        class: "unexpected",
        detail: format!("the eviction of {} cannot be asked for", name_of(pod)),
    };
    let meta = &pod.metadata;
    let (Some(name), Some(namespace)) = (&meta.name, &meta.namespace) else {
        return Err(unusable());
    };
    // Written out, because the client's own form of it loses the precondition and the grace.
    let body = json!({
        "metadata": {"name": name, "namespace": namespace},
        "deleteOptions": {"gracePeriodSeconds": 0, "preconditions": {"uid": meta.uid}},
    });
    let body = serde_json::to_vec(&body).map_err(|_| unusable())?;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction");
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|_| unusable())?;
    let answer = cluster.client.request::<Status>(request);
    match cluster.call_opt("create pods/eviction", answer).await {
        Ok(_) => Ok(Answer::Gone),
        // The budget's way of saying no. A server that is busy says the same, and is asked again like it.
        Err(error) if error.class == "rate-limited" => Ok(Answer::Refused),
        // Another pod of the same name by now.
        Err(error) if error.class == "conflict" => Ok(Answer::Gone),
        Err(error) => Err(error),
    }
}

fn name_of(pod: &Pod) -> String {
    format!(
        "{}/{}",
        pod.metadata.namespace.as_deref().unwrap_or("?"),
        pod.metadata.name.as_deref().unwrap_or("?")
    )
}

/// Whether somebody makes it anew elsewhere: not a daemon, not the node's own, not one that nobody made.
fn is_movable(pod: &Pod) -> bool {
    let meta = &pod.metadata;
    if meta.deletion_timestamp.is_some() {
        return false;
    }
    let finished = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .is_some_and(|phase| phase == "Succeeded" || phase == "Failed");
    let owner = meta
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true));
    !finished && owner.is_some_and(|owner| owner.kind != "DaemonSet" && owner.kind != "Node")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(owner: Option<&str>, phase: &str) -> Pod {
        let owners = owner.map(|kind| json!([{"apiVersion": "v1", "kind": kind, "name": "o", "uid": "u", "controller": true}]));
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "apps", "ownerReferences": owners},
            "spec": {"containers": []}, "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn only_what_a_controller_makes_anew_elsewhere_is_moved() {
        assert!(is_movable(&pod(Some("ReplicaSet"), "Running")));
        assert!(is_movable(&pod(Some("StatefulSet"), "Pending")));
        assert!(!is_movable(&pod(Some("DaemonSet"), "Running")));
        assert!(!is_movable(&pod(Some("Node"), "Running")));
        assert!(!is_movable(&pod(None, "Running")));
        assert!(!is_movable(&pod(Some("Job"), "Succeeded")));
    }
}
