//! What may happen next, and what it does.

use crate::state::{Bug, Fault, Message, Peer, Pursuit, Stage, State};
use crate::{Protocol, actor, controller, sight};
use iaso_engine::id::EffectId;

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ten seconds pass; who waits looks, who looks decides.
    Tick,
    /// A controller starts, beside a living one or after it.
    Start,
    /// The controller of a term is killed.
    Kill(u64),
    /// A controller does what needs nobody else.
    Do(u64, EffectId),
    /// A controller sends what it journaled.
    Send(u64, EffectId),
    /// A message arrives.
    Deliver(Message),
    /// An order arrives, and will arrive again.
    Copy(Message),
    /// An operation of the provider ends, well or not.
    End(usize, bool),
    /// The agent's process ends and begins again.
    Restart,
    /// The fix that runs ends.
    Finish,
    /// The agent's session brings the outcome of an order.
    Tell(EffectId),
    /// A sick node goes dark.
    GoDark,
    /// The peer says something else of a dark node.
    Turn(Peer),
}

/// Everything that may happen in a state.
pub(crate) fn enabled(protocol: &Protocol, state: &State) -> Vec<Step> {
    let mut steps = own(state);
    steps.extend(arrivals(state));
    let left = state.left;
    if state.tick < protocol.bounds.ticks && !is_sending(protocol, state) {
        steps.push(Step::Tick);
    }
    // A controller that dies or is followed while nothing is open has only the facts to learn again.
    let open = state.journal.unsettled().next().is_some();
    if open && left.starts > 0 && state.controllers.len() < 2 {
        steps.push(Step::Start);
    }
    if open && (left.starts > 0 || state.controllers.len() > 1) {
        steps.extend(state.controllers.iter().map(|c| Step::Kill(c.term)));
    }
    if left.copies > 0 {
        let orders = state.net.iter();
        let orders = orders.filter(|m| matches!(m, Message::Order { .. }));
        steps.extend(orders.cloned().map(Step::Copy));
    }
    if left.failures > 0 {
        steps.extend(pending(state).map(|id| Step::End(id, false)));
    }
    if left.restarts > 0 && !state.agent.orders.is_empty() {
        steps.push(Step::Restart);
    }
    if left.flips > 0 {
        match state.fault {
            Fault::Sick => steps.push(Step::GoDark),
            Fault::Dark => {
                let all = [Peer::Silent, Peer::Reaches, Peer::Mute].into_iter();
                steps.extend(all.filter(|p| *p != state.peer).map(Step::Turn));
            }
            Fault::Gone => {}
        }
    }
    steps
}

/// What goes on by itself, without any fault: the fair steps.
pub(crate) fn fair(state: &State) -> Vec<Step> {
    let mut steps = own(state);
    steps.extend(arrivals(state));
    steps
}

fn own(state: &State) -> Vec<Step> {
    let mut steps = Vec::new();
    for controller in &state.controllers {
        for (effect, pursuit) in &controller.pursuits {
            match pursuit {
                Pursuit::ToDo => steps.push(Step::Do(controller.term, effect.clone())),
                Pursuit::ToSend { .. } => steps.push(Step::Send(controller.term, effect.clone())),
                Pursuit::Waiting { .. }
                | Pursuit::Asking { .. }
                | Pursuit::Following { .. }
                | Pursuit::Ordered { .. } => {}
            }
        }
    }
    steps
}

fn arrivals(state: &State) -> Vec<Step> {
    let arrives = |message: &&Message| match message {
        Message::Call { .. } | Message::Answer { .. } => true,
        Message::Order { .. } => state.connected(),
    };
    let mut steps: Vec<Step> = state
        .net
        .iter()
        .filter(arrives)
        .cloned()
        .map(Step::Deliver)
        .collect();
    steps.extend(pending(state).map(|id| Step::End(id, true)));
    if state.agent.running.is_some() {
        steps.push(Step::Finish);
    }
    if listener(state).is_some() {
        steps.extend(state.agent.outbox.keys().cloned().map(Step::Tell));
    }
    steps
}

fn pending(state: &State) -> impl Iterator<Item = usize> {
    let all = state.operations.iter().enumerate();
    all.filter(|(_, o)| o.stage == Stage::Pending)
        .map(|(id, _)| id)
}

/// The controller that the agent's session is with: the latest, and none that is older than a leader it has seen.
fn listener(state: &State) -> Option<u64> {
    let latest = state.controllers.iter().map(|c| c.term).max();
    latest.filter(|term| state.connected() && *term >= state.agent.term)
}

/// What is journaled is done or sent before time goes on; a frozen controller does not keep to it.
fn is_sending(protocol: &Protocol, state: &State) -> bool {
    let latest = state.controllers.iter().map(|c| c.term).max();
    state.controllers.iter().any(|c| {
        let frozen = protocol.bug == Bug::SendsLate && Some(c.term) != latest;
        !frozen
            && c.pursuits
                .values()
                .any(|p| matches!(p, Pursuit::ToDo | Pursuit::ToSend { .. }))
    })
}

/// Makes it happen.
pub(crate) fn take(protocol: &Protocol, state: &mut State, step: &Step) {
    match step {
        Step::Tick => tick(protocol, state),
        Step::Start => {
            state.left.starts = state.left.starts.saturating_sub(1);
            controller::start(protocol, state);
        }
        Step::Kill(term) => state.controllers.retain(|c| c.term != *term),
        Step::Do(term, effect) => controller::do_it(protocol, state, *term, effect),
        Step::Send(term, effect) => controller::send(protocol, state, *term, effect),
        Step::Deliver(message) => {
            state.net.remove(message);
            deliver(protocol, state, message);
        }
        Step::Copy(message) => {
            state.left.copies = state.left.copies.saturating_sub(1);
            deliver(protocol, state, message);
        }
        Step::End(operation, well) => {
            if !well {
                state.left.failures = state.left.failures.saturating_sub(1);
            }
            actor::end(protocol, state, *operation, *well);
        }
        Step::Restart => {
            state.left.restarts = state.left.restarts.saturating_sub(1);
            actor::restart(protocol, state);
        }
        Step::Finish => actor::finish(state, "fixed"),
        Step::Tell(effect) => hear(protocol, state, effect),
        Step::GoDark => {
            state.left.flips = state.left.flips.saturating_sub(1);
            state.fault = Fault::Dark;
        }
        Step::Turn(peer) => {
            state.left.flips = state.left.flips.saturating_sub(1);
            state.peer = *peer;
        }
    }
    let pending = pending(state).count();
    let fixing = usize::from(state.agent.running.is_some());
    state.ghost.overlap |= pending.saturating_add(fixing) > 1;
}

fn tick(protocol: &Protocol, state: &mut State) {
    state.tick += 1;
    let now = state.tick;
    // An answer that comes later than a tick finds nobody who waits for it.
    state.net.retain(|message| match message {
        Message::Call { sent, .. } | Message::Order { sent, .. } => sent + 1 >= now,
        Message::Answer { .. } => false,
    });
    actor::deadline(state);
    controller::pursue_all(protocol, state);
    sight::look(protocol, state);
}

fn deliver(protocol: &Protocol, state: &mut State, message: &Message) {
    match message {
        Message::Call {
            effect, kind, term, ..
        } => actor::call(state, effect, *kind, *term),
        Message::Answer {
            effect,
            operation,
            term,
        } => controller::answered(protocol, state, *term, effect, *operation),
        Message::Order { effect, term, .. } => actor::order(protocol, state, effect, *term),
    }
}

/// An outcome leaves the outbox when the journal has it.
fn hear(protocol: &Protocol, state: &mut State, effect: &EffectId) {
    use iaso_engine::effect::Yield;
    let (Some(term), Some(result)) = (listener(state), state.agent.outbox.get(effect).copied())
    else {
        return;
    };
    let outcome = match result {
        "busy" | "stale-term" => controller::not_started(result),
        result => controller::done(Yield::Fix {
            result: result.into(),
        }),
    };
    if controller::tell(protocol, state, term, effect, outcome) {
        state.agent.outbox.remove(effect);
        controller::decide(protocol, state, term);
    }
}
