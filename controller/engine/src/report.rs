//! The report of an incident: built from its journal entries alone, so that it can be made again at any time.

mod build;
mod markdown;
mod summary;

use crate::id::{IncidentId, NodeName};
use crate::ledger::Incident;
use crate::record::{Closing, Diagnosis, Entry};
use crate::score::{Scored, would_haves};
use crate::time::Tick;
use crate::timeline::Line;
use build::Teller;
use serde::{Deserialize, Serialize};

/// Seconds by phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Phases {
    /// First bad fact → incident.
    pub detect_s: u64,
    /// Incident → first rung's effect, and between rungs.
    pub decide_s: u64,
    /// Fixes, start and reboot, with the time given to help.
    pub reboot_s: u64,
    /// Preparation and the provider's recreate.
    pub recreate_s: u64,
    /// Recreated → joined, restored and uncordoned.
    pub rejoin_s: u64,
    /// Watching that it stays well.
    pub verify_s: u64,
}

/// One rung as it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// `reboot`, `fix k3s-agent/restart`, …
    pub rung: String,
    /// 1, 2, …
    pub attempt: u32,
    /// When.
    pub started: Tick,
    /// Why then.
    pub why: String,
    /// How it ended; `None`: it has not.
    pub result: Option<String>,
    /// Why we think so.
    pub because: Option<String>,
    /// How long it took, seconds.
    pub took_s: Option<u64>,
}

/// One reason for waiting and how long it held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// Its name.
    pub name: String,
    /// In words.
    pub text: String,
    /// Seconds in all.
    pub seconds: u64,
}

/// A person's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at: Tick,
    /// Who, what and why.
    pub text: String,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Of which incident.
    pub incident: IncidentId,
    /// Which node.
    pub node: NodeName,
    /// `recovered`, `recovered-by-itself`, `parked` or `open`.
    pub outcome: String,
    /// How it was closed.
    pub closing: Option<Closing>,
    /// What happened, for somebody who reads nothing else.
    pub summary: Vec<String>,
    /// The diagnosis that was acted on; the last one while it is open.
    pub diagnosis: Diagnosis,
    /// First bad fact.
    pub since: Tick,
    /// When it was opened.
    pub opened: Tick,
    /// When it ended; while it has not, when the report was made.
    pub until: Tick,
    /// Time by phase.
    pub phases: Phases,
    /// How many recreates happened or may have happened.
    pub recreates: u32,
    /// The facts each diagnosis rested on.
    pub facts: Vec<Line>,
    /// What was tried.
    pub tried: Vec<Tried>,
    /// Why it climbed from rung to rung.
    pub escalation: Vec<String>,
    /// What it waited for.
    pub waited: Vec<Waited>,
    /// Where it left the usual ladder, and why.
    pub deviations: Vec<String>,
    /// What was seen when it was closed; empty while it is not.
    pub verified: Vec<String>,
    /// What is different now.
    pub changed: Vec<String>,
    /// Who approved, denied, paused or resumed.
    pub decisions: Vec<Decision>,
    /// What `observe` mode would have done, judged by what happened afterwards.
    pub would_have: Vec<Scored>,
    /// What a person should do or know.
    pub follow_ups: Vec<String>,
    /// Every entry, as a line.
    pub timeline: Vec<Line>,
    /// What was left out to keep the report small; empty: nothing.
    pub cut: String,
}

/// A report keeps at most this many lines of its timeline: the first and the last ones.
const TIMELINE_MAX: usize = 400;
/// And at most this many of any other list.
const LIST_MAX: usize = 100;
/// Longest line.
const LINE_CHARS_MAX: usize = 1_000;

impl Report {
    /// Builds the report from the entries of one incident, in order; entries of other incidents are passed over. `None`: they open no
    /// incident.
    #[must_use]
    pub fn build(entries: &[Entry], now: Tick) -> Option<Self> {
        let incident = entries
            .iter()
            .find_map(|e| Incident::opened_by(e.at, &e.record))?;
        let mut teller = Teller::new(incident, now);
        for entry in entries {
            teller.hear(entry);
        }
        let mut report = teller.report();
        report.would_have = would_haves(entries, &report.incident, now);
        report.would_have.truncate(LIST_MAX);
        Some(report)
    }

    /// The report as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        markdown::render(self)
    }
}
