//! Loads plugins and runs them, each run in a store of its own.
//!
//! **Invariants**
//! - A run ends at its deadline at the latest, and with it its future and its store are dropped.
//! - A computing plugin gives way at every tick, so that it cannot keep others from their time.
//! - Nothing that a plugin does is an error of the host: it is a [`PluginFault`] in the run's report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iaso_grants::Grants;
use tokio::sync::Semaphore;
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Engine, Store, UpdateDeadline};

use crate::bindings::exports::iaso::plugin::{check, fix};
use crate::bounds;
use crate::broker::{Broker, CallContext, Phase};
use crate::classify::{Stage, classify};
use crate::digest::Digest;
use crate::engine::{Allocator, EngineError, PluginEngine};
use crate::fault::{FaultClass, PluginFault};
use crate::interface::Interface;
use crate::load::ImportedFunctions;
use crate::run::{RunLimits, RunReport};
use crate::store::{RunState, Stopped};
use crate::ticker::{TICK, Ticker};
use crate::types::{Attributes, Finding, FixDescription, FixOutcome, FixPlan};

/// Bytes that may cross between a plugin and the host in one call, in the plugin's direction.
const HOSTCALL_FUEL: usize = 1 << 20;
/// Resource handles of one plugin. The interface has none yet.
const HANDLES_MAX: usize = 64;

/// How much the host does at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostConfig {
    /// Runs at once; more wait for their turn, and their clocks start only then.
    pub runs_max: u32,
    /// Host calls at once, over all runs; more are refused.
    pub host_calls_max: u32,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            runs_max: 16,
            host_calls_max: 64,
        }
    }
}

/// Runs plugins.
pub struct PluginHost {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    allocator: Allocator,
    ticker: Ticker,
    broker: Arc<dyn Broker>,
    run_slots: Semaphore,
    call_slots: Arc<Semaphore>,
}

impl PluginHost {
    /// Starts the engine; `broker` answers the plugins' calls.
    pub fn new(config: HostConfig, broker: Arc<dyn Broker>) -> Result<Self, EngineError> {
        Self::with_engine(
            PluginEngine::new(config.runs_max)?,
            config.host_calls_max,
            broker,
        )
    }

    /// As [`Self::new`], on an engine that is there already: starts the thread that interrupts computing plugins.
    pub fn with_engine(
        prepared: PluginEngine,
        host_calls_max: u32,
        broker: Arc<dyn Broker>,
    ) -> Result<Self, EngineError> {
        let PluginEngine {
            engine,
            allocator,
            runs_max,
        } = prepared;
        let ticker = Ticker::start(&engine)
            .map_err(|e| EngineError::Refused(format!("no thread for the plugins' clock: {e}")))?;
        let shared = Shared {
            engine,
            allocator,
            ticker,
            broker,
            run_slots: Semaphore::new(runs_max as usize),
            call_slots: Arc::new(Semaphore::new(host_calls_max as usize)),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// How plugins get their memory on this machine.
    #[must_use]
    pub fn allocator(&self) -> Allocator {
        self.shared.allocator
    }

    /// Loads a compiled plugin whose SHA-256 is `expected`. A fault says why it cannot be used, and what would help.
    ///
    /// Loading takes milliseconds and no plugin code runs. `grants` are what the broker lent for this version.
    pub fn load(
        &self,
        name: &str,
        compiled: &[u8],
        expected: &Digest,
        grants: &Arc<Grants>,
    ) -> Result<LoadedPlugin, PluginFault> {
        let linked = crate::load::link(&self.shared.engine, compiled, expected, Some(grants))?;
        Ok(self.loaded(name, expected, linked, Arc::clone(grants)))
    }

    /// As [`Self::load`], for a process that is not told what is granted: whoever answers its calls asks [`crate::check_imports`]
    /// about [`LoadedPlugin::imported_functions`], and checks each call.
    pub fn load_ungranted(
        &self,
        name: &str,
        compiled: &[u8],
        expected: &Digest,
    ) -> Result<LoadedPlugin, PluginFault> {
        let linked = crate::load::link(&self.shared.engine, compiled, expected, None)?;
        Ok(self.loaded(name, expected, linked, Arc::default()))
    }

    fn loaded(
        &self,
        name: &str,
        expected: &Digest,
        linked: Linked,
        grants: Arc<Grants>,
    ) -> LoadedPlugin {
        LoadedPlugin {
            name: name.to_owned(),
            digest: *expected,
            linked,
            grants,
            shared: Arc::clone(&self.shared),
        }
    }
}

/// A plugin that has been loaded, checked and linked with what it imports.
pub(crate) struct Linked {
    pub(crate) pre: InstancePre<RunState>,
    pub(crate) check: check::GuestIndices,
    pub(crate) fix: Option<fix::GuestIndices>,
    pub(crate) imports: Vec<Interface>,
    pub(crate) functions: Vec<ImportedFunctions>,
}

/// A plugin that can be run.
pub struct LoadedPlugin {
    name: String,
    digest: Digest,
    linked: Linked,
    grants: Arc<Grants>,
    shared: Arc<Shared>,
}

impl LoadedPlugin {
    /// Its configured name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The digest of its compiled form.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether it can fix anything, or only looks.
    #[must_use]
    pub fn has_fixes(&self) -> bool {
        self.linked.fix.is_some()
    }

    /// The capabilities that it imports.
    #[must_use]
    pub fn imports(&self) -> &[Interface] {
        &self.linked.imports
    }

    /// The functions that it imports, by the full name of their interface.
    #[must_use]
    pub fn imported_functions(&self) -> &[ImportedFunctions] {
        &self.linked.functions
    }

    /// Looks. A check that says it could not look is one finding of severity `unknown`, not a fault.
    pub async fn check(&self, config: &Attributes, limits: &RunLimits) -> RunReport<Vec<Finding>> {
        let indices = &self.linked.check;
        let report = self.run(
            Phase::Check,
            limits,
            async |store: &mut Store<RunState>, instance: &Instance| {
                let guest = indices.load(&mut *store, instance)?;
                guest.call_run(&mut *store, config).await
            },
        );
        report.await.and_then(|answer| match answer {
            Ok(found) => bounds::findings(&self.name, found.into_iter().map(Into::into).collect()),
            Err(reason) => bounds::findings(&self.name, vec![self.could_not_look(reason)]),
        })
    }

    /// Names its fixes; none for a plugin that only looks.
    pub async fn fixes(&self, limits: &RunLimits) -> RunReport<Vec<FixDescription>> {
        let Some(indices) = &self.linked.fix else {
            return RunReport::unrun(Ok(Vec::new()));
        };
        let report = self.run(
            Phase::Fix,
            limits,
            async |store: &mut Store<RunState>, instance: &Instance| {
                let guest = indices.load(&mut *store, instance)?;
                guest.call_fixes(&mut *store).await
            },
        );
        report
            .await
            .and_then(|found| bounds::fixes(found.into_iter().map(Into::into).collect()))
    }

    /// Says what a fix would do. A plugin's error is a refusal.
    pub async fn plan(
        &self,
        fix: &str,
        config: &Attributes,
        limits: &RunLimits,
    ) -> RunReport<FixPlan> {
        let Some(indices) = &self.linked.fix else {
            return RunReport::unrun(Err(self.has_none(fix)));
        };
        let report = self.run(
            Phase::Fix,
            limits,
            async |store: &mut Store<RunState>, instance: &Instance| {
                let guest = indices.load(&mut *store, instance)?;
                guest.call_plan(&mut *store, fix, config).await
            },
        );
        report.await.and_then(|answer| {
            let refusal = |reason| FixPlan {
                verdict: "refuse".to_owned(),
                reason,
                steps: Vec::new(),
                attributes: Vec::new(),
            };
            Ok(bounds::plan(answer.map_or_else(refusal, Into::into)))
        })
    }

    /// Fixes. A plugin's error is a failure; a fault means that nobody knows how far it got.
    pub async fn apply(
        &self,
        fix: &str,
        config: &Attributes,
        limits: &RunLimits,
    ) -> RunReport<FixOutcome> {
        let Some(indices) = &self.linked.fix else {
            return RunReport::unrun(Err(self.has_none(fix)));
        };
        let report = self.run(
            Phase::Fix,
            limits,
            async |store: &mut Store<RunState>, instance: &Instance| {
                let guest = indices.load(&mut *store, instance)?;
                guest.call_apply(&mut *store, fix, config).await
            },
        );
        report.await.and_then(|answer| {
            let failure = |reason| FixOutcome {
                outcome: "failed".to_owned(),
                reason,
                steps: Vec::new(),
                attributes: Vec::new(),
            };
            Ok(bounds::outcome(answer.map_or_else(failure, Into::into)))
        })
    }

    fn has_none(&self, fix: &str) -> PluginFault {
        let message = format!(
            "`{}` only looks and has no fix `{}`",
            self.name,
            crate::interface::words(fix)
        );
        PluginFault::new(FaultClass::Refused, message)
    }

    fn could_not_look(&self, reason: String) -> Finding {
        Finding {
            code: format!("{}.could-not-look", self.name),
            severity: "unknown".to_owned(),
            subject: self.name.clone(),
            summary: reason,
            remedies: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// One run: a slot, a store, an instance, a call, each dropped at the deadline.
    async fn run<T>(
        &self,
        phase: Phase,
        limits: &RunLimits,
        call: impl AsyncFnOnce(&mut Store<RunState>, &Instance) -> wasmtime::Result<T>,
    ) -> RunReport<T> {
        let _slot = self.shared.run_slots.acquire().await; // Never closed, so this never fails.
        let started = Instant::now();
        let mut store = self.store(phase, limits, started);
        let ticking = self.shared.ticker.ticking();
        let mut stage = Stage::Starting;
        let result = tokio::time::timeout(limits.timeout, async {
            let instance = self.linked.pre.instantiate_async(&mut store).await?;
            stage = Stage::Called;
            call(&mut store, &instance).await
        })
        .await
        .unwrap_or_else(|_| Err(Stopped::Wall(limits.timeout).into()));
        drop(ticking);
        let outcome = result.map_err(|error| classify(&error, stage, store.data()));
        let used = store.into_data();
        RunReport {
            outcome,
            duration: started.elapsed(),
            host_calls: used.host_calls,
            memory_peak_bytes: used.usage.memory_peak_bytes,
            log: used.log,
            log_lines_dropped: used.log_lines_dropped,
        }
    }

    fn store(&self, phase: Phase, limits: &RunLimits, started: Instant) -> Store<RunState> {
        let deadline = started + limits.timeout;
        let cx = CallContext {
            plugin: self.name.clone(),
            phase,
            deadline,
            grants: Arc::clone(&self.grants),
        };
        let (broker, slots) = (
            Arc::clone(&self.shared.broker),
            Arc::clone(&self.shared.call_slots),
        );
        let mut store = Store::new(
            &self.shared.engine,
            RunState::new(cx, *limits, broker, slots),
        );
        store.limiter(|state| state);
        store.set_hostcall_fuel(HOSTCALL_FUEL);
        store.set_max_component_handles(HANDLES_MAX);
        let (mut computed, limits) = (Duration::ZERO, *limits);
        store.epoch_deadline_callback(move |_| {
            // Called about once a tick while the plugin computes, and once after a host call that took longer than one.
            computed += TICK;
            if Instant::now() >= deadline {
                return Err(Stopped::Wall(limits.timeout).into());
            }
            if computed > limits.cpu {
                return Err(Stopped::Cpu(limits.cpu).into());
            }
            Ok(UpdateDeadline::YieldCustom(
                1,
                Box::pin(tokio::task::yield_now()),
            ))
        });
        store.set_epoch_deadline(1);
        store
    }
}
