//! A scripted host for a plugin's own tests.
//!
//! Every call is written as a line, such as `tcp 10.0.0.1:6443`, `ping 10.0.0.1 56`, `dns 10.43.0.10:53 udp A example.com.`,
//! `GET http://127.0.0.1:10248/healthz` or `restart k3s-agent.service`. An answer is scripted for a line, or for a beginning that ends in
//! `*`; of several that match, the one scripted last counts. Answers given for one line are used in turn, and the last one stays.
//! What is not scripted is [`Error::Unavailable`], so that a forgotten answer is seen. No call waits: the clock is moved instead.

mod run;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::Error;
use crate::capability::{
    Answer, Chunk, ConnectOutcome, Control, CustomResource, Disk, Dns, Endpoint, EnvUrl, Facts,
    FileStat, Files, Host, Http, JournalLine, Kube, Link, Log, Net, Ping, PingOutcome, Pod,
    PodControl, PodState, Question, Request, Response, Route, ScriptOutcome, Scripts, Service,
    Services, State, StatusObject, Unit, Workload, Workloads,
};

pub use run::{check, chunk, config, file_stat, lines, response, with_header};

/// The wall clock of a new [`MockHost`], in milliseconds since the Unix epoch.
pub const START_UNIX_MS: u64 = 1_800_000_000_000;

/// What is still to be answered to one line.
type Queue<T> = VecDeque<Result<T, Error>>;

/// Answers by line, the latest last.
#[derive(Debug)]
struct Script<T> {
    answers: RefCell<Vec<(String, Queue<T>)>>,
}

impl<T> Default for Script<T> {
    fn default() -> Self {
        Self {
            answers: RefCell::new(Vec::new()),
        }
    }
}

impl<T: Clone> Script<T> {
    fn add(&self, line: String, answers: impl IntoIterator<Item = Result<T, Error>>) {
        self.answers
            .borrow_mut()
            .push((line, answers.into_iter().collect()));
    }

    fn answer(&self, line: &str) -> Result<T, Error> {
        let mut answers = self.answers.borrow_mut();
        let queue = answers
            .iter_mut()
            .rev()
            .find(|(pattern, _)| matches(pattern, line))
            .map(|(_, queue)| queue);
        match queue {
            Some(queue) if queue.len() > 1 => queue.pop_front(),
            Some(queue) => queue.front().cloned(),
            None => None,
        }
        .unwrap_or_else(|| {
            Err(Error::Unavailable(format!(
                "no answer is scripted for `{line}`"
            )))
        })
    }
}

fn matches(pattern: &str, line: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == line, |start| line.starts_with(start))
}

/// A host that answers from a script and remembers what it was asked.
#[derive(Debug, Default)]
pub struct MockHost {
    connects: Script<ConnectOutcome>,
    pings: Script<PingOutcome>,
    dns: Script<Answer>,
    http: Script<Response>,
    units: Script<Unit>,
    journals: Script<Vec<JournalLine>>,
    jobs: Script<String>,
    scripts: Script<ScriptOutcome>,
    facts: Script<Facts>,
    disks: Script<Vec<Disk>>,
    routes: Script<Vec<Route>>,
    links: Script<Vec<Link>>,
    resolvers: Script<Vec<String>>,
    peers: Script<Vec<(String, String)>>,
    stats: Script<FileStat>,
    chunks: Script<Chunk>,
    pods: Script<Vec<Pod>>,
    deletions: Script<()>,
    services: Script<Service>,
    endpoints: Script<Vec<Endpoint>>,
    pod_states: Script<Vec<PodState>>,
    workloads: Script<Vec<Workload>>,
    env_urls: Script<Vec<EnvUrl>>,
    conditions: Script<Vec<StatusObject>>,
    state: RefCell<BTreeMap<String, Vec<u8>>>,
    state_broken: Cell<bool>,
    durations: Vec<(String, Duration)>,
    calls: RefCell<Vec<String>>,
    requests: RefCell<Vec<Request>>,
    clock_us: Cell<u64>,
    random: Cell<u64>,
}

macro_rules! scripted {
    ($($(#[$doc:meta])* $method:ident, $field:ident: $answer:ty;)*) => {
        impl MockHost {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $method(self, line: impl Into<String>, answers: impl IntoIterator<Item = Result<$answer, Error>>) -> Self {
                    self.$field.add(line.into(), answers);
                    self
                }
            )*
        }
    };
}

scripted! {
    /// `tcp HOST:PORT` or `unix PATH`.
    on_connect, connects: ConnectOutcome;
    /// `ping HOST PAYLOAD`, followed by ` df` when it must not be split.
    on_ping, pings: PingOutcome;
    /// `dns SERVER:PORT TRANSPORT TYPE NAME`.
    on_dns, dns: Answer;
    /// `METHOD URL`.
    on_http, http: Response;
    /// `status UNIT`.
    on_status, units: Unit;
    /// `journal UNIT`.
    on_journal, journals: Vec<JournalLine>;
    /// `restart UNIT`, `start UNIT` or `stop UNIT`.
    on_job, jobs: String;
    /// `script NAME`.
    on_script, scripts: ScriptOutcome;
    /// `info`; without a script the host answers with its own clock.
    on_info, facts: Facts;
    /// `disks`.
    on_disks, disks: Vec<Disk>;
    /// `routes`.
    on_routes, routes: Vec<Route>;
    /// `links`.
    on_links, links: Vec<Link>;
    /// `resolvers`.
    on_resolvers, resolvers: Vec<String>;
    /// `peers`.
    on_peers, peers: Vec<(String, String)>;
    /// `stat PATH`.
    on_stat, stats: FileStat;
    /// `read PATH`.
    on_read, chunks: Chunk;
    /// `pods NAMESPACE SELECTOR`.
    on_pods, pods: Vec<Pod>;
    /// `delete-pod NAMESPACE NAME UID`.
    on_delete_pod, deletions: ();
    /// `service NAMESPACE NAME`.
    on_service, services: Service;
    /// `endpoints NAMESPACE NAME`.
    on_endpoints, endpoints: Vec<Endpoint>;
    /// `pod-states NAMESPACE`.
    on_pod_states, pod_states: Vec<PodState>;
    /// `workloads NAMESPACE`.
    on_workloads, workloads: Vec<Workload>;
    /// `env-urls NAMESPACE`.
    on_env_urls, env_urls: Vec<EnvUrl>;
    /// `conditions GROUP/VERSION RESOURCE NAMESPACE`.
    on_conditions, conditions: Vec<StatusObject>;
}

impl MockHost {
    /// A host that has no answer yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls that match take so long; others take a millisecond.
    #[must_use]
    pub fn takes(mut self, line: impl Into<String>, time: Duration) -> Self {
        self.durations.push((line.into(), time));
        self
    }

    /// What `state` holds before the run.
    #[must_use]
    pub fn with_state(self, key: &str, value: &[u8]) -> Self {
        self.state
            .borrow_mut()
            .insert(key.to_owned(), value.to_vec());
        self
    }

    /// `state` answers only errors.
    #[must_use]
    pub fn with_broken_state(self) -> Self {
        self.state_broken.set(true);
        self
    }

    /// What `state` holds now.
    #[must_use]
    pub fn state(&self, key: &str) -> Option<Vec<u8>> {
        self.state.borrow().get(key).cloned()
    }

    /// Every call so far, as lines.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.calls.borrow().clone()
    }

    /// The calls that begin so.
    #[must_use]
    pub fn calls_to(&self, start: &str) -> Vec<String> {
        self.calls
            .borrow()
            .iter()
            .filter(|line| line.starts_with(start))
            .cloned()
            .collect()
    }

    /// Every HTTP request so far, with its headers.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.borrow().clone()
    }

    /// Time goes by between two runs.
    pub fn advance(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.clock_us.set(self.clock_us.get().saturating_add(us));
    }

    /// The wall clock.
    #[must_use]
    pub fn now_unix_ms(&self) -> u64 {
        START_UNIX_MS + self.clock_us.get() / 1000
    }

    fn called(&self, line: String) -> String {
        let took = self
            .durations
            .iter()
            .rev()
            .find(|(pattern, _)| matches(pattern, &line));
        self.advance(took.map_or(Duration::from_millis(1), |(_, time)| *time));
        self.calls.borrow_mut().push(line.clone());
        line
    }

    fn state_call(&self, line: String) -> Result<(), Error> {
        self.called(line);
        if self.state_broken.get() {
            Err(Error::Other("the disk is full".to_owned()))
        } else {
            Ok(())
        }
    }
}

impl Log for MockHost {
    fn log(&self, level: &str, message: &str) {
        self.called(format!("log {level} {message}"));
    }
}

impl Net for MockHost {
    fn tcp_connect(
        &self,
        host: &str,
        port: u16,
        _timeout: Duration,
    ) -> Result<ConnectOutcome, Error> {
        self.connects
            .answer(&self.called(format!("tcp {host}:{port}")))
    }

    fn ping(&self, host: &str, ping: Ping) -> Result<PingOutcome, Error> {
        let df = if ping.dont_fragment { " df" } else { "" };
        self.pings
            .answer(&self.called(format!("ping {host} {}{df}", ping.payload_bytes)))
    }

    fn unix_connect(&self, path: &str, _timeout: Duration) -> Result<ConnectOutcome, Error> {
        self.connects.answer(&self.called(format!("unix {path}")))
    }
}

impl Dns for MockHost {
    fn query(&self, question: &Question) -> Result<Answer, Error> {
        let Question {
            server,
            port,
            name,
            record_type,
            transport,
            ..
        } = question;
        self.dns.answer(&self.called(format!(
            "dns {server}:{port} {transport} {record_type} {name}"
        )))
    }
}

impl Http for MockHost {
    fn send(&self, request: &Request) -> Result<Response, Error> {
        self.requests.borrow_mut().push(request.clone());
        self.http
            .answer(&self.called(format!("{} {}", request.method, request.url)))
    }
}

impl Services for MockHost {
    fn status(&self, unit: &str) -> Result<Unit, Error> {
        self.units.answer(&self.called(format!("status {unit}")))
    }

    fn journal(
        &self,
        unit: &str,
        _max_lines: u32,
        _max_age: Duration,
    ) -> Result<Vec<JournalLine>, Error> {
        self.journals
            .answer(&self.called(format!("journal {unit}")))
    }
}

impl Control for MockHost {
    fn restart(&self, unit: &str, _timeout: Duration) -> Result<String, Error> {
        self.jobs.answer(&self.called(format!("restart {unit}")))
    }

    fn start(&self, unit: &str, _timeout: Duration) -> Result<String, Error> {
        self.jobs.answer(&self.called(format!("start {unit}")))
    }

    fn stop(&self, unit: &str, _timeout: Duration) -> Result<String, Error> {
        self.jobs.answer(&self.called(format!("stop {unit}")))
    }
}

impl Scripts for MockHost {
    fn run(&self, name: &str, _timeout: Duration) -> Result<ScriptOutcome, Error> {
        self.scripts.answer(&self.called(format!("script {name}")))
    }
}

impl Host for MockHost {
    fn info(&self) -> Result<Facts, Error> {
        let line = self.called("info".to_owned());
        if !self.facts.answers.borrow().is_empty() {
            return self.facts.answer(&line);
        }
        Ok(Facts {
            hostname: "styx".to_owned(),
            node: "styx".to_owned(),
            kernel: "6.8.0".to_owned(),
            os: "Ubuntu 24.04".to_owned(),
            uptime_ms: 3_600_000,
            now_unix_ms: self.now_unix_ms(),
            cpus: 2,
            load1_milli: 100,
            memory_total_bytes: 8 << 30,
            memory_available_bytes: 4 << 30,
            attributes: Vec::new(),
        })
    }

    fn disks(&self) -> Result<Vec<Disk>, Error> {
        self.disks.answer(&self.called("disks".to_owned()))
    }

    fn routes(&self) -> Result<Vec<Route>, Error> {
        self.routes.answer(&self.called("routes".to_owned()))
    }

    fn links(&self) -> Result<Vec<Link>, Error> {
        self.links.answer(&self.called("links".to_owned()))
    }

    fn resolvers(&self) -> Result<Vec<String>, Error> {
        self.resolvers.answer(&self.called("resolvers".to_owned()))
    }

    fn peers(&self) -> Result<Vec<(String, String)>, Error> {
        self.peers.answer(&self.called("peers".to_owned()))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.clock_us.get())
    }

    fn pause(&self, time: Duration) {
        self.advance(time.min(Duration::from_secs(1)));
        self.called("pause".to_owned());
    }

    fn random(&self) -> u64 {
        self.random.set(self.random.get() + 1);
        self.random.get()
    }
}

impl Files for MockHost {
    fn stat(&self, path: &str) -> Result<FileStat, Error> {
        self.stats.answer(&self.called(format!("stat {path}")))
    }

    fn read(&self, path: &str, _offset: u64, _max_bytes: u32) -> Result<Chunk, Error> {
        self.chunks.answer(&self.called(format!("read {path}")))
    }
}

impl Kube for MockHost {
    fn pods_here(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>, Error> {
        self.pods
            .answer(&self.called(format!("pods {namespace} {selector}")))
    }

    fn service(&self, namespace: &str, name: &str) -> Result<Service, Error> {
        self.services
            .answer(&self.called(format!("service {namespace} {name}")))
    }

    fn endpoints(&self, namespace: &str, name: &str) -> Result<Vec<Endpoint>, Error> {
        self.endpoints
            .answer(&self.called(format!("endpoints {namespace} {name}")))
    }
}

impl Workloads for MockHost {
    fn pod_states(&self, namespace: &str) -> Result<Vec<PodState>, Error> {
        self.pod_states
            .answer(&self.called(format!("pod-states {namespace}")))
    }

    fn workloads(&self, namespace: &str) -> Result<Vec<Workload>, Error> {
        self.workloads
            .answer(&self.called(format!("workloads {namespace}")))
    }

    fn env_urls(&self, namespace: &str) -> Result<Vec<EnvUrl>, Error> {
        self.env_urls
            .answer(&self.called(format!("env-urls {namespace}")))
    }

    fn conditions(
        &self,
        of: CustomResource<'_>,
        namespace: &str,
    ) -> Result<Vec<StatusObject>, Error> {
        let CustomResource {
            group,
            version,
            resource,
        } = of;
        self.conditions.answer(&self.called(format!(
            "conditions {group}/{version} {resource} {namespace}"
        )))
    }
}

impl PodControl for MockHost {
    fn delete_pod(&self, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
        self.deletions
            .answer(&self.called(format!("delete-pod {namespace} {name} {uid}")))
    }
}

impl State for MockHost {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.state_call(format!("state get {key}"))?;
        Ok(self.state(key))
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.state_call(format!("state set {key}"))?;
        self.state
            .borrow_mut()
            .insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), Error> {
        self.state_call(format!("state delete {key}"))?;
        self.state.borrow_mut().remove(key);
        Ok(())
    }
}

/// A TCP or Unix connect that ended so.
#[must_use]
pub fn connect(outcome: &str, elapsed: Duration) -> ConnectOutcome {
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    ConnectOutcome {
        outcome: outcome.to_owned(),
        address: String::new(),
        elapsed_us,
        detail: String::new(),
    }
}

/// Echo requests, `received` of `sent` answered after `rtt`.
#[must_use]
pub fn ping(sent: u32, received: u32, rtt: Duration) -> PingOutcome {
    let us = if received == 0 {
        0
    } else {
        u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)
    };
    PingOutcome {
        sent,
        received,
        rtt_min_us: us,
        rtt_avg_us: us,
        rtt_max_us: us,
        method: "icmp-raw".to_owned(),
        outcome: if received == 0 { "timeout" } else { "ok" }.to_owned(),
        address: String::new(),
    }
}

/// An answer with this rcode and these records.
#[must_use]
pub fn answer(rcode: &str, records: &[&str]) -> Answer {
    Answer {
        rcode: rcode.to_owned(),
        records: records.iter().map(|record| (*record).to_owned()).collect(),
        truncated: false,
        authoritative: false,
        elapsed_us: 800,
    }
}

/// A unit in this state, for ten hours.
#[must_use]
pub fn unit(name: &str, active_state: &str, sub_state: &str) -> Unit {
    Unit {
        name: name.to_owned(),
        load_state: "loaded".to_owned(),
        active_state: active_state.to_owned(),
        sub_state: sub_state.to_owned(),
        last_result: "success".to_owned(),
        restarts: 0,
        in_state_ms: Some(36_000_000),
        main_pid: 4711,
        exit_status: 0,
        attributes: Vec::new(),
    }
}
