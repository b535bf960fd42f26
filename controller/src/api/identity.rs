//! The identities' service: a node's certificates, and who lets it in.

use super::Shared;
use super::auth::{self, Guard};
use crate::identity::{Certified, Denied, Identities};
use crate::text::bounded;
use iaso_engine::id::NodeName;
use iaso_identity::Peer;
use iaso_proto::v1;
use iaso_proto::v1::identity_service_server::IdentityService;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status};

/// How long a join token lives when nothing is said.
const TTL_SECS: u64 = 3_600;
/// How long one may live, in seconds.
const TTL_RANGE: std::ops::RangeInclusive<u64> = 60..=7 * 86_400;

/// The service.
#[derive(Debug)]
pub(super) struct IdentityApi {
    shared: Shared,
    guard: Guard,
}

impl IdentityApi {
    pub(super) fn new(shared: Shared, guard: Guard) -> Self {
        Self { shared, guard }
    }

    /// The record is on a disk: never in a thread that serves others.
    async fn blocking<T, F>(&self, work: F) -> Result<T, Denied>
    where
        T: Send + 'static,
        F: FnOnce(&Identities) -> Result<T, Denied> + Send + 'static,
    {
        let identities = Arc::clone(&self.shared.identities);
        tokio::task::spawn_blocking(move || work(&identities))
            .await
            .unwrap_or_else(|_| Err(Denied::Unavailable("the controller is stopping".into())))
    }

    fn certified(&self, node: &str, how: &str, certified: &Certified) {
        let ends = Some(certified.issued.not_after);
        self.shared.metrics.certified(how);
        self.shared.metrics.certificate(node, ends);
    }

    async fn note(&self, node: &NodeName, text: String) -> Result<(), Status> {
        let noted = self
            .shared
            .handle
            .note(Some(node.clone()), bounded(&text, 1_500))
            .await;
        noted.map_err(|error| Status::unavailable(bounded(&error.to_string(), 300)))
    }
}

fn answer(certified: &Certified) -> Response<v1::CertificateResponse> {
    let signed = |secs: u64| i64::try_from(secs).unwrap_or(i64::MAX);
    Response::new(v1::CertificateResponse {
        certificate: certified.issued.certificate.clone(),
        not_after_unix_secs: signed(certified.issued.not_after),
        renew_at_unix_secs: signed(certified.renew_at),
    })
}

#[tonic::async_trait]
impl IdentityService for IdentityApi {
    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::CertificateResponse>, Status> {
        let from = request
            .extensions()
            .get::<Peer>()
            .map(|peer| peer.address.to_string())
            .unwrap_or_default();
        let v1::EnrolRequest {
            node,
            token,
            request,
        } = request.into_inner();
        let name = auth::declared(&self.shared, &node)?;
        let (id, asked) = (
            token.split('.').next().unwrap_or_default().to_owned(),
            node.clone(),
        );
        let enrolled = self
            .blocking(move |identities| identities.enrol(&asked, &token, &request))
            .await;
        let certified = match enrolled {
            Ok(certified) => certified,
            Err(denied) => {
                let status = self.guard.refuse(&denied, "Enrol", &from);
                if denied == Denied::JoinTokenUsed && self.shared.identities.is_first_replay(&id) {
                    let text = format!(
                        "a join token of this node was presented again, by another key, from {from}: refused; if nobody of yours did, `iaso revoke {name}`"
                    );
                    self.note(&name, text).await?;
                }
                return Err(status);
            }
        };
        self.certified(&node, "enrolled", &certified);
        if certified.superseded > 0 {
            self.shared.sessions.dismiss(&name);
        }
        tracing::info!(node = %name, peer = from, serial = certified.issued.serial, "enrolled");
        let serial = &certified.issued.serial;
        let text = format!(
            "enrolled from {from} with join token {}: certificate {serial}; {} former certificates are taken back",
            bounded(&id, 16),
            certified.superseded
        );
        self.note(&name, text).await?;
        Ok(answer(&certified))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::CertificateResponse>, Status> {
        let by = auth::node(&request)?;
        let node = by.node.clone();
        let request = request.into_inner().request;
        let renewed = self
            .blocking(move |identities| identities.renew(&by, &request))
            .await;
        let certified = renewed.map_err(|denied| self.guard.refuse(&denied, "Renew", &node))?;
        self.certified(&node, "renewed", &certified);
        tracing::info!(
            node,
            serial = certified.issued.serial,
            "certificate renewed"
        );
        Ok(answer(&certified))
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        let who = auth::operator(&request)?.to_string();
        let v1::CreateJoinTokenRequest { node, ttl_secs } = request.into_inner();
        let node = auth::declared(&self.shared, &node)?;
        let ttl = if ttl_secs == 0 { TTL_SECS } else { ttl_secs };
        if !TTL_RANGE.contains(&ttl) {
            return Err(Status::invalid_argument(format!(
                "a join token lives {} to {} seconds, not {ttl}",
                TTL_RANGE.start(),
                TTL_RANGE.end()
            )));
        }
        let (asked, by) = (node.clone(), who.clone());
        let made = self
            .blocking(move |identities| {
                Ok(identities.join_token(&asked, Duration::from_secs(ttl), &by)?)
            })
            .await
            .map_err(|denied| self.guard.refuse(&denied, "CreateJoinToken", &who))?;
        // Not journaled is not handed out.
        self.note(
            &node,
            format!(
                "{who} made join token {} for this node, for {ttl} s",
                made.id
            ),
        )
        .await?;
        Ok(Response::new(v1::CreateJoinTokenResponse {
            token: made.secret.expose().to_owned(),
            expires_unix_ms: i64::try_from(made.expires.saturating_mul(1_000)).unwrap_or(i64::MAX),
        }))
    }

    async fn revoke_node(
        &self,
        request: Request<v1::RevokeNodeRequest>,
    ) -> Result<Response<v1::RevokeNodeResponse>, Status> {
        let who = auth::operator(&request)?.to_string();
        let v1::RevokeNodeRequest { node, reason } = request.into_inner();
        let node = auth::declared(&self.shared, &node)?;
        let asked = node.clone();
        let (certificates, tokens) = self
            .blocking(move |identities| Ok(identities.revoke(&asked)?))
            .await
            .map_err(|denied| self.guard.refuse(&denied, "RevokeNode", &who))?;
        self.shared.metrics.certificate(node.as_str(), None);
        self.shared.sessions.dismiss(&node);
        let why = if reason.trim().is_empty() {
            "no reason given"
        } else {
            reason.trim()
        };
        let text = format!(
            "{who} revoked this node: {certificates} certificates and {tokens} join tokens are taken back ({})",
            bounded(why, 500)
        );
        self.note(&node, text).await?;
        let counted = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Response::new(v1::RevokeNodeResponse {
            certificates: counted(certificates),
            join_tokens: counted(tokens),
        }))
    }
}
