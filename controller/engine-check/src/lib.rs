//! The second opinion: reads the journal's ledger, the world and a plan, and vetoes what breaks an invariant.
//!
//! Written from the invariants of the design, not from the engine: it shares the engine's *types* and none of its decisions. Where both
//! agree, an error must have been made twice, in two ways of writing it down, before a machine is wiped for nothing.
//!
//! Deliberately absent: any opinion on what *should* be done. It only says what must not.

mod history;
mod invariant;
mod sight;

use history::History;
use iaso_engine::plan::{Plan, Situation};
use iaso_engine::record::Record;
use serde::{Deserialize, Serialize};

/// One effect that must not be executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Veto {
    /// Index into [`Plan::records`] of the `Intended` to drop.
    pub record_index: usize,
    /// Which invariant, such as `recreate-needs-quorum`.
    pub invariant: String,
    /// In words.
    pub why: String,
}

/// Every `Intended` of the plan that breaks an invariant, with the first one it breaks.
#[must_use]
pub fn vet(situation: &Situation<'_>, plan: &Plan) -> Vec<Veto> {
    let mut history = History::of(situation);
    let mut vetoes = Vec::new();
    for (record_index, record) in plan.records.iter().enumerate() {
        let Record::Intended { effect } = record else {
            continue;
        };
        match invariant::broken(situation, &history, effect) {
            Some((invariant, why)) => vetoes.push(Veto {
                record_index,
                invariant: invariant.to_owned(),
                why,
            }),
            // What is let through counts for the ones behind it.
            None => history.add(effect, situation.now),
        }
    }
    vetoes
}
