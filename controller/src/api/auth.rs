//! Who calls, and whether they may: one layer in front of every service.
//!
//! **Invariants**
//! - A call reaches its service only if the table of `identity::access` says so; what is not in the table is refused.
//! - A refusal is logged, counted by kind, and says what to do. What changes something is in the log with who did it.

use super::Shared;
use crate::identity::access::{self, Access};
use crate::identity::{Denied, Identities, Operator};
use crate::status::Metrics;
use crate::text::bounded;
use iaso_engine::id::NodeName;
use iaso_identity::{Failure, NodeCertificate, Peer, Presented};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::{Request, Status};

/// Refusals that are logged in one minute; more are only counted.
const LOGGED_PER_MINUTE: u64 = 120;

/// Admits calls.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    identities: Arc<Identities>,
    metrics: Metrics,
    refusals: Arc<Refusals>,
}

impl Guard {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            identities: Arc::clone(&shared.identities),
            metrics: shared.metrics.clone(),
            refusals: Arc::new(Refusals::default()),
        }
    }

    /// A connection that did not come to be.
    pub(super) fn failed(&self, failure: &Failure) {
        let (kind, address, why) = match failure {
            Failure::Plaintext(address) => (
                "plaintext",
                address,
                "it does not speak TLS: its URL must be https://",
            ),
            Failure::Handshake(address, why) => ("handshake", address, why.as_str()),
            Failure::Slow(address) => ("handshake-slow", address, "TLS did not begin in time"),
            // A port that is looked at, as probes and load balancers do.
            Failure::Gone => return,
        };
        self.metrics.refused(kind);
        if self.refusals.is_logged() {
            tracing::warn!(kind, peer = %address, why = bounded(why, 300), "connection refused");
        }
    }

    /// Admits a call, and leaves with it who makes it.
    fn admit(&self, request: &mut http::Request<Body>) -> Result<(), Status> {
        let path = request.uri().path().to_owned();
        let peer = request.extensions().get::<Peer>().cloned();
        let admitted = match access::of(&path) {
            Some(Access::Open) => Ok(()),
            Some(Access::Node) => self.node(peer.as_ref()).map(|node| {
                request.extensions_mut().insert(node);
            }),
            Some(Access::Person(need)) => self.person(request, need).map(|operator| {
                request.extensions_mut().insert(operator);
            }),
            Some(Access::Decision(need)) => self.person(request, need).map(|operator| {
                let who = &operator.name;
                tracing::info!(target: "iaso_controller::audit", who, role = %operator.role, call = path, "admitted");
                request.extensions_mut().insert(operator);
            }),
            // Not ours: the router says that there is no such call.
            None if !path.starts_with("/iaso.") => Ok(()),
            None => Err(Denied::NoRole),
        };
        admitted.map_err(|denied| {
            let from = peer
                .map(|peer| peer.address.to_string())
                .unwrap_or_default();
            self.refuse(&denied, &path, &from)
        })
    }

    fn node(&self, peer: Option<&Peer>) -> Result<NodeCertificate, Denied> {
        match peer.map(|peer| &peer.presented) {
            Some(Presented::Node(certificate)) => {
                self.identities.admit_node(certificate)?;
                Ok(certificate.clone())
            }
            Some(Presented::Refused(refusal)) => Err(Denied::Certificate(*refusal)),
            Some(Presented::Nothing) | None => Err(Denied::NoCertificate),
        }
    }

    fn person(
        &self,
        request: &http::Request<Body>,
        need: access::Role,
    ) -> Result<Operator, Denied> {
        let value = request.headers().get(http::header::AUTHORIZATION);
        let presented = value
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        let operator = self.identities.admit_operator(presented)?;
        if operator.role < need {
            let who = operator.to_string();
            return Err(Denied::Role { who, need });
        }
        Ok(operator)
    }

    pub(super) fn refuse(&self, denied: &Denied, call: &str, from: &str) -> Status {
        self.metrics.refused(denied.kind());
        if self.refusals.is_logged() {
            tracing::warn!(kind = denied.kind(), call = bounded(call, 100), peer = from, why = %denied, "call refused");
        }
        status(denied)
    }
}

/// At most so many lines in a minute, whoever wants to fill the disk.
#[derive(Debug, Default)]
struct Refusals(std::sync::Mutex<(u64, u64)>);

impl Refusals {
    fn is_logged(&self) -> bool {
        let minute = iaso_identity::unix_now() / 60;
        let mut counted = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if counted.0 != minute {
            *counted = (minute, 0);
        }
        counted.1 += 1;
        counted.1 <= LOGGED_PER_MINUTE
    }
}

fn status(denied: &Denied) -> Status {
    let words = denied.to_string();
    match denied {
        Denied::NoCertificate
        | Denied::Certificate(_)
        | Denied::Revoked
        | Denied::Unknown
        | Denied::JoinTokenWrong
        | Denied::JoinTokenExpired { .. }
        | Denied::JoinTokenUsed
        | Denied::JoinTokenVoid
        | Denied::NoToken
        | Denied::TokenWrong
        | Denied::TokenExpired => Status::unauthenticated(words),
        Denied::OtherNode { .. }
        | Denied::JoinTokenOtherNode { .. }
        | Denied::Role { .. }
        | Denied::NoRole => Status::permission_denied(words),
        Denied::Request => Status::invalid_argument(words),
        Denied::Unavailable(_) => Status::unavailable(words),
    }
}

/// The node whose certificate admitted this call.
pub(super) fn node<T>(request: &Request<T>) -> Result<NodeCertificate, Status> {
    let found = request.extensions().get::<NodeCertificate>().cloned();
    found.ok_or_else(|| status(&Denied::NoCertificate))
}

/// The operator whose token admitted this call.
pub(super) fn operator<T>(request: &Request<T>) -> Result<Operator, Status> {
    let found = request.extensions().get::<Operator>().cloned();
    found.ok_or_else(|| status(&Denied::NoToken))
}

/// A certificate speaks for its own node only.
pub(super) fn speaks_for(
    guard: &Guard,
    certificate: &NodeCertificate,
    claimed: &str,
    call: &str,
) -> Result<(), Status> {
    if certificate.node == claimed {
        return Ok(());
    }
    let denied = Denied::OtherNode {
        certified: certificate.node.clone(),
        claimed: bounded(claimed, 253),
    };
    Err(guard.refuse(&denied, call, &certificate.node))
}

/// Whether a session's certificate still counts.
pub(super) fn still_counts(shared: &Shared, certificate: &NodeCertificate) -> Result<(), Status> {
    shared.identities.admit_node(certificate).map_err(|denied| {
        shared.metrics.refused(denied.kind());
        status(&denied)
    })
}

/// The node of the configuration with this name.
pub(super) fn declared(shared: &Shared, name: &str) -> Result<NodeName, Status> {
    let found = shared
        .config
        .nodes
        .iter()
        .find(|node| node.name.as_str() == name);
    found.map(|node| node.name.clone()).ok_or_else(|| {
        Status::not_found(format!(
            "there is no node {:?}: see `iaso nodes`, or add it to [[nodes]] of the controller",
            bounded(name, 253)
        ))
    })
}

impl<S> tower::Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            guard: self.clone(),
        }
    }
}

/// Services behind the guard.
#[derive(Debug, Clone)]
pub(super) struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl<S> tower::Service<http::Request<Body>> for Guarded<S>
where
    S: tower::Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        match self.guard.admit(&mut request) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(status) => Box::pin(async move { Ok(status.into_http()) }),
        }
    }
}
