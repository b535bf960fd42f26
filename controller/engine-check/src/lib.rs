//! The second opinion: reads the journal's ledger, the world and a plan, and vetoes what breaks an invariant.
//!
//! Written from the invariants of the design, not from the engine: it shares the engine's *types* and none of its decisions. Where both
//! agree, an error must have been made twice, in two ways of writing it down, before a machine is wiped for nothing.
//!
//! Deliberately absent: any opinion on what *should* be done. It only says what must not.

mod history;
mod invariant;
mod law;
mod sight;

use history::History;
use iaso_engine::plan::{Plan, Situation};
use iaso_engine::record::Record;
use serde::{Deserialize, Serialize};

/// One record that must not be journaled; if it is an `Intended`, not executed either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Veto {
    /// Index into [`Plan::records`] of the record to drop, with everything else that the plan says of its incident.
    pub record_index: usize,
    /// Which invariant, such as `quorum-of-silence`.
    pub invariant: String,
    /// In words.
    pub why: String,
}

/// Every record of the plan that breaks an invariant, with the first one it breaks.
#[must_use]
pub fn vet(situation: &Situation<'_>, plan: &Plan) -> Vec<Veto> {
    let mut history = History::of(situation);
    let mut vetoes = Vec::new();
    for (record_index, record) in plan.records.iter().enumerate() {
        let broken = if let Record::Intended { effect } = record {
            invariant::of_effect(situation, &history, effect)
        } else {
            invariant::of_record(situation, &history, record)
        };
        match broken {
            Some((invariant, why)) => vetoes.push(Veto {
                record_index,
                invariant: invariant.to_owned(),
                why,
            }),
            // What is let through counts for the ones behind it.
            None => history.add(record, situation.now),
        }
    }
    vetoes
}
