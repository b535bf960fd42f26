//! From here on no more faults: whether everything that was intended is settled in the end.

use crate::state::State;
use crate::step::Step;
use crate::{Protocol, controller, step};
use iaso_engine::id::EffectId;
use iaso_engine::ledger::EffectState;

/// Twice as long as any patience in the model.
const TICKS_MAX: u64 = 20;
/// More than ever happens within one tick.
const STEPS_MAX: usize = 64;

/// Whether every effect that is open now is settled when messages arrive, operations end and a controller lives.
pub(crate) fn settles(protocol: &Protocol, state: &State) -> bool {
    let open: Vec<EffectId> = state
        .journal
        .unsettled()
        .map(|e| e.effect.id.clone())
        .collect();
    let is_settled = |state: &State| {
        open.iter().all(|id| {
            let effect = state.journal.effect(id);
            effect.is_some_and(EffectState::is_settled)
        })
    };
    let mut state = state.clone();
    for _ in 0..TICKS_MAX {
        if is_settled(&state) {
            return true;
        }
        if !state.controllers.iter().any(|c| state.leads(c.term)) {
            controller::start(protocol, &mut state);
        }
        for _ in 0..STEPS_MAX {
            let Some(next) = step::fair(&state).into_iter().next() else {
                break;
            };
            step::take(protocol, &mut state, &next);
        }
        step::take(protocol, &mut state, &Step::Tick);
    }
    is_settled(&state)
}
