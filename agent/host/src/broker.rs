//! The line between the process that runs plugins and the one that holds rights: requests as data, one method.
//!
//! **Invariants**
//! - Everything here can be serialised, so that the two sides may be two processes.
//! - A request says what the plugin asked for, unchecked; whoever implements [`Broker`] checks it. [`crate::GrantedBroker`] does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use iaso_grants::Grants;
use serde::{Deserialize, Serialize};

use crate::types::{
    Chunk, ConnectOutcome, Disk, DnsAnswer, Endpoint, EnvUrl, Facts, HttpResponse, JournalLine,
    Link, PingOutcome, Pod, PodState, Route, ScriptOutcome, Service, Stat, StatusObject, Unit,
    Workload,
};

/// What a plugin is doing when it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It looks.
    Check,
    /// It plans or applies a fix.
    Fix,
}

impl Phase {
    /// The name of its table of grants.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Fix => "fix",
        }
    }
}

/// Who asks, in which phase, until when an answer is of use, and with which grants it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallContext {
    /// The plugin's configured name.
    pub plugin: String,
    /// What it is doing.
    pub phase: Phase,
    /// When the run as a whole is dropped.
    pub deadline: Instant,
    /// What the version that runs was lent; worth nothing once the lender took it back.
    pub grants: Arc<Grants>,
}

impl CallContext {
    /// Time left until the run is dropped.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Why a capability did not answer; `error` of the plugin interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum CapError {
    /// Not granted. The text names the missing grant.
    #[error("denied: {0}")]
    Denied(String),
    /// The limit of this call or of the run was reached.
    #[error("timed out")]
    Timeout,
    /// An argument or an answer was larger than allowed.
    #[error("too large: {0}")]
    TooLarge(String),
    /// The thing asked for is not there on this host.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A host call as the plugin made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "each field is a parameter of the function of the same name in plugin.wit"
)]
pub enum Request {
    /// `net.tcp-connect`
    TcpConnect {
        host: String,
        port: u16,
        timeout_ms: u32,
    },
    /// `net.ping`
    Ping {
        host: String,
        count: u32,
        timeout_ms: u32,
        payload_bytes: u32,
        dont_fragment: bool,
    },
    /// `net.unix-connect`
    UnixConnect { path: String, timeout_ms: u32 },
    /// `dns.query`
    DnsQuery(DnsQuestion),
    /// `http.send`
    HttpSend(HttpRequest),
    /// `services.status`
    ServiceStatus { unit: String },
    /// `services.journal`
    ServiceJournal {
        unit: String,
        max_lines: u32,
        max_age_ms: u64,
    },
    /// `services.restart`, `services.start`, `services.stop`
    ServiceJob {
        unit: String,
        job: Job,
        timeout_ms: u32,
    },
    /// `scripts.run`
    ScriptRun { name: String, timeout_ms: u32 },
    /// `host.info`
    HostInfo,
    /// `host.disks`
    HostDisks,
    /// `host.routes`
    HostRoutes,
    /// `host.links`
    HostLinks,
    /// `host.resolvers`
    HostResolvers,
    /// `host.peers`
    HostPeers,
    /// `files.stat`
    FileStat { path: String },
    /// `files.read`
    FileRead {
        path: String,
        offset: u64,
        max_bytes: u32,
    },
    /// `kube.pods-here`
    KubePodsHere { namespace: String, selector: String },
    /// `kube.delete-pod`
    KubeDeletePod {
        namespace: String,
        name: String,
        uid: String,
    },
    /// `kube.get-service`
    KubeGetService { namespace: String, name: String },
    /// `kube.get-endpoints`
    KubeGetEndpoints { namespace: String, name: String },
    /// `kube.pod-states-here`
    KubePodStatesHere { namespace: String },
    /// `kube.workloads-here`
    KubeWorkloadsHere { namespace: String },
    /// `kube.env-urls-here`
    KubeEnvUrlsHere { namespace: String },
    /// `kube.conditions`
    KubeConditions {
        group: String,
        version: String,
        resource: String,
        namespace: String,
    },
    /// `state.get`
    StateGet { key: String },
    /// `state.set`
    StateSet { key: String, value: Vec<u8> },
    /// `state.delete`
    StateDelete { key: String },
}

/// A DNS question as the plugin asked it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsQuestion {
    /// An IP address.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// Fully qualified, ending in a dot.
    pub name: String,
    /// `A`, `AAAA`, `SRV`, `TXT`, `NS`, `SOA`, `PTR` or `CNAME`.
    pub record_type: String,
    /// `udp` or `tcp`.
    pub transport: String,
    /// Milliseconds to wait.
    pub timeout_ms: u32,
}

/// An HTTP request as the plugin made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// `GET`, …
    pub method: String,
    /// Absolute, `http` or `https`.
    pub url: String,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Milliseconds to wait.
    pub timeout_ms: u32,
    /// The answer's body is cut after so many bytes.
    pub max_bytes: u32,
}

/// What to do with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Job {
    /// Stop, then start.
    Restart,
    /// Start.
    Start,
    /// Stop.
    Stop,
}

/// The answer to a [`Request`]; which variant answers which request is in each one's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To `TcpConnect` and `UnixConnect`.
    Connect(ConnectOutcome),
    /// To `Ping`.
    Ping(PingOutcome),
    /// To `DnsQuery`.
    Dns(DnsAnswer),
    /// To `HttpSend`.
    Http(HttpResponse),
    /// To `ServiceStatus`.
    Unit(Unit),
    /// To `ServiceJournal`.
    Journal(Vec<JournalLine>),
    /// To `ServiceJob`: the job's result.
    JobResult(String),
    /// To `ScriptRun`.
    Script(ScriptOutcome),
    /// To `HostInfo`.
    Facts(Facts),
    /// To `HostDisks`.
    Disks(Vec<Disk>),
    /// To `HostRoutes`.
    Routes(Vec<Route>),
    /// To `HostLinks`.
    Links(Vec<Link>),
    /// To `HostResolvers`.
    Resolvers(Vec<String>),
    /// To `HostPeers`: name and address.
    Peers(Vec<(String, String)>),
    /// To `FileStat`.
    Stat(Stat),
    /// To `FileRead`.
    Chunk(Chunk),
    /// To `KubePodsHere`.
    Pods(Vec<Pod>),
    /// To `KubeGetService`.
    Service(Service),
    /// To `KubeGetEndpoints`.
    Endpoints(Vec<Endpoint>),
    /// To `KubePodStatesHere`.
    PodStates(Vec<PodState>),
    /// To `KubeWorkloadsHere`.
    Workloads(Vec<Workload>),
    /// To `KubeEnvUrlsHere`.
    EnvUrls(Vec<EnvUrl>),
    /// To `KubeConditions`.
    StatusObjects(Vec<StatusObject>),
    /// To `StateGet`.
    Value(Option<Vec<u8>>),
    /// To `KubeDeletePod`, `StateSet` and `StateDelete`.
    Done,
}

/// Whoever answers host calls. Object-safe, so that the runner neither knows nor cares in which process the rights are.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Answers one call. May be dropped at any await point.
    async fn call(&self, context: &CallContext, request: Request) -> Result<Response, CapError>;
}
