//! What was done and where each incident stands, as flat lists: the checker's own reading of the ledger, moved on by each record of the
//! plan that is let through.

use iaso_engine::effect::{Action, Effect, Outcome, Yield};
use iaso_engine::id::{EffectId, IncidentId, NodeName};
use iaso_engine::ledger::{Incident, Standing};
use iaso_engine::plan::Situation;
use iaso_engine::record::{Diagnosis, Record, Rung};
use iaso_engine::time::Tick;
use std::collections::BTreeMap;

/// How an act ended, as far as the checker cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    Failed,
    NeverBegan,
    /// It may be happening now.
    Open,
}

#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) id: EffectId,
    pub(crate) incident: IncidentId,
    pub(crate) node: NodeName,
    pub(crate) action: Action,
    pub(crate) at: Tick,
    pub(crate) end: End,
    /// When its latest outcome was known.
    pub(crate) ended: Option<Tick>,
    /// What it yielded, if it was done.
    pub(crate) yielded: Yield,
}

impl Act {
    pub(crate) fn is_recreate(&self) -> bool {
        matches!(self.action, Action::Recreate { .. })
    }

    /// A call that the provider takes: it goes on whatever becomes of the node.
    pub(crate) fn is_power(&self) -> bool {
        self.is_recreate()
            || matches!(
                self.action,
                Action::Reboot | Action::Start | Action::Rescue { .. }
            )
    }
}

/// One incident.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) node: NodeName,
    pub(crate) standing: Standing,
    /// What it was last said to be: the policy is written by diagnosis.
    pub(crate) diagnosis: Diagnosis,
    /// A failed verification leads back there.
    was_parked: bool,
    /// Begun and not ended, with when.
    rungs: Vec<(Rung, Tick)>,
    /// This plan tells a person.
    pub(crate) told: bool,
}

impl Case {
    fn of(incident: &Incident) -> Self {
        let begun = incident.rungs.iter().filter(|r| r.ended.is_none());
        Self {
            node: incident.node.clone(),
            standing: incident.standing,
            diagnosis: incident.diagnosis,
            was_parked: incident.parked.is_some(),
            rungs: begun.map(|r| (r.rung.clone(), r.started)).collect(),
            told: false,
        }
    }

    fn opened(node: &NodeName, diagnosis: Diagnosis) -> Self {
        Self {
            node: node.clone(),
            standing: Standing::Open,
            diagnosis,
            was_parked: false,
            rungs: Vec::new(),
            told: false,
        }
    }

    /// Since when a rung is being taken, if it is.
    pub(crate) fn takes(&self, rung: &Rung) -> Option<Tick> {
        let mut begun = self.rungs.iter().rev();
        begun.find(|(r, _)| r == rung).map(|(_, at)| *at)
    }

    fn move_on(&mut self, record: &Record, now: Tick) {
        match record {
            Record::Diagnosed { diagnosis, .. } => self.diagnosis = *diagnosis,
            Record::RungStarted { rung, .. } => self.rungs.push((rung.clone(), now)),
            Record::RungEnded { rung, .. } => {
                if let Some(at) = self.rungs.iter().rposition(|(r, _)| r == rung) {
                    self.rungs.remove(at);
                }
            }
            Record::Verifying { .. } => self.standing = Standing::Verifying(now),
            Record::VerifyFailed { .. } => {
                self.standing = if self.was_parked {
                    Standing::Parked
                } else {
                    Standing::Open
                };
            }
            Record::Parked { .. } => {
                self.standing = Standing::Parked;
                self.was_parked = true;
            }
            Record::Closed { closing, .. } => self.standing = Standing::Closed(now, *closing),
            Record::Intended { effect } => {
                self.told |= matches!(effect.action, Action::Page { .. });
            }
            Record::ControllerStarted { .. }
            | Record::Noted { .. }
            | Record::IncidentOpened { .. }
            | Record::WaitingChanged { .. }
            | Record::Resolved { .. }
            | Record::WouldHave { .. }
            | Record::Approved { .. }
            | Record::Denied { .. }
            | Record::Paused { .. }
            | Record::Resumed { .. } => {}
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct History {
    acts: Vec<Act>,
    cases: BTreeMap<IncidentId, Case>,
}

impl History {
    pub(crate) fn of(situation: &Situation<'_>) -> Self {
        let mut acts = Vec::new();
        let mut cases = BTreeMap::new();
        for (id, incident) in &situation.ledger.incidents {
            cases.insert(id.clone(), Case::of(incident));
            for state in &incident.effects {
                let outcome = state.latest.as_ref().map(|(_, outcome)| outcome);
                let end = match outcome {
                    Some(Outcome::Done { .. }) => End::Done,
                    Some(Outcome::Failed { .. }) => End::Failed,
                    Some(Outcome::NotStarted { .. }) => End::NeverBegan,
                    None | Some(Outcome::InDoubt { .. } | Outcome::Started { .. }) => End::Open,
                };
                let yielded = match outcome {
                    Some(Outcome::Done { yielded, .. }) => yielded.clone(),
                    None | Some(_) => Yield::Nothing,
                };
                acts.push(Act {
                    ended: state.latest.as_ref().map(|(at, _)| *at),
                    yielded,
                    ..act(&state.effect, state.intended, end)
                });
            }
        }
        Self { acts, cases }
    }

    /// A record of the plan that is let through counts for the ones behind it.
    pub(crate) fn add(&mut self, record: &Record, now: Tick) {
        match record {
            Record::IncidentOpened {
                incident,
                node,
                diagnosis,
                ..
            } => {
                self.cases
                    .insert(incident.clone(), Case::opened(node, *diagnosis));
            }
            Record::Intended { effect } => self.acts.push(act(effect, now, End::Open)),
            Record::ControllerStarted { .. }
            | Record::Noted { .. }
            | Record::Diagnosed { .. }
            | Record::WaitingChanged { .. }
            | Record::RungStarted { .. }
            | Record::RungEnded { .. }
            | Record::Resolved { .. }
            | Record::WouldHave { .. }
            | Record::Approved { .. }
            | Record::Denied { .. }
            | Record::Paused { .. }
            | Record::Resumed { .. }
            | Record::Verifying { .. }
            | Record::VerifyFailed { .. }
            | Record::Parked { .. }
            | Record::Closed { .. } => {}
        }
        if let Some(case) = record.incident().and_then(|id| self.cases.get_mut(id)) {
            case.move_on(record, now);
        }
    }

    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &Act> {
        self.acts.iter()
    }

    pub(crate) fn of_incident<'a>(
        &'a self,
        id: &'a IncidentId,
    ) -> impl DoubleEndedIterator<Item = &'a Act> {
        self.acts.iter().filter(move |a| &a.incident == id)
    }

    pub(crate) fn case(&self, id: &IncidentId) -> Option<&Case> {
        self.cases.get(id)
    }

    /// A person has the node in hand.
    pub(crate) fn is_parked(&self, node: &NodeName) -> bool {
        self.cases
            .values()
            .any(|case| &case.node == node && case.standing == Standing::Parked)
    }

    /// What an incident was last said to be.
    pub(crate) fn diagnosis(&self, id: &IncidentId) -> Option<Diagnosis> {
        self.case(id).map(|case| case.diagnosis)
    }

    pub(crate) fn cases(&self) -> impl Iterator<Item = (&IncidentId, &Case)> {
        self.cases.iter()
    }

    /// What the node was before anything was changed: the latest that was written down.
    pub(crate) fn remembered<'a>(
        &'a self,
        id: &'a IncidentId,
    ) -> Option<&'a iaso_engine::effect::Remembered> {
        self.of_incident(id).rev().find_map(|a| match &a.yielded {
            Yield::Remembered { remembered } => Some(remembered),
            Yield::Nothing
            | Yield::Password { .. }
            | Yield::Script { .. }
            | Yield::Fix { .. }
            | Yield::Reboot { .. } => None,
        })
    }

    /// The rescue image that an incident booted, or may have, and did not leave since.
    pub(crate) fn rescue<'a>(&'a self, id: &'a IncidentId) -> Option<&'a Act> {
        let mut on = None;
        for act in self.of_incident(id) {
            match (&act.action, act.end) {
                (Action::Rescue { .. }, End::Done | End::Open) => on = Some(act),
                (Action::LeaveRescue, End::Done) => on = None,
                _ => {}
            }
        }
        on
    }

    /// The recreate of an incident that was done, or may have been: never more than one.
    pub(crate) fn wipe<'a>(&'a self, id: &'a IncidentId) -> Option<&'a Act> {
        self.of_incident(id)
            .find(|a| a.is_recreate() && a.end != End::NeverBegan)
    }
}

fn act(effect: &Effect, at: Tick, end: End) -> Act {
    Act {
        id: effect.id.clone(),
        incident: effect.incident.clone(),
        node: effect.node.clone(),
        action: effect.action.clone(),
        at,
        end,
        ended: None,
        yielded: Yield::Nothing,
    }
}
