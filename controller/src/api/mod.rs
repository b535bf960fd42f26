//! gRPC for agents and operators. The only module that knows protobuf types: they are converted here, once.
//!
//! **Invariants**
//! - Every call passes the guard ([`auth`]): a node's certificate or an operator's token, and the role that the call needs.
//! - Every message, list, text and queue has a bound. What is too large is refused in words, and the rest of the controller goes on.
//! - An acknowledgement is sent after what it acknowledges was decided upon and journaled.

mod agent;
mod auth;
mod convert;
mod events;
mod identity;
mod operator;
mod pace;
mod recordings;
mod render;

use crate::clock::Clock;
use crate::config::Config;
use crate::driver::Handle;
use crate::identity::Identities;
use crate::plugins::Plugins;
use crate::probe::Rounds;
use crate::recorder::Archive;
use crate::sessions::Sessions;
use crate::status::Metrics;
use crate::store::Store;
use iaso_identity::{Acceptor, incoming};
use iaso_proto::MAX_MESSAGE_BYTES;
use iaso_proto::v1::agent_service_server::AgentServiceServer;
use iaso_proto::v1::identity_service_server::IdentityServiceServer;
use iaso_proto::v1::operator_service_server::OperatorServiceServer;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

/// Requests that one connection may have open.
const REQUESTS_PER_CONNECTION: u32 = 64;
/// Largest answer to an operator, in bytes: a report of 4 MiB and its envelope.
const ANSWER_BYTES_MAX: usize = 5 << 20;
/// How often an idle connection is asked whether it lives, and how long it may take to say so.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// What the services share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The configuration.
    pub config: Arc<Config>,
    /// The driver.
    pub handle: Handle,
    /// The journal, to be read.
    pub store: Arc<Store>,
    /// Recordings of incidents, if there are any.
    pub archive: Option<Arc<Archive>>,
    /// Who is who.
    pub identities: Arc<Identities>,
    /// Connected agents.
    pub sessions: Arc<Sessions>,
    /// Probe rounds.
    pub rounds: Arc<Rounds>,
    /// Compiled plugins.
    pub plugins: Arc<Plugins>,
    /// Counters.
    pub metrics: Metrics,
    /// The clock.
    pub clock: Clock,
    /// The controller's term.
    pub term: u64,
    /// Ends all streams.
    pub stop: CancellationToken,
}

/// Serves until it is stopped.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    shared: Shared,
    acceptor: Arc<Acceptor>,
) -> Result<(), tonic::transport::Error> {
    let stop = shared.stop.clone();
    let guard = auth::Guard::new(&shared);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_serving::<AgentServiceServer<agent::Agents>>()
        .await;
    reporter
        .set_serving::<OperatorServiceServer<operator::Operators>>()
        .await;
    let agent_service = AgentServiceServer::new(agent::Agents::new(shared.clone(), guard.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let identity_service =
        IdentityServiceServer::new(identity::IdentityApi::new(shared.clone(), guard.clone()))
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let operator_service = OperatorServiceServer::new(operator::Operators::new(shared))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let mut server = Server::builder()
        .concurrency_limit_per_connection(REQUESTS_PER_CONNECTION as usize)
        .max_concurrent_streams(REQUESTS_PER_CONNECTION)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .http2_max_header_list_size(16 << 10)
        .layer(guard.clone());
    let mut router = server
        .add_service(health)
        .add_service(agent_service)
        .add_service(identity_service)
        .add_service(operator_service);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(iaso_proto::v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    match reflection {
        Ok(reflection) => router = router.add_service(reflection),
        Err(error) => tracing::warn!(%error, "no reflection: tools must bring the .proto files"),
    }
    router
        .serve_with_incoming_shutdown(
            incoming(listener, acceptor, move |failure| guard.failed(&failure)),
            stop.cancelled_owned(),
        )
        .await
}
