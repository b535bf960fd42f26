//! Join tokens that expire and that only agents can use: bootstrap-token Secrets, in the form that k3s takes.

use super::kube::KubeCluster;
use super::{ClusterError, JoinToken};
use crate::text::hex;
use iaso_providers::Secret as Hidden;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// Largest CA bundle that is taken, in bytes.
const CACERTS_BYTES_MAX: usize = 256 << 10;
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

pub(super) async fn mint(
    cluster: &KubeCluster,
    seed: &str,
    ttl: Duration,
    server: &str,
) -> Result<JoinToken, ClusterError> {
    let unusable = |detail: &str| ClusterError {
        class: "unavailable",
        detail: detail.to_owned(),
    };
    // The id comes from the effect, so that doing it again replaces it and cleaning up finds it.
    let id = letters(&Sha256::digest(seed.as_bytes()), 6);
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random)
        .map_err(|_| unusable("the operating system gave no randomness for a token"))?;
    let secret = letters(&random, 16);
    let ttl =
        SignedDuration::try_from(ttl).map_err(|_| unusable("rejoin.token_ttl_secs is too long"))?;
    let expires = Timestamp::now()
        .checked_add(ttl)
        .map_err(|_| unusable("rejoin.token_ttl_secs is too long"))?;
    let expires = Timestamp::from_second(expires.as_second()).unwrap_or(expires);
    let name = format!("bootstrap-token-{id}");
    let object: Secret = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": id,
            "token-secret": secret,
            "expiration": expires.to_string(),
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": "system:bootstrappers:k3s:default-node-token",
            "description": "Iaso: one recreated node joins with this",
        }
    }))
    .map_err(|_| unusable("the token's Secret cannot be written"))?;
    delete(cluster, &name).await?;
    let api: Api<Secret> = cluster.namespaced("kube-system");
    cluster
        .call(
            "create secrets in kube-system",
            api.create(&PostParams::default(), &object),
        )
        .await?;
    let credentials = format!("{id}.{secret}");
    let text = match ca_hash(cluster, server).await {
        Some(hash) => format!("K10{hash}::{credentials}"),
        None => credentials,
    };
    Ok(JoinToken {
        name,
        secret: Hidden::new(text),
    })
}

pub(super) async fn delete(cluster: &KubeCluster, name: &str) -> Result<(), ClusterError> {
    if !name.starts_with("bootstrap-token-") {
        return Err(ClusterError {
            class: "invalid",
            detail: format!("{name:?} is no join token of Iaso's: it is not touched"),
        });
    }
    let api: Api<Secret> = cluster.namespaced("kube-system");
    cluster
        .call_opt(
            "delete secrets in kube-system",
            api.delete(name, &DeleteParams::default()),
        )
        .await
        .map(drop)
}

fn letters(bytes: &[u8], count: usize) -> String {
    let letter = |byte: &u8| {
        ALPHABET
            .get(usize::from(*byte) % ALPHABET.len())
            .map(|letter| char::from(*letter))
    };
    bytes.iter().filter_map(letter).take(count).collect()
}

/// The hash by which a joining node knows the right server. Asked where the kubeconfig points: that connection is verified.
async fn ca_hash(cluster: &KubeCluster, server: &str) -> Option<String> {
    let request = http_request("/cacerts")?;
    let asked = tokio::time::timeout(cluster.timeout, cluster.client.request_text(request)).await;
    let Ok(Ok(bundle)) = asked else {
        tracing::warn!(
            server,
            "the server does not answer /cacerts: the join token goes without the CA's hash"
        );
        return None;
    };
    let plausible = bundle.len() <= CACERTS_BYTES_MAX && bundle.contains("BEGIN CERTIFICATE");
    plausible.then(|| hex(&Sha256::digest(bundle.as_bytes())))
}

fn http_request(path: &str) -> Option<http::Request<Vec<u8>>> {
    http::Request::get(path).body(Vec::new()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_id_has_the_form_that_kubernetes_demands_and_is_the_same_for_the_same_effect() {
        let id = |seed: &str| letters(&Sha256::digest(seed.as_bytes()), 6);
        assert_eq!(id("styx-1/4"), id("styx-1/4"));
        assert_ne!(id("styx-1/4"), id("styx-1/5"));
        assert!(
            id("a").len() == 6
                && id("a")
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        );
    }
}
