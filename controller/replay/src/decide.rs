//! One decision: the engine's plan, vetted by the independent checker, and what is left of it.
//!
//! **Invariants**
//! - A pure function of the situation: the same one gives the same decision, which is what a replay rests on.
//! - A veto drops its record and everything the plan says of its incident: a rung that began without its effect would be a lie. The veto itself is
//!   recorded once, and again only when the ledger does not hold it any more.

use iaso_engine::id::IncidentId;
use iaso_engine::plan::{Plan, Situation, plan};
use iaso_engine::record::{Record, Waiting};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The plan, without what was vetoed and with the veto's record.
    pub plan: Plan,
    /// Incidents that the checker stopped, and why.
    pub vetoed: BTreeMap<IncidentId, String>,
    /// Those of them whose veto is recorded by this decision.
    pub told: Vec<IncidentId>,
}

/// Decides, from nothing but the situation.
#[must_use]
pub fn decide(situation: &Situation<'_>) -> Decision {
    vetted(situation, plan(situation))
}

/// What is left of a plan when the checker has seen it.
#[must_use]
pub fn vetted(situation: &Situation<'_>, mut plan: Plan) -> Decision {
    let mut vetoed: BTreeMap<IncidentId, String> = BTreeMap::new();
    let mut dropped = BTreeSet::new();
    for veto in iaso_engine_check::vet(situation, &plan) {
        let incident = plan.records.get(veto.record_index).and_then(about);
        if let Some(incident) = incident {
            vetoed.insert(incident, format!("{}: {}", veto.invariant, veto.why));
        }
        dropped.insert(veto.record_index);
    }
    let mut index = 0..;
    plan.records.retain(|record| {
        let dropped = index.next().is_some_and(|i: usize| dropped.contains(&i));
        !dropped && about(record).is_none_or(|id| !vetoed.contains_key(&id))
    });
    let mut told = Vec::new();
    for (id, why) in &vetoed {
        let waiting = Waiting::Vetoed { why: why.clone() };
        let known = situation.ledger.incidents.get(id);
        if known.is_some_and(|incident| !incident.waiting.contains(&waiting)) {
            told.push(id.clone());
            plan.records.push(Record::WaitingChanged {
                incident: id.clone(),
                waiting: vec![waiting],
            });
        }
    }
    Decision { plan, vetoed, told }
}

/// The incident that a record is about; an effect's id is `<incident>/<number>`.
fn about(record: &Record) -> Option<IncidentId> {
    if let Record::Resolved { effect, .. } = record {
        let named = effect.as_str().rsplit_once('/');
        return named.map(|(incident, _)| IncidentId(incident.to_owned()));
    }
    record.incident().cloned()
}

/// Whether a record is the planner's word; others come from outside: outcomes, people, the controller itself.
#[must_use]
pub fn is_decided(record: &Record) -> bool {
    match record {
        Record::IncidentOpened { .. }
        | Record::Diagnosed { .. }
        | Record::WaitingChanged { .. }
        | Record::RungStarted { .. }
        | Record::RungEnded { .. }
        | Record::Intended { .. }
        | Record::WouldHave { .. }
        | Record::Verifying { .. }
        | Record::VerifyFailed { .. }
        | Record::Parked { .. }
        | Record::Closed { .. } => true,
        Record::ControllerStarted { .. }
        | Record::Noted { .. }
        | Record::Resolved { .. }
        | Record::Approved { .. }
        | Record::Denied { .. }
        | Record::Paused { .. }
        | Record::Resumed { .. } => false,
    }
}
