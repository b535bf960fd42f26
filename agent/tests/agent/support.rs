//! A controller that says what it is told to say and remembers what it hears, and the agent's process.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use iaso_host::Digest;
use iaso_identity::{Acceptor, Authority, Peer, Presented, Token, TokenKind, incoming, unix_now};
use iaso_proto::v1::agent_message::Kind;
use iaso_proto::v1::agent_service_server::{AgentService, AgentServiceServer};
use iaso_proto::v1::identity_service_server::{IdentityService, IdentityServiceServer};
use iaso_proto::v1::{self, controller_message};
use tokio::process::{Child, Command};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// How long anything may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// What was heard, by session.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) session: u32,
    pub(crate) at: Instant,
    pub(crate) kind: Kind,
}

impl Heard {
    pub(crate) fn report(&self) -> Option<&v1::PluginReport> {
        let Kind::Report(report) = &self.kind else {
            return None;
        };
        Some(report)
    }

    pub(crate) fn outcome(&self) -> Option<&v1::FixOutcome> {
        let Kind::FixOutcome(outcome) = &self.kind else {
            return None;
        };
        Some(outcome)
    }

    pub(crate) fn heartbeat(&self) -> Option<&v1::Heartbeat> {
        let Kind::Heartbeat(heartbeat) = &self.kind else {
            return None;
        };
        Some(heartbeat)
    }

    pub(crate) fn autonomous(&self) -> Option<&v1::AutonomousAction> {
        let Kind::Autonomous(action) = &self.kind else {
            return None;
        };
        Some(action)
    }
}

#[derive(Default)]
struct State {
    assignment: v1::Assignment,
    components: BTreeMap<String, Vec<u8>>,
    acknowledges: bool,
    sessions: u32,
    /// Serials of the certificates that sessions were opened with.
    serials: Vec<String>,
    /// Join tokens that are taken, by what is presented.
    join_tokens: Vec<String>,
    /// Serials that do not count any more.
    revoked: Vec<String>,
    enrolled: u32,
    /// Seconds from its issue until a certificate is to be renewed.
    renew_after_secs: u64,
    heard: Vec<Heard>,
    down: Option<mpsc::Sender<Result<v1::ControllerMessage, Status>>>,
}

/// A controller at an address that stays the same over its deaths.
pub(crate) struct Controller {
    address: SocketAddr,
    authority: Arc<Authority>,
    _authority_dir: tempfile::TempDir,
    state: Arc<Mutex<State>>,
    grew: watch::Sender<usize>,
    /// Everything that serves; none while it is dead.
    runtime: Option<Runtime>,
}

impl Controller {
    /// One that lives, acknowledges, and assigns nothing.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut controller = Self {
            address: listener.local_addr().unwrap(),
            authority: Arc::new(Authority::open(directory.path(), unix_now()).unwrap()),
            _authority_dir: directory,
            state: Arc::default(),
            grew: watch::Sender::new(0),
            runtime: None,
        };
        {
            let mut state = controller.state();
            state.acknowledges = true;
            state.renew_after_secs = 86_400;
            state.assignment = v1::Assignment {
                heartbeat_ms: 200,
                term: 1,
                ..v1::Assignment::default()
            };
        }
        controller.serve(listener);
        controller
    }

    /// Dies: every connection is gone at once.
    pub(crate) fn die(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
        self.state().down = None;
    }

    /// Lives again at the same address.
    pub(crate) async fn rise(&mut self) {
        let listener = loop {
            // The sockets of its former life may take a moment.
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let service = Service {
            state: Arc::clone(&self.state),
            grew: self.grew.clone(),
            authority: Arc::clone(&self.authority),
        };
        let day = Duration::from_hours(24);
        let served = self.authority.controller(&[], unix_now(), day).unwrap();
        let acceptor = Arc::new(Acceptor::new(&self.authority, served).unwrap());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            tonic::transport::Server::builder()
                .add_service(AgentServiceServer::new(service.clone()))
                .add_service(IdentityServiceServer::new(service))
                .serve_with_incoming(incoming(listener, acceptor, drop))
                .await
        });
        self.runtime = Some(runtime);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A join token that admits once.
    pub(crate) fn join_token(&self) -> String {
        let token = Token::draw(TokenKind::Join, self.authority.fingerprint()).unwrap();
        self.state().join_tokens.push(token.presented());
        token.expose()
    }

    /// Certificates are to be renewed so long after their issue.
    pub(crate) fn renew_after(&self, secs: u64) {
        self.state().renew_after_secs = secs;
    }

    /// Takes back what sessions were opened with so far, and ends the one that is open.
    pub(crate) fn revoke(&self) {
        let mut state = self.state();
        let serials = state.serials.clone();
        state.revoked.extend(serials);
        if let Some(down) = state.down.take() {
            let _ = down.try_send(Err(revoked()));
        }
    }

    /// Serials of the certificates that sessions were opened with, and how many enrolments there were.
    pub(crate) fn certificates(&self) -> (Vec<String>, u32) {
        let state = self.state();
        (state.serials.clone(), state.enrolled)
    }

    /// Whether entries of the outbox are acknowledged.
    pub(crate) fn acknowledges(&self, yes: bool) {
        self.state().acknowledges = yes;
    }

    /// Changes what is assigned, for the next session and for one that is open.
    pub(crate) fn assign(&self, change: impl FnOnce(&mut v1::Assignment)) {
        let assignment = {
            let mut state = self.state();
            change(&mut state.assignment);
            state.assignment.clone()
        };
        self.say(controller_message::Kind::Assignment(assignment));
    }

    /// A plugin that can be fetched; its assignment.
    pub(crate) fn plugin(
        &self,
        name: &str,
        compiled: Vec<u8>,
        interval: Duration,
    ) -> v1::PluginAssignment {
        let digest = Digest::of(&compiled).to_string();
        self.state().components.insert(digest.clone(), compiled);
        v1::PluginAssignment {
            name: name.into(),
            // Any name for the component will do.
            digest: digest.clone(),
            compiled_digest: digest,
            interval_ms: u64::try_from(interval.as_millis()).unwrap(),
            timeout_ms: 10_000,
            ..v1::PluginAssignment::default()
        }
    }

    /// A plugin that cannot be fetched any more.
    pub(crate) fn withdraw(&self, compiled_digest: &str) {
        self.state().components.remove(compiled_digest);
    }

    /// Orders a fix of the plugin `p`.
    pub(crate) fn order(&self, id: &str, fix: &str, deadline: Duration, term: u64) {
        self.say(controller_message::Kind::FixOrder(v1::FixOrder {
            order_id: id.into(),
            plugin: "p".into(),
            fix: fix.into(),
            deadline_ms: u64::try_from(deadline.as_millis()).unwrap(),
            term,
            reason: "a test".into(),
        }));
    }

    fn say(&self, kind: controller_message::Kind) {
        if let Some(down) = &self.state().down {
            // An agent that is gone hears nothing.
            let _ = down.try_send(Ok(v1::ControllerMessage { kind: Some(kind) }));
        }
    }

    /// Everything heard so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.state().heard.clone()
    }

    /// Sessions opened so far.
    pub(crate) fn sessions(&self) -> u32 {
        self.state().sessions
    }

    /// Waits until what was heard yields something.
    pub(crate) async fn until<T>(&self, what: &str, find: impl Fn(&[Heard]) -> Option<T>) -> T {
        let mut grew = self.grew.subscribe();
        let look = async {
            loop {
                let found = find(&self.state().heard);
                if let Some(found) = found {
                    return found;
                }
                grew.changed().await.unwrap();
            }
        };
        let found = tokio::time::timeout(SOON, look).await;
        found.unwrap_or_else(|_| {
            panic!("waited in vain for {what}; heard {:#?}", self.heard());
        })
    }

    /// Waits until this many sessions were opened.
    pub(crate) async fn until_session(&self, number: u32) {
        let beats = |heard: &[Heard]| {
            let mut beats = heard
                .iter()
                .filter(|h| matches!(h.kind, Kind::Heartbeat(_)));
            beats.find(|h| h.session >= number).map(drop)
        };
        self.until("a session", beats).await;
    }

    /// Waits until this many outcomes of an order came.
    pub(crate) async fn outcomes(&self, id: &str, count: usize) -> Vec<v1::FixOutcome> {
        let find = |heard: &[Heard]| {
            let found: Vec<_> = outcomes(heard)
                .into_iter()
                .filter(|o| o.order_id == id)
                .collect();
            (found.len() >= count).then_some(found)
        };
        self.until(&format!("{count} outcomes of {id}"), find).await
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// All outcomes of orders.
pub(crate) fn outcomes(heard: &[Heard]) -> Vec<v1::FixOutcome> {
    heard.iter().filter_map(Heard::outcome).cloned().collect()
}

/// All reports of one plugin.
pub(crate) fn reports(heard: &[Heard], plugin: &str) -> Vec<v1::PluginReport> {
    let reports = heard.iter().filter_map(Heard::report);
    reports
        .filter(|report| report.plugin == plugin)
        .cloned()
        .collect()
}

#[derive(Clone)]
struct Service {
    state: Arc<Mutex<State>>,
    grew: watch::Sender<usize>,
    authority: Arc<Authority>,
}

impl Service {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The serial of the certificate of styx that the call came with.
    fn authorized<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let peer = request.extensions().get::<Peer>();
        match peer.map(|peer| &peer.presented) {
            Some(Presented::Node(node)) if self.state().revoked.contains(&node.serial) => {
                Err(revoked())
            }
            Some(Presented::Node(node)) if node.node == "styx" => Ok(node.serial.clone()),
            _ => Err(Status::unauthenticated("no certificate of styx")),
        }
    }

    fn certify(&self, request: &[u8]) -> Response<v1::CertificateResponse> {
        let request = iaso_identity::Request::read(request).unwrap();
        let (now, day) = (unix_now(), Duration::from_hours(24));
        let issued = self.authority.node(&request, "styx", now, day).unwrap();
        let renew_at = now + self.state().renew_after_secs;
        Response::new(v1::CertificateResponse {
            certificate: issued.certificate,
            not_after_unix_secs: i64::try_from(issued.not_after).unwrap(),
            renew_at_unix_secs: i64::try_from(renew_at).unwrap(),
        })
    }
}

fn revoked() -> Status {
    Status::unauthenticated("the certificate was revoked")
}

#[tonic::async_trait]
impl IdentityService for Service {
    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::CertificateResponse>, Status> {
        let request = request.into_inner();
        assert_eq!(request.node, "styx");
        {
            let mut state = self.state();
            let known = state
                .join_tokens
                .iter()
                .position(|token| *token == request.token);
            let at =
                known.ok_or_else(|| Status::unauthenticated("the join token was used before"))?;
            state.join_tokens.remove(at);
            state.enrolled += 1;
        }
        Ok(self.certify(&request.request))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::CertificateResponse>, Status> {
        self.authorized(&request)?;
        self.state().renew_after_secs = 86_400;
        Ok(self.certify(&request.into_inner().request))
    }

    async fn create_join_token(
        &self,
        _: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        Err(Status::unimplemented("no agent asks this"))
    }

    async fn revoke_node(
        &self,
        _: Request<v1::RevokeNodeRequest>,
    ) -> Result<Response<v1::RevokeNodeResponse>, Status> {
        Err(Status::unimplemented("no agent asks this"))
    }
}

#[tonic::async_trait]
impl AgentService for Service {
    type SessionStream = ReceiverStream<Result<v1::ControllerMessage, Status>>;
    type FetchPluginStream = ReceiverStream<Result<v1::PluginChunk, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let serial = self.authorized(&request)?;
        let (down, stream) = mpsc::channel(4096);
        let (session, assignment) = {
            let mut state = self.state();
            state.sessions += 1;
            state.serials.push(serial);
            state.down = Some(down.clone());
            (state.sessions, state.assignment.clone())
        };
        let kind = Some(controller_message::Kind::Assignment(assignment));
        down.try_send(Ok(v1::ControllerMessage { kind })).unwrap();
        let (state, grew) = (Arc::clone(&self.state), self.grew.clone());
        tokio::spawn(async move {
            let mut up = request.into_inner();
            while let Ok(Some(message)) = up.message().await {
                let Some(kind) = message.kind else { continue };
                let owed = sequence(&kind);
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                state.heard.push(Heard {
                    session,
                    at: Instant::now(),
                    kind,
                });
                if let Some(sequence) = owed.filter(|_| state.acknowledges) {
                    let kind = Some(controller_message::Kind::Ack(v1::Ack { sequence }));
                    let _ = down.try_send(Ok(v1::ControllerMessage { kind }));
                }
                drop(state);
                grew.send_modify(|count| *count += 1);
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn fetch_plugin(
        &self,
        request: Request<v1::FetchPluginRequest>,
    ) -> Result<Response<Self::FetchPluginStream>, Status> {
        self.authorized(&request)?;
        let digest = request.into_inner().compiled_digest;
        let bytes = self.state().components.get(&digest).cloned();
        let bytes = bytes.ok_or_else(|| Status::not_found("no such plugin"))?;
        let (out, stream) = mpsc::channel(4);
        tokio::spawn(async move {
            for chunk in bytes.chunks(iaso_proto::PLUGIN_CHUNK_BYTES) {
                let data = chunk.to_vec();
                if out.send(Ok(v1::PluginChunk { data })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn sequence(kind: &Kind) -> Option<u64> {
    match kind {
        Kind::Report(report) => Some(report.sequence),
        Kind::FixOutcome(outcome) => Some(outcome.sequence),
        Kind::Autonomous(action) => Some(action.sequence),
        Kind::Hello(_) | Kind::Heartbeat(_) | Kind::ProbeReport(_) => None,
    }
}

/// The agent of the node `styx`; its disk stays when its process goes.
pub(crate) struct Agent {
    directory: tempfile::TempDir,
    process: Option<Child>,
}

impl Agent {
    /// A fresh disk and a running process.
    pub(crate) fn start(controller: &Controller) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("join.token"), controller.join_token()).unwrap();
        let config = format!(
            "node = \"styx\"\ncontroller = \"https://{}\"\njoin_token_file = \"{}\"\nstate_dir = \"{}\"\n\
             [session]\nreconnect_max_ms = 200\nconnect_timeout_ms = 5000\n",
            controller.address,
            at("join.token").display(),
            at("state").display()
        );
        std::fs::write(at("agent.toml"), config).unwrap();
        let mut agent = Self {
            directory,
            process: None,
        };
        agent.run();
        agent
    }

    /// Starts its process.
    pub(crate) fn run(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_iaso-agent"))
            .args(["run", "--config"])
            .arg(self.directory.path().join("agent.toml"))
            .env_remove("NOTIFY_SOCKET")
            .env_remove("IASO_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.process = Some(child);
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        self.process.take().unwrap().kill().await.unwrap();
    }

    /// Its process is the one that was started, and runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|process| process.try_wait().unwrap().is_none())
    }

    /// The process that runs its plugins, if there is one now.
    pub(crate) fn runner(&self) -> Option<u32> {
        let agent = self.process.as_ref()?.id()?;
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.find(|pid| {
            let status = read(Path::new(&format!("/proc/{pid}/status")));
            status.contains("Name:\tiaso-runner") && status.contains(&format!("PPid:\t{agent}\n"))
        })
    }

    /// Where it looks for a join token.
    pub(crate) fn join_token(&self) -> PathBuf {
        self.directory.path().join("join.token")
    }

    /// Where its state is.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("agent.log")
    }

    /// Lines of its log that hold these words, over all its processes.
    pub(crate) fn says(&self, words: &str) -> usize {
        let log = read(&self.log_path());
        log.lines().filter(|line| line.contains(words)).count()
    }

    /// Waits until its log has so many lines with these words.
    pub(crate) async fn until_says(&self, words: &str, count: usize) {
        let look = async {
            while self.says(words) < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let said = tokio::time::timeout(SOON, look).await;
        assert!(
            said.is_ok(),
            "waited in vain for {count} × {words:?} in\n{}",
            read(&self.log_path())
        );
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
