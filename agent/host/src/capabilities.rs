//! What the holder of rights implements: each call already checked, every name already an address, every path already real.
//!
//! **Invariants**
//! - A capability never resolves a name and never follows a link: it gets the address or path that was checked, and uses that one.
//! - Every call has a `timeout` that lies within the run's deadline; the caller also drops the future when it is over.
//!
//! What a host does not have keeps its default and answers `unavailable`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use crate::broker::{CallContext, CapError, Job};
use crate::types::{
    Chunk, ConnectOutcome, Disk, DnsAnswer, Endpoint, EnvUrl, Facts, HttpResponse, JournalLine,
    Link, PingOutcome, Pod, PodState, Route, ScriptOutcome, Service, Stat, StatusObject, Unit,
    Workload,
};

/// Echo requests to a checked address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PingCall {
    /// Where to.
    pub address: IpAddr,
    /// How many, 1 to 10.
    pub count: u32,
    /// For all of them together.
    pub timeout: Duration,
    /// Bytes of data in each, 0 to 8,972.
    pub payload_bytes: u32,
    /// Set the don't-fragment bit.
    pub dont_fragment: bool,
}

/// A question to a checked server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsCall {
    /// Where to.
    pub server: SocketAddr,
    /// Fully qualified, ending in a dot.
    pub name: String,
    /// `A`, `AAAA`, `SRV`, `TXT`, `NS`, `SOA`, `PTR` or `CNAME`.
    pub record_type: String,
    /// Over TCP instead of UDP.
    pub tcp: bool,
    /// How long to wait.
    pub timeout: Duration,
}

/// A request to a checked address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCall {
    /// A token in capitals.
    pub method: String,
    /// Absolute, `http` or `https`, without user and password. Its host is for `Host` and SNI only.
    pub url: url::Url,
    /// Connect here, whatever the URL's host may mean to a resolver.
    pub connect_to: SocketAddr,
    /// Lower-case names; no `host`, no hop-by-hop headers.
    pub headers: Vec<(String, String)>,
    /// At most 256 KiB.
    pub body: Vec<u8>,
    /// For everything up to the last byte of the body.
    pub timeout: Duration,
    /// The body is cut after so many bytes; at most 1 MiB.
    pub max_bytes: u32,
}

/// A custom resource: each part a checked name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomResource {
    /// Its API group.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// Its plural.
    pub resource: String,
}

fn absent<T>(what: &str) -> Result<T, CapError> {
    Err(CapError::Unavailable(format!("this host has no {what}")))
}

/// The rights themselves. Redirects are not followed, nothing is retried, nothing is cached unless it says so.
#[async_trait]
#[allow(
    unused_variables,
    reason = "the defaults have no use for their arguments"
)]
pub trait Capabilities: Send + Sync + 'static {
    /// Opens a TCP connection and closes it. A refusal or a timeout is an outcome, not an error.
    async fn tcp_connect(
        &self,
        cx: &CallContext,
        to: SocketAddr,
        timeout: Duration,
    ) -> Result<ConnectOutcome, CapError> {
        absent("network capability")
    }

    /// Sends echo requests. Silence is an outcome, not an error.
    async fn ping(&self, cx: &CallContext, call: PingCall) -> Result<PingOutcome, CapError> {
        absent("network capability")
    }

    /// Connects to a Unix socket and closes it.
    async fn unix_connect(
        &self,
        cx: &CallContext,
        path: &Path,
        timeout: Duration,
    ) -> Result<ConnectOutcome, CapError> {
        absent("network capability")
    }

    /// Asks one server once.
    async fn dns_query(&self, cx: &CallContext, call: DnsCall) -> Result<DnsAnswer, CapError> {
        absent("DNS capability")
    }

    /// Sends one request.
    async fn http_send(&self, cx: &CallContext, call: HttpCall) -> Result<HttpResponse, CapError> {
        absent("HTTP capability")
    }

    /// A unit's state.
    async fn service_status(&self, cx: &CallContext, unit: &str) -> Result<Unit, CapError> {
        absent("init system that the agent can talk to")
    }

    /// The last lines of a unit's log, oldest first. At most 500.
    async fn service_journal(
        &self,
        cx: &CallContext,
        unit: &str,
        max_lines: u32,
        max_age: Duration,
    ) -> Result<Vec<JournalLine>, CapError> {
        absent("journal that the agent can read")
    }

    /// Queues the job without blocking and waits for its result.
    async fn service_job(
        &self,
        cx: &CallContext,
        unit: &str,
        job: Job,
        timeout: Duration,
    ) -> Result<String, CapError> {
        absent("init system that the agent can talk to")
    }

    /// Runs the operator's script of this name, without arguments.
    async fn script_run(
        &self,
        cx: &CallContext,
        name: &str,
        timeout: Duration,
    ) -> Result<ScriptOutcome, CapError> {
        absent("scripts")
    }

    /// Facts.
    async fn host_info(&self, cx: &CallContext) -> Result<Facts, CapError> {
        absent("host facts")
    }

    /// Mounted file systems.
    async fn host_disks(&self, cx: &CallContext) -> Result<Vec<Disk>, CapError> {
        absent("host facts")
    }

    /// The routing table.
    async fn host_routes(&self, cx: &CallContext) -> Result<Vec<Route>, CapError> {
        absent("host facts")
    }

    /// Network links.
    async fn host_links(&self, cx: &CallContext) -> Result<Vec<Link>, CapError> {
        absent("host facts")
    }

    /// Name servers of `/etc/resolv.conf`.
    async fn host_resolvers(&self, cx: &CallContext) -> Result<Vec<String>, CapError> {
        absent("host facts")
    }

    /// Other nodes: name and address.
    async fn host_peers(&self, cx: &CallContext) -> Result<Vec<(String, String)>, CapError> {
        absent("host facts")
    }

    /// What a path is. The path is real; open it without following links, since it may have changed since.
    async fn file_stat(&self, cx: &CallContext, path: &Path) -> Result<Stat, CapError> {
        absent("file capability")
    }

    /// A part of a file, at most 1 MiB. As for [`Self::file_stat`], follow no links.
    async fn file_read(
        &self,
        cx: &CallContext,
        path: &Path,
        offset: u64,
        max_bytes: u32,
    ) -> Result<Chunk, CapError> {
        absent("file capability")
    }

    /// Pods bound to this node.
    async fn kube_pods_here(
        &self,
        cx: &CallContext,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Pod>, CapError> {
        absent("Kubernetes credentials")
    }

    /// Deletes one pod of this node, only if it still has this uid.
    async fn kube_delete_pod(
        &self,
        cx: &CallContext,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<(), CapError> {
        absent("Kubernetes credentials")
    }

    /// A service.
    async fn kube_get_service(
        &self,
        cx: &CallContext,
        namespace: &str,
        name: &str,
    ) -> Result<Service, CapError> {
        absent("Kubernetes credentials")
    }

    /// The addresses behind a service.
    async fn kube_get_endpoints(
        &self,
        cx: &CallContext,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<Endpoint>, CapError> {
        absent("Kubernetes credentials")
    }

    /// Pods bound to this node, with their containers.
    async fn kube_pod_states_here(
        &self,
        cx: &CallContext,
        namespace: &str,
    ) -> Result<Vec<PodState>, CapError> {
        absent("Kubernetes credentials")
    }

    /// The controllers of pods bound to this node.
    async fn kube_workloads_here(
        &self,
        cx: &CallContext,
        namespace: &str,
    ) -> Result<Vec<Workload>, CapError> {
        absent("Kubernetes credentials")
    }

    /// Where the URLs in the environment of pods bound to this node lead.
    async fn kube_env_urls_here(
        &self,
        cx: &CallContext,
        namespace: &str,
    ) -> Result<Vec<EnvUrl>, CapError> {
        absent("Kubernetes credentials")
    }

    /// Objects of a custom resource, with their conditions.
    async fn kube_conditions(
        &self,
        cx: &CallContext,
        of: &CustomResource,
        namespace: &str,
    ) -> Result<Vec<StatusObject>, CapError> {
        absent("Kubernetes credentials")
    }

    /// Everything a plugin has kept, as [`Self::state_save`] got it; none when it has kept nothing.
    async fn state_load(&self, cx: &CallContext) -> Result<Option<Vec<u8>>, CapError> {
        absent("place for a plugin's state")
    }

    /// Keeps a plugin's state: opaque bytes, bounded by the quota. Replace the old ones in one step; the future may be dropped.
    async fn state_save(&self, cx: &CallContext, state: &[u8]) -> Result<(), CapError> {
        absent("place for a plugin's state")
    }
}

/// Turns names into addresses and paths into real ones, once, before the grant is checked.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of a name in the order of preference; empty when the name does not resolve.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, CapError>;

    /// The path with every link followed. A path whose last part is missing resolves its parent and keeps the part.
    async fn real_path(&self, path: &Path) -> Result<PathBuf, CapError>;
}
