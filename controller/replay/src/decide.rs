//! One decision: the engine's plan, vetted by the independent checker, and what is left of it.
//!
//! **Invariants**
//! - A pure function of the situation: the same one gives the same decision, which is what a replay rests on.
//! - A veto drops its record and everything the plan says of its incident: a rung that began without its effect would be a lie. What stays is
//!   that the incident was opened, so that no veto is silent. The veto itself is recorded once, and again only when the ledger does not hold it
//!   any more.

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
    /// Vetoes of records that no incident of the ledger can hold: these can only be logged.
    pub homeless: BTreeSet<String>,
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
    let mut homeless = BTreeSet::new();
    for veto in iaso_engine_check::vet(situation, &plan) {
        let why = format!("{}: {}", veto.invariant, veto.why);
        match plan.records.get(veto.record_index).and_then(about) {
            Some(incident) => {
                vetoed.insert(incident, why);
            }
            None => {
                homeless.insert(why);
            }
        }
        dropped.insert(veto.record_index);
    }
    let mut index = 0..;
    let mut opened = BTreeSet::new();
    plan.records.retain(|record| {
        let dropped = index.next().is_some_and(|i: usize| dropped.contains(&i));
        if let Record::IncidentOpened { incident, .. } = record
            && !dropped
        {
            opened.insert(incident.clone());
            return true;
        }
        !dropped && about(record).is_none_or(|id| !vetoed.contains_key(&id))
    });
    let mut told = Vec::new();
    for (id, why) in &vetoed {
        let waiting = Waiting::Vetoed { why: why.clone() };
        let known = situation.ledger.incidents.get(id);
        if known.is_none() && !opened.contains(id) {
            homeless.insert(why.clone());
        } else if known.is_none_or(|incident| !incident.waiting.contains(&waiting)) {
            told.push(id.clone());
            plan.records.push(Record::WaitingChanged {
                incident: id.clone(),
                waiting: vec![waiting],
            });
        }
    }
    Decision {
        plan,
        vetoed,
        told,
        homeless,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use iaso_engine::effect::{Action, Effect};
    use iaso_engine::fact::{Inventory, NodeSpec, Role};
    use iaso_engine::id::{EffectId, NodeName};
    use iaso_engine::ledger::Ledger;
    use iaso_engine::policy::Policy;
    use iaso_engine::record::Diagnosis;
    use iaso_engine::time::Tick;
    use iaso_engine::world::World;

    fn styx() -> NodeName {
        NodeName::new("styx").expect("a name")
    }

    fn decided(records: Vec<Record>) -> Decision {
        let spec = NodeSpec {
            name: styx(),
            role: Role::Worker,
            machine: None,
            domains: BTreeMap::new(),
        };
        let inventory = Inventory {
            nodes: BTreeMap::from([(styx(), spec)]),
            has_cluster: false,
        };
        let situation = Situation {
            now: Tick(1),
            policy: &Policy::default(),
            inventory: &inventory,
            world: &World::new(Tick(0)),
            ledger: &Ledger::default(),
        };
        let plan = Plan {
            records,
            ..Plan::default()
        };
        vetted(&situation, plan)
    }

    /// Catches: a veto of what a plan does in an incident that it opens itself, which nobody ever hears of.
    #[test]
    fn a_veto_in_an_incident_that_the_plan_opens_is_recorded_with_it() {
        let incident = IncidentId("styx-1".into());
        let opened = Record::IncidentOpened {
            incident: incident.clone(),
            node: styx(),
            since: Tick(0),
            diagnosis: Diagnosis::Isolated,
            evidence: Vec::new(),
        };
        let effect = Effect {
            id: EffectId("styx-1/1".into()),
            incident: incident.clone(),
            node: styx(),
            action: Action::Reboot,
            evidence: Vec::new(),
        };
        let decision = decided(vec![opened.clone(), Record::Intended { effect }]);
        let why = decision
            .vetoed
            .get(&incident)
            .expect("it is vetoed")
            .clone();
        let waiting = vec![Waiting::Vetoed { why }];
        let told = Record::WaitingChanged {
            incident: incident.clone(),
            waiting,
        };
        assert_eq!(decision.plan.records, [opened, told]);
        assert_eq!(decision.told, [incident]);
        assert_eq!(decision.homeless, BTreeSet::new());
    }

    #[test]
    fn a_veto_that_no_incident_can_hold_is_handed_out() {
        let forged = Record::Paused {
            node: None,
            who: "ann".into(),
            reason: "x".into(),
        };
        let decision = decided(vec![forged]);
        assert_eq!(decision.plan.records, []);
        assert_eq!(decision.homeless.len(), 1, "{decision:?}");
    }
}
