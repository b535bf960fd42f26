//! An operator's service that answers as told, in this process, over a real socket.

use iaso_identity::{Acceptor, Authority, Token, TokenKind, incoming, unix_now};
use iaso_proto::v1::identity_service_server::{IdentityService, IdentityServiceServer};
use iaso_proto::v1::{
    self,
    operator_service_server::{OperatorService, OperatorServiceServer},
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, transport::Server};

/// The controllers of all tests are one: their authority, and the only token they accept.
static ONE: LazyLock<(Authority, Token)> = LazyLock::new(|| {
    // What is in the files is in memory too: they are not needed any more.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::open(directory.path(), unix_now()).expect("made");
    let token = Token::draw(TokenKind::Operator, authority.fingerprint()).expect("randomness");
    (authority, token)
});

/// The only token it accepts.
pub(crate) fn token() -> String {
    ONE.1.expose()
}

type EventStream = Pin<Box<dyn Stream<Item = Result<v1::Event, Status>> + Send>>;

/// What it answers. Queues are answered one by one, their last entry for ever.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) nodes: Vec<v1::Node>,
    pub(crate) node: Option<v1::NodeDetail>,
    pub(crate) incidents: Vec<v1::Incident>,
    pub(crate) incident: VecDeque<v1::IncidentDetail>,
    pub(crate) report: Option<v1::Report>,
    pub(crate) explanation: Option<v1::Explanation>,
    pub(crate) decision: Option<Result<String, Status>>,
    /// One for each call of `WatchEvents`; afterwards streams that stay silent.
    pub(crate) streams: VecDeque<Vec<Result<v1::Event, Status>>>,
    /// The bytes of every recording.
    pub(crate) recording: Vec<u8>,
    /// What was asked, in words.
    pub(crate) asked: Vec<String>,
}

/// A running one.
#[derive(Clone)]
pub(crate) struct Controller {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: Arc<JoinHandle<()>>,
}

impl Controller {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let script = Arc::new(Mutex::new(script));
        let service = OperatorServiceServer::with_interceptor(Fake(Arc::clone(&script)), authorize);
        let identities =
            IdentityServiceServer::with_interceptor(Fake(Arc::clone(&script)), authorize);
        let own = ONE
            .0
            .controller(&[], unix_now(), Duration::from_hours(24))
            .expect("a certificate");
        let acceptor = Arc::new(Acceptor::new(&ONE.0, own).expect("TLS"));
        let served = Server::builder()
            .add_service(service)
            .add_service(identities)
            .serve_with_incoming(incoming(listener, acceptor, drop));
        let task = tokio::spawn(async move {
            let _ = served.await;
        });
        Self {
            address,
            script,
            task: Arc::new(task),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        lock(&self.script).asked.clone()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if Arc::strong_count(&self.task) == 1 {
            self.task.abort();
        }
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().expect("no other test holds it")
}

#[allow(
    clippy::result_large_err,
    reason = "an interceptor's signature is tonic's"
)]
fn authorize(request: Request<()>) -> Result<Request<()>, Status> {
    let shown = request
        .metadata()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    if shown == Some(&format!("Bearer {}", ONE.1.presented())) {
        Ok(request)
    } else {
        Err(Status::unauthenticated("wrong operator token"))
    }
}

struct Fake(Arc<Mutex<Script>>);

impl Fake {
    fn script(&self, asked: String) -> MutexGuard<'_, Script> {
        let mut script = lock(&self.0);
        script.asked.push(asked);
        script
    }

    #[allow(clippy::result_large_err, reason = "a call's signature is tonic's")]
    fn decide(
        &self,
        verb: &str,
        request: v1::DecisionRequest,
    ) -> Result<Response<v1::DecisionResponse>, Status> {
        let v1::DecisionRequest {
            incident,
            reason,
            who,
        } = request;
        let asked = format!("{verb} {incident} [{reason}] by {who}");
        let decision = self.script(asked).decision.clone();
        decision
            .unwrap_or_else(|| Err(absent("incident")))
            .map(|message| Response::new(v1::DecisionResponse { message }))
    }

    fn hold(&self, verb: &str, request: v1::PauseRequest) -> Response<v1::PauseResponse> {
        let v1::PauseRequest { node, reason, who } = request;
        drop(self.script(format!("{verb} [{node}] [{reason}] by {who}")));
        Response::new(v1::PauseResponse {
            message: format!("{verb}d {node}"),
        })
    }
}

fn absent(what: &str) -> Status {
    Status::not_found(format!("no such {what}"))
}

#[tonic::async_trait]
impl IdentityService for Fake {
    async fn enrol(
        &self,
        _: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::CertificateResponse>, Status> {
        Err(Status::unimplemented("no operator asks this"))
    }

    async fn renew(
        &self,
        _: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::CertificateResponse>, Status> {
        Err(Status::unimplemented("no operator asks this"))
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        let v1::CreateJoinTokenRequest { node, ttl_secs } = request.into_inner();
        drop(self.script(format!("join-token {node} {ttl_secs}")));
        Ok(Response::new(v1::CreateJoinTokenResponse {
            token: "iaso-join1.shown-once".to_owned(),
            expires_unix_ms: 1_795_403_565_000,
        }))
    }

    async fn revoke_node(
        &self,
        request: Request<v1::RevokeNodeRequest>,
    ) -> Result<Response<v1::RevokeNodeResponse>, Status> {
        let v1::RevokeNodeRequest { node, reason } = request.into_inner();
        drop(self.script(format!("revoke {node} [{reason}]")));
        Err(Status::permission_denied(
            "nora (viewer) may not do this: it needs the role admin",
        ))
    }
}

#[tonic::async_trait]
impl OperatorService for Fake {
    type WatchEventsStream = EventStream;

    async fn list_nodes(
        &self,
        _: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesResponse>, Status> {
        let nodes = self.script("nodes".to_owned()).nodes.clone();
        Ok(Response::new(v1::ListNodesResponse {
            nodes,
            controller_state: String::new(),
        }))
    }

    async fn get_node(
        &self,
        request: Request<v1::GetNodeRequest>,
    ) -> Result<Response<v1::NodeDetail>, Status> {
        let node = self
            .script(format!("node {}", request.get_ref().name))
            .node
            .clone();
        node.map(Response::new).ok_or_else(|| absent("node"))
    }

    async fn list_incidents(
        &self,
        request: Request<v1::ListIncidentsRequest>,
    ) -> Result<Response<v1::ListIncidentsResponse>, Status> {
        let v1::ListIncidentsRequest { limit, state } = request.into_inner();
        let incidents = self
            .script(format!("incidents {limit} [{state}]"))
            .incidents
            .clone();
        Ok(Response::new(v1::ListIncidentsResponse { incidents }))
    }

    async fn get_incident(
        &self,
        request: Request<v1::GetIncidentRequest>,
    ) -> Result<Response<v1::IncidentDetail>, Status> {
        let mut script = self.script(format!("incident {}", request.get_ref().id));
        let next = if script.incident.len() > 1 {
            script.incident.pop_front()
        } else {
            script.incident.front().cloned()
        };
        next.map(Response::new).ok_or_else(|| absent("incident"))
    }

    async fn get_report(
        &self,
        request: Request<v1::GetReportRequest>,
    ) -> Result<Response<v1::Report>, Status> {
        let v1::GetReportRequest { id, format } = request.into_inner();
        let report = self.script(format!("report {id} {format}")).report.clone();
        report.map(Response::new).ok_or_else(|| absent("incident"))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::Explanation>, Status> {
        let explanation = self
            .script(format!("explain {}", request.get_ref().node))
            .explanation
            .clone();
        explanation.map(Response::new).ok_or_else(|| absent("node"))
    }

    async fn approve(
        &self,
        request: Request<v1::DecisionRequest>,
    ) -> Result<Response<v1::DecisionResponse>, Status> {
        self.decide("approve", request.into_inner())
    }

    async fn deny(
        &self,
        request: Request<v1::DecisionRequest>,
    ) -> Result<Response<v1::DecisionResponse>, Status> {
        self.decide("deny", request.into_inner())
    }

    async fn pause(
        &self,
        request: Request<v1::PauseRequest>,
    ) -> Result<Response<v1::PauseResponse>, Status> {
        Ok(self.hold("pause", request.into_inner()))
    }

    async fn resume(
        &self,
        request: Request<v1::PauseRequest>,
    ) -> Result<Response<v1::PauseResponse>, Status> {
        Ok(self.hold("resume", request.into_inner()))
    }

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<EventStream>, Status> {
        let v1::WatchEventsRequest {
            after_sequence,
            follow,
            incident,
        } = request.into_inner();
        let scripted = self
            .script(format!("watch {after_sequence} {follow} [{incident}]"))
            .streams
            .pop_front();
        let stream: EventStream = match scripted {
            Some(events) => Box::pin(tokio_stream::iter(events)),
            None if follow => Box::pin(tokio_stream::pending()),
            None => Box::pin(tokio_stream::empty()),
        };
        Ok(Response::new(Box::pin(stream.fuse())))
    }

    type GetRecordingStream =
        tokio_stream::Iter<std::vec::IntoIter<Result<v1::RecordingChunk, Status>>>;

    async fn get_recording(
        &self,
        request: Request<v1::GetRecordingRequest>,
    ) -> Result<Response<Self::GetRecordingStream>, Status> {
        let incident = request.into_inner().incident;
        let recording = self
            .script(format!("recording {incident}"))
            .recording
            .clone();
        let chunks: Vec<_> = recording
            .chunks(1_000)
            .map(|data| {
                Ok(v1::RecordingChunk {
                    data: data.to_vec(),
                })
            })
            .collect();
        Ok(Response::new(tokio_stream::iter(chunks)))
    }
}

#[allow(clippy::unnecessary_wraps, reason = "a stream's items are results")]
pub(crate) fn event(sequence: u64, text: &str) -> Result<v1::Event, Status> {
    Ok(v1::Event {
        sequence,
        at_unix_ms: 1_795_403_565_000,
        kind: "note".to_owned(),
        node: "styx".to_owned(),
        incident: "inc-7".to_owned(),
        text: text.to_owned(),
        json: r#"{"note":1}"#.to_owned(),
    })
}

pub(crate) fn incident(state: &str, lines: u64) -> v1::IncidentDetail {
    let entry = |sequence| v1::TimelineEntry {
        sequence,
        at_unix_ms: 1_795_403_565_000,
        kind: "note".to_owned(),
        text: format!("line {sequence}"),
    };
    v1::IncidentDetail {
        incident: Some(v1::Incident {
            id: "inc-7".to_owned(),
            node: "styx".to_owned(),
            state: state.to_owned(),
            ..Default::default()
        }),
        timeline: (1..=lines).map(entry).collect(),
    }
}
