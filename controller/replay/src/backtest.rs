//! Another policy on what was recorded: what it would have done, when, and whether that would have been right.
//!
//! **Invariants**
//! - The world is the recorded one and nothing else; the ledger is the other policy's own.
//! - An act that was done then answers as it did then. One that was not changes nothing in the world, and whatever follows from it is
//!   marked as a guess.
//!
//! Deliberately absent: an opinion on what would have *come* of an act that nobody took. [`LIMITS`] says so aloud.

mod past;
mod rows;
mod shadow;

use crate::bundle::{Bundle, BundleError, Step};
use iaso_engine::id::NodeName;
use iaso_engine::policy::Policy;
use iaso_engine::record::Rung;
use iaso_engine::time::Tick;
use past::Past;
use serde::{Deserialize, Serialize};
use shadow::Shadow;
use std::collections::BTreeMap;
use std::io::BufRead;

/// What no backtest can know.
pub const LIMITS: [&str; 5] = [
    "the world is the recorded one: an act that was not done then changes nothing in it, and what follows from one is a guess (?)",
    "an act that was done then answers as it did then, even when it would have been done earlier or later",
    "facts are as fresh as the policy of then asked for them: another one might have looked more or less often",
    "only what was recorded is tried, and that is the time around incidents: on a quiet night another policy might have opened one",
    "decisions are made at the recorded moments, at most some seconds apart: shorter differences mean nothing",
];

/// How a difference is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// Done then, and would be done at about the same time.
    Same,
    /// Would be done, and was needed.
    Right,
    /// Would be done, and was not needed: a false action.
    False,
    /// Was done and helped, and would not be done: a missed action.
    Missed,
    /// Was done and did not help, and would not be done.
    Spared,
    /// What happened says neither.
    Unclear,
    /// Too early to say.
    Open,
}

/// One rung of one incident, then and under the other policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Which node.
    pub node: NodeName,
    /// The incident of then; `None`: none was open.
    pub incident: Option<String>,
    /// Which rung.
    pub rung: Rung,
    /// When it was first done.
    pub done: Option<Tick>,
    /// How often.
    pub done_times: u32,
    /// When it would first be done.
    pub would: Option<Tick>,
    /// How often.
    pub would_times: u32,
    /// Milliseconds earlier (negative) or later than then.
    pub shift_ms: Option<i64>,
    /// It rests on an act that was not done then.
    pub guess: bool,
    /// The judgement.
    pub judgement: Judgement,
    /// Why, in words.
    pub why: String,
}

/// What a backtest found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Backtest {
    /// Recordings that were tried.
    pub recordings: u64,
    /// Decisions that were made.
    pub decisions: u64,
    /// By node and time.
    pub rows: Vec<Row>,
    /// How many rows of each judgement.
    pub totals: BTreeMap<Judgement, u64>,
    /// Steps that the independent checker stopped.
    pub vetoes: u64,
    /// What is missing.
    pub gaps: Vec<String>,
    /// What it cannot know.
    pub limits: Vec<String>,
}

/// An act of the other policy.
#[derive(Debug, Clone)]
struct Would {
    node: NodeName,
    rung: Rung,
    at: Tick,
    guess: bool,
}

/// Tries a policy on a bundle.
///
/// # Errors
/// When it is none, or a newer program's.
pub fn backtest<R: BufRead>(compressed: R, policy: &Policy) -> Result<Backtest, BundleError> {
    let mut bundle = Bundle::open(compressed)?;
    let mut past = Past::of(&bundle.entries);
    let mut found = Backtest {
        limits: LIMITS.iter().map(ToString::to_string).collect(),
        ..Backtest::default()
    };
    let mut would = Vec::new();
    let mut shadow: Option<Shadow> = None;
    while let Some(step) = bundle.step()? {
        match step {
            Step::Base => {
                if let (None, Some(stage)) = (&shadow, bundle.stage()) {
                    shadow = Some(Shadow::new(stage.ledger.clone()));
                }
            }
            Step::Seen { .. } => {}
            Step::Decided(scene) => {
                if let (Some(shadow), Some(stage)) = (&mut shadow, bundle.stage()) {
                    shadow.hear(&scene, &past);
                    found.vetoes = found.vetoes.saturating_add(shadow.decide(
                        stage,
                        policy,
                        scene.decided.now,
                        &mut past,
                    ));
                    found.decisions = found.decisions.saturating_add(1);
                }
            }
            Step::Stop(_) => would.extend(shadow.take().into_iter().flat_map(Shadow::acts)),
        }
    }
    // Of a bundle that was cut.
    would.extend(shadow.into_iter().flat_map(Shadow::acts));
    found.recordings = bundle.recordings();
    found.gaps.clone_from(&bundle.gaps);
    found.rows = rows::rows(&bundle.entries, &would, bundle.header.at);
    found.count();
    Ok(found)
}

impl Backtest {
    /// Takes in what another bundle gave.
    pub fn merge(&mut self, other: Self) {
        self.recordings = self.recordings.saturating_add(other.recordings);
        self.decisions = self.decisions.saturating_add(other.decisions);
        self.vetoes = self.vetoes.saturating_add(other.vetoes);
        self.rows.extend(other.rows);
        self.gaps.extend(other.gaps);
        self.limits = other.limits;
        self.count();
    }

    fn count(&mut self) {
        self.totals.clear();
        for row in &self.rows {
            let total = self.totals.entry(row.judgement).or_default();
            *total = total.saturating_add(1);
        }
    }
}
