//! The plugins that this agent runs: loaded, granted, run one at a time each, replaced without a gap.
//!
//! **Invariants**
//! - Grants are set before a plugin is loaded, and taken away when it goes.
//! - A plugin that cannot be loaded is here too, with its fault: it is reported, not forgotten. In the runner that is found at its first run.
//! - One run of a plugin at a time, check or fix.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use iaso_grants::Grants;
use iaso_host::{
    Admission, Digest, EngineError, FaultClass, GrantedBroker, LogLevel, PluginFault, RunLimits,
    RunReport, StrikePolicy, Strikes, SystemResolver,
    types::{Attributes, Finding},
};
use tokio::sync::{Mutex, Notify};

use crate::{
    cap::HostCapabilities,
    config::RunnerConfig,
    runnable::{Place, Runnable},
};

/// The broker with the rights of this process.
pub type Broker = GrantedBroker<HostCapabilities, SystemResolver>;

/// What to run and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Its name here.
    pub name: String,
    /// As assigned; may be empty.
    pub version: String,
    /// Of the component, hexadecimal.
    pub digest: String,
    /// Of the compiled bytes; none when there are none.
    pub compiled: Option<Digest>,
    /// Between two runs.
    pub interval: Duration,
    /// For one run.
    pub timeout: Duration,
    /// The operator's settings.
    pub config: Attributes,
    /// What it may do.
    pub grants: Grants,
}

/// One plugin in its place.
pub struct Slot {
    /// What it is.
    pub spec: Spec,
    /// Ready to run, or why not.
    pub loaded: Result<Runnable, PluginFault>,
    running: Mutex<()>,
    /// A slot is one version of one plugin: a new version starts without strikes.
    strikes: std::sync::Mutex<Strikes>,
    /// Asks for a run before the next tick.
    pub poke: Notify,
}

/// What one check came to.
#[derive(Debug, Clone)]
pub struct CheckRun {
    /// When it began, milliseconds since the Unix epoch.
    pub started_unix_ms: i64,
    /// How long it took.
    pub duration: Duration,
    /// Findings, or what is wrong with the plugin.
    pub outcome: Result<Vec<Finding>, PluginFault>,
}

impl CheckRun {
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

    /// A plugin that could not be had at all.
    #[must_use]
    pub fn broken(spec: Spec, fault: PluginFault) -> Self {
        Self {
            spec,
            loaded: Err(fault),
            running: Mutex::new(()),
            strikes: std::sync::Mutex::default(),
            poke: Notify::new(),
        }
    }

    /// Looks. Waits for a fix that is running.
    pub async fn check(&self) -> CheckRun {
        let _one_at_a_time = self.running.lock().await;
        let started_unix_ms = unix_ms();
        let plugin = match &self.loaded {
            Ok(plugin) => plugin,
            Err(fault) => {
                return CheckRun {
                    started_unix_ms,
                    duration: Duration::ZERO,
                    outcome: Err(fault.clone()),
                };
            }
        };
        let report = plugin
            .check(
                &self.spec.config,
                &RunLimits::with_timeout(self.spec.timeout),
            )
            .await;
        self.write_log(&report);
        CheckRun {
            started_unix_ms,
            duration: report.duration,
            outcome: report.outcome,
        }
    }

    /// Plans and applies one fix before `deadline`.
    pub async fn fix(&self, name: &str, deadline: tokio::time::Instant) -> FixRun {
        let plugin = match &self.loaded {
            Ok(plugin) => plugin,
            Err(fault) => {
                return FixRun::new("refused", format!("the plugin cannot be used: {fault}"));
            }
        };
        let Ok(_one_at_a_time) = tokio::time::timeout_at(deadline, self.running.lock()).await
        else {
            return FixRun::new("expired", "the deadline passed before the plugin was free");
        };
        let left = || {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            (!left.is_zero()).then(|| RunLimits::with_timeout(left))
        };
        let Some(limits) = left() else {
            return FixRun::new("expired", "the deadline passed before anything was done");
        };
        let plan = plugin.plan(name, &self.spec.config, &limits).await;
        self.write_log(&plan);
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
        let applied = plugin.apply(name, &self.spec.config, &limits).await;
        self.write_log(&applied);
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

/// A plugin may say anything; the protocol's set is closed.
fn known_result(outcome: &str) -> String {
    let known = matches!(outcome, "fixed" | "unchanged" | "refused");
    if known {
        outcome.to_owned()
    } else {
        "failed".to_owned()
    }
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn unix_ms() -> i64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// All plugins of this agent.
pub struct Plugins {
    place: Place,
    broker: Arc<Broker>,
    slots: RwLock<BTreeMap<String, Arc<Slot>>>,
}

impl Plugins {
    /// None yet.
    pub fn new(capabilities: HostCapabilities, runner: &RunnerConfig) -> Result<Self, EngineError> {
        let broker = Arc::new(GrantedBroker::new(capabilities, SystemResolver::default()));
        let place = Place::new(runner, Arc::clone(&broker) as Arc<dyn iaso_host::Broker>)?;
        Ok(Self {
            place,
            broker,
            slots: RwLock::default(),
        })
    }

    /// The rights behind the plugins.
    #[must_use]
    pub fn capabilities(&self) -> &HostCapabilities {
        self.broker.capabilities()
    }

    /// How the process is that plugins run in; none when they run in this one.
    #[must_use]
    pub fn runner(&self) -> Option<iaso_runner::Status> {
        self.place.status()
    }

    /// Loads `compiled` beside what runs under that name, and puts it in its place.
    pub fn install(&self, spec: Spec, compiled: &[u8]) -> Arc<Slot> {
        self.broker.grant(&spec.name, spec.grants.clone());
        let loaded = match &spec.compiled {
            Some(digest) => self.place.load(&spec.name, compiled, digest, &spec.grants),
            None => Err(PluginFault {
                class: FaultClass::Refused,
                message: "there are no compiled bytes to load".into(),
            }),
        };
        self.place(Slot {
            spec,
            loaded,
            running: Mutex::new(()),
            strikes: std::sync::Mutex::default(),
            poke: Notify::new(),
        })
    }

    /// Puts a plugin that could not be had in its place, so that its fault is reported.
    pub fn place(&self, slot: Slot) -> Arc<Slot> {
        if let Err(fault) = &slot.loaded {
            tracing::warn!(plugin = %slot.spec.name, class = %fault.class, "plugin refused: {fault}");
        }
        let slot = Arc::new(slot);
        self.slots
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(slot.spec.name.clone(), Arc::clone(&slot));
        slot
    }

    /// Keeps only the plugins that `keep` names; the others lose their grants.
    pub fn retain(&self, keep: &[&str]) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|name, _| {
            let stays = keep.contains(&name.as_str());
            if !stays {
                self.broker.revoke(name);
            }
            stays
        });
    }

    /// The plugin of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Slot>> {
        self.slots
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Slot>> {
        self.slots
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}
