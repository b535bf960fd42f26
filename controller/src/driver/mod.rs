//! The one task that owns the world and the ledger: facts in, plan, checker, journal, effects, outcomes, and again.
//!
//! **Invariants**
//! - An effect is executed only after its intent is on the disk and folded.
//! - Nothing is appended that the ledger cannot fold: the journal can always be read again.
//! - A plan is vetted by the independent checker first; one veto drops everything the plan says of that incident.
//! - Whoever reported a fact is answered only after the decision that rests on it is journaled.

mod decide;
mod doubt;
mod effects;
mod handle;
mod hands;
mod looks;
mod machine_effects;
mod rejoin_effects;

pub use handle::{ChangeError, Gone, Handle, View};
pub use hands::Hands;

use crate::clock::Clock;
use crate::probe::Rounds;
use crate::recorder::Recorder;
use crate::status::Metrics;
use crate::store::{Operations, Store};
use handle::Input;
use iaso_engine::fact::{Inventory, Observation};
use iaso_engine::id::NodeName;
use iaso_engine::ledger::Ledger;
use iaso_engine::plan::{Plan, Planner};
use iaso_engine::policy::Policy;
use iaso_engine::record::Record;
use iaso_engine::time::Tick;
use iaso_engine::world::World;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Inputs that may wait for the driver; senders wait when it is full.
const INBOX_MAX: usize = 4_096;
/// Most inputs that are taken in before the next decision.
const BATCH_MAX: usize = 512;
/// The driver looks again at least this often, so that facts decay even when nothing happens.
const WAKE_MAX: Duration = Duration::from_secs(5);

/// What a driver is made of.
pub struct Parts {
    /// The journal.
    pub store: Arc<Store>,
    /// What it said.
    pub ledger: Ledger,
    /// The providers' operations that the journal knows.
    pub operations: Operations,
    /// Sequence of the snapshot that the ledger came from.
    pub snapshot: u64,
    /// The clock.
    pub clock: Clock,
    /// What the operator allows.
    pub policy: Policy,
    /// What the operator declared.
    pub inventory: Inventory,
    /// What executes effects.
    pub hands: Hands,
    /// What probes.
    pub rounds: Arc<Rounds>,
    /// Counters.
    pub metrics: Metrics,
    /// Keeps what decisions rest on.
    pub recorder: Recorder,
    /// Ends the driver.
    pub stop: CancellationToken,
}

/// The driver.
pub struct Driver {
    store: Arc<Store>,
    ledger: Ledger,
    world: World,
    plan: Plan,
    planner: Planner,
    /// Vetoes of the latest plan that no incident can hold.
    homeless: BTreeSet<String>,
    /// Nodes that facts came in about since the last plan.
    touched: BTreeSet<NodeName>,
    clock: Clock,
    policy: Policy,
    inventory: Inventory,
    inbox: mpsc::Receiver<Input>,
    pursuits: effects::Pursuits,
    looks: looks::Looks,
    metrics: Metrics,
    recorder: Recorder,
    operations: Operations,
    /// Sequence of the latest snapshot.
    snapshot: u64,
    wake: Instant,
    stop: CancellationToken,
}

impl Driver {
    /// Makes a driver and the handle by which others reach it. It does nothing until [`Driver::run`].
    #[must_use]
    pub fn new(parts: Parts) -> (Self, Handle) {
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let handle = Handle::new(sender);
        let world = World::new(parts.clock.now());
        let pursuits = effects::Pursuits::new(
            parts.hands.clone(),
            handle.clone(),
            parts.clock,
            parts.stop.clone(),
        );
        let looks = looks::Looks::new(parts.hands, parts.rounds, handle.clone(), &parts.policy);
        let driver = Self {
            store: parts.store,
            ledger: parts.ledger,
            world,
            plan: Plan::default(),
            planner: Planner::default(),
            homeless: BTreeSet::new(),
            touched: BTreeSet::new(),
            clock: parts.clock,
            policy: parts.policy,
            inventory: parts.inventory,
            inbox,
            pursuits,
            looks,
            metrics: parts.metrics,
            recorder: parts.recorder,
            operations: parts.operations,
            snapshot: parts.snapshot,
            wake: Instant::now(),
            stop: parts.stop,
        };
        (driver, handle)
    }

    /// Begins a new term, takes up effects whose fate is unknown, and runs until it is stopped.
    ///
    /// # Errors
    /// When the first entry cannot be journaled: then this controller must not lead.
    pub async fn run(mut self) -> Result<(), ChangeError> {
        self.recorder.settle(&self.world, &self.ledger);
        let term = self.ledger.term + 1;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.journal(vec![Record::ControllerStarted { version, term }])
            .await?;
        self.pursuits.set_term(term);
        tracing::info!(term, incidents = self.ledger.incidents.len(), "leading");
        self.resume_unsettled();
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                count = self.inbox.recv_many(&mut batch, BATCH_MAX) => if count == 0 { break },
                () = tokio::time::sleep_until(self.wake) => {}
            }
            self.turn(&mut batch).await;
        }
        self.pursuits.abort_all();
        self.recorder.end();
        tracing::info!("the driver has stopped");
        Ok(())
    }

    /// Every effect that a controller before us began and did not see the end of.
    fn resume_unsettled(&mut self) {
        let unsettled: Vec<_> = self.ledger.unsettled().cloned().collect();
        for state in unsettled {
            tracing::warn!(effect = %state.effect.id, action = state.effect.action.name(), "taken up again: asking what became of it");
            self.pursuits.resume(state, &self.operations);
        }
    }

    async fn turn(&mut self, batch: &mut Vec<Input>) {
        let mut waiting = Vec::new();
        for input in batch.drain(..) {
            match input {
                Input::Observe {
                    observations,
                    reply,
                } => {
                    self.observe(observations);
                    waiting.extend(reply);
                }
                Input::Ask(question) => question(&self.view()),
                Input::Change { change, reply } => {
                    let result = match change(&self.view()) {
                        Ok(records) => self.journal(records).await,
                        Err(why) => Err(ChangeError::Refused(why)),
                    };
                    // Whoever asked has gone: the journal has it.
                    let _ = reply.send(result);
                }
            }
        }
        self.decide().await;
        for reply in waiting {
            let _: Result<(), ()> = oneshot::Sender::send(reply, ());
        }
    }

    fn observe(&mut self, mut observations: Vec<Observation>) {
        let now = self.clock.now();
        // A fact about a node that nobody declared must not grow the world.
        observations.retain(|observation| {
            observation
                .node()
                .is_none_or(|node| self.inventory.nodes.contains_key(node))
        });
        self.recorder.seen(now, &observations);
        for observation in observations {
            self.touched.extend(observation.node().cloned());
            self.world.observe(now, observation);
        }
    }

    fn view(&self) -> View<'_> {
        View {
            now: self.clock.now(),
            policy: &self.policy,
            inventory: &self.inventory,
            world: &self.world,
            ledger: &self.ledger,
            nodes: self.planner.nodes(),
        }
    }

    /// When the journal could not be written, when to try again.
    fn wake_in(&mut self, span: Duration) {
        self.wake = Instant::now() + span.min(WAKE_MAX);
    }

    fn wake_at(&mut self, tick: Option<Tick>) {
        let latest = Instant::now() + WAKE_MAX;
        // Never at once: a plan that asks for "now" again and again must leave room for facts.
        let earliest = Instant::now() + Duration::from_millis(20);
        self.wake = tick
            .map_or(latest, |tick| self.clock.instant(tick).min(latest))
            .max(earliest);
    }
}
