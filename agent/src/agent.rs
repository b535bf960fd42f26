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

use iaso_engine::time::Tick;
use iaso_host::PluginFault;
use iaso_proto::v1;
use prost::Message as _;
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

use crate::{
    autonomy::{Autonomy, Delegation},
    cap::{HostCapabilities, Peers},
    config::Config,
    disk::{self, DiskError},
    metrics::Metrics,
    orders::{Begin, ORDERS_MAX, Orders, Outcome},
    outbox::{Kind, Limits, Outbox, OutboxError},
    plugins::{CheckRun, FixRun, Plugins, Slot, Spec, unix_ms},
    reports::Reports,
    runnable::Runnable,
    wire,
};

/// Longest that the controller may let a fix take.
const ORDER_DEADLINE_MAX: Duration = Duration::from_hours(1);

/// Bytes of an order's id.
const ORDER_ID_BYTES_MAX: usize = 300;
/// Bytes of a plugin's or a fix's name.
const NAME_BYTES_MAX: usize = 128;

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
    /// Counts assignments: what is fetched for an earlier one comes too late.
    round: Mutex<u64>,
    outbox: Mutex<Outbox>,
    orders: Mutex<Orders>,
    reports: Mutex<Reports>,
    autonomy: Mutex<Autonomy>,
    pub(crate) remediation: Semaphore,
    connected: AtomicBool,
    pub(crate) disk_trouble: AtomicBool,
    started: Instant,
    /// What the wall clock said then, or the latest moment on record if that is later.
    began: Tick,
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
        let plugins = Plugins::new(
            HostCapabilities::new(&config, Arc::clone(&peers)),
            &config.runner,
        )?;
        let absence = crate::alone::read(&config.state_dir)?;
        let wall = Tick(u64::try_from(unix_ms()).unwrap_or(0));
        let began = wall.max(absence.latest());
        let autonomy = Autonomy::new(&config.node, began, Delegation::default(), absence);
        let agent = Arc::new(Self {
            plugins,
            metrics: Metrics::new(config.runner.mode),
            boot_id: format!("{:032x}", rand::random::<u128>()),
            peers,
            outbox_grew: Notify::new(),
            plugins_changed: Notify::new(),
            round: Mutex::default(),
            outbox: Mutex::new(outbox),
            orders: Mutex::new(orders),
            reports: Mutex::default(),
            autonomy: Mutex::new(autonomy),
            remediation: Semaphore::new(1),
            connected: AtomicBool::new(false),
            disk_trouble: AtomicBool::new(false),
            started: Instant::now(),
            began,
            config,
        });
        let owed = locked(&agent.orders).unqueued();
        for outcome in owed {
            agent.queue_outcome(&outcome);
        }
        agent.settle_what_was_interrupted();
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

    /// Takes note of a leader's term; `Err` gives the higher one that was seen.
    pub fn see_term(&self, term: u64) -> Result<(), u64> {
        locked(&self.orders).see_term(term)
    }

    /// The time, for the engine: begins at the wall clock and only goes forward.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.began.after(self.started.elapsed())
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
            self.autonomy().disconnected(self.tick());
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
    pub async fn check(&self, name: &str) {
        let Some(turn) = self.plugins.turn(name).await else {
            return;
        };
        let slot = turn.slot();
        if !slot.admits(self.started.elapsed()) {
            return;
        }
        let run = turn.check().await;
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
        let append = |run: &CheckRun| {
            self.outbox().append(Kind::Sample, |sequence| {
                wire::message(v1::agent_message::Kind::Report(wire::report(
                    &slot.spec.name,
                    run,
                    sequence,
                )))
                .encode_to_vec()
            })
        };
        let mut appended = append(run);
        if let Err(OutboxError::TooLarge { bytes }) = appended {
            // The plugin's trouble, not the disk's: the controller is told that, in place of what does not fit.
            appended = append(&run.too_large(bytes));
        }
        if let Some(sequence) = self.appended(appended) {
            self.reports().sent(&slot.spec.name, sequence);
        }
    }

    pub(crate) fn appended(&self, result: Result<u64, OutboxError>) -> Option<u64> {
        self.outbox_grew.notify_one();
        self.disk_trouble.store(result.is_err(), Ordering::Relaxed);
        result
            .map_err(|error| tracing::warn!(error = crate::config::chain(&error), "outbox"))
            .ok()
    }

    /// Carries out an order, or says what became of it.
    pub async fn order(&self, order: v1::FixOrder) {
        let received = Instant::now();
        let blank = Outcome::begun(order.order_id, order.plugin, order.fix);
        let refuse = |result: &str, reason: String| blank.clone().ended(result, reason);
        if let Some(why) = unusable(&blank) {
            tracing::warn!("an order is passed over: {why}");
            return;
        }
        let slot = self.remediation.try_acquire();
        // Let go of before the match: a guard in its head would be held in its arms, which lock again.
        let known = locked(&self.orders).knows(&blank.order_id);
        let begun = match (&slot, known) {
            (Err(_), false) => {
                return self.decline(&refuse(
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
            Ok(Begin::Full) => {
                let reason = format!(
                    "{ORDERS_MAX} outcomes are still owed to the controller: see this node's disk"
                );
                self.queue_outcome(&refuse("busy", reason));
            }
            Ok(Begin::Stale { seen }) => {
                let reason = format!("the order's term {} is over: {seen} was seen", order.term);
                self.decline(&refuse("stale-term", reason));
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

    pub(crate) async fn fix(&self, blank: Outcome, deadline: Instant) -> Outcome {
        let start = Instant::now();
        let turn = tokio::time::timeout_at(deadline, self.plugins.turn(&blank.plugin)).await;
        let run = match &turn {
            Ok(Some(turn)) => turn.fix(&blank.fix, deadline).await,
            Ok(None) => FixRun::new(
                "refused",
                format!("no plugin `{}` is assigned to this node", blank.plugin),
            ),
            Err(_) => FixRun::new("expired", "the deadline passed before the plugin was free"),
        };
        if let Ok(Some(turn)) = turn {
            turn.slot().seat.poke.notify_one();
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

    /// Refuses before anything is begun. What is not on record is not said: the same order may come again, and would be begun.
    fn decline(&self, outcome: &Outcome) {
        match locked(&self.orders).refuse(outcome.clone()) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                return tracing::warn!(
                    error = crate::config::chain(&error),
                    order = outcome.order_id,
                    "an order was not begun, and that cannot be recorded"
                );
            }
        }
        self.queue_outcome(outcome);
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

    /// A new set of plugins: the others go, with their results. Gives the number of this assignment.
    pub fn assigned(&self, names: &[&str]) -> u64 {
        let mut round = locked(&self.round);
        *round += 1;
        self.plugins.retain(names);
        self.reports().retain(names);
        self.plugins_changed.notify_one();
        *round
    }

    /// Whether that assignment is still the latest.
    #[must_use]
    pub fn is_assigned(&self, round: u64) -> bool {
        *locked(&self.round) == round
    }

    /// Puts a version of an assignment in its place, unless another assignment came meanwhile, and tells the controller if it cannot be.
    pub fn settle(&self, round: u64, spec: Spec, loaded: Result<Runnable, PluginFault>) {
        let latest = locked(&self.round);
        if *latest != round {
            return;
        }
        let slot = self.plugins.settle(spec, loaded);
        self.plugins_changed.notify_one();
        // A version that took its place is run at once, and its own result says that nothing is refused any more.
        if slot.seat.refused().is_some() {
            self.tell_refused(&slot);
        }
    }

    /// What was assigned is what runs: nothing is refused any more.
    pub fn is_as_assigned(&self, slot: &Slot) {
        if slot.seat.refuse(None) {
            self.tell_refused(slot);
        }
    }

    /// Sends the latest result again if it does not say which version is refused now: the next run may be half an hour away.
    fn tell_refused(&self, slot: &Slot) {
        let refused = slot.seat.refused();
        let corrected = self.reports().refuse(&slot.spec.name, refused);
        if let Some(run) = corrected.filter(|_| self.config.controller.is_some()) {
            self.send_report(slot, &run);
        }
    }

    /// Puts a plugin of an assignment that could not be had in its place, unless another assignment came meanwhile.
    pub fn place(&self, round: u64, slot: Slot) {
        let latest = locked(&self.round);
        if *latest == round {
            self.plugins.place(slot);
            self.plugins_changed.notify_one();
        }
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

/// Why an order cannot be kept on record, nor its outcome ever be told: nothing that the controller of this version sends.
fn unusable(order: &Outcome) -> Option<String> {
    let bounds = [
        ("id", &order.order_id, ORDER_ID_BYTES_MAX),
        ("plugin", &order.plugin, NAME_BYTES_MAX),
        ("fix", &order.fix, NAME_BYTES_MAX),
    ];
    let (what, text, most) = bounds
        .into_iter()
        .find(|(_, text, most)| !(1..=*most).contains(&text.len()))?;
    Some(format!(
        "its {what} has {} bytes, and 1 to {most} are allowed",
        text.len()
    ))
}

/// Where compiled plugins are kept under `state_dir`.
#[must_use]
pub fn cache_dir(state_dir: &Path) -> std::path::PathBuf {
    state_dir.join("plugins")
}
