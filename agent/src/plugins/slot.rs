//! One version of a plugin in its place, whose turn it is to run, and what a run came to.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use iaso_host::{
    Admission, FaultClass, LogLevel, PluginFault, RunLimits, RunReport, StrikePolicy, Strikes,
    types::Finding,
};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use super::{Spec, unix_ms};
use crate::runnable::Runnable;

/// A version that was assigned and could not be loaded, while another runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// As assigned; may be empty.
    pub version: String,
    /// Of the component, hexadecimal.
    pub digest: String,
    /// Why it cannot be used.
    pub fault: PluginFault,
}

/// What belongs to a plugin's name, and outlives its versions.
#[derive(Debug, Default)]
pub struct Seat {
    running: Arc<Mutex<()>>,
    refused: std::sync::Mutex<Option<Refused>>,
    /// Asks for a run before the next tick.
    pub poke: Notify,
}

impl Seat {
    pub(super) async fn alone(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.running).lock_owned().await
    }

    /// The version that is to run in place of the one that does, and cannot.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        let refused = self.refused.lock();
        refused.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes which version cannot run in place of the one that does; true if that is news.
    pub(crate) fn refuse(&self, refused: Option<Refused>) -> bool {
        let mut noted = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *noted != refused;
        *noted = refused;
        is_news
    }
}

/// One version of a plugin in its place.
pub struct Slot {
    /// What it is.
    pub spec: Spec,
    /// Ready to run, or why not.
    pub loaded: Result<Runnable, PluginFault>,
    /// A slot is one version of one plugin: a new version starts without strikes.
    strikes: std::sync::Mutex<Strikes>,
    /// What it shares with the versions before and after it.
    pub seat: Arc<Seat>,
}

/// The right to run what is in a name's place: nothing else of that name runs meanwhile.
pub struct Turn {
    slot: Arc<Slot>,
    _alone: OwnedMutexGuard<()>,
}

/// What one check came to.
#[derive(Debug, Clone)]
pub struct CheckRun {
    /// The version that ran, as assigned; may be empty.
    pub version: String,
    /// Of its component, hexadecimal.
    pub digest: String,
    /// When it began, milliseconds since the Unix epoch.
    pub started_unix_ms: i64,
    /// How long it took.
    pub duration: Duration,
    /// Findings, or what is wrong with the plugin.
    pub outcome: Result<Vec<Finding>, PluginFault>,
    /// The version that was to run in its place, and could not be loaded.
    pub refused: Option<Refused>,
}

impl CheckRun {
    /// A run of what `spec` says that begins now, without an answer yet.
    #[must_use]
    pub fn begun(spec: &Spec) -> Self {
        Self {
            version: spec.version.clone(),
            digest: spec.digest.clone(),
            started_unix_ms: unix_ms(),
            duration: Duration::ZERO,
            outcome: Ok(Vec::new()),
            refused: None,
        }
    }

    /// The same run, its answer larger than a message may be.
    #[must_use]
    pub fn too_large(&self, bytes: usize) -> Self {
        let message = format!(
            "its findings take {bytes} bytes, and a message has at most {}: let it report less",
            iaso_proto::MAX_MESSAGE_BYTES
        );
        Self {
            outcome: Err(PluginFault {
                class: FaultClass::BadOutput,
                message,
            }),
            ..self.clone()
        }
    }
}

/// Why a fix came to nothing, or what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixRun {
    /// `fixed`, `unchanged`, `refused`, `failed` or `expired`.
    pub result: String,
    /// Why, for a person.
    pub reason: String,
    /// What was done.
    pub steps: Vec<String>,
}

impl FixRun {
    /// One without steps.
    pub fn new(result: &str, reason: impl Into<String>) -> Self {
        Self {
            result: result.into(),
            reason: reason.into(),
            steps: Vec::new(),
        }
    }
}

impl Slot {
    /// Whether a run may start now, `now` being any clock that only goes forward.
    pub fn admits(&self, now: Duration) -> bool {
        match self.strikes().admit(now) {
            Admission::Run | Admission::Probe => true,
            Admission::Wait { .. } | Admission::ProbeUnderWay => false,
        }
    }

    /// Strikes a plugin that broke, forgives one that did not. One whose process went away under it is neither struck nor forgiven.
    pub fn judge(&self, now: Duration, run: &CheckRun) {
        match &run.outcome {
            Ok(_) => self.strikes().succeeded(),
            Err(fault) if fault.class == FaultClass::RunnerLost => self.strikes().lost(now),
            Err(fault) => self.strikes().failed(now, fault, &StrikePolicy::default()),
        }
    }

    fn strikes(&self) -> std::sync::MutexGuard<'_, Strikes> {
        self.strikes
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn new(spec: Spec, loaded: Result<Runnable, PluginFault>) -> Self {
        Self {
            spec,
            loaded,
            strikes: std::sync::Mutex::default(),
            seat: Arc::default(),
        }
    }

    /// A plugin that could not be had at all.
    #[must_use]
    pub fn broken(spec: Spec, fault: PluginFault) -> Self {
        Self::new(spec, Err(fault))
    }

    /// Whether it runs on when that other version of it cannot be loaded.
    pub(super) fn outlives(&self, other: &Spec) -> bool {
        self.loaded.is_ok() && self.spec.digest != other.digest
    }

    fn write_log<T>(&self, report: &RunReport<T>) {
        let plugin = self.spec.name.as_str();
        for line in &report.log {
            let text = line.message.as_str();
            match line.level {
                LogLevel::Debug => tracing::debug!(plugin, "{text}"),
                LogLevel::Info => tracing::info!(plugin, "{text}"),
                LogLevel::Warn | LogLevel::Error => tracing::warn!(plugin, "{text}"),
            }
        }
        if report.log_lines_dropped > 0 {
            tracing::info!(
                plugin,
                dropped = report.log_lines_dropped,
                "log lines beyond the limit"
            );
        }
    }
}

impl Turn {
    pub(super) fn new(slot: Arc<Slot>, alone: OwnedMutexGuard<()>) -> Self {
        Self {
            slot,
            _alone: alone,
        }
    }

    /// Whose turn it is.
    #[must_use]
    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Looks.
    pub async fn check(&self) -> CheckRun {
        let begun = CheckRun::begun(&self.slot.spec);
        let limits = RunLimits::with_timeout(self.slot.spec.timeout);
        let (duration, outcome) = match &self.slot.loaded {
            Ok(plugin) => {
                let report = plugin.check(&self.slot.spec.config, &limits).await;
                self.slot.write_log(&report);
                (report.duration, report.outcome)
            }
            Err(fault) => (Duration::ZERO, Err(fault.clone())),
        };
        CheckRun {
            duration,
            outcome,
            refused: self.slot.seat.refused(),
            ..begun
        }
    }

    /// Plans and applies one fix before `deadline`.
    pub async fn fix(&self, name: &str, deadline: tokio::time::Instant) -> FixRun {
        let plugin = match &self.slot.loaded {
            Ok(plugin) => plugin,
            Err(fault) => {
                return FixRun::new("refused", format!("the plugin cannot be used: {fault}"));
            }
        };
        let left = || {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            (!left.is_zero()).then(|| RunLimits::with_timeout(left))
        };
        let Some(limits) = left() else {
            return FixRun::new("expired", "the deadline passed before anything was done");
        };
        let plan = plugin.plan(name, &self.slot.spec.config, &limits).await;
        self.slot.write_log(&plan);
        match plan.outcome {
            Err(fault) if fault.class == FaultClass::Deadline && left().is_none() => {
                return FixRun::new(
                    "expired",
                    "the deadline passed while the fix was planned, nothing was done",
                );
            }
            Err(fault) => {
                return FixRun::new(
                    "failed",
                    format!("the plugin broke while planning, nothing was done: {fault}"),
                );
            }
            Ok(plan) if plan.verdict == "nothing" => {
                return FixRun {
                    result: "unchanged".into(),
                    reason: plan.reason,
                    steps: plan.steps,
                };
            }
            Ok(plan) if plan.verdict != "apply" => {
                return FixRun {
                    result: "refused".into(),
                    reason: plan.reason,
                    steps: plan.steps,
                };
            }
            Ok(_) => {}
        }
        let Some(limits) = left() else {
            return FixRun::new(
                "expired",
                "the deadline passed while the fix was planned, nothing was done",
            );
        };
        let applied = plugin.apply(name, &self.slot.spec.config, &limits).await;
        self.slot.write_log(&applied);
        match applied.outcome {
            Err(fault) => FixRun::new(
                "failed",
                format!("the plugin broke while acting, nobody knows how far it got: {fault}"),
            ),
            Ok(done) => FixRun {
                result: known_result(&done.outcome),
                reason: done.reason,
                steps: done.steps,
            },
        }
    }
}

/// A plugin may say anything; the protocol's set is closed.
fn known_result(outcome: &str) -> String {
    let known = matches!(outcome, "fixed" | "unchanged" | "refused");
    if known {
        outcome.to_owned()
    } else {
        "failed".to_owned()
    }
}
