//! Between a plugin's request and a right: grants are checked, names resolved once, paths made real, numbers brought into range.
//!
//! **Invariants**
//! - No capability is called for what the phase's grants do not cover; a plugin without grants is denied everything but `state`.
//! - A capability gets the very address and path that were checked.
//! - A name that no grant could cover is not even looked up.
//! - Every call ends before the run's deadline.
//! - A run has the grants that its version was lent, whatever another version of the plugin is lent meanwhile, until all are taken back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use iaso_grants::{Denial, GrantSet, Grants};

use crate::broker::{Broker, CallContext, CapError, Job, Phase, Request, Response};
use crate::capabilities::{Capabilities, Resolver};
use crate::plugin_state::{KeyValues, QUOTA_BYTES};

/// Longest wait a plugin may ask for in one call.
const TIMEOUT_MAX: Duration = Duration::from_mins(1);
/// For calls that have no timeout of their own.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// Most log lines one call may ask for.
const JOURNAL_LINES_MAX: u32 = 500;
/// Most bytes one call may ask for.
pub(crate) const READ_BYTES_MAX: u32 = 1 << 20;
/// Longest text argument.
const TEXT_BYTES_MAX: usize = 4096;

/// A broker that has rights and lends them as granted.
pub struct GrantedBroker<C, R> {
    pub(crate) capabilities: C,
    pub(crate) resolver: R,
    /// What versions of each plugin were lent and nobody took back. The very [`Arc`] is the proof: an equal one is not.
    lent: RwLock<BTreeMap<String, Vec<Arc<Grants>>>>,
    /// One state is read, changed and written by one call at a time.
    state_locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl<C: Capabilities, R: Resolver> GrantedBroker<C, R> {
    /// Lends `capabilities`; nothing is granted yet.
    pub fn new(capabilities: C, resolver: R) -> Self {
        Self {
            capabilities,
            resolver,
            lent: RwLock::default(),
            state_locks: Mutex::default(),
        }
    }

    /// Lends `grants` to one version of `plugin`: whoever loads that version gets what is returned. It counts until [`Self::revoke`], or
    /// until nobody holds it; other versions keep what they were lent.
    pub fn grant(&self, plugin: &str, grants: impl Into<Arc<Grants>>) -> Arc<Grants> {
        let fresh = grants.into();
        let mut all = self.lent.write().unwrap_or_else(PoisonError::into_inner);
        let versions = all.entry(plugin.to_owned()).or_default();
        versions.retain(|held| Arc::strong_count(held) > 1);
        versions.push(Arc::clone(&fresh));
        fresh
    }

    /// Takes everything from `plugin`, all its versions: their calls are denied from now on, those of runs in flight too.
    pub fn revoke(&self, plugin: &str) {
        self.lent
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(plugin);
    }

    /// The rights behind it.
    pub fn capabilities(&self) -> &C {
        &self.capabilities
    }

    fn grants_of(&self, context: &CallContext) -> Arc<Grants> {
        let all = self.lent.read().unwrap_or_else(PoisonError::into_inner);
        let mut versions = all.get(&context.plugin).into_iter().flatten();
        let is_lent = versions.any(|lent| Arc::ptr_eq(lent, &context.grants));
        if is_lent {
            Arc::clone(&context.grants)
        } else {
            Arc::default()
        }
    }

    fn state_lock(&self, plugin: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self
            .state_locks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(plugin.to_owned()).or_default())
    }
}

/// One call, with everything that deciding about it needs.
pub(crate) struct Call<'a, C, R> {
    pub(crate) broker: &'a GrantedBroker<C, R>,
    pub(crate) cx: &'a CallContext,
    pub(crate) grants: &'a GrantSet,
}

#[async_trait]
impl<C: Capabilities, R: Resolver> Broker for GrantedBroker<C, R> {
    async fn call(&self, context: &CallContext, request: Request) -> Result<Response, CapError> {
        let all = self.grants_of(context);
        let grants = match context.phase {
            Phase::Check => &all.check,
            Phase::Fix => &all.fix,
        };
        let call = Call {
            broker: self,
            cx: context,
            grants,
        };
        let limit = timeout_of(&request).min(context.remaining());
        tokio::time::timeout(limit, call.answer(request))
            .await
            .unwrap_or(Err(CapError::Timeout))
    }
}

/// How long the whole call may take: what it asks for, and a little for resolving and for the capability to report its own timeout.
fn timeout_of(request: &Request) -> Duration {
    const SLACK: Duration = Duration::from_secs(1);
    let asked = match request {
        Request::TcpConnect { timeout_ms, .. }
        | Request::Ping { timeout_ms, .. }
        | Request::UnixConnect { timeout_ms, .. }
        | Request::ServiceJob { timeout_ms, .. }
        | Request::ScriptRun { timeout_ms, .. } => *timeout_ms,
        Request::DnsQuery(question) => question.timeout_ms,
        Request::HttpSend(request) => request.timeout_ms,
        Request::ServiceStatus { .. }
        | Request::ServiceJournal { .. }
        | Request::HostInfo
        | Request::HostDisks
        | Request::HostRoutes
        | Request::HostLinks
        | Request::HostResolvers
        | Request::HostPeers
        | Request::FileStat { .. }
        | Request::FileRead { .. }
        | Request::KubePodsHere { .. }
        | Request::KubeDeletePod { .. }
        | Request::KubeGetService { .. }
        | Request::KubeGetEndpoints { .. }
        | Request::KubePodStatesHere { .. }
        | Request::KubeWorkloadsHere { .. }
        | Request::KubeEnvUrlsHere { .. }
        | Request::KubeConditions { .. }
        | Request::StateGet { .. }
        | Request::StateSet { .. }
        | Request::StateDelete { .. } => return TIMEOUT_DEFAULT,
    };
    Duration::from_millis(u64::from(asked)).min(TIMEOUT_MAX) + SLACK
}

impl<C: Capabilities, R: Resolver> Call<'_, C, R> {
    async fn answer(&self, request: Request) -> Result<Response, CapError> {
        match request {
            Request::TcpConnect { .. } | Request::Ping { .. } | Request::UnixConnect { .. } => {
                self.net(request).await
            }
            Request::DnsQuery(question) => self.dns(question).await,
            Request::HttpSend(request) => self.http(request).await,
            Request::ServiceStatus { .. }
            | Request::ServiceJournal { .. }
            | Request::ServiceJob { .. } => self.services(request).await,
            Request::ScriptRun { name, timeout_ms } => self.script(&name, timeout_ms).await,
            Request::HostInfo
            | Request::HostDisks
            | Request::HostRoutes
            | Request::HostLinks
            | Request::HostResolvers
            | Request::HostPeers => self.host(&request).await,
            Request::FileStat { path } => self.file_stat(&path).await,
            Request::FileRead {
                path,
                offset,
                max_bytes,
            } => self.file_read(&path, offset, max_bytes).await,
            Request::KubePodsHere { .. }
            | Request::KubeDeletePod { .. }
            | Request::KubeGetService { .. }
            | Request::KubeGetEndpoints { .. } => self.kube(request).await,
            Request::KubePodStatesHere { .. }
            | Request::KubeWorkloadsHere { .. }
            | Request::KubeEnvUrlsHere { .. }
            | Request::KubeConditions { .. } => self.workloads(request).await,
            Request::StateGet { .. } | Request::StateSet { .. } | Request::StateDelete { .. } => {
                self.state(request).await
            }
        }
    }

    /// Within what the plugin asked for, the bound and the run's deadline; at least a millisecond, so that zero is not "for ever".
    pub(crate) fn timeout(&self, asked_ms: u32) -> Duration {
        Duration::from_millis(u64::from(asked_ms.max(1)))
            .min(TIMEOUT_MAX)
            .min(self.cx.remaining())
    }

    /// A denial in the plugin's words: it says in which table the grant belongs.
    pub(crate) fn denied(&self, denial: &Denial) -> CapError {
        CapError::Denied(format!("{denial} in `grants.{}`", self.cx.phase.as_str()))
    }

    /// Acting is for fixes, whatever the tables say.
    pub(crate) fn only_in_fix(&self, what: &str) -> Result<(), CapError> {
        match self.cx.phase {
            Phase::Fix => Ok(()),
            Phase::Check => Err(CapError::Denied(format!(
                "`{what}` acts, and a check only looks: do it in a fix"
            ))),
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "`answer` routes only the arms above to here"
    )]
    async fn services(&self, request: Request) -> Result<Response, CapError> {
        let rights = &self.broker.capabilities;
        match request {
            Request::ServiceStatus { unit } => {
                self.grants
                    .service_read(&unit)
                    .map_err(|d| self.denied(&d))?;
                rights
                    .service_status(self.cx, &unit)
                    .await
                    .map(Response::Unit)
            }
            Request::ServiceJournal {
                unit,
                max_lines,
                max_age_ms,
            } => {
                self.grants
                    .service_read(&unit)
                    .map_err(|d| self.denied(&d))?;
                let age = Duration::from_millis(max_age_ms);
                let lines = max_lines.clamp(1, JOURNAL_LINES_MAX);
                rights
                    .service_journal(self.cx, &unit, lines, age)
                    .await
                    .map(Response::Journal)
            }
            Request::ServiceJob {
                unit,
                job,
                timeout_ms,
            } => {
                self.only_in_fix(job_words(job))?;
                self.grants
                    .service_control(&unit)
                    .map_err(|d| self.denied(&d))?;
                let timeout = self.timeout(timeout_ms);
                rights
                    .service_job(self.cx, &unit, job, timeout)
                    .await
                    .map(Response::JobResult)
            }
            other => Err(misrouted(&other)),
        }
    }

    async fn script(&self, name: &str, timeout_ms: u32) -> Result<Response, CapError> {
        self.only_in_fix("scripts.run")?;
        self.grants.script(name).map_err(|d| self.denied(&d))?;
        self.broker
            .capabilities
            .script_run(self.cx, name, self.timeout(timeout_ms))
            .await
            .map(Response::Script)
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "`answer` routes only the arms above to here"
    )]
    async fn host(&self, request: &Request) -> Result<Response, CapError> {
        self.grants.host_facts().map_err(|d| self.denied(&d))?;
        let rights = &self.broker.capabilities;
        match request {
            Request::HostInfo => rights.host_info(self.cx).await.map(Response::Facts),
            Request::HostDisks => rights.host_disks(self.cx).await.map(Response::Disks),
            Request::HostRoutes => rights.host_routes(self.cx).await.map(Response::Routes),
            Request::HostLinks => rights.host_links(self.cx).await.map(Response::Links),
            Request::HostResolvers => rights
                .host_resolvers(self.cx)
                .await
                .map(Response::Resolvers),
            Request::HostPeers => rights.host_peers(self.cx).await.map(Response::Peers),
            other => Err(misrouted(other)),
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "`answer` routes only the arms above to here"
    )]
    async fn state(&self, request: Request) -> Result<Response, CapError> {
        let lock = self.broker.state_lock(&self.cx.plugin);
        let _held = lock.lock().await;
        let rights = &self.broker.capabilities;
        let mut state = match rights.state_load(self.cx).await? {
            Some(bytes) => KeyValues::decode(&bytes)?,
            None => KeyValues::default(),
        };
        match request {
            Request::StateGet { key } => return Ok(Response::Value(state.get(&key).cloned())),
            Request::StateSet { key, value } => state.set(key, value)?,
            Request::StateDelete { key } if !state.delete(&key) => return Ok(Response::Done),
            Request::StateDelete { .. } => {}
            other => return Err(misrouted(&other)),
        }
        let bytes = state.encode();
        debug_assert!(bytes.len() <= QUOTA_BYTES, "set() keeps the quota");
        rights
            .state_save(self.cx, &bytes)
            .await
            .map(|()| Response::Done)
    }
}

pub(crate) fn misrouted(request: &Request) -> CapError {
    CapError::Other(format!(
        "the agent sent a call the wrong way; please report this: {request:?}"
    ))
}

fn job_words(job: Job) -> &'static str {
    match job {
        Job::Restart => "services.restart",
        Job::Start => "services.start",
        Job::Stop => "services.stop",
    }
}

pub(crate) fn bounded(text: &str, what: &str) -> Result<(), CapError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(CapError::TooLarge(format!(
            "{what} has {} bytes, at most {TEXT_BYTES_MAX} are allowed",
            text.len()
        )));
    }
    Ok(())
}
