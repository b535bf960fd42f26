//! The other policy's own ledger: what it decided, and what it was answered.

use super::Would;
use super::past::Past;
use crate::bundle::{Scene, Stage};
use crate::decide::decide;
use iaso_engine::effect::{Action, Effect, Outcome, Remembered, Yield};
use iaso_engine::id::{EffectId, IncidentId};
use iaso_engine::ledger::Ledger;
use iaso_engine::plan::Situation;
use iaso_engine::policy::Policy;
use iaso_engine::record::{Entry, Record, Rung};
use iaso_engine::time::Tick;
use std::collections::{BTreeMap, BTreeSet};

/// As the driver's: the planner settles in two or three.
const PLANS_MAX: usize = 16;
/// Acts that are remembered; more is no policy but a fault.
const ACTS_MAX: usize = 100_000;

#[derive(Debug)]
pub(super) struct Shadow {
    ledger: Ledger,
    since: Option<Tick>,
    /// Effects that were under way at the beginning: their outcomes are the recorded ones.
    inherited: BTreeSet<EffectId>,
    due: BTreeMap<(Tick, u64), (EffectId, Outcome)>,
    asked: u64,
    guesses: BTreeSet<IncidentId>,
    acts: Vec<Would>,
}

impl Shadow {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self {
            inherited: ledger.effects().map(|e| e.effect.id.clone()).collect(),
            ledger,
            since: None,
            due: BTreeMap::new(),
            asked: 0,
            guesses: BTreeSet::new(),
            acts: Vec::new(),
        }
    }

    pub(super) fn acts(self) -> Vec<Would> {
        self.acts
    }

    /// What came from outside then comes now: people's words, restarts, outcomes of what was under way.
    pub(super) fn hear(&mut self, scene: &Scene, past: &Past) {
        for entry in &scene.outside {
            if let Some(record) = self.translated(&entry.record, past) {
                self.fold(entry.at, record);
            }
        }
    }

    fn translated(&self, record: &Record, past: &Past) -> Option<Record> {
        let own = |incident: &IncidentId| {
            let node = self
                .ledger
                .incidents
                .get(incident)
                .map(|known| &known.node)
                .or_else(|| past.node(incident))?;
            self.ledger.open_incident(node).map(|open| open.id.clone())
        };
        match record {
            Record::ControllerStarted { .. } | Record::Paused { .. } | Record::Resumed { .. } => {
                Some(record.clone())
            }
            Record::Approved {
                incident,
                rung,
                who,
                reason,
            } => Some(Record::Approved {
                incident: own(incident)?,
                rung: rung.clone(),
                who: who.clone(),
                reason: reason.clone(),
            }),
            Record::Denied {
                incident,
                rung,
                who,
                reason,
            } => Some(Record::Denied {
                incident: own(incident)?,
                rung: rung.clone(),
                who: who.clone(),
                reason: reason.clone(),
            }),
            Record::Resolved { effect, .. } if self.inherited.contains(effect) => {
                Some(record.clone())
            }
            Record::Resolved { .. }
            | Record::Noted { .. }
            | Record::IncidentOpened { .. }
            | Record::Diagnosed { .. }
            | Record::WaitingChanged { .. }
            | Record::RungStarted { .. }
            | Record::RungEnded { .. }
            | Record::Intended { .. }
            | Record::WouldHave { .. }
            | Record::Verifying { .. }
            | Record::VerifyFailed { .. }
            | Record::Parked { .. }
            | Record::Closed { .. } => None,
        }
    }

    /// Decides until nothing more is said. Answers how many steps the checker stopped.
    pub(super) fn decide(
        &mut self,
        stage: &Stage,
        policy: &Policy,
        now: Tick,
        past: &mut Past,
    ) -> u64 {
        let since = *self.since.get_or_insert(now);
        while let Some(next) = self.due.first_entry().filter(|due| due.key().0 <= now) {
            let (effect, outcome) = next.remove();
            self.fold(now, Record::Resolved { effect, outcome });
        }
        let mut vetoes = 0;
        for _ in 0..PLANS_MAX {
            let decision = decide(&Situation {
                now,
                policy,
                inventory: &stage.setup.inventory,
                world: &stage.world,
                ledger: &self.ledger,
            });
            vetoes += decision.told.len() as u64;
            if decision.plan.records.is_empty() {
                break;
            }
            for record in decision.plan.records {
                let intended = if let Record::Intended { effect } = &record {
                    Some(effect.clone())
                } else {
                    None
                };
                if !self.fold(now, record) {
                    return vetoes;
                }
                if let Some(effect) = intended {
                    self.answer(&effect, now, since, past);
                }
            }
        }
        vetoes
    }

    fn answer(&mut self, effect: &Effect, now: Tick, since: Tick, past: &mut Past) {
        // What was done before the recording's first decision is in the ledger that it began with.
        let known = past.answer(effect, now, since);
        let disruptive = effect.action.is_disruptive();
        let guess = self.guesses.contains(&effect.incident);
        if disruptive && self.acts.len() < ACTS_MAX {
            let running = self
                .ledger
                .incidents
                .get(&effect.incident)
                .and_then(|incident| incident.running())
                .map(|state| state.rung.clone());
            self.acts.push(Would {
                node: effect.node.clone(),
                rung: running.unwrap_or(Rung::Page),
                at: now,
                guess,
            });
        }
        let answers = known.unwrap_or_else(|| {
            if disruptive {
                self.guesses.insert(effect.incident.clone());
            }
            vec![(now, assumed(effect))]
        });
        for (at, outcome) in answers {
            self.asked = self.asked.saturating_add(1);
            self.due
                .insert((at, self.asked), (effect.id.clone(), outcome));
        }
    }

    fn fold(&mut self, at: Tick, record: Record) -> bool {
        let entry = Entry {
            sequence: self.ledger.sequence.saturating_add(1),
            at,
            record,
        };
        // What does not fit the other policy's history did not happen in it.
        self.ledger.fold(&entry).is_ok()
    }
}

/// Nothing is known of it: it went through, and changed nothing.
fn assumed(effect: &Effect) -> Outcome {
    let yielded = match &effect.action {
        Action::Remember => Yield::Remembered {
            remembered: Remembered::default(),
        },
        Action::StorePassword => Yield::Password {
            key: effect.id.0.clone(),
        },
        Action::PrepareScript => Yield::Script {
            script: "backtest".into(),
            token: "backtest".into(),
        },
        Action::ApplyFix { .. } => Yield::Fix {
            result: "unchanged".into(),
        },
        Action::Reboot => Yield::Reboot { proven: None },
        Action::Start
        | Action::Rescue { .. }
        | Action::LeaveRescue
        | Action::Cordon
        | Action::Recreate { .. }
        | Action::Release
        | Action::Restore { .. }
        | Action::Uncordon
        | Action::PromotePassword { .. }
        | Action::DiscardPassword { .. }
        | Action::Cleanup { .. }
        | Action::Page { .. } => Yield::Nothing,
    };
    Outcome::Done {
        detail: "assumed by the backtest".into(),
        yielded,
    }
}
