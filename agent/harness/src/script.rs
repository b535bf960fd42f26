//! The scripted rights and names behind the broker.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use iaso_host::types::{
    Chunk, ConnectOutcome, Disk, DnsAnswer, Endpoint, Facts, HttpResponse, JournalLine, Link,
    PingOutcome, Pod, Route, ScriptOutcome, Service, Stat, Unit,
};
use iaso_host::{
    CallContext, CapError, Capabilities, DnsCall, HttpCall, Job, PingCall, Resolver, Response,
};

use crate::answer::facts;
use crate::fixture::Fixture;
use crate::line::matches;

/// Names without an address in the fixture get one of this network, which is nobody's.
const NAMES_NETWORK: [u8; 3] = [203, 0, 113];

type Answers = VecDeque<Result<Response, CapError>>;

/// What is still to be answered, and what was asked in vain.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    /// By line or beginning; of several that match, the exact one, else the longest.
    answers: Vec<(String, Answers)>,
    /// The line of the call under way: a plugin makes one at a time.
    pub(crate) line: String,
    pub(crate) unscripted: Vec<String>,
    state: Option<Vec<u8>>,
}

/// The script of one run, shared by the rights and whoever looks afterwards.
#[derive(Debug, Clone)]
pub(crate) struct Script(Arc<Mutex<Inner>>);

impl Script {
    pub(crate) fn new(fixture: &Fixture) -> Self {
        let mut answers: Vec<(String, Answers)> = Vec::new();
        for (line, answer) in &fixture.answers {
            match answers.iter_mut().find(|(known, _)| known == line) {
                Some((_, queue)) => queue.push_back(answer.clone()),
                None => answers.push((line.clone(), VecDeque::from([answer.clone()]))),
            }
        }
        Self(Arc::new(Mutex::new(Inner {
            answers,
            ..Inner::default()
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to the call under way. Answers to one line are used in turn, and the last one stays.
    fn take(&self) -> Result<Response, CapError> {
        let mut inner = self.lock();
        let line = inner.line.clone();
        let best = inner
            .answers
            .iter_mut()
            .filter(|(pattern, _)| matches(pattern, &line))
            .max_by_key(|(pattern, _)| (*pattern == line, pattern.len()));
        let answer = match best {
            Some((_, queue)) if queue.len() > 1 => queue.pop_front(),
            Some((_, queue)) => queue.front().cloned(),
            None => None,
        };
        answer.unwrap_or_else(|| {
            if line == "info" {
                return Ok(Response::Facts(facts()));
            }
            let why = format!("no answer is scripted for `{line}`");
            inner.unscripted.push(line);
            Err(CapError::Unavailable(why))
        })
    }
}

/// Takes the one variant that answers this call.
macro_rules! take {
    ($script:expr, $variant:pat => $value:expr) => {
        match $script.take() {
            Ok($variant) => Ok($value),
            #[allow(unreachable_patterns, reason = "one arm for every kind of call")]
            Ok(_) => Err(CapError::Other(
                "the script answers another call".to_owned(),
            )),
            Err(error) => Err(error),
        }
    };
}

#[async_trait]
impl Capabilities for Script {
    async fn tcp_connect(
        &self,
        _: &CallContext,
        _: SocketAddr,
        _: Duration,
    ) -> Result<ConnectOutcome, CapError> {
        take!(self, Response::Connect(it) => it)
    }

    async fn ping(&self, _: &CallContext, _: PingCall) -> Result<PingOutcome, CapError> {
        take!(self, Response::Ping(it) => it)
    }

    async fn unix_connect(
        &self,
        _: &CallContext,
        _: &Path,
        _: Duration,
    ) -> Result<ConnectOutcome, CapError> {
        take!(self, Response::Connect(it) => it)
    }

    async fn dns_query(&self, _: &CallContext, _: DnsCall) -> Result<DnsAnswer, CapError> {
        take!(self, Response::Dns(it) => it)
    }

    async fn http_send(&self, _: &CallContext, call: HttpCall) -> Result<HttpResponse, CapError> {
        let mut response = take!(self, Response::Http(it) => it)?;
        // As the real one: the body is cut to what was asked for.
        let most = usize::try_from(call.max_bytes).unwrap_or(usize::MAX);
        response.truncated |= response.body.len() > most;
        response.body.truncate(most);
        Ok(response)
    }

    async fn service_status(&self, _: &CallContext, _: &str) -> Result<Unit, CapError> {
        take!(self, Response::Unit(it) => it)
    }

    async fn service_journal(
        &self,
        _: &CallContext,
        _: &str,
        max_lines: u32,
        _: Duration,
    ) -> Result<Vec<JournalLine>, CapError> {
        let mut lines = take!(self, Response::Journal(it) => it)?;
        let most = usize::try_from(max_lines).unwrap_or(usize::MAX);
        lines.drain(..lines.len().saturating_sub(most));
        Ok(lines)
    }

    async fn service_job(
        &self,
        _: &CallContext,
        _: &str,
        _: Job,
        _: Duration,
    ) -> Result<String, CapError> {
        take!(self, Response::JobResult(it) => it)
    }

    async fn script_run(
        &self,
        _: &CallContext,
        _: &str,
        _: Duration,
    ) -> Result<ScriptOutcome, CapError> {
        take!(self, Response::Script(it) => it)
    }

    async fn host_info(&self, _: &CallContext) -> Result<Facts, CapError> {
        take!(self, Response::Facts(it) => it)
    }

    async fn host_disks(&self, _: &CallContext) -> Result<Vec<Disk>, CapError> {
        take!(self, Response::Disks(it) => it)
    }

    async fn host_routes(&self, _: &CallContext) -> Result<Vec<Route>, CapError> {
        take!(self, Response::Routes(it) => it)
    }

    async fn host_links(&self, _: &CallContext) -> Result<Vec<Link>, CapError> {
        take!(self, Response::Links(it) => it)
    }

    async fn host_resolvers(&self, _: &CallContext) -> Result<Vec<String>, CapError> {
        take!(self, Response::Resolvers(it) => it)
    }

    async fn host_peers(&self, _: &CallContext) -> Result<Vec<(String, String)>, CapError> {
        take!(self, Response::Peers(it) => it)
    }

    async fn file_stat(&self, _: &CallContext, _: &Path) -> Result<Stat, CapError> {
        take!(self, Response::Stat(it) => it)
    }

    async fn file_read(
        &self,
        _: &CallContext,
        _: &Path,
        offset: u64,
        max_bytes: u32,
    ) -> Result<Chunk, CapError> {
        let mut chunk = take!(self, Response::Chunk(it) => it)?;
        // An answer scripted for the whole file is read part by part; one for an offset is that part.
        if !self.lock().line.ends_with(&format!(" {offset}")) {
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            chunk.data.drain(..skip.min(chunk.data.len()));
        }
        let most = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        chunk.truncated |= chunk.data.len() > most;
        chunk.data.truncate(most);
        Ok(chunk)
    }

    async fn kube_pods_here(
        &self,
        _: &CallContext,
        _: &str,
        _: &str,
    ) -> Result<Vec<Pod>, CapError> {
        take!(self, Response::Pods(it) => it)
    }

    async fn kube_delete_pod(
        &self,
        _: &CallContext,
        _: &str,
        _: &str,
        _: &str,
    ) -> Result<(), CapError> {
        take!(self, Response::Done => ())
    }

    async fn kube_get_service(
        &self,
        _: &CallContext,
        _: &str,
        _: &str,
    ) -> Result<Service, CapError> {
        take!(self, Response::Service(it) => it)
    }

    async fn kube_get_endpoints(
        &self,
        _: &CallContext,
        _: &str,
        _: &str,
    ) -> Result<Vec<Endpoint>, CapError> {
        take!(self, Response::Endpoints(it) => it)
    }

    async fn state_load(&self, _: &CallContext) -> Result<Option<Vec<u8>>, CapError> {
        Ok(self.lock().state.clone())
    }

    async fn state_save(&self, _: &CallContext, state: &[u8]) -> Result<(), CapError> {
        self.lock().state = Some(state.to_vec());
        Ok(())
    }
}

/// Scripted names, and paths without links.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(pub(crate) BTreeMap<String, IpAddr>);

#[async_trait]
impl Resolver for Names {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, CapError> {
        let plain = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(address) = self.0.get(&plain) {
            return Ok(vec![*address]);
        }
        // The same name, the same address, in every run.
        let sum = plain
            .bytes()
            .fold(1_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        let [a, b, c] = NAMES_NETWORK;
        Ok(vec![Ipv4Addr::new(a, b, c, sum.max(1)).into()])
    }

    async fn real_path(&self, path: &Path) -> Result<PathBuf, CapError> {
        Ok(path.to_owned())
    }
}
