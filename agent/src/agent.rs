//! What the parts of the agent share: plugins, the latest results, what is owed, what may be done.
//!
//! **Invariants**
//! - One remediation at a time, whoever wants it.
//! - An outcome is recorded with its order before it is queued for the controller: it can be queued twice, never lost.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use iaso_host::PluginFault;
use iaso_proto::v1;
use prost::Message as _;
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

use crate::{
    autonomy::Autonomy,
    cap::{HostCapabilities, Peers},
    config::Config,
    disk::{self, DiskError},
    metrics::Metrics,
    orders::{Begin, Orders, Outcome},
    outbox::{Kind, Limits, Outbox, OutboxError},
    plugins::{CheckRun, FixRun, Plugins, Slot, unix_ms},
    reports::Reports,
    wire,
};

/// Longest that a fix of our own may take.
const AUTONOMOUS_DEADLINE: Duration = Duration::from_mins(3);
/// Longest that the controller may let a fix take.
const ORDER_DEADLINE_MAX: Duration = Duration::from_hours(1);

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory cannot be used.
    #[error("cannot use state_dir")]
    Disk(#[from] DiskError),
    /// Plugins cannot be run here.
    #[error("cannot start the plugin engine")]
    Engine(#[from] iaso_host::EngineError),
}

/// One agent.
pub struct Agent {
    /// How it was configured.
    pub config: Config,
    /// Its plugins.
    pub plugins: Plugins,
    /// Counters for `/metrics`.
    pub metrics: Metrics,
    /// Drawn at each start of the process.
    pub boot_id: String,
    /// Other nodes.
    pub peers: Peers,
    /// Something new is in the outbox.
    pub outbox_grew: Notify,
    /// The set of plugins changed.
    pub plugins_changed: Notify,
    outbox: Mutex<Outbox>,
    orders: Mutex<Orders>,
    reports: Mutex<Reports>,
    autonomy: Mutex<Autonomy>,
    remediation: Semaphore,
    connected: AtomicBool,
    disk_trouble: AtomicBool,
    started: Instant,
}

/// A panic elsewhere must not take the agent with it: the data behind each lock is whole between two calls.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Agent {
    /// Opens what is on disk and starts the plugin engine. Nothing runs yet.
    pub fn open(config: Config) -> Result<Arc<Self>, StartError> {
        disk::private_dir(&config.state_dir)?;
        let at = |name: &str| config.state_dir.join(name);
        let (outbox, orders) = (
            Outbox::open(&at("outbox.log"), Limits::default())?,
            Orders::open(&at("orders.json"))?,
        );
        let peers = Peers::default();
        let plugins = Plugins::new(HostCapabilities::new(&config, Arc::clone(&peers)))?;
        let used = disk::read_bounded(&at("autonomy"), 64)?;
        let used = used
            .and_then(|text| String::from_utf8(text).ok()?.trim().parse().ok())
            .unwrap_or(0);
        let autonomy = Autonomy::new(Duration::ZERO, crate::autonomy::Delegation::default(), used);
        let agent = Arc::new(Self {
            plugins,
            metrics: Metrics::new(),
            boot_id: format!("{:032x}", rand::random::<u128>()),
            peers,
            outbox_grew: Notify::new(),
            plugins_changed: Notify::new(),
            outbox: Mutex::new(outbox),
            orders: Mutex::new(orders),
            reports: Mutex::default(),
            autonomy: Mutex::new(autonomy),
            remediation: Semaphore::new(1),
            connected: AtomicBool::new(false),
            disk_trouble: AtomicBool::new(false),
            started: Instant::now(),
            config,
        });
        let owed = locked(&agent.orders).unqueued();
        for outcome in owed {
            agent.queue_outcome(&outcome);
        }
        Ok(agent)
    }

    /// The outbox.
    pub fn outbox(&self) -> MutexGuard<'_, Outbox> {
        locked(&self.outbox)
    }

    /// The latest results.
    pub fn reports(&self) -> MutexGuard<'_, Reports> {
        locked(&self.reports)
    }

    /// The state of the delegation.
    pub fn autonomy(&self) -> MutexGuard<'_, Autonomy> {
        locked(&self.autonomy)
    }

    /// Takes note of a leader's term.
    pub fn see_term(&self, term: u64) -> Result<(), u64> {
        locked(&self.orders).see_term(term)
    }

    /// Since this agent started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether a session is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// A session opened or ended.
    pub fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
        if !connected {
            self.autonomy().disconnected(self.uptime());
        }
    }

    /// 0 healthy .. 8 unfit: how much our word about others is worth.
    #[must_use]
    pub fn self_health(&self) -> u32 {
        let threads = u32::try_from(self.plugins.capabilities().abandoned_threads()).unwrap_or(8);
        let disk = if self.disk_trouble.load(Ordering::Relaxed) {
            4
        } else {
            0
        };
        (threads + disk).min(8)
    }

    /// Runs one plugin's check and sends what is new. One that keeps breaking is run less and less often.
    pub async fn check(&self, slot: &Slot) {
        if !slot.admits(self.started.elapsed()) {
            return;
        }
        let run = slot.check().await;
        slot.judge(self.started.elapsed(), &run);
        self.metrics.ran(&slot.spec.name, &run);
        let news = self.reports().record(
            &slot.spec.name,
            run.clone(),
            slot.spec.interval,
            Instant::now(),
        );
        if news && self.config.controller.is_some() {
            self.send_report(slot, &run);
        }
    }

    /// Queues every latest result that is not queued: the controller may have lost them.
    pub fn send_all_reports(&self) {
        for slot in self.plugins.all() {
            let latest = self
                .reports()
                .iter()
                .find(|(name, _)| *name == slot.spec.name)
                .map(|(_, latest)| latest.clone());
            let Some(latest) = latest else { continue };
            let pending = latest
                .sequence
                .is_some_and(|sequence| self.outbox().is_pending(sequence));
            if !pending {
                self.send_report(&slot, &latest.run);
            }
        }
    }

    fn send_report(&self, slot: &Slot, run: &CheckRun) {
        let appended = self.outbox().append(Kind::Sample, |sequence| {
            wire::message(v1::agent_message::Kind::Report(wire::report(
                &slot.spec, run, sequence,
            )))
            .encode_to_vec()
        });
        if let Some(sequence) = self.appended(appended) {
            self.reports().sent(&slot.spec.name, sequence);
        }
    }

    fn appended(&self, result: Result<u64, OutboxError>) -> Option<u64> {
        self.outbox_grew.notify_one();
        self.disk_trouble.store(result.is_err(), Ordering::Relaxed);
        result
            .map_err(|error| tracing::warn!(error = crate::config::chain(&error), "outbox"))
            .ok()
    }

    /// Carries out an order, or says what became of it.
    pub async fn order(&self, order: v1::FixOrder) {
        let received = Instant::now();
        let blank = Outcome {
            order_id: order.order_id,
            plugin: order.plugin,
            fix: order.fix,
            result: String::new(),
            reason: String::new(),
            steps: Vec::new(),
            started_unix_ms: unix_ms(),
            duration_us: 0,
        };
        let refuse = |result: &str, reason: String| Outcome {
            result: result.into(),
            reason,
            ..blank.clone()
        };
        let slot = self.remediation.try_acquire();
        // Let go of before the match: a guard in its head would be held in its arms, which lock again.
        let known = locked(&self.orders).knows(&blank.order_id);
        let begun = match (&slot, known) {
            (Err(_), false) => {
                return self.queue_outcome(&refuse(
                    "busy",
                    "another fix is running on this node".into(),
                ));
            }
            _ => locked(&self.orders).begin(order.term, blank.clone()),
        };
        match begun {
            Err(error) => {
                let reason = format!(
                    "the order cannot be recorded, so it is not begun: {}",
                    crate::config::chain(&error)
                );
                self.queue_outcome(&refuse("refused", reason));
            }
            Ok(Begin::Known(outcome)) => self.queue_outcome(&outcome),
            Ok(Begin::Running) => {}
            Ok(Begin::Stale { seen }) => {
                let reason = format!("the order's term {} is over: {seen} was seen", order.term);
                self.queue_outcome(&refuse("stale-term", reason));
            }
            Ok(Begin::Run) => {
                tracing::info!(
                    order = blank.order_id,
                    plugin = blank.plugin,
                    fix = blank.fix,
                    reason = order.reason,
                    "fix ordered"
                );
                let deadline =
                    received + Duration::from_millis(order.deadline_ms).min(ORDER_DEADLINE_MAX);
                let outcome = self.fix(blank, deadline).await;
                if let Err(error) = locked(&self.orders).finish(outcome.clone()) {
                    tracing::warn!(
                        error = crate::config::chain(&error),
                        "an outcome is not on record"
                    );
                }
                self.queue_outcome(&outcome);
            }
        }
    }

    async fn fix(&self, blank: Outcome, deadline: Instant) -> Outcome {
        let start = Instant::now();
        let slot = self.plugins.get(&blank.plugin);
        let run = match &slot {
            Some(slot) => slot.fix(&blank.fix, deadline).await,
            None => FixRun::new(
                "refused",
                format!("no plugin `{}` is assigned to this node", blank.plugin),
            ),
        };
        if let Some(slot) = slot {
            slot.poke.notify_one();
        }
        tracing::info!(
            plugin = blank.plugin,
            fix = blank.fix,
            result = run.result,
            reason = run.reason,
            "fix ended"
        );
        self.metrics.fixed(&run.result);
        let duration_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Outcome {
            result: run.result,
            reason: run.reason,
            steps: run.steps,
            duration_us,
            ..blank
        }
    }

    fn queue_outcome(&self, outcome: &Outcome) {
        let appended = self.outbox().append(Kind::Durable, |sequence| {
            wire::message(v1::agent_message::Kind::FixOutcome(wire::outcome(
                outcome, sequence,
            )))
            .encode_to_vec()
        });
        if self.appended(appended).is_some()
            && let Err(error) = locked(&self.orders).queued(&outcome.order_id)
        {
            tracing::warn!(
                error = crate::config::chain(&error),
                "an outcome may be sent twice"
            );
        }
    }

    /// While cut off: does the next delegated thing, if there is one.
    pub async fn act_alone(&self) {
        let now = Instant::now();
        let wanted = {
            let reports = self.reports();
            let names =
                |rung: &crate::autonomy::Rung| reports.names_remedy(&rung.plugin, &rung.fix, now);
            self.autonomy().next(self.uptime(), names).cloned()
        };
        let (Ok(rung), Ok(_slot)) = (wanted, self.remediation.try_acquire()) else {
            return;
        };
        let used = self.autonomy().used() + 1;
        if let Err(error) = self.save_attempts(used) {
            // Attempts that cannot be counted over a restart are not made.
            tracing::warn!(
                error = crate::config::chain(&error),
                "not acting alone: the attempt cannot be recorded"
            );
            return;
        }
        self.autonomy().begin();
        let why = format!(
            "no controller for longer than delegated, and the plugin's own finding names {}",
            rung.fix
        );
        tracing::warn!(
            plugin = rung.plugin,
            fix = rung.fix,
            attempt = used,
            "acting alone"
        );
        let blank = Outcome {
            order_id: format!("autonomous-{}-{used}", self.boot_id),
            plugin: rung.plugin,
            fix: rung.fix,
            result: String::new(),
            reason: String::new(),
            steps: Vec::new(),
            started_unix_ms: unix_ms(),
            duration_us: 0,
        };
        let outcome = self.fix(blank, Instant::now() + AUTONOMOUS_DEADLINE).await;
        self.autonomy().end(self.uptime());
        let appended = self.outbox().append(Kind::Durable, |sequence| {
            let action = v1::AutonomousAction {
                sequence,
                outcome: Some(wire::outcome(&outcome, sequence)),
                why,
            };
            wire::message(v1::agent_message::Kind::Autonomous(action)).encode_to_vec()
        });
        self.appended(appended);
    }

    /// Records how many attempts of our own this absence has seen.
    pub fn save_attempts(&self, used: u32) -> Result<(), DiskError> {
        disk::write_atomic(
            &self.config.state_dir.join("autonomy"),
            used.to_string().as_bytes(),
        )
    }

    /// Forgets results of plugins that are gone, and wakes the schedule.
    pub fn plugins_are(&self, names: &[&str]) {
        self.plugins.retain(names);
        self.reports().retain(names);
        self.plugins_changed.notify_one();
    }

    /// Every plugin's latest fault or findings.
    #[must_use]
    pub fn believed(&self) -> Vec<(String, Result<Vec<iaso_host::types::Finding>, PluginFault>)> {
        let now = Instant::now();
        let reports = self.reports();
        reports
            .iter()
            .map(|(name, latest)| (name.to_owned(), latest.believed(now).map_err(Clone::clone)))
            .collect()
    }

    /// Where compiled plugins are kept.
    #[must_use]
    pub fn cache_dir(&self) -> std::path::PathBuf {
        cache_dir(&self.config.state_dir)
    }
}

/// Where compiled plugins are kept under `state_dir`.
#[must_use]
pub fn cache_dir(state_dir: &Path) -> std::path::PathBuf {
    state_dir.join("plugins")
}
