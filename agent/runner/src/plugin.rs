//! A plugin as the agent has it: run it, and whatever becomes of the runner, there is a report.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iaso_grants::Grants;
use iaso_host::types::{Attributes, Finding, FixDescription, FixOutcome, FixPlan};
use iaso_host::{
    Bounded, CallContext, Digest, FaultClass, Phase, PluginFault, RunLimits, RunReport,
    check_imports,
};
use tokio::sync::{RwLockReadGuard, RwLockWriteGuard};
use tokio::time::Instant;

use crate::blame::Blame;
use crate::code::{Code, CodeError};
use crate::life::{Life, Lost, Ticket};
use crate::message::{Kind, Report, Task};
use crate::supervisor::Shared;

/// A plugin that any runner can be given.
pub(crate) struct Registered {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) code: Code,
    grants: Arc<Grants>,
    blame: Blame,
}

/// A plugin that can be run. It is loaded at its first run in each runner.
pub struct Plugin {
    registered: Registered,
    shared: Arc<Shared>,
}

impl Drop for Plugin {
    fn drop(&mut self) {
        if let Some(life) = self.shared.life() {
            life.unload(self.registered.id);
        }
    }
}

/// Others wait while one that ended a runner runs.
enum Gate<'a> {
    Shared(#[allow(dead_code, reason = "held")] RwLockReadGuard<'a, ()>),
    Alone(#[allow(dead_code, reason = "held")] RwLockWriteGuard<'a, ()>),
}

impl Plugin {
    pub(crate) fn new(
        shared: Arc<Shared>,
        name: &str,
        compiled: &[u8],
        expected: &Digest,
        grants: Arc<Grants>,
    ) -> Result<Self, PluginFault> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let code = Code::new(compiled, expected).map_err(|error| {
            let class = match error {
                CodeError::Digest { .. } | CodeError::TooLarge => FaultClass::Refused,
                CodeError::Memory(_) => FaultClass::HostError,
            };
            fault(class, error.to_string())
        })?;
        let registered = Registered {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: name.to_owned(),
            code,
            grants,
            blame: Blame::default(),
        };
        Ok(Self { registered, shared })
    }

    /// Its configured name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.registered.name
    }

    /// Looks.
    pub async fn check(&self, config: &Attributes, limits: &RunLimits) -> RunReport<Vec<Finding>> {
        let config = config.clone();
        match self.run(Task::Check { config }, limits).await {
            (Report::Findings(report), took) => self.own(report, took, limits),
            (Report::Fixes(_) | Report::Plan(_) | Report::Applied(_), took) => mixed_up(took),
        }
    }

    /// Names its fixes.
    pub async fn fixes(&self, limits: &RunLimits) -> RunReport<Vec<FixDescription>> {
        match self.run(Task::Fixes, limits).await {
            (Report::Fixes(report), took) => self.own(report, took, limits),
            (Report::Findings(_) | Report::Plan(_) | Report::Applied(_), took) => mixed_up(took),
        }
    }

    /// Says what a fix would do.
    pub async fn plan(
        &self,
        fix: &str,
        config: &Attributes,
        limits: &RunLimits,
    ) -> RunReport<FixPlan> {
        let (fix, config) = (fix.to_owned(), config.clone());
        match self.run(Task::Plan { fix, config }, limits).await {
            (Report::Plan(report), took) => self.own(report, took, limits),
            (Report::Findings(_) | Report::Fixes(_) | Report::Applied(_), took) => mixed_up(took),
        }
    }

    /// Fixes. A fault means that nobody knows how far it got.
    pub async fn apply(
        &self,
        fix: &str,
        config: &Attributes,
        limits: &RunLimits,
    ) -> RunReport<FixOutcome> {
        let (fix, config) = (fix.to_owned(), config.clone());
        match self.run(Task::Apply { fix, config }, limits).await {
            (Report::Applied(report), took) => self.own(report, took, limits),
            (Report::Findings(_) | Report::Fixes(_) | Report::Plan(_), took) => mixed_up(took),
        }
    }

    /// The runner is not believed: its answer is cut to size, and so is how long it says it took.
    fn own<T>(&self, report: RunReport<T>, took: Duration, limits: &RunLimits) -> RunReport<T>
    where
        RunReport<T>: Bounded,
    {
        let mut report = report.bounded(&self.registered.name, limits);
        report.duration = if report.duration.is_zero() {
            took
        } else {
            report.duration.min(took)
        };
        report
    }

    /// The run's report, and how long it took seen from here, without its wait for a turn.
    async fn run(&self, task: Task, limits: &RunLimits) -> (Report, Duration) {
        let kind = task.kind();
        let _turn = self.shared.turns.acquire().await; // Never closed, so this never fails.
        let started = Instant::now();
        let report = self
            .run_until(task, limits, started + limits.timeout)
            .await
            .unwrap_or_else(|fault| Report::broken(kind, fault));
        (report, started.elapsed())
    }

    async fn run_until(
        &self,
        task: Task,
        limits: &RunLimits,
        deadline: Instant,
    ) -> Result<Report, PluginFault> {
        let (_gate, ticket) = self.begin(task.kind(), limits, deadline).await?;
        self.run_in(ticket, task, limits, deadline).await
    }

    /// Loads it in the runner that is ready now, or in the next, and checks its imports against its grants. None of its code runs.
    ///
    /// So a version that cannot be used is known before it takes another's place.
    pub async fn load(&self, within: Duration) -> Result<(), PluginFault> {
        let deadline = Instant::now() + within;
        let limits = RunLimits::with_timeout(within);
        let (_gate, mut ticket) = self.begin(Kind::Check, &limits, deadline).await?;
        if self.load_in(&ticket.life, deadline).await? {
            return Ok(());
        }
        match tokio::time::timeout_at(deadline, &mut ticket.done).await {
            Ok(Ok(Err(lost))) => Err(self.lost(&lost)),
            Ok(Ok(Ok(_)) | Err(_)) | Err(_) => Err(self.shared.no_runner()),
        }
    }

    /// The right to run, in a runner that is ready.
    async fn begin(
        &self,
        kind: Kind,
        limits: &RunLimits,
        deadline: Instant,
    ) -> Result<(Gate<'_>, Ticket), PluginFault> {
        let phase = match kind {
            Kind::Check => Phase::Check,
            Kind::Fixes | Kind::Plan | Kind::Apply => Phase::Fix,
        };
        let context = CallContext {
            plugin: self.registered.name.clone(),
            phase,
            deadline: deadline.into_std(),
            grants: Arc::clone(&self.registered.grants),
        };
        let not_in_time = || self.shared.no_runner();
        let gate = tokio::time::timeout_at(deadline, self.gate())
            .await
            .map_err(|_| not_in_time())?;
        loop {
            let life = tokio::time::timeout_at(deadline, self.shared.next_life())
                .await
                .map_err(|_| not_in_time())?;
            // None: it ended just now; there will be another.
            if let Some(ticket) = life.begin(context.clone(), kind, limits) {
                return Ok((gate, ticket));
            }
            tokio::task::yield_now().await;
        }
    }

    async fn gate(&self) -> Gate<'_> {
        if self.registered.blame.is_suspect() {
            Gate::Alone(self.shared.gate.write().await)
        } else {
            Gate::Shared(self.shared.gate.read().await)
        }
    }

    async fn run_in(
        &self,
        mut ticket: Ticket,
        task: Task,
        limits: &RunLimits,
        deadline: Instant,
    ) -> Result<Report, PluginFault> {
        let life = Arc::clone(&ticket.life);
        let latest = deadline + self.shared.settings.grace;
        self.load_in(&life, latest).await?;
        let limits = RunLimits {
            timeout: deadline.saturating_duration_since(Instant::now()),
            ..*limits
        };
        life.start(&ticket, self.registered.id, task, limits)
            .map_err(|error| fault(FaultClass::Refused, format!("its settings: {error}")))?;
        match tokio::time::timeout_at(latest, &mut ticket.done).await {
            Ok(Ok(Ok(report))) => {
                self.registered.blame.ended_well();
                Ok(report)
            }
            Ok(Ok(Err(lost))) => Err(self.lost(&lost)),
            Ok(Err(_)) => Err(self.shared.no_runner()),
            Err(_) => Err(self.overran(&life, "a run")),
        }
    }

    /// False: the runner ended, and the ticket says why.
    async fn load_in(&self, life: &Arc<Life>, latest: Instant) -> Result<bool, PluginFault> {
        match tokio::time::timeout_at(latest, life.load(&self.registered)).await {
            Err(_) => Err(self.overran(life, "the loading")),
            Ok(Ok(Ok(imports))) => {
                check_imports(&imports, &self.registered.grants)?;
                Ok(true)
            }
            Ok(Ok(Err(refused))) => {
                self.registered.blame.ended_well();
                Err(refused)
            }
            Ok(Err(_)) => Ok(false),
        }
    }

    fn overran(&self, life: &Life, what: &str) -> PluginFault {
        let text = format!(
            "the process that runs plugins did not end {what} of `{}` in time, and was ended",
            self.registered.name
        );
        life.kill(text.clone());
        self.registered.blame.runner_ended(false);
        fault(FaultClass::Deadline, text)
    }

    fn lost(&self, lost: &Lost) -> PluginFault {
        if self.registered.blame.runner_ended(lost.was_alone) {
            let message = format!(
                "the process that runs plugins ends again and again while it runs this plugin alone: {}",
                lost.why
            );
            return fault(FaultClass::Trap, message);
        }
        let message = format!(
            "the process that runs plugins ended under it: {}; it is started again, and the plugin is not blamed",
            lost.why
        );
        fault(FaultClass::RunnerLost, message)
    }
}

pub(crate) fn fault(class: FaultClass, message: String) -> PluginFault {
    PluginFault { class, message }
}

fn mixed_up<T>(took: Duration) -> RunReport<T> {
    let message = "the runner answered another task; please report this".to_owned();
    let report = RunReport::unrun(Err(fault(FaultClass::HostError, message)));
    RunReport {
        duration: took,
        ..report
    }
}
