//! Effects, pursued until their outcome is journaled. The real ones are in `controller/src/driver/`: an order to the provider is sent once
//! and then only asked about; everything else may be done twice.

use crate::cloud::{Kind, State};
use crate::driver::Stage;
use crate::queue::{Event, Reply};
use crate::scenario::{Ms, SECOND};
use crate::sim::Sim;
use iaso_engine::effect::{Action, Effect, Outcome, Yield};
use iaso_engine::fact::OperationRef;
use iaso_engine::id::{EffectId, OperationId};
use iaso_engine::ledger::EffectState;

/// How often an operation or an effect in doubt is asked about.
const ASK: Ms = 5 * SECOND;
/// A call without an answer is given up after so long.
const TIMEOUT: Ms = 20 * SECOND;
/// How far the provider's clock may lie behind the controller's.
const CLOCK_MARGIN: Ms = 120 * SECOND;
const RECREATE_MARGIN: Ms = 24 * 3_600 * SECOND;
/// How long meters take to show a reboot, and how long they are watched when they do not.
const PROOF: Ms = 10 * SECOND;
const PROOF_MAX: Ms = 40 * SECOND;

pub(crate) fn kind(action: &Action) -> Option<Kind> {
    match action {
        Action::Reboot => Some(Kind::Reboot),
        Action::Start => Some(Kind::Start),
        Action::Recreate { .. } => Some(Kind::Recreate),
        Action::ApplyFix { .. }
        | Action::Rescue { .. }
        | Action::LeaveRescue
        | Action::Remember
        | Action::Cordon
        | Action::StorePassword
        | Action::PrepareScript
        | Action::Release
        | Action::Restore { .. }
        | Action::Uncordon
        | Action::PromotePassword { .. }
        | Action::DiscardPassword { .. }
        | Action::Cleanup { .. }
        | Action::Page { .. } => None,
    }
}

pub(crate) fn not_started(class: &str) -> Outcome {
    Outcome::NotStarted {
        class: class.into(),
        detail: "it was not taken".into(),
    }
}

pub(crate) fn done(yielded: Yield) -> Outcome {
    Outcome::Done {
        detail: "done".into(),
        yielded,
    }
}

impl Sim<'_> {
    pub(crate) fn execute(&mut self, effect: Effect) {
        let id = effect.id.clone();
        if kind(&effect.action).is_some() {
            self.driver.pursuits.insert(id, Stage::Sent);
            return self.order(effect);
        }
        if matches!(effect.action, Action::ApplyFix { .. }) {
            return self.fix(&id, false);
        }
        self.driver.pursuits.insert(id, Stage::Sent);
        let life = self.driver.life;
        self.later(
            500,
            Event::Short {
                life,
                effect: Box::new(effect),
            },
        );
    }

    /// `again`: a controller before this one may have ordered it, so only the agent can say that it never began.
    fn fix(&mut self, effect: &EffectId, again: bool) {
        let stage = Stage::Fix {
            ordered: None,
            again,
        };
        self.driver.pursuits.insert(effect.clone(), stage);
        self.pursue(self.driver.life, effect);
    }

    /// What a controller before this one began and did not see the end of.
    pub(crate) fn resume(&mut self) {
        let unsettled: Vec<EffectState> = self.driver.ledger.unsettled().cloned().collect();
        for state in unsettled {
            let id = state.effect.id.clone();
            if matches!(state.effect.action, Action::ApplyFix { .. }) {
                self.fix(&id, true);
                continue;
            }
            if kind(&state.effect.action).is_none() || self.plant.repeats_after_crash() {
                self.execute(state.effect);
                continue;
            }
            let operation = match state.latest {
                Some((
                    _,
                    Outcome::Started {
                        operation: Some(operation),
                    },
                )) => operation.id.as_str().parse().ok(),
                _ => None,
            };
            let stage = match operation {
                Some(number) => Stage::Following(number),
                None => Stage::Doubt { since: self.now },
            };
            self.driver.pursuits.insert(id.clone(), stage);
            if operation.is_none() {
                self.tell_outcome(&id, in_doubt());
            }
            self.ask_later(&id, ASK);
        }
    }

    fn ask_later(&mut self, effect: &EffectId, after: Ms) {
        let (life, effect) = (self.driver.life, effect.clone());
        self.later(after, Event::Pursue { life, effect });
    }

    pub(crate) fn tell_outcome(&mut self, effect: &EffectId, outcome: Outcome) {
        self.resolve(self.driver.life, effect, outcome);
    }

    /// Journals an outcome, unless its effect is unknown or settled or the same was said before. A journal that refuses is told again.
    pub(crate) fn resolve(&mut self, life: u32, effect: &EffectId, outcome: Outcome) {
        if life != self.driver.life || !self.driver.up {
            return;
        }
        let Some(state) = self.driver.ledger.effect(effect) else {
            return;
        };
        let repeated = state.latest.as_ref().is_some_and(|(_, o)| *o == outcome);
        if state.is_settled() || repeated {
            return;
        }
        let record = iaso_engine::record::Record::Resolved {
            effect: effect.clone(),
            outcome: outcome.clone(),
        };
        if self.journal(vec![record]) {
            self.stirred = self.now;
            self.dirty = true;
        } else {
            let (effect, outcome) = (effect.clone(), Box::new(outcome));
            self.later(
                SECOND,
                Event::Told {
                    life,
                    effect,
                    outcome,
                },
            );
        }
    }

    /// One order to the provider.
    fn order(&mut self, effect: Effect) {
        let life = self.driver.life;
        let id = effect.id.clone();
        let answered = |reply| Event::CallAnswered {
            life,
            effect: id.clone(),
            reply,
        };
        if self.truth.controller_cut() && self.truth.provider_trouble() == Some("transport") {
            // No connection: it is known that nothing was sent.
            return self.later(SECOND, answered(Reply::Refused("transport")));
        }
        let manner = &self.scenario.provider;
        let stream = &mut self.streams.provider;
        let travel = stream.between(manner.latency.0, manner.latency.1) / 500 * 250;
        if stream.permille(manner.lost_calls) {
            return self.later(TIMEOUT, answered(Reply::Lost));
        }
        let answer_lost = stream.permille(manner.lost_answers);
        // A lost answer may belong to a call that stood in a queue for long.
        let queued = if answer_lost && stream.percent(30) {
            stream.below(60) * SECOND
        } else {
            0
        };
        if answer_lost {
            self.later(TIMEOUT, answered(Reply::Lost));
        }
        let event = Event::CallArrives {
            life,
            effect: Box::new(effect),
            answer_lost,
            timeout: self.now.saturating_add(TIMEOUT),
        };
        self.later(travel.max(250).saturating_add(queued), event);
    }

    pub(crate) fn call_answered(&mut self, life: u32, effect: &EffectId, reply: &Reply) {
        if life != self.driver.life || !self.driver.pursuits.contains_key(effect) {
            return;
        }
        match reply {
            Reply::Taken(number) => self.begun(effect, *number),
            Reply::Refused(class) => {
                self.driver.pursuits.remove(effect);
                self.tell_outcome(effect, not_started(class));
            }
            Reply::Lost => {
                let doubt = Stage::Doubt { since: self.now };
                self.driver.pursuits.insert(effect.clone(), doubt);
                self.tell_outcome(effect, in_doubt());
                self.ask_later(effect, 2 * SECOND);
            }
        }
    }

    fn begun(&mut self, effect: &EffectId, number: u64) {
        let Some(operation) = self.cloud.operation(number) else {
            return;
        };
        let name = operation.kind.name().to_owned();
        self.driver
            .pursuits
            .insert(effect.clone(), Stage::Following(number));
        self.driver.operations.insert(number, effect.clone());
        let operation = Some(OperationRef {
            id: OperationId(number.to_string()),
            name,
        });
        self.tell_outcome(effect, Outcome::Started { operation });
        self.ask_later(effect, 2 * SECOND);
    }

    pub(crate) fn pursue(&mut self, life: u32, effect: &EffectId) {
        if life != self.driver.life || !self.driver.up {
            return;
        }
        match self.driver.pursuits.get(effect).cloned() {
            None | Some(Stage::Sent) => {}
            Some(Stage::Following(number)) => self.follow(effect, number),
            Some(Stage::Doubt { since }) => self.doubt(effect, since),
            Some(Stage::Fix { ordered, again }) => self.pursue_fix(effect, ordered, again),
        }
    }

    fn follow(&mut self, effect: &EffectId, number: u64) {
        if self.truth.provider_trouble().is_some() {
            return self.ask_later(effect, ASK);
        }
        let Some(operation) = self.cloud.operation(number) else {
            return;
        };
        let (state, kind, ends, acted) = (
            operation.state,
            operation.kind,
            operation.ends,
            operation.acted,
        );
        let outcome = match state {
            State::Pending => {
                let after = ends.saturating_sub(self.now).max(2 * SECOND);
                return self.ask_later(effect, after.saturating_add(250));
            }
            State::Failed => Outcome::Failed {
                detail: "the provider says that its operation failed".into(),
            },
            State::Done if kind == Kind::Reboot && self.scenario.provider.meters => {
                let watched = if acted { PROOF } else { PROOF_MAX };
                let until = ends.saturating_add(watched);
                if self.now < until {
                    return self.ask_later(effect, until.saturating_sub(self.now));
                }
                let proven = Some(acted);
                done(Yield::Reboot { proven })
            }
            State::Done if kind == Kind::Reboot => done(Yield::Reboot { proven: None }),
            State::Done => done(Yield::Nothing),
        };
        self.driver.pursuits.remove(effect);
        self.tell_outcome(effect, outcome);
    }

    /// Only asks: found is followed, absent for long enough was never taken.
    fn doubt(&mut self, effect: &EffectId, since: Ms) {
        if self.truth.provider_trouble().is_some() {
            return self.ask_later(effect, ASK);
        }
        let Some(state) = self.driver.ledger.effect(effect) else {
            return;
        };
        let intended = self.driver.moment(state.intended);
        let node = crate::driver::index(self.scenario, &state.effect.node);
        let wanted = kind(&state.effect.action);
        let margin = if wanted == Some(Kind::Recreate) {
            RECREATE_MARGIN
        } else {
            CLOCK_MARGIN
        };
        let found = self.cloud.numbered().find(|(number, o)| {
            let free = self
                .driver
                .operations
                .get(number)
                .is_none_or(|owner| owner == effect);
            free && Some(o.node) == node
                && Some(o.kind) == wanted
                && o.created.saturating_add(margin) >= intended
        });
        if let Some((number, _)) = found {
            return self.begun(effect, number);
        }
        let patience = self.driver.policy.doubt_secs.saturating_mul(SECOND);
        if self.now.saturating_sub(since) >= patience {
            self.driver.pursuits.remove(effect);
            return self.tell_outcome(effect, not_started("transport"));
        }
        self.ask_later(effect, ASK);
    }

    /// Ordered again to each new session, until the agent answers or its deadline has passed for certain.
    fn pursue_fix(&mut self, effect: &EffectId, ordered: Option<u32>, again: bool) {
        let Some(state) = self.driver.ledger.effect(effect) else {
            return;
        };
        if state.is_settled() {
            self.driver.pursuits.remove(effect);
            return;
        }
        let spent = self.driver.tick(self.now).since(state.intended).as_secs();
        let (deadline, grace) = (
            self.driver.policy.fix_wait_secs,
            self.driver.policy.doubt_secs,
        );
        if spent > deadline.saturating_add(grace) {
            self.driver.pursuits.remove(effect);
            let detail = "the agent gave no outcome, and its deadline has passed".into();
            return self.tell_outcome(effect, Outcome::Failed { detail });
        }
        let whole = state.effect.clone();
        let Some(node) = self.ix(&whole) else {
            return;
        };
        let session = self.truth.hosts[node].session.map(|s| s.number);
        let maybe_ordered = ordered.is_some() || again;
        if session.is_none() && !maybe_ordered && spent < deadline {
            self.driver.pursuits.remove(effect);
            return self.tell_outcome(effect, not_started("unavailable"));
        }
        if session.is_none() && maybe_ordered {
            self.tell_outcome(effect, in_doubt());
        }
        if session.is_some() && session != ordered && spent < deadline {
            let pursued = Stage::Fix {
                ordered: session,
                again,
            };
            self.driver.pursuits.insert(effect.clone(), pursued);
            let effect = Box::new(whole);
            self.later(250, Event::FixArrives { node, effect });
        }
        self.ask_later(effect, ASK);
    }
}

fn in_doubt() -> Outcome {
    Outcome::InDoubt {
        detail: "nobody knows whether it was taken".into(),
    }
}
