//! The generated host traits, answered through the broker: conversions and nothing else.

use std::time::{Duration, Instant};

use crate::bindings::exports::iaso::plugin::fix as wit_fix;
use crate::bindings::iaso::plugin::{
    dns, files, host, http, kube, log, net, scripts, services, state, types,
};
use crate::broker::{CapError, DnsQuestion, HttpRequest, Job, Request, Response};
use crate::run::LogLevel;
use crate::store::RunState;
use crate::types as plain;

/// The longest pause in one call.
const PAUSE_MS_MAX: u32 = 1_000;

/// Moves every field of a record into its twin.
macro_rules! twins {
    ($($from:path => $to:path { $($field:ident),* })*) => {$(
        impl From<$from> for $to {
            fn from(from: $from) -> Self {
                use $from as From_;
                let From_ { $($field),* } = from;
                Self { $($field),* }
            }
        }
    )*};
}

twins! {
    types::Finding => plain::Finding { code, severity, subject, summary, remedies, attributes }
    types::FixPlan => plain::FixPlan { verdict, reason, steps, attributes }
    types::FixOutcome => plain::FixOutcome { outcome, reason, steps, attributes }
    wit_fix::Description => plain::FixDescription { name, summary, disruptive }
    plain::ConnectOutcome => net::ConnectOutcome { outcome, address, elapsed_us, detail }
    plain::PingOutcome => net::PingOutcome { sent, received, rtt_min_us, rtt_avg_us, rtt_max_us, method, outcome, address }
    plain::DnsAnswer => dns::Answer { rcode, records, truncated, authoritative, elapsed_us }
    dns::Question => DnsQuestion { server, port, name, record_type, transport, timeout_ms }
    plain::HttpResponse => http::Response { status, headers, body, truncated, elapsed_us }
    http::Request => HttpRequest { method, url, headers, body, timeout_ms, max_bytes }
    plain::Unit => services::Unit {
        name, load_state, active_state, sub_state, last_result, restarts, in_state_ms, main_pid, exit_status, attributes
    }
    plain::JournalLine => services::JournalLine { at_unix_ms, priority, message }
    plain::ScriptOutcome => scripts::ScriptOutcome { exit_code, output, elapsed_us }
    plain::Facts => host::Facts {
        hostname, node, kernel, os, uptime_ms, now_unix_ms, cpus, load1_milli, memory_total_bytes, memory_available_bytes, attributes
    }
    plain::Disk => host::Disk { mount, total_bytes, available_bytes, inodes_total, inodes_available, read_only }
    plain::Route => host::Route { destination, gateway, interface, metric }
    plain::Link => host::Link { name, up, mtu, addresses }
    plain::Stat => files::FileStat { kind, size, modified_unix_ms, mode }
    plain::Chunk => files::Chunk { data, truncated }
    plain::Pod => kube::Pod { namespace, name, uid, phase, ready, terminating, restarts, ip }
    plain::Endpoint => kube::Endpoint { address, port, protocol, node, ready }
    plain::Service => kube::Service { cluster_ip, ports }
    plain::ContainerState => kube::ContainerState {
        name, kind, image, image_id, state, reason, message, ready, restarts, last_reason, last_exit_code, attributes
    }
    plain::Workload => kube::Workload { namespace, kind, name, settled, images, pods, attributes }
    plain::EnvUrl => kube::EnvUrl { namespace, pod, container, variable, scheme, host, port, attributes }
    plain::Condition => kube::Condition { name, status, reason, message, changed_unix_ms }
}

impl From<plain::PodState> for kube::PodState {
    fn from(pod: plain::PodState) -> Self {
        Self {
            namespace: pod.namespace,
            name: pod.name,
            uid: pod.uid,
            phase: pod.phase,
            reason: pod.reason,
            created_unix_ms: pod.created_unix_ms,
            delete_by_unix_ms: pod.delete_by_unix_ms,
            finalizers: pod.finalizers,
            owner: pod.owner,
            containers: list(pod.containers),
            attributes: pod.attributes,
        }
    }
}

impl From<plain::StatusObject> for kube::StatusObject {
    fn from(object: plain::StatusObject) -> Self {
        Self {
            namespace: object.namespace,
            name: object.name,
            created_unix_ms: object.created_unix_ms,
            generation: object.generation,
            observed_generation: object.observed_generation,
            suspended: object.suspended,
            conditions: list(object.conditions),
            attributes: object.attributes,
        }
    }
}

impl From<CapError> for types::Error {
    fn from(error: CapError) -> Self {
        match error {
            CapError::Denied(text) => Self::Denied(text),
            CapError::Timeout => Self::Timeout,
            CapError::TooLarge(text) => Self::TooLarge(text),
            CapError::Unavailable(text) => Self::Unavailable(text),
            CapError::Other(text) => Self::Other(text),
        }
    }
}

/// An answer, an error that the plugin sees, or the end of its run.
type Answer<T> = wasmtime::Result<Result<T, types::Error>>;

fn list<A: Into<B>, B>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(Into::into).collect()
}

/// A broker in another process may be of another version.
fn mismatched() -> types::Error {
    types::Error::Other("the agent answered another question; please report this".to_owned())
}

/// Asks, and takes the one variant that answers this request.
macro_rules! ask {
    ($self:ident, $request:expr, $variant:pat => $value:expr) => {
        match $self.ask($request).await? {
            Ok($variant) => Ok(Ok($value)),
            #[allow(unreachable_patterns, reason = "one arm for every kind of request")]
            Ok(_) => Ok(Err(mismatched())),
            Err(error) => Ok(Err(error.into())),
        }
    };
}

impl types::Host for RunState {}

impl log::Host for RunState {
    async fn write(&mut self, level: String, message: String) -> wasmtime::Result<()> {
        self.count_call()?;
        let level = match level.as_str() {
            "debug" => LogLevel::Debug,
            "warn" => LogLevel::Warn,
            "error" => LogLevel::Error,
            _ => LogLevel::Info,
        };
        self.write_log(level, &message);
        Ok(())
    }
}

impl net::Host for RunState {
    async fn tcp_connect(
        &mut self,
        host: String,
        port: u16,
        timeout_ms: u32,
    ) -> Answer<net::ConnectOutcome> {
        ask!(self, Request::TcpConnect { host, port, timeout_ms }, Response::Connect(outcome) => outcome.into())
    }

    async fn ping(
        &mut self,
        host: String,
        count: u32,
        timeout_ms: u32,
        payload_bytes: u32,
        dont_fragment: bool,
    ) -> Answer<net::PingOutcome> {
        let request = Request::Ping {
            host,
            count,
            timeout_ms,
            payload_bytes,
            dont_fragment,
        };
        ask!(self, request, Response::Ping(outcome) => outcome.into())
    }

    async fn unix_connect(&mut self, path: String, timeout_ms: u32) -> Answer<net::ConnectOutcome> {
        ask!(self, Request::UnixConnect { path, timeout_ms }, Response::Connect(outcome) => outcome.into())
    }
}

impl dns::Host for RunState {
    async fn query(&mut self, question: dns::Question) -> Answer<dns::Answer> {
        ask!(self, Request::DnsQuery(question.into()), Response::Dns(answer) => answer.into())
    }
}

impl http::Host for RunState {
    async fn send(&mut self, request: http::Request) -> Answer<http::Response> {
        ask!(self, Request::HttpSend(request.into()), Response::Http(response) => response.into())
    }
}

impl services::Host for RunState {
    async fn status(&mut self, unit: String) -> Answer<services::Unit> {
        ask!(self, Request::ServiceStatus { unit }, Response::Unit(unit) => unit.into())
    }

    async fn journal(
        &mut self,
        unit: String,
        max_lines: u32,
        max_age_ms: u64,
    ) -> Answer<Vec<services::JournalLine>> {
        let request = Request::ServiceJournal {
            unit,
            max_lines,
            max_age_ms,
        };
        ask!(self, request, Response::Journal(lines) => list(lines))
    }

    async fn restart(&mut self, unit: String, timeout_ms: u32) -> Answer<String> {
        ask!(self, Request::ServiceJob { unit, job: Job::Restart, timeout_ms }, Response::JobResult(result) => result)
    }

    async fn start(&mut self, unit: String, timeout_ms: u32) -> Answer<String> {
        ask!(self, Request::ServiceJob { unit, job: Job::Start, timeout_ms }, Response::JobResult(result) => result)
    }

    async fn stop(&mut self, unit: String, timeout_ms: u32) -> Answer<String> {
        ask!(self, Request::ServiceJob { unit, job: Job::Stop, timeout_ms }, Response::JobResult(result) => result)
    }
}

impl scripts::Host for RunState {
    async fn run(&mut self, name: String, timeout_ms: u32) -> Answer<scripts::ScriptOutcome> {
        ask!(self, Request::ScriptRun { name, timeout_ms }, Response::Script(outcome) => outcome.into())
    }
}

impl host::Host for RunState {
    async fn info(&mut self) -> Answer<host::Facts> {
        ask!(self, Request::HostInfo, Response::Facts(facts) => facts.into())
    }

    async fn disks(&mut self) -> Answer<Vec<host::Disk>> {
        ask!(self, Request::HostDisks, Response::Disks(disks) => list(disks))
    }

    async fn routes(&mut self) -> Answer<Vec<host::Route>> {
        ask!(self, Request::HostRoutes, Response::Routes(routes) => list(routes))
    }

    async fn links(&mut self) -> Answer<Vec<host::Link>> {
        ask!(self, Request::HostLinks, Response::Links(links) => list(links))
    }

    async fn resolvers(&mut self) -> Answer<Vec<String>> {
        ask!(self, Request::HostResolvers, Response::Resolvers(resolvers) => resolvers)
    }

    async fn peers(&mut self) -> Answer<Vec<(String, String)>> {
        ask!(self, Request::HostPeers, Response::Peers(peers) => peers)
    }

    /// Answered here: it has no way to say no, and tells nothing about the host.
    async fn monotonic_us(&mut self) -> wasmtime::Result<u64> {
        self.count_call()?;
        Ok(u64::try_from(process_start().elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Answered here too: a pause is the plugin's own time, and no slot for host calls is held while it lasts.
    async fn pause_ms(&mut self, ms: u32) -> wasmtime::Result<()> {
        self.count_call()?;
        tokio::time::sleep(Duration::from_millis(u64::from(ms.min(PAUSE_MS_MAX)))).await;
        Ok(())
    }

    /// As [`Self::monotonic_us`].
    async fn random(&mut self) -> wasmtime::Result<u64> {
        self.count_call()?;
        getrandom::u64().map_err(|error| {
            wasmtime::Error::msg(format!("no random numbers on this host: {error}"))
        })
    }
}

/// The zero of the plugins' clock; any fixed moment would do.
fn process_start() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}

impl files::Host for RunState {
    async fn stat(&mut self, path: String) -> Answer<files::FileStat> {
        ask!(self, Request::FileStat { path }, Response::Stat(stat) => stat.into())
    }

    async fn read(&mut self, path: String, offset: u64, max_bytes: u32) -> Answer<files::Chunk> {
        ask!(self, Request::FileRead { path, offset, max_bytes }, Response::Chunk(chunk) => chunk.into())
    }
}

impl kube::Host for RunState {
    async fn pods_here(&mut self, namespace: String, selector: String) -> Answer<Vec<kube::Pod>> {
        ask!(self, Request::KubePodsHere { namespace, selector }, Response::Pods(pods) => list(pods))
    }

    async fn delete_pod(&mut self, namespace: String, name: String, uid: String) -> Answer<()> {
        ask!(self, Request::KubeDeletePod { namespace, name, uid }, Response::Done => ())
    }

    async fn get_service(&mut self, namespace: String, name: String) -> Answer<kube::Service> {
        ask!(self, Request::KubeGetService { namespace, name }, Response::Service(service) => service.into())
    }

    async fn get_endpoints(
        &mut self,
        namespace: String,
        name: String,
    ) -> Answer<Vec<kube::Endpoint>> {
        ask!(self, Request::KubeGetEndpoints { namespace, name }, Response::Endpoints(endpoints) => list(endpoints))
    }

    async fn pod_states_here(&mut self, namespace: String) -> Answer<Vec<kube::PodState>> {
        ask!(self, Request::KubePodStatesHere { namespace }, Response::PodStates(pods) => list(pods))
    }

    async fn workloads_here(&mut self, namespace: String) -> Answer<Vec<kube::Workload>> {
        ask!(self, Request::KubeWorkloadsHere { namespace }, Response::Workloads(found) => list(found))
    }

    async fn env_urls_here(&mut self, namespace: String) -> Answer<Vec<kube::EnvUrl>> {
        ask!(self, Request::KubeEnvUrlsHere { namespace }, Response::EnvUrls(urls) => list(urls))
    }

    async fn conditions(
        &mut self,
        group: String,
        version: String,
        resource: String,
        namespace: String,
    ) -> Answer<Vec<kube::StatusObject>> {
        let request = Request::KubeConditions {
            group,
            version,
            resource,
            namespace,
        };
        ask!(self, request, Response::StatusObjects(objects) => list(objects))
    }
}

impl state::Host for RunState {
    async fn get(&mut self, key: String) -> Answer<Option<Vec<u8>>> {
        ask!(self, Request::StateGet { key }, Response::Value(value) => value)
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Answer<()> {
        ask!(self, Request::StateSet { key, value }, Response::Done => ())
    }

    async fn delete(&mut self, key: String) -> Answer<()> {
        ask!(self, Request::StateDelete { key }, Response::Done => ())
    }
}
