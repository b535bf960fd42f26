//! The agent with its record of orders, and the provider with its list of operations.

use crate::Protocol;
use crate::state::{Bug, FIX_TICKS, Fault, Kind, Message, Operation, Peer, Record, Stage, State};
use iaso_engine::id::EffectId;

/// An order arrives. What is on record is the answer; what is begun is on record first.
pub(crate) fn order(protocol: &Protocol, state: &mut State, effect: &EffectId, term: u64) {
    match state.agent.orders.get(effect) {
        Some(Record::Over(result)) => {
            state.agent.outbox.insert(effect.clone(), result);
            return;
        }
        Some(Record::Running) => return,
        None => {}
    }
    if term < state.agent.term {
        if protocol.bug != Bug::NoTermCheck {
            state.ghost.stale_refused = true;
            return refuse(protocol, state, effect, "stale-term");
        }
        state.ghost.stale_begun = true;
    }
    if state.agent.running.is_some() {
        return refuse(protocol, state, effect, "busy");
    }
    state.agent.term = state.agent.term.max(term);
    let until = state.tick + FIX_TICKS;
    state.agent.orders.insert(effect.clone(), Record::Running);
    state.agent.running = Some((effect.clone(), until));
    let begun = state.ghost.begun.entry(effect.clone()).or_default();
    *begun = begun.saturating_add(1);
}

/// What was refused once is refused for ever: it may be told that it never began.
fn refuse(protocol: &Protocol, state: &mut State, effect: &EffectId, result: &'static str) {
    state.agent.outbox.insert(effect.clone(), result);
    if protocol.bug != Bug::RefusalForgotten {
        let record = Record::Over(result);
        state.agent.orders.insert(effect.clone(), record);
    }
}

/// The fix that runs ends.
pub(crate) fn finish(state: &mut State, result: &'static str) {
    if let Some((effect, _)) = state.agent.running.take() {
        let record = Record::Over(result);
        state.agent.orders.insert(effect.clone(), record);
        state.agent.outbox.insert(effect, result);
    }
}

/// A fix whose time is over is given up.
pub(crate) fn deadline(state: &mut State) {
    let over = |(_, until): &(EffectId, u64)| state.tick > *until;
    if state.agent.running.as_ref().is_some_and(over) {
        finish(state, "failed");
    }
}

/// The agent's process ends and begins again: what it was doing has failed, its record stays.
pub(crate) fn restart(protocol: &Protocol, state: &mut State) {
    finish(state, "failed");
    state.agent.boot += 1;
    if protocol.bug == Bug::AgentForgets {
        state.agent.orders.clear();
        state.agent.outbox.clear();
    }
}

/// A call arrives at the provider: it takes it, and answers.
pub(crate) fn call(state: &mut State, effect: &EffectId, kind: Kind, term: u64) {
    let operation = state.operations.len();
    state.operations.push(Operation {
        owner: effect.clone(),
        kind,
        at: state.tick,
        stage: Stage::Pending,
    });
    state.net.insert(Message::Answer {
        effect: effect.clone(),
        operation,
        term,
    });
}

/// An operation ends. A recreated machine is a new one: nothing of the old agent is left.
pub(crate) fn end(protocol: &Protocol, state: &mut State, operation: usize, well: bool) {
    let Some(ended) = state.operations.get_mut(operation) else {
        return;
    };
    ended.stage = if well { Stage::Done } else { Stage::Failed };
    match (ended.kind, well) {
        (Kind::Reboot, true) => restart(protocol, state),
        (Kind::Recreate, true) => {
            restart(protocol, state);
            state.agent.orders.clear();
            state.agent.outbox.clear();
            state.agent.term = 0;
            state.fault = Fault::Gone;
            state.peer = Peer::Silent;
        }
        (Kind::Reboot | Kind::Recreate, false) => {}
    }
}
