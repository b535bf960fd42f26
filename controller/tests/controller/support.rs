//! A controller to test, a provider that counts, and an agent that says what it is told to say.

use async_trait::async_trait;
use iaso_controller::config::Config;
use iaso_controller::identity::access::Role;
use iaso_controller::run::{Outside, Running, start};
use iaso_engine::id::NodeName;
use iaso_identity::{NodeIdentity, NodeKey, Token, TokenKind};
use iaso_proto::v1;
use iaso_proto::v1::agent_message::Kind;
use iaso_proto::v1::agent_service_client::AgentServiceClient;
use iaso_proto::v1::operator_service_client::OperatorServiceClient;
use iaso_providers::secrets::{FileStore, SecretStore};
use iaso_providers::{
    Capabilities, Machine, MachineId, MachineState, Metrics, NoProvider, Operation, OperationId,
    OperationState, Provider, ProviderError, RecreateSpec, Recreation, Script, ScriptId, Secret,
};
use jiff::Timestamp;
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// Counts what is ordered; operations stay pending until they are let go.
#[derive(Default)]
pub(crate) struct FakeProvider {
    pub(crate) reboots: AtomicU64,
    pub(crate) polls: AtomicU64,
    pub(crate) operations: Mutex<Vec<Operation>>,
}

impl FakeProvider {
    fn begin(&self, name: &str) -> Operation {
        let mut operations = self.operations.lock().unwrap();
        let operation = Operation {
            id: OperationId::from(operations.len() as u64 + 1),
            name: name.into(),
            state: OperationState::Pending,
            created_at: Timestamp::now(),
            updated_at: Timestamp::now(),
        };
        operations.push(operation.clone());
        operation
    }
}

#[async_trait]
impl Provider for FakeProvider {
    fn name(&self) -> &'static str {
        "hostinger"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            power: true,
            operations: true,
            ..NoProvider.capabilities()
        }
    }
    async fn get(&self, machine: &MachineId) -> Result<Machine, ProviderError> {
        Ok(Machine {
            id: machine.clone(),
            hostname: "styx".into(),
            state: MachineState::Running,
            locked: false,
            addresses: Vec::new(),
            template: None,
            created_at: None,
        })
    }
    async fn start(&self, _: &MachineId) -> Result<Operation, ProviderError> {
        Ok(self.begin("start"))
    }
    async fn power_cycle(&self, _: &MachineId) -> Result<Operation, ProviderError> {
        self.reboots.fetch_add(1, Ordering::SeqCst);
        Ok(self.begin("restart"))
    }
    async fn recreate(&self, m: &MachineId, s: &RecreateSpec) -> Result<Recreation, ProviderError> {
        NoProvider.recreate(m, s).await
    }
    async fn recovery_start(&self, m: &MachineId, s: &Secret) -> Result<Operation, ProviderError> {
        NoProvider.recovery_start(m, s).await
    }
    async fn recovery_stop(&self, m: &MachineId) -> Result<Operation, ProviderError> {
        NoProvider.recovery_stop(m).await
    }
    async fn set_root_password(
        &self,
        m: &MachineId,
        s: &Secret,
    ) -> Result<Operation, ProviderError> {
        NoProvider.set_root_password(m, s).await
    }
    async fn actions(
        &self,
        _: &MachineId,
        since: Timestamp,
    ) -> Result<Vec<Operation>, ProviderError> {
        let operations = self.operations.lock().unwrap();
        Ok(operations
            .iter()
            .filter(|operation| operation.created_at >= since)
            .cloned()
            .collect())
    }
    async fn poll(&self, _: &MachineId, id: &OperationId) -> Result<Operation, ProviderError> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        let operations = self.operations.lock().unwrap();
        Ok(operations
            .iter()
            .find(|operation| &operation.id == id)
            .cloned()
            .expect("only what was begun is asked for"))
    }
    async fn metrics(
        &self,
        m: &MachineId,
        a: Timestamp,
        b: Timestamp,
    ) -> Result<Metrics, ProviderError> {
        NoProvider.metrics(m, a, b).await
    }
    async fn put_script(&self, n: &str, c: &Secret) -> Result<ScriptId, ProviderError> {
        NoProvider.put_script(n, c).await
    }
    async fn list_scripts(&self) -> Result<Vec<Script>, ProviderError> {
        NoProvider.list_scripts().await
    }
    async fn delete_script(&self, s: &ScriptId) -> Result<(), ProviderError> {
        NoProvider.delete_script(s).await
    }
}

/// A configuration whose listeners take free ports, with more of it in `more`.
pub(crate) fn config(dir: &Path, more: &str) -> Config {
    let text = format!(
        "listen = \"127.0.0.1:0\"\nstatus_listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\nheartbeat_secs = 1\ncompiler = \"/nonexistent/iaso-compile\"\n{more}"
    );
    let path = dir.join("c.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path, false).unwrap()
}

/// One worker without a provider, probed on no port.
pub(crate) const STYX: &str = "[probe]\nicmp = false\ntcp_ports = []\n[[nodes]]\nname = \"styx\"\nrole = \"worker\"\naddress = \"127.0.0.9\"\n";

pub(crate) async fn controller(dir: &Path, more: &str, provider: Arc<dyn Provider>) -> Running {
    let secrets = Arc::new(secrets(dir));
    controller_with(dir, more, provider, secrets).await
}

/// Where the controllers of [`controller`] keep their passwords.
pub(crate) fn secrets(dir: &Path) -> FileStore {
    FileStore::open(dir.join("secrets")).unwrap()
}

pub(crate) async fn controller_with(
    dir: &Path,
    more: &str,
    provider: Arc<dyn Provider>,
    secrets: Arc<dyn SecretStore>,
) -> Running {
    let config = config(dir, more);
    std::fs::create_dir_all(&config.data_dir).unwrap();
    loop {
        let outside = Outside {
            provider: Arc::clone(&provider),
            cluster: None,
            shown_in: None,
            secrets: Arc::clone(&secrets),
        };
        match start(config.clone(), outside).await {
            Ok(running) => return running,
            // The writer of a controller that was killed a moment ago still holds the lock.
            Err(error) if error.to_string().contains("another controller") => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error:#}"),
        }
    }
}

pub(crate) type Auth = Box<dyn FnMut(Request<()>) -> Result<Request<()>, Status> + Send + Sync>;

pub(crate) fn bearer(token: &str) -> Auth {
    let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    Box::new(move |mut request| {
        request
            .metadata_mut()
            .insert("authorization", value.clone());
        Ok(request)
    })
}

pub(crate) async fn connect(running: &Running, tls: ClientConfig) -> Channel {
    let endpoint = Channel::from_shared(format!("https://{}", running.address)).unwrap();
    iaso_identity::connect(&endpoint, tls).await.unwrap()
}

/// Without a certificate.
pub(crate) async fn channel(running: &Running) -> Channel {
    connect(running, running.identities.fingerprint().client().unwrap()).await
}

pub(crate) async fn operator(
    running: &Running,
) -> OperatorServiceClient<InterceptedService<Channel, Auth>> {
    operator_as(running, "nora", Role::Admin).await
}

/// A token of a new operator, as it is sent.
pub(crate) fn token(running: &Running, name: &str, role: Role) -> String {
    let made = running.identities.add_operator(name, role, None).unwrap();
    Token::parse(TokenKind::Operator, made.expose())
        .unwrap()
        .presented()
}

pub(crate) async fn operator_as(
    running: &Running,
    name: &str,
    role: Role,
) -> OperatorServiceClient<InterceptedService<Channel, Auth>> {
    let auth = bearer(&token(running, name, role));
    OperatorServiceClient::with_interceptor(channel(running).await, auth)
}

/// A join token of a node, as it is sent.
pub(crate) fn join_token(running: &Running, node: &str) -> String {
    let node = NodeName::new(node.to_owned()).unwrap();
    let made = running
        .identities
        .join_token(&node, Duration::from_mins(10), "a test")
        .unwrap();
    Token::parse(TokenKind::Join, made.secret.expose())
        .unwrap()
        .presented()
}

/// Enrols a node past the API: another test has enrolment for its subject. The declared ones and others.
pub(crate) fn enrolled(running: &Running, node: &str) -> NodeIdentity {
    let key = NodeKey::generate().unwrap();
    let (token, request) = (join_token(running, node), key.request().unwrap());
    let certified = running.identities.enrol(node, &token, &request).unwrap();
    let (certificate, ends) = (certified.issued.certificate, certified.issued.not_after);
    NodeIdentity::new(
        node.into(),
        running.identities.fingerprint(),
        &key,
        certificate,
    )
    .valid(certified.renew_at, ends)
}

/// An agent's side of a session.
pub(crate) struct Agent {
    pub(crate) up: mpsc::Sender<v1::AgentMessage>,
    pub(crate) down: Streaming<v1::ControllerMessage>,
}

pub(crate) async fn agent(running: &Running, node: &str, boot: &str) -> Agent {
    // One machine, however often it connects.
    let mut machines = MACHINES.lock().await;
    let key = (
        running.identities.fingerprint().to_string(),
        node.to_owned(),
    );
    let identity = machines
        .entry(key)
        .or_insert_with(|| enrolled(running, node))
        .clone();
    drop(machines);
    let channel = connect(running, identity.client().unwrap()).await;
    agent_with(channel, node, boot).await.unwrap()
}

static MACHINES: tokio::sync::Mutex<BTreeMap<(String, String), NodeIdentity>> =
    tokio::sync::Mutex::const_new(BTreeMap::new());

pub(crate) async fn agent_with(channel: Channel, node: &str, boot: &str) -> Result<Agent, Status> {
    let mut client = AgentServiceClient::new(channel).max_encoding_message_size(usize::MAX);
    let (up, messages) = mpsc::channel(16);
    let hello = v1::Hello {
        node: node.into(),
        boot_id: boot.into(),
        ..v1::Hello::default()
    };
    up.send(v1::AgentMessage {
        kind: Some(Kind::Hello(hello)),
    })
    .await
    .unwrap();
    let down = client
        .session(ReceiverStream::new(messages))
        .await?
        .into_inner();
    Ok(Agent { up, down })
}

impl Agent {
    pub(crate) async fn say(&self, kind: Kind) {
        self.up
            .send(v1::AgentMessage { kind: Some(kind) })
            .await
            .unwrap();
    }

    /// What the controller says next.
    pub(crate) async fn next(&mut self) -> Result<v1::controller_message::Kind, Status> {
        let message = self.down.message().await?;
        message
            .and_then(|message| message.kind)
            .ok_or_else(|| Status::cancelled("the stream ended"))
    }
}

/// A second worker, so that there is somebody else to speak for.
pub(crate) const TWO: &str =
    "[[nodes]]\nname = \"calypso\"\nrole = \"worker\"\naddress = \"127.0.0.10\"\n";

/// What `/metrics` says.
pub(crate) async fn metrics(running: &Running) -> String {
    let mut stream = tokio::net::TcpStream::connect(running.status_address)
        .await
        .unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// How often something was refused, by the metrics.
pub(crate) async fn refused(running: &Running, kind: &str) -> u64 {
    let line = format!("iaso_controller_refused_total{{kind=\"{kind}\"}} ");
    let text = metrics(running).await;
    let found = text.lines().find_map(|said| said.strip_prefix(&line));
    found.map_or(0, |count| count.parse().unwrap())
}

/// The journal's words and records, as a viewer sees them.
pub(crate) async fn said(running: &Running) -> Vec<String> {
    let mut client = operator_as(running, "reader", Role::Viewer).await;
    let request = v1::WatchEventsRequest::default();
    let mut stream = client.watch_events(request).await.unwrap().into_inner();
    let mut texts = Vec::new();
    while let Some(event) = stream.message().await.unwrap() {
        texts.push(format!("{} {}", event.text, event.json));
    }
    texts
}
