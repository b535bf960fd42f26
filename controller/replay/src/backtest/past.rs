//! What was done then: each effect with its outcomes, to answer the same act of another policy with.

use iaso_engine::effect::{Action, Effect, Outcome};
use iaso_engine::id::{EffectId, IncidentId, NodeName};
use iaso_engine::record::{Entry, Record};
use iaso_engine::time::Tick;
use std::collections::BTreeMap;
use std::time::Duration;

/// What was done so much later than it would be is another matter.
const SAME_ACT: Duration = Duration::from_hours(2);

#[derive(Debug, Clone)]
struct Done {
    effect: Effect,
    at: Tick,
    outcomes: Vec<(Tick, Outcome)>,
    used: bool,
}

#[derive(Debug)]
pub(super) struct Past {
    done: Vec<Done>,
    nodes: BTreeMap<IncidentId, NodeName>,
}

impl Past {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut past = Self {
            done: Vec::new(),
            nodes: BTreeMap::new(),
        };
        let mut index: BTreeMap<EffectId, usize> = BTreeMap::new();
        for entry in entries {
            match &entry.record {
                Record::IncidentOpened { incident, node, .. } => {
                    past.nodes.insert(incident.clone(), node.clone());
                }
                Record::Intended { effect } => {
                    index.insert(effect.id.clone(), past.done.len());
                    past.done.push(Done {
                        effect: effect.clone(),
                        at: entry.at,
                        outcomes: Vec::new(),
                        used: false,
                    });
                }
                Record::Resolved { effect, outcome } => {
                    let known = index.get(effect).and_then(|i| past.done.get_mut(*i));
                    if let Some(done) = known {
                        done.outcomes.push((entry.at, outcome.clone()));
                    }
                }
                Record::ControllerStarted { .. }
                | Record::Noted { .. }
                | Record::Diagnosed { .. }
                | Record::WaitingChanged { .. }
                | Record::RungStarted { .. }
                | Record::RungEnded { .. }
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
        }
        past
    }

    pub(super) fn node(&self, incident: &IncidentId) -> Option<&NodeName> {
        self.nodes.get(incident)
    }

    /// The outcomes of the same act of then, and when each is due; `None`: it was not done after `since`.
    pub(super) fn answer(
        &mut self,
        effect: &Effect,
        now: Tick,
        since: Tick,
    ) -> Option<Vec<(Tick, Outcome)>> {
        let done = self.done.iter_mut().find(|done| {
            !done.used
                && done.at >= since
                && done.at.since(now) <= SAME_ACT
                && done.effect.node == effect.node
                && is_same(&done.effect.action, &effect.action)
        })?;
        done.used = true;
        // What changes the machine, done later than then: after the same time. Earlier: when it was known then, for the world changed only
        // then. What prepares for that takes as long as it took then: else nothing could ever come earlier.
        let disruptive = effect.action.is_disruptive();
        let shift = now.since(done.at);
        let outcomes = done.outcomes.iter();
        Some(
            outcomes
                .map(|(at, outcome)| {
                    let due = if disruptive {
                        at.after(shift)
                    } else {
                        now.after(at.since(done.at))
                    };
                    (due, outcome.clone())
                })
                .collect(),
        )
    }
}

fn is_same(then: &Action, other: &Action) -> bool {
    match (then, other) {
        (
            Action::ApplyFix { plugin, fix },
            Action::ApplyFix {
                plugin: other_plugin,
                fix: other_fix,
            },
        ) => plugin == other_plugin && fix == other_fix,
        (then, other) => then.name() == other.name(),
    }
}
