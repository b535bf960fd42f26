//! The agents' service: one stream for each agent, from its introduction to its end.

use super::auth::{self, Guard};
use super::pace::Pace;
use super::{Shared, convert};
use crate::driver::ChangeError;
use crate::plugins::Engine;
use crate::sessions::{Claim, Introduction};
use crate::text::bounded;
use iaso_engine::fact::{Observation, Role};
use iaso_engine::id::{EffectId, NodeName};
use iaso_identity::NodeCertificate;
use iaso_proto::PLUGIN_CHUNK_BYTES;
use iaso_proto::v1::agent_message::Kind;
use iaso_proto::v1::agent_service_server::AgentService;
use iaso_proto::v1::{self, controller_message};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// How long an agent may take to introduce itself.
const HELLO_MAX: Duration = Duration::from_secs(10);
/// How long an agent may take to read what waits for it.
const SEND_MAX: Duration = Duration::from_secs(10);
/// Messages that may wait for one agent.
const OUTBOUND_MAX: usize = 64;

/// The service.
#[derive(Debug)]
pub(super) struct Agents {
    shared: Shared,
    guard: Guard,
}

impl Agents {
    pub(super) fn new(shared: Shared, guard: Guard) -> Self {
        Self { shared, guard }
    }
}

type Out = mpsc::Sender<Result<v1::ControllerMessage, Status>>;

#[tonic::async_trait]
impl AgentService for Agents {
    type SessionStream = ReceiverStream<Result<v1::ControllerMessage, Status>>;
    type FetchPluginStream = ReceiverStream<Result<v1::PluginChunk, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (out, stream) = mpsc::channel(OUTBOUND_MAX);
        let certificate = auth::node(&request)?;
        let (shared, guard) = (self.shared.clone(), self.guard.clone());
        tokio::spawn(async move {
            if let Err(status) =
                serve(shared, (&guard, certificate), request.into_inner(), &out).await
            {
                tracing::info!(code = ?status.code(), why = status.message(), "session ended");
                // The agent may have gone before it could read why.
                let _ = tokio::time::timeout(SEND_MAX, out.send(Err(status))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn fetch_plugin(
        &self,
        request: Request<v1::FetchPluginRequest>,
    ) -> Result<Response<Self::FetchPluginStream>, Status> {
        let certificate = auth::node(&request)?;
        let v1::FetchPluginRequest {
            node,
            compiled_digest: digest,
        } = request.into_inner();
        auth::speaks_for(&self.guard, &certificate, &node, "FetchPlugin")?;
        let compiled = self.shared.plugins.find(&digest).ok_or_else(|| {
            Status::not_found(
                "no such compiled plugin: wait for the next assignment, its digest is newer",
            )
        })?;
        let file = tokio::fs::File::open(&compiled.path)
            .await
            .map_err(|error| {
                Status::unavailable(format!("the compiled plugin cannot be read: {error}"))
            })?;
        let (out, stream) = mpsc::channel(4);
        tokio::spawn(stream_file(file, out));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn stream_file(
    mut file: tokio::fs::File,
    out: mpsc::Sender<Result<v1::PluginChunk, Status>>,
) {
    loop {
        let mut data = vec![0_u8; PLUGIN_CHUNK_BYTES];
        let chunk = match file.read(&mut data).await {
            Ok(0) => return,
            Ok(count) => {
                data.truncate(count);
                Ok(v1::PluginChunk { data })
            }
            Err(error) => Err(Status::unavailable(format!(
                "the compiled plugin cannot be read: {error}"
            ))),
        };
        let failed = chunk.is_err();
        if out.send(chunk).await.is_err() || failed {
            return;
        }
    }
}

/// What the session knows of its agent.
struct Peer {
    node: NodeName,
    role: Role,
    engine: Engine,
    certificate: NodeCertificate,
}

async fn serve(
    shared: Shared,
    (guard, certificate): (&Guard, NodeCertificate),
    mut inbound: Streaming<v1::AgentMessage>,
    out: &Out,
) -> Result<(), Status> {
    let hello = match tokio::time::timeout(HELLO_MAX, inbound.message()).await {
        Ok(Ok(Some(v1::AgentMessage {
            kind: Some(Kind::Hello(hello)),
        }))) => hello,
        Ok(Ok(Some(_))) => {
            return Err(Status::failed_precondition(
                "the first message of a session must be Hello",
            ));
        }
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(status)) => return Err(too_large(status)),
        Err(_) => return Err(Status::deadline_exceeded("no Hello came within 10 s")),
    };
    auth::speaks_for(guard, &certificate, &hello.node, "Session")?;
    let (peer, introduction) = introduced(&shared, &hello, certificate)?;
    let claim = shared
        .sessions
        .claim(introduction)
        .map_err(|held| Status::already_exists(held.to_string()))?;
    let generation = claim.generation;
    shared.metrics.session(1);
    tracing::info!(node = %peer.node, version = bounded(&hello.agent_version, 64), "agent connected");
    let ended = Session {
        shared: &shared,
        peer: &peer,
        out,
    }
    .run(&hello, claim, inbound)
    .await;
    shared.metrics.session(-1);
    if shared.sessions.release(&peer.node, generation) {
        let reason = match &ended {
            Ok(()) => "the agent closed its session".to_owned(),
            Err(status) => bounded(status.message(), 300),
        };
        shared
            .handle
            .tell(vec![Observation::AgentLost {
                node: peer.node.clone(),
                reason,
            }])
            .await;
    }
    ended
}

fn introduced(
    shared: &Shared,
    hello: &v1::Hello,
    certificate: NodeCertificate,
) -> Result<(Peer, Introduction), Status> {
    let name = bounded(&hello.node, 253);
    let unknown = || {
        Status::not_found(format!(
            "node {name:?} is not in the controller's configuration: add it to [[nodes]], or correct `node` in the agent's configuration"
        ))
    };
    let node =
        NodeName::new(name.clone()).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let declared = shared
        .config
        .nodes
        .iter()
        .find(|declared| declared.name == node)
        .ok_or_else(unknown)?;
    if hello.boot_id.is_empty() || hello.boot_id.len() > 128 {
        return Err(Status::invalid_argument(
            "boot_id must have 1 to 128 characters: update the agent",
        ));
    }
    let engine = Engine {
        hash: hello.engine_hash.clone(),
        target: hello.target.clone(),
    };
    let introduction = Introduction {
        node: node.clone(),
        boot: hello.boot_id.clone(),
        probe_address: hello.probe_address.parse().ok(),
    };
    Ok((
        Peer {
            node,
            role: declared.role,
            engine,
            certificate,
        },
        introduction,
    ))
}

/// tonic says `OUT_OF_RANGE`; the protocol promises `RESOURCE_EXHAUSTED` and what to do.
fn too_large(status: Status) -> Status {
    if status.code() == Code::OutOfRange {
        return Status::resource_exhausted(format!(
            "a message is larger than {} bytes: let the plugin report less; {}",
            iaso_proto::MAX_MESSAGE_BYTES,
            bounded(status.message(), 200)
        ));
    }
    status
}

struct Session<'a> {
    shared: &'a Shared,
    peer: &'a Peer,
    out: &'a Out,
}

impl Session<'_> {
    async fn run(
        &self,
        hello: &v1::Hello,
        mut claim: Claim,
        mut inbound: Streaming<v1::AgentMessage>,
    ) -> Result<(), Status> {
        let connected = Observation::AgentConnected {
            node: self.peer.node.clone(),
            boot: hello.boot_id.clone(),
            host_boot_unix_ms: u64::try_from(hello.host_boot_unix_ms).unwrap_or(0),
        };
        self.shared.handle.tell(vec![connected]).await;
        let mut anew = self.shared.sessions.assignments();
        self.send(self.assignment().await?).await?;
        let compiled = self.compile_in_background();
        let mut pace = Pace::new();
        let silent_max = self.shared.config.heartbeat_timeout();
        let left = self
            .peer
            .certificate
            .not_after
            .saturating_sub(iaso_identity::unix_now());
        let ends = tokio::time::sleep(Duration::from_secs(left.saturating_add(1)));
        tokio::pin!(ends);
        loop {
            tokio::select! {
                () = self.shared.stop.cancelled() => {
                    return Err(Status::unavailable("the controller is stopping: reconnect in a moment"));
                }
                () = &mut ends => {
                    auth::still_counts(self.shared, &self.peer.certificate)?;
                    // The clock went back meanwhile: asked again in a minute.
                    ends.as_mut().reset(tokio::time::Instant::now() + Duration::from_mins(1));
                }
                () = claim.replaced.cancelled() => {
                    auth::still_counts(self.shared, &self.peer.certificate)?;
                    return Err(Status::aborted("a newer session of this node took the place of this one"));
                }
                () = compiled.notified() => self.send(self.assignment().await?).await?,
                Ok(()) = anew.changed() => self.send(self.assignment().await?).await?,
                Some(order) = claim.orders.recv() => self.send(convert::order(order)).await?,
                message = tokio::time::timeout(silent_max, inbound.message()) => match message {
                    Err(_) => {
                        return Err(Status::deadline_exceeded(format!("no heartbeat for {} s", silent_max.as_secs())));
                    }
                    Ok(Err(status)) => {
                        let status = too_large(status);
                        if status.code() == Code::ResourceExhausted {
                            self.shared.metrics.dropped("message-too-large");
                        }
                        return Err(status);
                    }
                    Ok(Ok(None)) => return Ok(()),
                    Ok(Ok(Some(message))) => {
                        self.take(claim.generation, message).await?;
                        tokio::time::sleep(pace.take()).await;
                    }
                },
            }
        }
    }

    async fn take(&self, generation: u64, message: v1::AgentMessage) -> Result<(), Status> {
        let node = &self.peer.node;
        let heartbeat = match &message.kind {
            Some(Kind::Heartbeat(heartbeat)) => Some(heartbeat.self_health.min(8)),
            Some(_) | None => None,
        };
        self.shared.sessions.heard(node, generation, heartbeat);
        match message.kind {
            Some(Kind::Heartbeat(heartbeat)) => {
                let sent = u64::try_from(heartbeat.sent_unix_ms).unwrap_or(0);
                let skew_ms = sent
                    .cast_signed()
                    .saturating_sub(crate::clock::wall().0.cast_signed());
                let self_health = heartbeat.self_health.min(8);
                let fact = Observation::AgentHeartbeat {
                    node: node.clone(),
                    self_health,
                    skew_ms,
                };
                self.shared.handle.tell(vec![fact]).await;
                Ok(())
            }
            Some(Kind::Report(report)) => {
                let sequence = report.sequence;
                let (plugin, running) = convert::running(&report);
                self.shared.plugins.heard.note(node, &plugin, running);
                let (fact, cut) = convert::report(node, report);
                if cut > 0 {
                    self.shared.metrics.dropped("findings");
                }
                self.shared
                    .handle
                    .observe(vec![fact])
                    .await
                    .map_err(|gone| Status::unavailable(gone.to_string()))?;
                self.acknowledge(sequence).await
            }
            Some(Kind::FixOutcome(outcome)) => {
                let effect = EffectId(bounded(&outcome.order_id, 300));
                self.settle(effect, &outcome).await?;
                self.acknowledge(outcome.sequence).await
            }
            Some(Kind::ProbeReport(report)) => {
                let round = report.round_id.parse().unwrap_or(0);
                let facts = self
                    .shared
                    .rounds
                    .accept(node, round, convert::probes(report));
                if facts.is_empty() {
                    self.shared.metrics.dropped("probe-report");
                } else {
                    self.shared.handle.tell(facts).await;
                }
                Ok(())
            }
            Some(Kind::Autonomous(action)) => {
                let sequence = action.sequence;
                self.note_autonomous(action).await?;
                self.acknowledge(sequence).await
            }
            Some(Kind::Hello(_)) => Err(Status::failed_precondition(
                "Hello comes once, as the first message",
            )),
            // Of a newer protocol: nothing we could do with it.
            None => Ok(()),
        }
    }

    /// An agent settles only orders of its own node.
    async fn settle(&self, effect: EffectId, outcome: &v1::FixOutcome) -> Result<(), Status> {
        let (node, id) = (self.peer.node.clone(), effect.clone());
        let own = self.shared.handle.ask(move |view| {
            view.ledger
                .effect(&id)
                .is_some_and(|state| state.effect.node == node)
        });
        if !own
            .await
            .map_err(|gone| Status::unavailable(gone.to_string()))?
        {
            tracing::warn!(node = %self.peer.node, %effect, "an outcome for an order that this node was never given");
            self.shared.metrics.dropped("foreign-outcome");
            return Ok(());
        }
        self.journaled(
            self.shared
                .handle
                .resolve(effect, convert::outcome(outcome))
                .await,
        )
    }

    async fn note_autonomous(&self, action: v1::AutonomousAction) -> Result<(), Status> {
        let done = action.outcome.unwrap_or_default();
        let text = format!(
            "while it was cut off, the agent applied {}/{} on its own: {} ({}; because {})",
            bounded(&done.plugin, 100),
            bounded(&done.fix, 100),
            bounded(&done.result, 100),
            bounded(&done.reason, 1_000),
            bounded(&action.why, 1_000),
        );
        self.journaled(
            self.shared
                .handle
                .note(Some(self.peer.node.clone()), text)
                .await,
        )
    }

    /// Not journaled is not acknowledged: the agent keeps it in its outbox and sends it to the next session.
    fn journaled(&self, result: Result<(), ChangeError>) -> Result<(), Status> {
        match result {
            Ok(()) => Ok(()),
            Err(ChangeError::Refused(why)) => {
                tracing::warn!(node = %self.peer.node, why, "not journaled, and never will be");
                Ok(())
            }
            Err(error @ (ChangeError::Store(_) | ChangeError::Gone(_))) => {
                Err(Status::unavailable(bounded(&error.to_string(), 300)))
            }
        }
    }

    async fn acknowledge(&self, sequence: u64) -> Result<(), Status> {
        let kind = controller_message::Kind::Ack(v1::Ack { sequence });
        self.send(v1::ControllerMessage { kind: Some(kind) }).await
    }

    async fn send(&self, message: v1::ControllerMessage) -> Result<(), Status> {
        match tokio::time::timeout(SEND_MAX, self.out.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the agent is gone")),
            Err(_) => Err(Status::deadline_exceeded(
                "the agent does not read what it is sent",
            )),
        }
    }

    async fn assignment(&self) -> Result<v1::ControllerMessage, Status> {
        let config = &self.shared.config;
        let node = self.peer.node.clone();
        let held = self
            .shared
            .handle
            .ask(move |view| convert::Held::of(view.ledger, &node))
            .await
            .map_err(|gone| Status::unavailable(gone.to_string()))?;
        let ready = self.shared.plugins.ready(self.peer.role, &self.peer.engine);
        let peers = config
            .nodes
            .iter()
            .filter(|node| node.name != self.peer.node)
            .take(256);
        let assignment = v1::Assignment {
            heartbeat_ms: config.heartbeat_secs.saturating_mul(1_000),
            plugins: ready
                .iter()
                .map(|(plugin, compiled)| convert::assignment(plugin, compiled))
                .collect(),
            delegation: Some(convert::delegation(config, &held)),
            term: self.shared.term,
            peers: peers
                .map(|node| v1::KeyValue {
                    key: node.name.as_str().into(),
                    value: node.address.to_string(),
                })
                .collect(),
        };
        Ok(v1::ControllerMessage {
            kind: Some(controller_message::Kind::Assignment(assignment)),
        })
    }

    /// Compiles what this agent's engine still lacks; when there is more than before, the agent gets a new assignment.
    fn compile_in_background(&self) -> Arc<Notify> {
        let notify = Arc::new(Notify::new());
        let (shared, engine, role) = (
            self.shared.clone(),
            self.peer.engine.clone(),
            self.peer.role,
        );
        let (node, done) = (self.peer.node.clone(), Arc::clone(&notify));
        tokio::spawn(async move {
            let before = shared.plugins.ready(role, &engine).len();
            for (plugin, why) in shared.plugins.ensure(&engine).await {
                crate::run::note_refused(&shared.handle, &plugin, &why).await;
            }
            if shared.plugins.ready(role, &engine).len() != before {
                tracing::info!(%node, "more plugins are compiled: assigned anew");
                done.notify_one();
            }
        });
        notify
    }
}
