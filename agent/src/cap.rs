//! The rights that plugins use through the broker: one module for each capability, one struct that holds them together.
//!
//! **Invariants**
//! - Grants were checked before a call arrives here, names resolved, links followed: nothing here does it again.
//! - A call that the kernel will not give back runs on a thread that can be left behind; those are counted and bounded.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use iaso_host::{
    CallContext, CapError, Capabilities, CustomResource, DnsCall, HttpCall, Job, PingCall,
    types::{
        Chunk, ConnectOutcome, Disk, DnsAnswer, Endpoint, EnvUrl, Facts, HttpResponse, JournalLine,
        Link, PingOutcome, Pod, PodState, Route, ScriptOutcome, Service, Stat, StatusObject, Unit,
        Workload,
    },
};

use crate::config::Config;

pub mod blocking;
pub mod dns;
pub mod files;
pub mod host;
pub mod http;
pub mod icmp;
pub mod journal;
pub mod kube;
pub mod net;
pub mod scripts;
pub mod state;
pub mod systemd;

/// Other nodes, as the controller named them: name and address.
pub type Peers = Arc<RwLock<Vec<(String, String)>>>;

/// Everything this agent can do on its host.
pub struct HostCapabilities {
    blocking: blocking::Threads,
    host: host::Host,
    systemd: systemd::Systemd,
    journal: journal::Journal,
    scripts: scripts::Scripts,
    kube: kube::Kube,
    state: state::States,
    peers: Peers,
}

impl HostCapabilities {
    /// The capabilities that `config` describes. Nothing is connected yet.
    #[must_use]
    pub fn new(config: &Config, peers: Peers) -> Self {
        let blocking = blocking::Threads::new();
        Self {
            host: host::Host::new(
                config.node.clone(),
                config.resolv_conf.clone(),
                blocking.clone(),
            ),
            systemd: systemd::Systemd::new(config.dbus_address.clone()),
            journal: journal::Journal::new(config.journalctl.clone()),
            scripts: scripts::Scripts::new(config.scripts.clone()),
            kube: kube::Kube::new(config.kubeconfig.clone(), config.node.clone()),
            state: state::States::new(config.state_dir.join("state")),
            peers,
            blocking,
        }
    }

    /// Threads that a hung system call still holds.
    #[must_use]
    pub fn abandoned_threads(&self) -> usize {
        self.blocking.abandoned()
    }
}

#[async_trait]
impl Capabilities for HostCapabilities {
    async fn tcp_connect(
        &self,
        _: &CallContext,
        to: SocketAddr,
        timeout: Duration,
    ) -> Result<ConnectOutcome, CapError> {
        Ok(net::tcp_connect(to, timeout).await)
    }

    async fn ping(&self, _: &CallContext, call: PingCall) -> Result<PingOutcome, CapError> {
        icmp::ping(&call).await
    }

    async fn unix_connect(
        &self,
        _: &CallContext,
        path: &Path,
        timeout: Duration,
    ) -> Result<ConnectOutcome, CapError> {
        net::unix_connect(path, timeout).await
    }

    async fn dns_query(&self, _: &CallContext, call: DnsCall) -> Result<DnsAnswer, CapError> {
        dns::query(&call).await
    }

    async fn http_send(&self, _: &CallContext, call: HttpCall) -> Result<HttpResponse, CapError> {
        http::send(call).await
    }

    async fn service_status(&self, cx: &CallContext, unit: &str) -> Result<Unit, CapError> {
        self.systemd.status(unit, cx.remaining()).await
    }

    async fn service_journal(
        &self,
        cx: &CallContext,
        unit: &str,
        max_lines: u32,
        max_age: Duration,
    ) -> Result<Vec<JournalLine>, CapError> {
        self.journal
            .read(unit, max_lines, max_age, cx.remaining())
            .await
    }

    async fn service_job(
        &self,
        _: &CallContext,
        unit: &str,
        job: Job,
        timeout: Duration,
    ) -> Result<String, CapError> {
        self.systemd.job(unit, job, timeout).await
    }

    async fn script_run(
        &self,
        _: &CallContext,
        name: &str,
        timeout: Duration,
    ) -> Result<ScriptOutcome, CapError> {
        self.scripts.run(name, timeout).await
    }

    async fn host_info(&self, cx: &CallContext) -> Result<Facts, CapError> {
        self.host.facts(cx.remaining()).await
    }

    async fn host_disks(&self, cx: &CallContext) -> Result<Vec<Disk>, CapError> {
        self.host.disks(cx.remaining()).await
    }

    async fn host_routes(&self, _: &CallContext) -> Result<Vec<Route>, CapError> {
        host::routes()
    }

    async fn host_links(&self, _: &CallContext) -> Result<Vec<Link>, CapError> {
        host::links()
    }

    async fn host_resolvers(&self, _: &CallContext) -> Result<Vec<String>, CapError> {
        self.host.resolvers()
    }

    async fn host_peers(&self, _: &CallContext) -> Result<Vec<(String, String)>, CapError> {
        Ok(self
            .peers
            .read()
            .map(|peers| peers.clone())
            .unwrap_or_default())
    }

    async fn file_stat(&self, cx: &CallContext, path: &Path) -> Result<Stat, CapError> {
        let path = path.to_owned();
        self.blocking
            .run(cx.remaining(), move || files::stat(&path))
            .await?
    }

    async fn file_read(
        &self,
        cx: &CallContext,
        path: &Path,
        offset: u64,
        max_bytes: u32,
    ) -> Result<Chunk, CapError> {
        let path = path.to_owned();
        self.blocking
            .run(cx.remaining(), move || {
                files::read(&path, offset, max_bytes)
            })
            .await?
    }

    async fn kube_pods_here(
        &self,
        cx: &CallContext,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Pod>, CapError> {
        self.kube
            .pods_here(namespace, selector, cx.remaining())
            .await
    }

    async fn kube_delete_pod(
        &self,
        cx: &CallContext,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<(), CapError> {
        self.kube
            .delete_pod(namespace, name, uid, cx.remaining())
            .await
    }

    async fn kube_get_service(
        &self,
        cx: &CallContext,
        namespace: &str,
        name: &str,
    ) -> Result<Service, CapError> {
        self.kube.service(namespace, name, cx.remaining()).await
    }

    async fn kube_get_endpoints(
        &self,
        cx: &CallContext,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<Endpoint>, CapError> {
        self.kube.endpoints(namespace, name, cx.remaining()).await
    }

    async fn kube_pod_states_here(
        &self,
        cx: &CallContext,
        namespace: &str,
    ) -> Result<Vec<PodState>, CapError> {
        self.kube.pod_states_here(namespace, cx.remaining()).await
    }

    async fn kube_workloads_here(
        &self,
        cx: &CallContext,
        namespace: &str,
    ) -> Result<Vec<Workload>, CapError> {
        self.kube.workloads_here(namespace, cx.remaining()).await
    }

    async fn kube_env_urls_here(
        &self,
        cx: &CallContext,
        namespace: &str,
    ) -> Result<Vec<EnvUrl>, CapError> {
        self.kube.env_urls_here(namespace, cx.remaining()).await
    }

    async fn kube_conditions(
        &self,
        cx: &CallContext,
        of: &CustomResource,
        namespace: &str,
    ) -> Result<Vec<StatusObject>, CapError> {
        self.kube.conditions(of, namespace, cx.remaining()).await
    }

    async fn state_load(&self, cx: &CallContext) -> Result<Option<Vec<u8>>, CapError> {
        self.state.load(&cx.plugin)
    }

    async fn state_save(&self, cx: &CallContext, state: &[u8]) -> Result<(), CapError> {
        self.state.save(&cx.plugin, state)
    }
}

/// An operating system error as a plugin may see it.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the operating system has more kinds of error than matter here"
)]
pub(crate) fn os_error(what: &str, error: &std::io::Error) -> CapError {
    match error.kind() {
        std::io::ErrorKind::NotFound => CapError::Unavailable(format!("{what} is not there")),
        std::io::ErrorKind::PermissionDenied => {
            CapError::Unavailable(format!("the agent's user may not use {what}: {error}"))
        }
        _ => CapError::Other(format!("{what}: {error}")),
    }
}
