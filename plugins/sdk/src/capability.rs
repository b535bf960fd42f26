//! The host, one trait for each capability. A plugin names in its bounds what it uses.
//!
//! Records are those of `wit/plugin.wit`, with its words; their sets of values may grow, so match on them with an arm for the rest.
//! Looking and acting are traits apart even where the interface is one: a check that cannot act should not compile if it tries.

use std::time::Duration;

use crate::Error;

pub use crate::bindings::capabilities::iaso::plugin::dns::{Answer, Question};
pub use crate::bindings::capabilities::iaso::plugin::files::{Chunk, FileStat};
pub use crate::bindings::capabilities::iaso::plugin::host::{Disk, Facts, Link, Route};
pub use crate::bindings::capabilities::iaso::plugin::http::{Request, Response};
pub use crate::bindings::capabilities::iaso::plugin::kube::{
    Condition, ContainerState, Endpoint, EnvUrl, Pod, PodState, Service, StatusObject, Workload,
};
pub use crate::bindings::capabilities::iaso::plugin::net::{ConnectOutcome, PingOutcome};
pub use crate::bindings::capabilities::iaso::plugin::scripts::ScriptOutcome;
pub use crate::bindings::capabilities::iaso::plugin::services::{JournalLine, Unit};

/// Lines for the agent's log. Always granted; what is beyond the bound is dropped and counted by the host.
pub trait Log {
    /// `level`: `debug`, `info`, `warn` or `error`.
    fn log(&self, level: &str, message: &str);
}

/// Echo requests to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// 1 to 10.
    pub count: u32,
    /// For the whole of them.
    pub timeout: Duration,
    /// 0 to 8,972 bytes of data.
    pub payload_bytes: u32,
    /// Routers must not split it.
    pub dont_fragment: bool,
}

/// Reachability. Grants: `net.tcp`, `net.icmp`, `net.unix`.
pub trait Net {
    /// Opens a TCP connection and closes it. `host` is a name or an address.
    fn tcp_connect(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
    ) -> Result<ConnectOutcome, Error>;
    /// Sends echo requests.
    fn ping(&self, host: &str, ping: Ping) -> Result<PingOutcome, Error>;
    /// Connects to a Unix socket and closes it.
    fn unix_connect(&self, path: &str, timeout: Duration) -> Result<ConnectOutcome, Error>;
}

/// DNS questions to one server: no cache, no search list, no retry. Grant: `dns.servers`.
pub trait Dns {
    /// Asks. A silent server is [`Error::Timeout`], one whose port refuses is [`Error::Unavailable`].
    fn query(&self, question: &Question) -> Result<Answer, Error>;
}

/// HTTP requests. Redirects are not followed. Grant: `http`.
pub trait Http {
    /// Sends one request.
    fn send(&self, request: &Request) -> Result<Response, Error>;

    /// A GET without headers whose body is cut after 4 KiB.
    fn http_get(&self, url: &str, timeout: Duration) -> Result<Response, Error> {
        self.send(&Request {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: ms(timeout),
            max_bytes: 4096,
        })
    }
}

/// Looks at services of the init system. Grant: `services.read`.
pub trait Services {
    /// The unit's state.
    fn status(&self, unit: &str) -> Result<Unit, Error>;
    /// The last `max_lines` (at most 500) of the unit's log, oldest first, not older than `max_age`.
    fn journal(
        &self,
        unit: &str,
        max_lines: u32,
        max_age: Duration,
    ) -> Result<Vec<JournalLine>, Error>;
}

/// Acts on services: the job is queued without blocking, and waited for under the timeout. The answer is `done`, `failed`, `canceled`,
/// `dependency`, `skipped` or `timeout` (the job goes on without us). Grant: `services.control`; only in a fix.
pub trait Control {
    /// Restarts.
    fn restart(&self, unit: &str, timeout: Duration) -> Result<String, Error>;
    /// Starts.
    fn start(&self, unit: &str, timeout: Duration) -> Result<String, Error>;
    /// Stops.
    fn stop(&self, unit: &str, timeout: Duration) -> Result<String, Error>;
}

/// Scripts that the operator named. Grant: `scripts`; only in a fix.
pub trait Scripts {
    /// Runs one by the operator's word for it.
    fn run(&self, name: &str, timeout: Duration) -> Result<ScriptOutcome, Error>;
}

/// Facts about this host, its clock and its dice. Grant: `host`.
pub trait Host {
    /// Names, load, memory and the wall clock.
    fn info(&self) -> Result<Facts, Error>;
    /// Mounted file systems.
    fn disks(&self) -> Result<Vec<Disk>, Error>;
    /// The routing table.
    fn routes(&self) -> Result<Vec<Route>, Error>;
    /// Network interfaces.
    fn links(&self) -> Result<Vec<Link>, Error>;
    /// Name servers of `/etc/resolv.conf`.
    fn resolvers(&self) -> Result<Vec<String>, Error>;
    /// Other nodes: name and address.
    fn peers(&self) -> Result<Vec<(String, String)>, Error>;
    /// A clock that only goes forward; its zero means nothing.
    fn monotonic(&self) -> Duration;
    /// Waits, at most one second a call.
    fn pause(&self, time: Duration);
    /// 64 random bits. Not for keys.
    fn random(&self) -> u64;
}

/// Files, to read. Grant: `files.read`.
pub trait Files {
    /// What is there.
    fn stat(&self, path: &str) -> Result<FileStat, Error>;
    /// At most 1 MiB a call.
    fn read(&self, path: &str, offset: u64, max_bytes: u32) -> Result<Chunk, Error>;

    /// The whole file as text, what is not UTF-8 replaced. A file of more than `max_bytes` is [`Error::TooLarge`].
    fn read_text(&self, path: &str, max_bytes: u32) -> Result<String, Error> {
        let chunk = self.read(path, 0, max_bytes)?;
        if chunk.truncated {
            return Err(Error::TooLarge(format!(
                "{path} has more than {max_bytes} bytes"
            )));
        }
        Ok(String::from_utf8_lossy(&chunk.data).into_owned())
    }
}

/// Kubernetes, to look. Grants: `kube.pods`, `kube.services`.
pub trait Kube {
    /// Pods bound to this node that match the label selector.
    fn pods_here(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>, Error>;
    /// One service.
    fn service(&self, namespace: &str, name: &str) -> Result<Service, Error>;
    /// Its endpoints.
    fn endpoints(&self, namespace: &str, name: &str) -> Result<Vec<Endpoint>, Error>;
}

/// A custom resource, such as `kustomizations` of `kustomize.toolkit.fluxcd.io` in version `v1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CustomResource<'a> {
    /// Its API group.
    pub group: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its plural.
    pub resource: &'a str,
}

/// What runs on this node, and what asked for it. Grants: `kube.pod_states`, `kube.workloads`, `kube.env_urls`, `kube.conditions`.
pub trait Workloads {
    /// Pods bound to this node, with their containers.
    fn pod_states(&self, namespace: &str) -> Result<Vec<PodState>, Error>;
    /// The controllers of this node's pods, and the images that they ask for.
    fn workloads(&self, namespace: &str) -> Result<Vec<Workload>, Error>;
    /// Where the URLs in the environment of this node's pods lead.
    fn env_urls(&self, namespace: &str) -> Result<Vec<EnvUrl>, Error>;
    /// Objects of a custom resource, with their conditions.
    fn conditions(
        &self,
        of: CustomResource<'_>,
        namespace: &str,
    ) -> Result<Vec<StatusObject>, Error>;
}

/// Kubernetes, to act. Grant: `kube.delete-pods`; only in a fix.
pub trait PodControl {
    /// Deletes one pod of this node, only if it still has this uid.
    fn delete_pod(&self, namespace: &str, name: &str, uid: &str) -> Result<(), Error>;
}

/// The plugin's only memory between runs. Always granted, with a quota.
pub trait State {
    /// What is kept under this key.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error>;
    /// Keeps it.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), Error>;
    /// Forgets it.
    fn delete(&self, key: &str) -> Result<(), Error>;
}

/// Whole milliseconds for a call of the interface, at least 1 and at most what fits.
#[must_use]
pub fn ms(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
}
