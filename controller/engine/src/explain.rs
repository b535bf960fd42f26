//! Why this, why not that, what it waits for, and when it looks again: for one node, in words.

use crate::id::NodeName;
use crate::plan::Situation;
use crate::record::{Diagnosis, Waiting};
use crate::time::Tick;
use serde::{Deserialize, Serialize};

/// One fact, as an operator reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactLine {
    /// `agent`, `lease`, `probe`, `provider`, `check`, …
    pub channel: String,
    /// Who saw it.
    pub vantage: String,
    /// What was seen.
    pub value: String,
    /// How long ago, milliseconds; `None`: never.
    pub age_ms: Option<u64>,
    /// Whether it still counts.
    pub fresh: bool,
}

/// A yes or no, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Of a rung or a gate.
    pub name: String,
    /// Rung: it would be taken. Gate: it is open.
    pub yes: bool,
    /// Why.
    pub why: String,
}

/// All about one node's standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Which node.
    pub node: NodeName,
    /// What the facts, together, say.
    pub diagnosis: Diagnosis,
    /// The facts it rests on, in words.
    pub evidence: Vec<String>,
    /// Every channel.
    pub facts: Vec<FactLine>,
    /// Each rung: taken or not, and why.
    pub rungs: Vec<Answer>,
    /// Each gate of the next disruptive step: open or not, and why.
    pub gates: Vec<Answer>,
    /// What it waits for.
    pub waiting: Vec<Waiting>,
    /// When it looks again at the latest; `None`: when something changes.
    pub next_look: Option<Tick>,
}

/// Explains one node. `None`: the inventory does not have it.
#[must_use]
pub fn explain(situation: &Situation<'_>, node: &NodeName) -> Option<Explanation> {
    let _ = (situation, node);
    None
}
