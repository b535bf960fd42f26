//! The planner that goes on: it keeps what it knew of nodes that are plainly well, and looks again only where something may have changed.
//!
//! **Invariants**
//! - A step decides what [`plan`](super::plan) decides on the same situation, record for record: `plan` is the first step of a new planner.
//! - A node is left out only while it is plainly well, no fact about it came in, and none has grown old.
//! - What is kept is a cache and nothing else: a planner thrown away at any moment loses no decision.

use crate::diagnose::Assessments;
use crate::id::{EffectId, NodeName};
use crate::plan::look;
use crate::plan::work::Work;
use crate::plan::{NodePlan, Plan, Situation};
use crate::record::Entry;
use crate::time::Tick;
use std::collections::{BTreeMap, BTreeSet};

/// Passes over the nodes in one step: what one node begins or ends may hold or free another, so it goes on until nothing is added.
const PASSES_MAX: usize = 16;

/// Decides again and again about one inventory under one policy. Another inventory or policy needs a new planner.
#[derive(Debug, Clone, Default)]
pub struct Planner {
    all: Assessments,
    pub(super) nodes: BTreeMap<NodeName, NodePlan>,
    /// What the API server last said, as far as it matters to every node; `None`: every node is looked at.
    api: Option<ApiWord>,
    due: Alarms,
    wake: Alarms,
}

/// Whether the API server answered lately, and its trouble.
type ApiWord = (bool, Option<Option<String>>);

impl Planner {
    /// Decides. `touched`: every node that an observation since the last step was about.
    pub fn step(&mut self, situation: &Situation<'_>, touched: BTreeSet<NodeName>) -> Plan {
        let mut plan = self.pass(situation, touched);
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
            let ahead = Situation {
                ledger: ahead,
                ..*situation
            };
            let next = self.pass(&ahead, BTreeSet::new());
            fresh.clone_from(&next.records);
            plan.records.extend(next.records);
            plan.looks = next.looks;
            plan.next_wake = next.next_wake;
        }
        plan
    }

    /// Looks at every node in the next step: what the last one decided was not journaled, and so has not happened.
    pub fn look_again(&mut self) {
        self.api = None;
    }

    /// Every node's part of the latest plan.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<NodeName, NodePlan> {
        &self.nodes
    }

    /// One pass over the nodes that may have changed, in the order of their names.
    fn pass(&mut self, s: &Situation<'_>, mut touched: BTreeSet<NodeName>) -> Plan {
        touched.extend(self.due.until(s.now));
        let api = api_word(s);
        if self.api.as_ref() != Some(&api) {
            touched = s.inventory.nodes.keys().cloned().collect();
            self.api = Some(api);
        }
        let todo = self.all.update(s, touched);
        let mut plan = Plan::default();
        let mut claimed = None;
        for name in &todo {
            self.decide(s, name, &mut claimed, &mut plan);
        }
        plan.next_wake = self.wake.first();
        plan
    }

    fn decide(
        &mut self,
        s: &Situation<'_>,
        name: &NodeName,
        claimed: &mut Option<EffectId>,
        plan: &mut Plan,
    ) {
        let Some(node) = self.all.nodes.get(name) else {
            return;
        };
        let mut work = Work::new(s, &self.all, name, node, claimed.clone());
        work.run();
        plan.looks.extend(look::looks(s, name, node, &work));
        let mut wake = None;
        look::wake(s, name, node, &work, &mut wake);
        self.wake.set(name, wake);
        self.due.set(name, look::due(s, name));
        if claimed.is_none() {
            *claimed = work.claims.take();
        }
        plan.records.append(&mut work.records);
        let made = NodePlan {
            diagnosis: node.diagnosis,
            evidence: node.evidence.clone(),
            waiting: work.waiting.into_iter().collect(),
        };
        self.nodes.insert(name.clone(), made);
    }
}

fn api_word(s: &Situation<'_>) -> ApiWord {
    let window = std::time::Duration::from_secs(s.policy.lease_stale_secs);
    let word = s.world.kube_api.as_ref();
    let fresh = word.is_some_and(|api| s.now.since(api.at) < window);
    (fresh, word.map(|api| api.value.clone()))
}

/// One moment for each node, and the nodes in the order of their moments.
#[derive(Debug, Clone, Default)]
struct Alarms {
    by_node: BTreeMap<NodeName, Tick>,
    in_order: BTreeSet<(Tick, NodeName)>,
}

impl Alarms {
    fn set(&mut self, node: &NodeName, at: Option<Tick>) {
        let before = match at {
            Some(at) => self.by_node.insert(node.clone(), at),
            None => self.by_node.remove(node),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.in_order.remove(&(before, node.clone()));
        }
        if let Some(at) = at {
            self.in_order.insert((at, node.clone()));
        }
    }

    fn until(&self, now: Tick) -> impl Iterator<Item = NodeName> {
        self.in_order
            .iter()
            .take_while(move |(at, _)| *at <= now)
            .map(|(_, node)| node.clone())
    }

    fn first(&self) -> Option<Tick> {
        self.in_order.first().map(|(at, _)| *at)
    }
}
