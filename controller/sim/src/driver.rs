//! The controller's stand-in: what it knows, what it has written down, and what it is pursuing. Only the journal outlives it.

use crate::queue::Vantage;
use crate::scenario::{Ix, Ms, Per, Scenario};
use iaso_engine::fact::{Inventory, NodeSpec, Observation, Observer};
use iaso_engine::id::{EffectId, IncidentId, MachineId, NodeName};
use iaso_engine::ledger::Ledger;
use iaso_engine::plan::{Planner, Situation};
use iaso_engine::policy::Policy;
use iaso_engine::record::Entry;
use iaso_engine::time::Tick;
use iaso_engine::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// 23:45 UTC on 11 October 2025: the last heartbeat of styx.
pub(crate) const START: u64 = 1_760_226_300_000;

/// How far one pursuit of an effect has come.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// Its outcome is on its way.
    Sent,
    /// The provider's operation is asked about.
    Following(u64),
    /// Nobody knows whether it was taken.
    Doubt { since: Ms },
    /// A fix, and to which session it was ordered.
    Fix {
        ordered: Option<u32>,
        /// A controller before this one may have ordered it.
        again: bool,
    },
}

/// What is looked at already, and when it last was.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Looks {
    pub(crate) probed: Option<Ms>,
    pub(crate) asked: Option<Ms>,
    pub(crate) answer_due: bool,
    /// When the poller saw the lease change.
    pub(crate) lease: Option<Tick>,
    /// What it saw.
    pub(crate) renewed: Option<Ms>,
}

#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) policy: Policy,
    pub(crate) inventory: Inventory,
    pub(crate) up: bool,
    /// Which life of the controller this is: what was on its way to an earlier one is void.
    pub(crate) life: u32,
    /// Its clock minus the run's, milliseconds.
    pub(crate) clock: i64,
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    pub(crate) entries: Vec<Entry>,
    /// When each was written, by the run's own clock.
    pub(crate) moments: Vec<Ms>,
    pub(crate) planner: Planner,
    /// Nodes of which something new was heard since the last plan. A word that only says the same again is none.
    pub(crate) touched: BTreeSet<NodeName>,
    pub(crate) pursuits: BTreeMap<EffectId, Stage>,
    /// Operations that effects own, from the journal.
    pub(crate) operations: BTreeMap<u64, EffectId>,
    pub(crate) looks: Per<Looks>,
    pub(crate) vetoed: BTreeMap<IncidentId, String>,
    pub(crate) wake: Option<Ms>,
    /// Facts may change without anybody saying so until then.
    pub(crate) restless: Ms,
    pub(crate) sensed: Ms,
    pub(crate) asked_operator: BTreeSet<(IncidentId, String)>,
    pub(crate) crashes_done: Vec<bool>,
    pub(crate) steps: u64,
    pub(crate) vetoes: u64,
    /// Journal entries that could not be folded: never, if all is well.
    pub(crate) unfoldable: u64,
    /// The engine asked for more plans than it may in one decision.
    pub(crate) unsettled: u64,
}

impl Driver {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let nodes = scenario.nodes.iter().map(|setup| {
            let spec = NodeSpec {
                name: setup.name.clone(),
                role: setup.role,
                machine: setup
                    .machine
                    .then(|| ("model".to_owned(), MachineId(setup.name.to_string()))),
                domains: setup
                    .zone
                    .map(|zone| ("zone".to_owned(), format!("z{zone}")))
                    .into_iter()
                    .collect(),
            };
            (setup.name.clone(), spec)
        });
        Self {
            policy: scenario.policy.clone(),
            inventory: Inventory {
                nodes: nodes.collect(),
                has_cluster: scenario.has_cluster,
            },
            up: false,
            life: 0,
            clock: 0,
            world: World::default(),
            ledger: Ledger::default(),
            entries: Vec::new(),
            moments: Vec::new(),
            planner: Planner::default(),
            touched: BTreeSet::new(),
            pursuits: BTreeMap::new(),
            operations: BTreeMap::new(),
            looks: Per::new(scenario.nodes.iter().map(|_| Looks::default())),
            vetoed: BTreeMap::new(),
            wake: None,
            restless: 0,
            sensed: 0,
            asked_operator: BTreeSet::new(),
            crashes_done: vec![false; scenario.crash_on.len()],
            steps: 0,
            vetoes: 0,
            unfoldable: 0,
            unsettled: 0,
        }
    }

    /// The controller's clock at a moment of the run.
    pub(crate) fn tick(&self, at: Ms) -> Tick {
        Tick(START.saturating_add(at).saturating_add_signed(self.clock))
    }

    /// The moment of the run at which the controller's clock shows a tick.
    pub(crate) fn moment(&self, tick: Tick) -> Ms {
        tick.0
            .saturating_add_signed(self.clock.saturating_neg())
            .saturating_sub(START)
    }

    pub(crate) fn situation(&self, now: Ms) -> Situation<'_> {
        Situation {
            now: self.tick(now),
            policy: &self.policy,
            inventory: &self.inventory,
            world: &self.world,
            ledger: &self.ledger,
        }
    }

    /// Takes in what was heard.
    pub(crate) fn hear(&mut self, at: Tick, observation: Observation) {
        self.touched.extend(observation.node().cloned());
        self.world.observe(at, observation);
    }

    /// A new life: all that is left is the journal, read again.
    pub(crate) fn begin(&mut self, now: Ms, clock_ms: i64) {
        let mut ledger = Ledger::default();
        for entry in &self.entries {
            if ledger.fold(entry).is_err() {
                self.unfoldable = self.unfoldable.saturating_add(1);
            }
        }
        if ledger != self.ledger {
            self.unfoldable = self.unfoldable.saturating_add(1);
        }
        self.ledger = ledger;
        // Time in the journal never runs backwards.
        let wall = START.saturating_add(now);
        let last = self.entries.last().map_or(0, |e| e.at.0);
        let begins = wall.saturating_add_signed(clock_ms).max(last);
        self.clock =
            i64::try_from(begins).unwrap_or(i64::MAX) - i64::try_from(wall).unwrap_or(i64::MAX);
        self.up = true;
        self.life = self.life.saturating_add(1);
        self.world = World::new(self.tick(now));
        self.planner = Planner::default();
        self.touched.clear();
        self.sensed = now;
        self.restless = now.saturating_add(120_000);
    }

    /// Everything but the journal is gone.
    pub(crate) fn end(&mut self) {
        self.up = false;
        self.world = World::default();
        self.pursuits.clear();
        self.vetoed.clear();
        self.wake = None;
        for looks in self.looks.iter_mut() {
            *looks = Looks::default();
        }
    }
}

pub(crate) fn observer(scenario: &Scenario, vantage: Vantage) -> Option<Observer> {
    match vantage {
        Vantage::Controller => Some(Observer::Controller),
        Vantage::Node(ix) => name(scenario, ix).map(|n| Observer::Node(n.clone())),
    }
}

pub(crate) fn name(scenario: &Scenario, ix: Ix) -> Option<&NodeName> {
    scenario.nodes.get(ix.0).map(|setup| &setup.name)
}

pub(crate) fn index(scenario: &Scenario, node: &NodeName) -> Option<Ix> {
    scenario
        .nodes
        .binary_search_by(|setup| setup.name.cmp(node))
        .ok()
        .map(Ix)
}
