//! The driver, in small: plans with the real engine, journals before it acts, sends once, and asks when it does not know.

use crate::Protocol;
use crate::state::{
    Bug, Controller, DOUBT_TICKS, FIX_TICKS, Kind, Message, Pursuit, Stage, State, TICK_SECS, at,
    peer, worker,
};
use iaso_engine::effect::{Action, Effect, Outcome, Yield};
use iaso_engine::fact::{Observer, OperationRef, ProbeOutcome};
use iaso_engine::id::{EffectId, OperationId};
use iaso_engine::ledger::EffectState;
use iaso_engine::plan::{Situation, plan};
use iaso_engine::record::{Entry, Record};
use iaso_engine::world::World;
use std::collections::BTreeMap;

/// More plans than one event takes.
const PLANS_MAX: usize = 8;

/// A controller starts, in a term of its own, and takes up what is not settled.
pub(crate) fn start(protocol: &Protocol, state: &mut State) {
    let term = state.journal.term + 1;
    state.controllers.push(Controller {
        term,
        world: World::new(at(state.tick)),
        pursuits: BTreeMap::new(),
    });
    let version = "model".into();
    append(
        protocol,
        state,
        term,
        vec![Record::ControllerStarted { version, term }],
    );
    let unsettled: Vec<EffectState> = state.journal.unsettled().cloned().collect();
    for effect in unsettled {
        resume(protocol, state, term, &effect);
    }
}

fn resume(protocol: &Protocol, state: &mut State, term: u64, effect: &EffectState) {
    let id = effect.effect.id.clone();
    let pursuit = match (&effect.effect.action, &effect.latest) {
        (
            Action::Reboot | Action::Recreate { .. },
            Some((
                _,
                Outcome::Started {
                    operation: Some(operation),
                },
            )),
        ) => Pursuit::Following {
            operation: operation.id.as_str().parse().unwrap_or_default(),
        },
        (Action::Reboot | Action::Recreate { .. }, _) if protocol.bug == Bug::ResendsAfterCrash => {
            Pursuit::ToSend { again: true }
        }
        (Action::Reboot | Action::Recreate { .. }, _) => {
            in_doubt(protocol, state, term, &id);
            Pursuit::Asking { since: state.tick }
        }
        (Action::ApplyFix { .. }, _) => Pursuit::ToSend {
            again: protocol.bug != Bug::ResumedFixNeverSent,
        },
        _ => Pursuit::ToDo,
    };
    pursue(state, term, id, Some(pursuit));
}

fn pursue(state: &mut State, term: u64, id: EffectId, pursuit: Option<Pursuit>) {
    let Some(controller) = state.controllers.iter_mut().find(|c| c.term == term) else {
        return;
    };
    match pursuit {
        Some(pursuit) => controller.pursuits.insert(id, pursuit),
        None => controller.pursuits.remove(&id),
    };
}

/// Plans, lets the checker look, journals, and takes up what is intended; again until nothing is added.
pub(crate) fn decide(protocol: &Protocol, state: &mut State, term: u64) {
    let (policy, inventory) = (protocol.policy(), Protocol::inventory());
    for _ in 0..PLANS_MAX {
        let Some(controller) = state.controllers.iter().find(|c| c.term == term) else {
            return;
        };
        let situation = Situation {
            now: at(state.tick),
            policy: &policy,
            inventory: &inventory,
            world: &controller.world,
            ledger: &state.journal,
        };
        let records = plan(&situation).records;
        if records.is_empty() {
            return;
        }
        let made = iaso_engine::plan::Plan {
            records: records.clone(),
            ..iaso_engine::plan::Plan::default()
        };
        if let Some(veto) = iaso_engine_check::vet(&situation, &made).first() {
            let why = format!("{}: {}", veto.invariant, veto.why);
            state.ghost.vetoed.get_or_insert(why);
        }
        if !append(protocol, state, term, records.clone()) {
            return;
        }
        for record in records {
            if let Record::Intended { effect } = record {
                take_up(protocol, state, term, &effect);
            }
        }
    }
}

fn take_up(protocol: &Protocol, state: &mut State, term: u64, effect: &Effect) {
    let id = effect.id.clone();
    match &effect.action {
        Action::Page { .. } => {
            let record = resolved(&id, done(Yield::Nothing));
            append(protocol, state, term, vec![record]);
        }
        Action::Reboot | Action::Recreate { .. } | Action::ApplyFix { .. } => {
            pursue(state, term, id, Some(Pursuit::ToSend { again: false }));
        }
        _ => pursue(state, term, id, Some(Pursuit::ToDo)),
    }
}

/// Writes, unless the term is over: then this controller ends. Whether it was written.
pub(crate) fn append(
    protocol: &Protocol,
    state: &mut State,
    term: u64,
    records: Vec<Record>,
) -> bool {
    if term < state.journal.term {
        if protocol.bug != Bug::NoFence {
            state.controllers.retain(|c| c.term != term);
            return false;
        }
        state.ghost.stale_write = true;
    }
    for record in records {
        if let Record::Intended { effect } = &record
            && matches!(effect.action, Action::Recreate { .. })
            && !is_silent_to_all(state, term)
        {
            state.ghost.quorumless = true;
        }
        let entry = Entry {
            sequence: state.journal.sequence + 1,
            at: at(state.tick),
            record,
        };
        if let Err(error) = state.journal.fold(&entry) {
            state.ghost.vetoed.get_or_insert(error.to_string());
            return false;
        }
    }
    true
}

/// Both observers looked in this tick, and met silence: read from the facts, without the engine.
fn is_silent_to_all(state: &State, term: u64) -> bool {
    let Some(controller) = state.controllers.iter().find(|c| c.term == term) else {
        return false;
    };
    let probes = controller.world.nodes.get(&worker()).map(|f| &f.probes);
    [Observer::Controller, Observer::Node(peer())]
        .iter()
        .all(|observer| {
            let seen = probes.and_then(|p| p.get(observer));
            seen.is_some_and(|s| {
                s.at == at(state.tick) && s.value.iter().all(|r| r.outcome == ProbeOutcome::Timeout)
            })
        })
}

pub(crate) fn done(yielded: Yield) -> Outcome {
    Outcome::Done {
        detail: "done".into(),
        yielded,
    }
}

pub(crate) fn not_started(class: &str) -> Outcome {
    Outcome::NotStarted {
        class: class.into(),
        detail: "it never began".into(),
    }
}

fn resolved(effect: &EffectId, outcome: Outcome) -> Record {
    Record::Resolved {
        effect: effect.clone(),
        outcome,
    }
}

/// Journals an outcome; a settled effect is pursued no longer. Whether it was written.
pub(crate) fn tell(
    protocol: &Protocol,
    state: &mut State,
    term: u64,
    effect: &EffectId,
    outcome: Outcome,
) -> bool {
    if !append(protocol, state, term, vec![resolved(effect, outcome)]) {
        return false;
    }
    let settled = state
        .journal
        .effect(effect)
        .is_none_or(EffectState::is_settled);
    if settled {
        pursue(state, term, effect.clone(), None);
    }
    true
}

fn in_doubt(protocol: &Protocol, state: &mut State, term: u64, effect: &EffectId) {
    let latest = state.journal.effect(effect).and_then(|e| e.latest.clone());
    if !matches!(latest, Some((_, Outcome::InDoubt { .. }))) {
        let detail = "nobody knows".into();
        tell(protocol, state, term, effect, Outcome::InDoubt { detail });
    }
}

/// What needs nobody else: done in one step, and done again after a crash with the same end.
pub(crate) fn do_it(protocol: &Protocol, state: &mut State, term: u64, effect: &EffectId) {
    let Some(action) = state
        .journal
        .effect(effect)
        .map(|e| e.effect.action.clone())
    else {
        return;
    };
    let yielded = match action {
        Action::StorePassword => Yield::Password {
            key: effect.to_string(),
        },
        Action::PrepareScript => Yield::Script {
            script: format!("script of {effect}"),
            token: "token".into(),
        },
        _ => Yield::Nothing,
    };
    if tell(protocol, state, term, effect, done(yielded)) {
        decide(protocol, state, term);
    }
}

/// Gives the order: to the provider, or to the agent if it is connected.
pub(crate) fn send(protocol: &Protocol, state: &mut State, term: u64, effect: &EffectId) {
    let Some(known) = state.journal.effect(effect).cloned() else {
        return;
    };
    let controller = state.controllers.iter().find(|c| c.term == term);
    let again = controller
        .and_then(|c| c.pursuits.get(effect))
        .is_some_and(|p| *p == Pursuit::ToSend { again: true });
    let sent = state.tick;
    let kind = match known.effect.action {
        Action::Reboot => Kind::Reboot,
        Action::Recreate { .. } => Kind::Recreate,
        _ if state.connected() => {
            let boot = state.agent.boot;
            pursue(state, term, effect.clone(), Some(Pursuit::Ordered { boot }));
            let effect = effect.clone();
            state.net.insert(Message::Order { effect, term, sent });
            return;
        }
        _ if again => {
            // A controller before this one may have sent it: only its agent can say.
            pursue(
                state,
                term,
                effect.clone(),
                Some(Pursuit::Ordered { boot: 0 }),
            );
            return in_doubt(protocol, state, term, effect);
        }
        _ => {
            if tell(protocol, state, term, effect, not_started("unavailable")) {
                decide(protocol, state, term);
            }
            return;
        }
    };
    pursue(state, term, effect.clone(), Some(Pursuit::Waiting { sent }));
    state.net.insert(Message::Call {
        effect: effect.clone(),
        kind,
        term,
        sent,
    });
}

/// The provider's answer to a call of this very process.
pub(crate) fn answered(
    protocol: &Protocol,
    state: &mut State,
    term: u64,
    effect: &EffectId,
    operation: usize,
) {
    let controller = state.controllers.iter().find(|c| c.term == term);
    let waits = controller
        .and_then(|c| c.pursuits.get(effect))
        .is_some_and(|p| matches!(p, Pursuit::Waiting { .. }));
    if waits && begun(protocol, state, term, effect, operation) {
        decide(protocol, state, term);
    }
}

fn begun(
    protocol: &Protocol,
    state: &mut State,
    term: u64,
    effect: &EffectId,
    operation: usize,
) -> bool {
    pursue(
        state,
        term,
        effect.clone(),
        Some(Pursuit::Following { operation }),
    );
    let operation = Some(OperationRef {
        id: OperationId(operation.to_string()),
        name: "operation".into(),
    });
    tell(
        protocol,
        state,
        term,
        effect,
        Outcome::Started { operation },
    )
}

/// Once a tick, every pursuit looks at how far it is.
pub(crate) fn pursue_all(protocol: &Protocol, state: &mut State) {
    let all: Vec<(u64, EffectId, Pursuit)> = state
        .controllers
        .iter()
        .flat_map(|c| {
            let pursuits = c.pursuits.iter();
            pursuits.map(|(id, p)| (c.term, id.clone(), p.clone()))
        })
        .collect();
    for (term, effect, pursuit) in all {
        match pursuit {
            Pursuit::Waiting { sent } if sent < state.tick => {
                in_doubt(protocol, state, term, &effect);
                let since = state.tick;
                pursue(state, term, effect, Some(Pursuit::Asking { since }));
            }
            Pursuit::Asking { since } => ask(protocol, state, term, &effect, since),
            Pursuit::Following { operation } => poll(protocol, state, term, &effect, operation),
            Pursuit::Ordered { boot } => ordered(protocol, state, term, &effect, boot),
            Pursuit::Waiting { .. } | Pursuit::ToDo | Pursuit::ToSend { .. } => {}
        }
    }
}

/// An operation that another effect owns is never taken for this one's; absence counts after patience only.
fn ask(protocol: &Protocol, state: &mut State, term: u64, effect: &EffectId, since: u64) {
    let Some(known) = state.journal.effect(effect) else {
        return;
    };
    let wanted = match known.effect.action {
        Action::Recreate { .. } => Kind::Recreate,
        _ => Kind::Reboot,
    };
    let claimed: Vec<String> = state
        .journal
        .effects()
        .filter_map(|e| match &e.latest {
            Some((
                _,
                Outcome::Started {
                    operation: Some(operation),
                },
            )) => Some(operation.id.to_string()),
            _ => None,
        })
        .collect();
    let intended = known.intended;
    let found = state.operations.iter().enumerate().position(|(id, o)| {
        o.kind == wanted && at(o.at) >= intended && !claimed.contains(&id.to_string())
    });
    let patience = if protocol.bug == Bug::NoPatienceInDoubt {
        0
    } else {
        DOUBT_TICKS
    };
    match found {
        Some(operation) => {
            begun(protocol, state, term, effect, operation);
        }
        None if state.tick - since >= patience => {
            tell(protocol, state, term, effect, not_started("transport"));
        }
        None => {}
    }
}

fn poll(protocol: &Protocol, state: &mut State, term: u64, effect: &EffectId, operation: usize) {
    let outcome = match state.operations.get(operation).map(|o| o.stage) {
        Some(Stage::Done) => done(Yield::Reboot { proven: None }),
        Some(Stage::Failed) => Outcome::Failed {
            detail: "the operation failed".into(),
        },
        Some(Stage::Pending) | None => return,
    };
    tell(protocol, state, term, effect, outcome);
}

/// The agent is asked again in each new session, until its deadline has passed for certain.
fn ordered(protocol: &Protocol, state: &mut State, term: u64, effect: &EffectId, boot: u64) {
    let Some(intended) = state.journal.effect(effect).map(|e| e.intended) else {
        return;
    };
    let spent = at(state.tick).since(intended).as_secs() / TICK_SECS;
    if spent > FIX_TICKS + DOUBT_TICKS {
        let detail = "the agent gave no outcome, and its deadline has passed".into();
        tell(protocol, state, term, effect, Outcome::Failed { detail });
    } else if !state.connected() {
        in_doubt(protocol, state, term, effect);
    } else if state.agent.boot != boot && spent < FIX_TICKS {
        let pursuit = Pursuit::ToSend { again: true };
        pursue(state, term, effect.clone(), Some(pursuit));
    }
}
