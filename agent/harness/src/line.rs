//! A host call as a line, in the words that the SDK's scripted host uses too.

use iaso_host::{Job, Request};

/// The line: `tcp 10.0.0.1:6443`, `GET http://127.0.0.1/healthz`, `read /proc/loadavg`.
#[must_use]
pub fn line_of(request: &Request) -> String {
    match request {
        Request::TcpConnect { host, port, .. } => format!("tcp {host}:{port}"),
        Request::UnixConnect { path, .. } => format!("unix {path}"),
        Request::Ping {
            host,
            payload_bytes,
            dont_fragment,
            ..
        } => {
            let df = if *dont_fragment { " df" } else { "" };
            format!("ping {host} {payload_bytes}{df}")
        }
        Request::DnsQuery(q) => format!(
            "dns {}:{} {} {} {}",
            q.server, q.port, q.transport, q.record_type, q.name
        ),
        Request::HttpSend(request) => format!("{} {}", request.method, request.url),
        Request::ServiceStatus { unit } => format!("status {unit}"),
        Request::ServiceJournal { unit, .. } => format!("journal {unit}"),
        Request::ServiceJob { unit, job, .. } => {
            let job = match job {
                Job::Restart => "restart",
                Job::Start => "start",
                Job::Stop => "stop",
            };
            format!("{job} {unit}")
        }
        Request::ScriptRun { name, .. } => format!("script {name}"),
        Request::HostInfo => "info".to_owned(),
        Request::HostDisks => "disks".to_owned(),
        Request::HostRoutes => "routes".to_owned(),
        Request::HostLinks => "links".to_owned(),
        Request::HostResolvers => "resolvers".to_owned(),
        Request::HostPeers => "peers".to_owned(),
        Request::FileStat { path } => format!("stat {path}"),
        Request::FileRead { path, offset, .. } if *offset > 0 => format!("read {path} {offset}"),
        Request::FileRead { path, .. } => format!("read {path}"),
        Request::KubePodsHere {
            namespace,
            selector,
        } => format!("pods {namespace} {selector}"),
        Request::KubeDeletePod {
            namespace,
            name,
            uid,
        } => format!("delete-pod {namespace} {name} {uid}"),
        Request::KubeGetService { namespace, name } => format!("service {namespace} {name}"),
        Request::KubeGetEndpoints { namespace, name } => format!("endpoints {namespace} {name}"),
        Request::KubePodStatesHere { namespace } => format!("pod-states {namespace}"),
        Request::KubeWorkloadsHere { namespace } => format!("workloads {namespace}"),
        Request::KubeEnvUrlsHere { namespace } => format!("env-urls {namespace}"),
        Request::KubeConditions {
            group,
            version,
            resource,
            namespace,
        } => format!("conditions {namespace} {resource}.{group}/{version}"),
        Request::StateGet { key } => format!("state get {key}"),
        Request::StateSet { key, .. } => format!("state set {key}"),
        Request::StateDelete { key } => format!("state delete {key}"),
    }
}

/// What kind of answer a line wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Ping,
    Dns,
    Http,
    Unit,
    Journal,
    Job,
    Script,
    Facts,
    Disks,
    Routes,
    Links,
    Resolvers,
    Peers,
    Stat,
    Chunk,
    Pods,
    Done,
    Service,
    Endpoints,
    PodStates,
    Workloads,
    EnvUrls,
    Conditions,
}

/// The words that begin a line, for whoever misspelt one.
pub(crate) const WORDS: &str = "tcp, unix, ping, dns, GET (or another method), status, journal, restart, start, stop, script, info, disks, \
     routes, links, resolvers, peers, stat, read, pods, delete-pod, service, endpoints, pod-states, workloads, env-urls, conditions";

impl Kind {
    /// Of a line or a pattern; none when no call begins so.
    pub(crate) fn of(line: &str) -> Option<Self> {
        let word = line.trim_end_matches('*').split(' ').next()?;
        Some(match word {
            "tcp" | "unix" => Self::Connect,
            "ping" => Self::Ping,
            "dns" => Self::Dns,
            "status" => Self::Unit,
            "journal" => Self::Journal,
            "restart" | "start" | "stop" => Self::Job,
            "script" => Self::Script,
            "info" => Self::Facts,
            "disks" => Self::Disks,
            "routes" => Self::Routes,
            "links" => Self::Links,
            "resolvers" => Self::Resolvers,
            "peers" => Self::Peers,
            "stat" => Self::Stat,
            "read" => Self::Chunk,
            "pods" => Self::Pods,
            "delete-pod" => Self::Done,
            "service" => Self::Service,
            "endpoints" => Self::Endpoints,
            "pod-states" => Self::PodStates,
            "workloads" => Self::Workloads,
            "env-urls" => Self::EnvUrls,
            "conditions" => Self::Conditions,
            method if is_method(method) => Self::Http,
            _ => return None,
        })
    }
}

fn is_method(word: &str) -> bool {
    !word.is_empty() && word.len() <= 16 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Whether a pattern, which may end in `*`, is for this line.
pub(crate) fn matches(pattern: &str, line: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == line, |start| line.starts_with(start))
}
