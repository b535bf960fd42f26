//! What was done, as one flat list: the checker's own reading of the ledger.

use iaso_engine::effect::{Action, Effect, Outcome, Yield};
use iaso_engine::id::{EffectId, IncidentId, NodeName};
use iaso_engine::plan::Situation;
use iaso_engine::time::Tick;

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
    /// Of a password that was stored and read back: the key it was given.
    pub(crate) password_key: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct History {
    acts: Vec<Act>,
}

impl History {
    pub(crate) fn of(situation: &Situation<'_>) -> Self {
        let mut acts = Vec::new();
        for incident in situation.ledger.incidents.values() {
            for state in &incident.effects {
                let end = match state.latest.as_ref().map(|(_, outcome)| outcome) {
                    Some(Outcome::Done { .. }) => End::Done,
                    Some(Outcome::Failed { .. }) => End::Failed,
                    Some(Outcome::NotStarted { .. }) => End::NeverBegan,
                    None | Some(Outcome::InDoubt { .. } | Outcome::Started { .. }) => End::Open,
                };
                let password_key = match state.latest.as_ref().map(|(_, outcome)| outcome) {
                    Some(Outcome::Done {
                        yielded: Yield::Password { key },
                        ..
                    }) => Some(key.clone()),
                    None | Some(_) => None,
                };
                acts.push(Act {
                    password_key,
                    ..act(&state.effect, state.intended, end)
                });
            }
        }
        Self { acts }
    }

    pub(crate) fn add(&mut self, effect: &Effect, now: Tick) {
        self.acts.push(act(effect, now, End::Open));
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Act> {
        self.acts.iter()
    }

    pub(crate) fn of_incident<'a>(&'a self, id: &'a IncidentId) -> impl Iterator<Item = &'a Act> {
        self.acts.iter().filter(move |a| &a.incident == id)
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
        password_key: None,
    }
}
