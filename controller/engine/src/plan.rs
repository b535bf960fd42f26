//! The planner: an immutable input in, a plan out, with the reasons for what it does not do.

mod look;
mod planner;
pub(crate) mod rung;
mod tell;
mod verified;
pub(crate) mod work;

use crate::fact::Inventory;
use crate::id::{EffectId, NodeName};
use crate::ledger::Ledger;
use crate::policy::Policy;
use crate::record::{Diagnosis, Record, Waiting};
use crate::time::Tick;
use crate::world::World;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

pub use planner::Planner;

/// A look that the driver should take: reading only, so not journaled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Look {
    /// Ask the controller itself and other agents to probe this node.
    Probe(NodeName),
    /// Ask the provider about the machine and its meters.
    Machine(NodeName),
    /// Ask the provider what became of an effect whose outcome is in doubt or under way.
    Effect(EffectId),
}

/// One node's part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// What the signals say.
    pub diagnosis: Diagnosis,
    /// The facts, in words.
    pub evidence: Vec<String>,
    /// Why nothing, or nothing more, happens now.
    pub waiting: Vec<Waiting>,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// To be journaled, in this order, before anything is done; each `Intended` is then executed.
    pub records: Vec<Record>,
    /// To be looked at.
    pub looks: Vec<Look>,
    /// By node. Empty in what [`Planner::step`] returns: the planner keeps them.
    pub nodes: BTreeMap<NodeName, NodePlan>,
    /// When to plan again at the latest, if nothing happens before.
    pub next_wake: Option<Tick>,
}

/// Everything that a decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The time.
    pub now: Tick,
    /// What the operator allows.
    pub policy: &'a Policy,
    /// What the operator declared.
    pub inventory: &'a Inventory,
    /// What is known.
    pub world: &'a World,
    /// What has happened.
    pub ledger: &'a Ledger,
}

/// Decides, from nothing but the situation.
#[must_use]
pub fn plan(situation: &Situation<'_>) -> Plan {
    let mut planner = Planner::default();
    let plan = planner.step(situation, BTreeSet::new());
    Plan {
        nodes: planner.nodes,
        ..plan
    }
}
