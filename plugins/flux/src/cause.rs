//! What the words of Flux usually mean.

/// Field managers that another one collides with, by the API server's words: `conflict with "kubectl" using apps/v1: .spec.replicas`.
pub(crate) fn fighting_managers(message: &str) -> Vec<String> {
    const MANAGERS_MAX: usize = 4;
    let mut managers: Vec<String> = Vec::new();
    // One conflict is `conflict with`, several by one manager are `conflicts with`.
    let message = message.replace("conflicts with", "conflict with");
    for rest in message.split("conflict with \"").skip(1) {
        let Some((manager, _)) = rest.split_once('"') else {
            continue;
        };
        if managers.len() < MANAGERS_MAX && !managers.iter().any(|known| known == manager) {
            managers.push(manager.to_owned());
        }
    }
    managers
}

/// What usually helps, from the reason of the condition and its message.
pub(crate) fn helps(reason: &str, message: &str) -> &'static str {
    let text = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if reason == "DependencyNotReady" {
        "another object must be ready first (`dependsOn`): look at that one"
    } else if reason == "HealthCheckFailed" {
        "it was applied, and what it made does not get ready: look at those pods"
    } else if says(&["immutable"]) {
        "a field cannot be changed in place: delete the object, or let Flux do it (`force: true`)"
    } else if says(&["no matches for kind", "ensure crds are installed"]) {
        "a custom resource is not installed yet: apply it first (`dependsOn`)"
    } else if says(&[
        "authentication",
        "unauthorized",
        "401",
        "permission denied (publickey)",
        "handshake failed",
        "403",
    ]) {
        "the credentials of the source are missing, wrong or expired (`secretRef`)"
    } else if says(&[
        "no such host",
        "i/o timeout",
        "connection refused",
        "deadline exceeded",
        "dial tcp",
    ]) {
        "something is not reached from the cluster: DNS, the way out, or the other end"
    } else if says(&["forbidden"]) {
        "its service account may not do that: look at its roles"
    } else if says(&[
        "another operation",
        "pending-install",
        "pending-upgrade",
        "pending-rollback",
    ]) {
        "a Helm operation was cut off and holds the release: `helm rollback`, or delete the newest release Secret"
    } else if says(&["retries exhausted"]) {
        "Helm has given up: correct the cause, then `flux reconcile helmrelease --reset`"
    } else if matches!(reason, "BuildFailed" | "ValidationFailed") {
        "what is in Git is not valid: correct it there"
    } else if matches!(reason, "ArtifactFailed" | "SourceNotReady")
        || says(&["artifact not found", "source artifact"])
    {
        "its source has nothing to give: look at that source"
    } else {
        "see the message"
    }
}

#[cfg(test)]
mod tests {
    use super::{fighting_managers, helps};

    #[test]
    fn the_managers_of_a_conflict_are_named_once() {
        let message = "Deployment/apps/web dry-run failed: Apply failed with 2 conflicts: conflicts with \"kubectl-client-side-apply\" using apps/v1:\n- .spec.replicas\nconflict with \"pulumi\" using apps/v1: .spec.template; conflict with \"pulumi\": .x";
        assert_eq!(
            fighting_managers(message),
            ["kubectl-client-side-apply", "pulumi"]
        );
        assert_eq!(
            fighting_managers(
                "Apply failed with 1 conflict: conflict with \"helm\" using v1: .data"
            ),
            ["helm"]
        );
        assert!(fighting_managers("all is well").is_empty());
    }

    #[test]
    fn what_helps_follows_from_the_words() {
        for (reason, message, expected) in [
            (
                "DependencyNotReady",
                "dependency 'flux-system/infra' is not ready",
                "look at that one",
            ),
            (
                "ReconciliationFailed",
                "Deployment.apps \"x\" is invalid: spec.selector: field is immutable",
                "force: true",
            ),
            (
                "ReconciliationFailed",
                "no matches for kind \"Certificate\" in version \"cert-manager.io/v1\"",
                "not installed yet",
            ),
            (
                "GitOperationFailed",
                "unable to clone: authentication required",
                "secretRef",
            ),
            (
                "GitOperationFailed",
                "dial tcp: lookup github.com: i/o timeout",
                "not reached",
            ),
            (
                "UpgradeFailed",
                "another operation (install/upgrade/rollback) is in progress",
                "helm rollback",
            ),
            (
                "BuildFailed",
                "kustomization.yaml: no such file",
                "correct it there",
            ),
            ("ArtifactFailed", "x", "that source"),
            ("Other", "x", "see the message"),
        ] {
            assert!(helps(reason, message).contains(expected), "{message}");
        }
    }
}
