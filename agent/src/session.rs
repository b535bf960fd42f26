//! The stream to the controller: kept up, reconnected with jitter, and never believed to be alive without proof.
//!
//! **Invariants**
//! - Entries of the outbox go up in order and are forgotten only when acknowledged.
//! - A silent cut is noticed by HTTP/2 pings within a few heartbeats.
//! - It speaks with this node's certificate, or not at all ([`crate::identity`]).

use std::{sync::Arc, time::Duration};

use iaso_identity::NodeIdentity;
use iaso_proto::{MAX_MESSAGE_BYTES, v1};
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use crate::{agent::Agent, identity::Keeper, plugins::unix_ms, wire};

pub mod assignment;
mod backoff;
mod error;

pub use backoff::Backoff;
pub use error::SessionError;

/// The client side of the service.
pub type Client = v1::agent_service_client::AgentServiceClient<Channel>;

/// Until the controller names its own.
const HEARTBEAT_FIRST: Duration = Duration::from_secs(2);
/// Messages on their way to the socket.
const QUEUE: usize = 64;
/// Of these, kept free of the outbox: a heartbeat and the probes' answers must not wait behind hours of reports.
const QUEUE_RESERVED: usize = 8;
/// Probe rounds at once; more are dropped, and the controller asks again.
const ROUNDS_MAX: usize = 4;
/// Orders at once: all but one are answered `busy`.
const ORDERS_MAX: usize = 16;

/// Keeps a session with `url` until `stop`. A join token is looked for before each attempt that needs one: a corrected one needs no restart.
pub async fn run(agent: Arc<Agent>, url: String, stop: CancellationToken) {
    let keeper = Keeper::new(&agent.config, &url);
    let mut was_refused = false;
    let mut backoff = Backoff::new(agent.config.session.reconnect_max());
    let mut heartbeat = HEARTBEAT_FIRST;
    let mut said = String::new();
    loop {
        let mut session = Session {
            agent: Arc::clone(&agent),
            url: url.clone(),
            keeper: keeper.clone(),
            heartbeat,
            opened: false,
        };
        let ended = tokio::select! {
            ended = session.serve(was_refused) => ended,
            () = stop.cancelled() => { agent.set_connected(false); return; }
        };
        agent.set_connected(false);
        heartbeat = session.heartbeat;
        if session.opened {
            backoff.reset();
            said.clear();
        }
        let error = ended.err().unwrap_or(SessionError::Ended);
        was_refused = error.refuses_identity();
        if matches!(error, SessionError::Renewed) {
            continue;
        }
        let wait = if error.needs_a_person() {
            backoff.slow()
        } else {
            backoff.quick()
        };
        let text = crate::config::chain(&error);
        // The same trouble again and again is said once.
        if text == said {
            tracing::debug!(?wait, "no session: {text}");
        } else {
            tracing::warn!(retry_in = ?wait, "no session: {text}");
            said = text;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

struct Session {
    agent: Arc<Agent>,
    url: String,
    keeper: Keeper,
    heartbeat: Duration,
    opened: bool,
}

impl Session {
    async fn serve(&mut self, was_refused: bool) -> Result<(), SessionError> {
        let identity = self.keeper.obtain(was_refused).await?;
        let node = &self.agent.config.node;
        self.agent.metrics.certified(node, identity.not_after);
        let limit = self.agent.config.session.connect_timeout();
        let opened = tokio::time::timeout(limit, self.open(&identity))
            .await
            .map_err(|_| SessionError::Silent(limit))?;
        let (channel, client, up, mut down, assignment) = opened?;
        let keeper = self.keeper.clone();
        let renewed = keeper.renew(&identity, channel);
        tokio::pin!(renewed);
        self.opened = true;
        self.agent.metrics.session();
        self.accept(&assignment, &client);
        self.agent.set_connected(true);
        tracing::info!(controller = self.url, "session open");
        self.agent.send_all_reports();
        let (rounds, orders) = (
            Arc::new(Semaphore::new(ROUNDS_MAX)),
            Arc::new(Semaphore::new(ORDERS_MAX)),
        );
        let mut sent = 0;
        let mut beat = tokio::time::interval(self.heartbeat);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            let has_more = self.pump(&up, &mut sent)?;
            tokio::select! {
                message = down.message() => {
                    let Some(message) = message.map_err(SessionError::Refused)? else { return Err(SessionError::Ended) };
                    let before = self.heartbeat;
                    self.take(message, &client, &up, (&rounds, &orders));
                    if before != self.heartbeat {
                        beat = tokio::time::interval(self.heartbeat);
                    }
                }
                _ = beat.tick() => self.beat(&up)?,
                () = &mut renewed => return Err(SessionError::Renewed),
                () = self.agent.outbox_grew.notified() => {}
                room = up.reserve_many(QUEUE_RESERVED + 1), if has_more => drop(room.map_err(|_| SessionError::Ended)?),
            }
        }
    }

    /// Connects, says hello, waits for the assignment.
    async fn open(
        &self,
        identity: &NodeIdentity,
    ) -> Result<
        (
            Channel,
            Client,
            mpsc::Sender<v1::AgentMessage>,
            Streaming<v1::ControllerMessage>,
            v1::Assignment,
        ),
        SessionError,
    > {
        let config = identity
            .client()
            .map_err(crate::identity::IdentityError::from)?;
        let connection = iaso_identity::connect(&self.endpoint()?, config)
            .await
            .map_err(|source| SessionError::connect(&self.url, source))?;
        let mut client = Client::new(connection.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (up, queue) = mpsc::channel(QUEUE);
        let hello = wire::message(v1::agent_message::Kind::Hello(self.hello()));
        up.try_send(hello).map_err(|_| SessionError::Stuck)?;
        let mut down = client
            .session(ReceiverStream::new(queue))
            .await
            .map_err(SessionError::Refused)?
            .into_inner();
        let first = down.message().await.map_err(SessionError::Refused)?;
        match first.and_then(|message| message.kind) {
            Some(v1::controller_message::Kind::Assignment(assignment)) => {
                Ok((connection, client, up, down, assignment))
            }
            _ => Err(SessionError::NoAssignment),
        }
    }

    fn endpoint(&self) -> Result<Endpoint, SessionError> {
        let endpoint = crate::identity::endpoint(&self.url)?;
        Ok(endpoint
            .connect_timeout(self.agent.config.session.connect_timeout())
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.heartbeat.max(Duration::from_millis(200)))
            .keep_alive_timeout((self.heartbeat * 2).max(Duration::from_secs(1)))
            .keep_alive_while_idle(true))
    }

    fn hello(&self) -> v1::Hello {
        let config = &self.agent.config;
        let uptime = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
            .map(Duration::from)
            .unwrap_or_default();
        v1::Hello {
            node: config.node.clone(),
            agent_version: env!("CARGO_PKG_VERSION").into(),
            boot_id: self.agent.boot_id.clone(),
            host_boot_unix_ms: unix_ms()
                .saturating_sub(i64::try_from(uptime.as_millis()).unwrap_or(0)),
            probe_address: config.probe_advertise.clone().unwrap_or_default(),
            engine_hash: iaso_host::engine_hash(iaso_host::HOST_TARGET).to_string(),
            target: iaso_host::HOST_TARGET.into(),
        }
    }

    /// Sends what the outbox holds above `sent`, as far as the queue has room; true if there is more.
    fn pump(
        &self,
        up: &mpsc::Sender<v1::AgentMessage>,
        sent: &mut u64,
    ) -> Result<bool, SessionError> {
        let outbox = self.agent.outbox();
        for record in outbox.after(*sent, usize::MAX) {
            if up.capacity() <= QUEUE_RESERVED {
                return Ok(true);
            }
            let Ok(message) = v1::AgentMessage::decode(record.payload.as_slice()) else {
                tracing::warn!(
                    sequence = record.sequence,
                    "an entry of the outbox cannot be read and is passed over"
                );
                *sent = record.sequence;
                continue;
            };
            match up.try_send(message) {
                Ok(()) => *sent = record.sequence,
                Err(mpsc::error::TrySendError::Full(_)) => return Ok(true),
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(SessionError::Ended),
            }
        }
        Ok(false)
    }

    fn beat(&self, up: &mpsc::Sender<v1::AgentMessage>) -> Result<(), SessionError> {
        let heartbeat = v1::Heartbeat {
            sent_unix_ms: unix_ms(),
            findings_digest: self.agent.reports().digest(),
            dropped: self.agent.outbox().dropped(),
            self_health: self.agent.self_health(),
        };
        // The outbox leaves room: a queue that is full is a connection that takes nothing any more.
        up.try_send(wire::message(v1::agent_message::Kind::Heartbeat(heartbeat)))
            .map_err(|_| SessionError::Stuck)
    }

    fn take(
        &mut self,
        message: v1::ControllerMessage,
        client: &Client,
        up: &mpsc::Sender<v1::AgentMessage>,
        (rounds, orders): (&Arc<Semaphore>, &Arc<Semaphore>),
    ) {
        use v1::controller_message::Kind;
        let agent = Arc::clone(&self.agent);
        match message.kind {
            Some(Kind::Assignment(assignment)) => self.accept(&assignment, client),
            Some(Kind::Ack(ack)) => {
                if let Err(error) = agent.outbox().ack(ack.sequence) {
                    tracing::warn!(error = crate::config::chain(&error), "outbox");
                }
            }
            Some(Kind::FixOrder(order)) => {
                let Ok(place) = Arc::clone(orders).try_acquire_owned() else {
                    tracing::warn!(
                        order = order.order_id,
                        "too many orders at once; passed over"
                    );
                    return;
                };
                tokio::spawn(async move {
                    let _place = place;
                    agent.order(order).await;
                });
            }
            Some(Kind::ProbeOrder(order)) => {
                let Ok(place) = Arc::clone(rounds).try_acquire_owned() else {
                    tracing::warn!(
                        round = order.round_id,
                        "too many probe rounds at once; passed over"
                    );
                    return;
                };
                let up = up.clone();
                tokio::spawn(async move {
                    let _place = place;
                    let report = crate::probe::round(order).await;
                    // If the session is gone, so is the round.
                    let _ = up
                        .send(wire::message(v1::agent_message::Kind::ProbeReport(report)))
                        .await;
                });
            }
            None => tracing::debug!("a message of a kind that this version does not know"),
        }
    }

    fn accept(&mut self, assignment: &v1::Assignment, client: &Client) {
        if assignment.heartbeat_ms > 0 {
            self.heartbeat = Duration::from_millis(assignment.heartbeat_ms.clamp(50, 600_000));
        }
        if let Err(seen) = self.agent.see_term(assignment.term) {
            tracing::warn!(
                term = assignment.term,
                seen,
                "an assignment of a former leader is passed over"
            );
            return;
        }
        let source = assignment::Source {
            client: client.clone(),
        };
        assignment::accept(&self.agent, assignment, Some(&source));
    }
}

/// Acts alone when that is delegated, until `stop`.
pub async fn watch_absence(agent: Arc<Agent>, stop: CancellationToken) {
    let mut tick = tokio::time::interval_at(Instant::now(), Duration::from_millis(500));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = tick.tick() => agent.act_alone().await,
            () = stop.cancelled() => return,
        }
    }
}
