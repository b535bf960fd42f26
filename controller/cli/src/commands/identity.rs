//! `iaso join-token` and `revoke`: who may speak for a node.

use super::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use std::time::Duration;

/// Prints the token alone, so that it can be piped to where it belongs: it is shown once.
pub(super) async fn join_token(
    session: &Session,
    node: String,
    ttl: Duration,
) -> Result<Exit, Failure> {
    let token = session.client.join_token(node, ttl).await?;
    session.show(&token, |_, token| format!("{}\n", token.token.or_dash()))?;
    Ok(Exit::Ok)
}

pub(super) async fn revoke(
    session: &Session,
    node: String,
    reason: String,
) -> Result<Exit, Failure> {
    let revoked = session.client.revoke(node, reason).await?;
    session.show(&revoked, |_, revoked| {
        format!(
            "revoked {}: {} certificates and {} join tokens are taken back; `iaso join-token {}` lets it in again\n",
            revoked.node.or_dash(),
            revoked.certificates,
            revoked.join_tokens,
            revoked.node.or_dash()
        )
    })?;
    Ok(Exit::Ok)
}
