//! What the words of the runtime usually mean.

/// Why an image does not come, from the runtime's message.
pub(crate) fn of_pull(reason: &str, message: &str) -> &'static str {
    let text = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if reason == "InvalidImageName" {
        "the image's name is not one: correct it"
    } else if reason == "ErrImageNeverPull" {
        "it is not on this node, and `imagePullPolicy: Never` forbids to fetch it"
    } else if says(&["toomanyrequests", "rate limit", "429"]) {
        "the registry's limit is reached: log in to it, or use a mirror (`registries.yaml`)"
    } else if says(&[
        "no match for platform",
        "no matching manifest",
        "exec format",
    ]) {
        "the image is not made for this node's processor"
    } else if says(&["not found", "manifest unknown", "name unknown"]) {
        "there is no such image or tag: was it ever pushed?"
    } else if says(&[
        "unauthorized",
        "authentication",
        "denied",
        "forbidden",
        "401",
        "403",
    ]) {
        "the registry does not let this node in: the pull secret is missing, wrong or expired"
    } else if says(&["x509", "certificate"]) {
        "the registry's certificate is not trusted, or this node's clock is wrong"
    } else if says(&["no such host", "server misbehaving", "lookup "]) {
        "the registry's name does not resolve on this node: its DNS, not the cluster's"
    } else if says(&[
        "i/o timeout",
        "connection refused",
        "no route",
        "deadline exceeded",
        "unreachable",
        "reset by peer",
    ]) {
        "the registry is not reached from this node"
    } else if says(&["no space left"]) {
        "the disk for images is full"
    } else {
        "see the message"
    }
}

/// Why a container ended, from its reason and exit code.
pub(crate) fn of_exit(reason: &str, code: Option<i32>) -> String {
    match (reason, code) {
        ("OOMKilled", _) => {
            "it took more memory than its limit (OOMKilled): raise the limit, or find the leak"
                .into()
        }
        (_, Some(137)) => {
            "it was killed (137): by a failed liveness probe, or for want of memory on the node"
                .into()
        }
        (_, Some(0)) => {
            "it ended by itself and well (0): what is to run for ever must not end".into()
        }
        (_, Some(139)) => "it crashed in its own code (139, segmentation fault)".into(),
        (_, Some(143)) => "it was told to end (143): by a failed liveness probe".into(),
        (_, Some(126)) => {
            "its command cannot be run (126): not executable, or made for another processor".into()
        }
        (_, Some(127)) => "its command is not in the image (127)".into(),
        ("ContainerCannotRun" | "StartError", _) => {
            "the runtime could not start it: see its message".into()
        }
        ("", None) => "how it ended is not known: see its log (`kubectl logs -p`)".into(),
        ("", Some(code)) => format!("it ended with {code}: see its log (`kubectl logs -p`)"),
        (reason, Some(code)) => {
            format!("it ended with {code} ({reason}): see its log (`kubectl logs -p`)")
        }
        (reason, None) => format!("it ended ({reason}): see its log (`kubectl logs -p`)"),
    }
}

#[cfg(test)]
mod tests {
    use super::of_pull;

    #[test]
    fn the_words_of_registries_are_told_apart() {
        for (message, expected) in [
            (
                "failed to resolve reference \"ghcr.io/x/y:f44c2a2\": ghcr.io/x/y:f44c2a2: not found",
                "was it ever pushed",
            ),
            (
                "pull access denied, repository does not exist or may require authorization: insufficient_scope: authorization failed",
                "pull secret",
            ),
            ("unexpected status code 401 Unauthorized", "pull secret"),
            (
                "429 Too Many Requests - toomanyrequests: You have reached your pull rate limit",
                "limit is reached",
            ),
            (
                "dial tcp: lookup ghcr.io on 127.0.0.53:53: server misbehaving",
                "does not resolve",
            ),
            ("dial tcp 140.82.121.33:443: i/o timeout", "not reached"),
            (
                "tls: failed to verify certificate: x509: certificate has expired",
                "not trusted",
            ),
            ("no match for platform in manifest: not found", "processor"),
            (
                "write /var/lib/rancher/k3s/x: no space left on device",
                "full",
            ),
            ("something else", "see the message"),
        ] {
            let cause = of_pull("ErrImagePull", message);
            assert!(cause.contains(expected), "{message}: {cause}");
        }
    }
}
