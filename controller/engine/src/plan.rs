//! The planner: an immutable input in, a plan out, with the reasons for what it does not do.

mod look;
pub(crate) mod rung;
mod tell;
mod verified;
pub(crate) mod work;

use crate::diagnose::assess;
use crate::fact::Inventory;
use crate::id::{EffectId, NodeName};
use crate::ledger::Ledger;
use crate::policy::Policy;
use crate::record::{Diagnosis, Entry, Record, Waiting};
use crate::time::Tick;
use crate::world::World;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use work::Work;

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
    /// By node.
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

/// Passes over all nodes in one plan: what one node begins or ends may hold or free another, so it goes on until nothing is added.
const PASSES_MAX: usize = 16;

/// Decides.
#[must_use]
pub fn plan(situation: &Situation<'_>) -> Plan {
    let mut plan = pass(situation);
    let mut fresh = plan.records.clone();
    let mut ledger = None;
    for _ in 1..PASSES_MAX {
        if fresh.is_empty() {
            break;
        }
        let ahead = ledger.get_or_insert_with(|| situation.ledger.clone());
        for record in std::mem::take(&mut fresh) {
            let entry = Entry {
                sequence: ahead.sequence.saturating_add(1),
                at: situation.now,
                record,
            };
            if ahead.fold(&entry).is_err() {
                // Its own record does not fit: decide nothing more on it. The driver's fold will say the same, aloud.
                return plan;
            }
        }
        let next = pass(&Situation {
            ledger: ahead,
            ..*situation
        });
        fresh.clone_from(&next.records);
        plan.records.extend(next.records);
        plan.looks = next.looks;
        plan.nodes = next.nodes;
        plan.next_wake = next.next_wake;
    }
    plan
}

/// One pass over all nodes.
fn pass(situation: &Situation<'_>) -> Plan {
    let all = assess(situation);
    let mut plan = Plan::default();
    let mut claimed = None;
    for (name, node) in &all.nodes {
        let mut work = Work::new(situation, &all, name, node, claimed.clone());
        work.run();
        plan.looks.extend(look::looks(situation, name, node, &work));
        look::wake(situation, name, node, &work, &mut plan.next_wake);
        claimed = claimed.or(work.claims);
        plan.records.extend(work.records);
        plan.nodes.insert(
            name.clone(),
            NodePlan {
                diagnosis: node.diagnosis,
                evidence: node.evidence.clone(),
                waiting: work.waiting.into_iter().collect(),
            },
        );
    }
    plan
}
