//! The k3s supervisor's part: a node joins with a bootstrap token and its node password.

use super::Shared;
use super::serve::failure;
use super::store::{Store, text};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};

/// What `/cacerts` answers: text in the place of a certificate. Its hash is what a K10 token begins with.
pub(crate) const CA: &str =
    "-----BEGIN CERTIFICATE-----\nbGFiOiBub3QgYSBjZXJ0aWZpY2F0ZQ==\n-----END CERTIFICATE-----\n";
/// The server's version.
pub(crate) const VERSION: &str = "v1.33.4+k3s1";
/// As k3s words it.
const REJECTED: &str = "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server \
    node-passwd entry, try enabling a unique node name with the --with-node-id flag";

/// `GET /v1-k3s/serving-kubelet.crt`: k3s answers a certificate, the lab answers the token that its kubelet uses from then on.
pub(crate) async fn join(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(node), Some(password)) = (value("k3s-node-name"), value("k3s-node-password")) else {
        return failure(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "node name or node password not set",
        );
    };
    let credentials = value(header::AUTHORIZATION.as_str())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    let name = format!("{node}.node-password.k3s");
    let secret = format!("bootstrap-token-{}", id_of(credentials));
    if let Some(upstream) = &shared.upstream {
        for name in [&secret, &name] {
            if let Err(error) = upstream.bring(&shared, "kube-system", name).await {
                let why = format!("apiserver not ready: {error:#}");
                return failure(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", &why);
            }
        }
    }
    let answer = admit(&shared, node, password, credentials);
    if let Some(upstream) = &shared.upstream
        && let Err(error) = upstream.take(&shared, "kube-system", &name).await
    {
        let why = format!("apiserver not ready: {error:#}");
        return failure(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", &why);
    }
    answer
}

fn admit(shared: &Shared, node: &str, password: &str, credentials: &str) -> Response {
    let mut store = shared.store();
    if let Err(why) = check_token(&store, credentials) {
        return failure(StatusCode::UNAUTHORIZED, "Unauthorized", &why);
    }
    let name = format!("{node}.node-password.k3s");
    let hash = STANDARD.encode(Sha256::digest(password.as_bytes()));
    match store.get("secrets", "kube-system", &name) {
        Some(secret) if text(secret, &["data", "hash"]) != hash => {
            return failure(StatusCode::FORBIDDEN, "Forbidden", REJECTED);
        }
        Some(_) => {}
        None => {
            let secret = json!({
                "metadata": {"name": name, "namespace": "kube-system"},
                "immutable": true, "type": "Opaque", "data": {"hash": hash},
            });
            store.seed("secrets", secret);
        }
    }
    let token = format!("kubelet-{node}");
    store.kubelets.insert(token.clone(), node.to_owned());
    axum::Json(json!({"token": token})).into_response()
}

/// A K10 token's credentials, or bare ones, must be a bootstrap token that exists, is for authentication and has not expired.
fn check_token(store: &Store, token: &str) -> Result<(), String> {
    let credentials = match token
        .strip_prefix("K10")
        .and_then(|rest| rest.split_once("::"))
    {
        Some((hash, credentials)) if hash == ca_hash() => credentials,
        Some(_) => {
            return Err("token CA hash does not match the Cluster CA certificate hash".into());
        }
        None => token,
    };
    let (id, secret) = credentials
        .split_once('.')
        .ok_or("the token is not of the form <id>.<secret>")?;
    let name = format!("bootstrap-token-{id}");
    let kept = store
        .get("secrets", "kube-system", &name)
        .ok_or("no such bootstrap token")?;
    let data = |field: &str| {
        STANDARD
            .decode(text(kept, &["data", field]))
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .unwrap_or_default()
    };
    if text(kept, &["type"]) != "bootstrap.kubernetes.io/token" || data("token-secret") != secret {
        return Err("the bootstrap token's secret is wrong".into());
    }
    if data("usage-bootstrap-authentication") != "true" {
        return Err("the bootstrap token is not for authentication".into());
    }
    let expires = data("expiration");
    if !expires.is_empty()
        && expires
            .parse::<Timestamp>()
            .is_ok_and(|at| at < Timestamp::now())
    {
        return Err("the bootstrap token has expired".into());
    }
    Ok(())
}

/// The part of a token that names its Secret.
fn id_of(token: &str) -> &str {
    let credentials = token
        .rsplit_once("::")
        .map_or(token, |(_, credentials)| credentials);
    credentials.split('.').next().unwrap_or_default()
}

/// The hash of [`CA`], as in a K10 token.
pub(crate) fn ca_hash() -> String {
    Sha256::digest(CA.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
