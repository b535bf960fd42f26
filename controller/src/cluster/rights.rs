//! What Iaso needs of Kubernetes' permissions, and what it does without each.
//!
//! **Invariants**
//! - Every call names a right of this list; a refusal says what is left out and what to grant.
//! - The shipped roles grant these and nothing else: a test removes each from them and sees it missed.

use super::ClusterError;
use super::kube::KubeCluster;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

/// One verb on one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// Such as `patch`.
    pub verb: &'static str,
    /// The API group; empty for the core.
    pub group: &'static str,
    /// Plural, with its subresource: `pods/eviction`.
    pub resource: &'static str,
    /// Only in this namespace; `None`: everywhere, or of what has none.
    pub namespace: Option<&'static str>,
    /// What is left out without it.
    pub without: &'static str,
    /// Needed only to show in the cluster what the journal says.
    pub publishes: bool,
}

impl Right {
    const fn new(verb: &'static str, resource: &'static str, without: &'static str) -> Self {
        Self {
            verb,
            group: "",
            resource,
            namespace: None,
            without,
            publishes: false,
        }
    }

    const fn of(self, group: &'static str) -> Self {
        Self { group, ..self }
    }

    const fn publishes(self) -> Self {
        Self {
            publishes: true,
            ..self
        }
    }

    const fn within(self, namespace: &'static str) -> Self {
        Self {
            namespace: Some(namespace),
            ..self
        }
    }

    /// As it is said: `delete secrets in kube-system`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.namespace {
            Some(namespace) => format!("{} {} in {namespace}", self.verb, self.resource),
            None => format!("{} {}", self.verb, self.resource),
        }
    }

    /// The sentence for who does not have it.
    #[must_use]
    pub fn denied(&self) -> String {
        let Self {
            verb,
            group,
            resource,
            without,
            ..
        } = self;
        let group = if group.is_empty() { "core" } else { group };
        let place = match self.namespace {
            Some(namespace) => format!("a Role in {namespace}"),
            None => "the ClusterRole".to_owned(),
        };
        format!(
            "may not {}: {without}; grant {verb} on {resource} ({group}) in {place}, as deploy/kustomize/base/rbac.yaml does",
            self.name()
        )
    }
}

/// Without the right to keep them.
const UNSHOWN: &str = "kubectl get incidents shows none, or old ones; `iaso incidents` has them";

/// All of them.
pub const RIGHTS: [Right; 23] = [
    Right::new(
        "list",
        "nodes",
        "Kubernetes' word on every node is left out, and nothing is repaired on the others' word alone",
    ),
    Right::new(
        "list",
        "leases",
        "leases are left out, and with them Kubernetes' word on every node",
    )
    .of("coordination.k8s.io")
    .within("kube-node-lease"),
    Right::new(
        "list",
        "pods",
        "every node counts as holding local data, and a dead machine's pods are not cleared",
    ),
    Right::new(
        "list",
        "persistentvolumes",
        "every node counts as holding local data",
    ),
    Right::new(
        "watch",
        "nodes",
        "nodes and leases are listed in full again and again",
    ),
    Right::new(
        "watch",
        "leases",
        "nodes and leases are listed in full again and again",
    )
    .of("coordination.k8s.io")
    .within("kube-node-lease"),
    Right::new(
        "watch",
        "pods",
        "what lies on each node is asked for again and again",
    ),
    Right::new(
        "watch",
        "persistentvolumes",
        "what lies on each node is asked for again and again",
    ),
    Right::new(
        "get",
        "nodes",
        "no node is recreated, because its labels and taints cannot be remembered",
    ),
    Right::new(
        "patch",
        "nodes",
        "cordon is left out, and labels and taints are not put back",
    ),
    Right::new("delete", "pods", "pods stuck Terminating are not cleared"),
    Right::new(
        "create",
        "pods/eviction",
        "a dead machine's pods that are not Terminating yet wait for Kubernetes' own eviction",
    ),
    Right::new(
        "list",
        "volumeattachments",
        "volumes stay attached to a dead machine until Kubernetes detaches them, after 6 minutes",
    )
    .of("storage.k8s.io"),
    Right::new(
        "delete",
        "volumeattachments",
        "volumes stay attached to a dead machine until Kubernetes detaches them, after 6 minutes",
    )
    .of("storage.k8s.io"),
    Right::new(
        "create",
        "secrets",
        "no node is recreated, because it would have no token to join with",
    )
    .within("kube-system"),
    Right::new(
        "delete",
        "secrets",
        "no node is recreated: join tokens cannot be taken back, and k3s refuses a new machine under the old one's password",
    )
    .within("kube-system"),
    Right::new(
        "patch",
        "nodes/status",
        "the condition IasoHealthy is not kept: nodes have none, or an old one",
    )
    .publishes(),
    Right::new(
        "create",
        "events",
        "no Events tell of incidents; the journal and `iaso events` do",
    )
    .within("default")
    .publishes(),
    Right::new("list", "incidents", UNSHOWN)
        .of("iaso.dev")
        .publishes(),
    Right::new("create", "incidents", UNSHOWN)
        .of("iaso.dev")
        .publishes(),
    Right::new(
        "patch",
        "incidents",
        "what others write to Incident objects stays, and they are not kept further",
    )
    .of("iaso.dev")
    .publishes(),
    Right::new(
        "delete",
        "incidents",
        "old Incident objects stay, and the others are not kept further",
    )
    .of("iaso.dev")
    .publishes(),
    Right::new(
        "patch",
        "incidents/status",
        "Incident objects say nothing but their node",
    )
    .of("iaso.dev")
    .publishes(),
];

/// The right that a call needs, by its name.
pub(super) fn of(call: &str) -> Option<&'static Right> {
    RIGHTS.iter().find(|right| right.name() == call)
}

/// Those that the API server says we do not have.
pub(super) async fn missing(cluster: &KubeCluster) -> Result<Vec<Right>, ClusterError> {
    let mut missing = Vec::new();
    for right in RIGHTS {
        if !has(cluster, right).await? {
            missing.push(right);
        }
    }
    Ok(missing)
}

async fn has(cluster: &KubeCluster, right: Right) -> Result<bool, ClusterError> {
    let (resource, subresource) = right
        .resource
        .split_once('/')
        .unwrap_or((right.resource, ""));
    let asked = json!({"spec": {"resourceAttributes": {
        "verb": right.verb, "group": right.group, "resource": resource, "subresource": subresource,
        "namespace": right.namespace.unwrap_or_default(),
    }}});
    let review: SelfSubjectAccessReview =
        serde_json::from_value(asked).map_err(|_| ClusterError {
            class: "unexpected",
            detail: format!("{} cannot be asked for", right.name()),
        })?;
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let params = PostParams::default();
    let review = cluster
        .call(
            "create selfsubjectaccessreviews",
            reviews.create(&params, &review),
        )
        .await?;
    Ok(review.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_verb_what_is_left_out_and_where_to_grant_it() {
        let right = of("patch nodes").unwrap();
        assert_eq!(
            right.denied(),
            "may not patch nodes: cordon is left out, and labels and taints are not put back; grant patch on nodes (core) in the ClusterRole, as deploy/kustomize/base/rbac.yaml does"
        );
        let right = of("delete secrets in kube-system").unwrap();
        assert!(right.denied().contains("a Role in kube-system"));
    }
}
