//! The same decisions again: every recorded one is made anew by today's engine, and compared with the journal bit for bit.

use crate::bundle::{Bundle, BundleError, Scene, Stage, Step};
use crate::decide::{decide, is_decided};
use crate::differ;
use crate::line::{Ending, Stop};
use iaso_engine::id::IncidentId;
use iaso_engine::plan::Situation;
use iaso_engine::record::{Entry, Record};
use iaso_engine::time::Tick;
use iaso_engine::timeline;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

/// What came of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every decision came out as it was journaled.
    Reproduced,
    /// At least one came out otherwise.
    Differs,
    /// What was recorded came out the same, but not all of it was recorded.
    Incomplete,
}

/// One decision that came out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// In which recording.
    pub recording: i64,
    /// When it was decided.
    pub at: Tick,
    /// Sequence of the journal's last entry before it.
    pub after: u64,
    /// Which of its records, from 0.
    pub record: usize,
    /// The record as the journal has it, in words; `None`: it has none there.
    pub journal: Option<String>,
    /// As the replay made it.
    pub replay: Option<String>,
    /// Where in the record they differ.
    pub place: String,
    /// What stands there in the journal.
    pub journal_value: String,
    /// And in the replay.
    pub replay_value: String,
}

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The word.
    pub verdict: Verdict,
    /// What was replayed.
    pub incidents: Vec<String>,
    /// Recordings.
    pub recordings: u64,
    /// Facts that were put into the world.
    pub facts: u64,
    /// Decisions that were made again.
    pub decisions: u64,
    /// Records of them that the journal has, in the same bits.
    pub records: u64,
    /// Decisions that came out otherwise.
    pub differing: u64,
    /// The first of them.
    pub first: Option<Difference>,
    /// First and last moment.
    pub span: Option<(Tick, Tick)>,
    /// What is missing.
    pub gaps: Vec<String>,
    /// What should be known beside.
    pub notes: Vec<String>,
}

/// Replays a bundle.
///
/// # Errors
/// When it is none, or a newer program's.
pub fn replay<R: BufRead>(compressed: R) -> Result<Replay, BundleError> {
    let mut bundle = Bundle::open(compressed)?;
    let mut player = Player::new(&bundle.entries, &bundle.header.incidents);
    while let Some(step) = bundle.step()? {
        match step {
            Step::Base => {}
            Step::Seen { at, facts } => player.see(at, facts),
            Step::Decided(scene) => {
                if let Some(stage) = bundle.stage() {
                    player.decide(stage, &scene);
                }
            }
            Step::Stop(stop) => player.stop(&stop),
        }
    }
    Ok(player.finish(&bundle))
}

fn json(record: Option<&Record>) -> serde_json::Value {
    record.map_or(serde_json::Value::Null, |record| {
        serde_json::to_value(record).unwrap_or_default()
    })
}

fn words(at: Tick, record: &Record) -> String {
    let (sequence, record) = (0, record.clone());
    timeline::describe(&Entry {
        sequence,
        at,
        record,
    })
    .text
}

struct Player {
    /// Decided records of the incidents, by sequence: each must have been made by a recorded decision.
    open: BTreeMap<u64, String>,
    facts: u64,
    decisions: u64,
    records: u64,
    differing: u64,
    first: Option<Difference>,
    span: Option<(Tick, Tick)>,
    notes: Vec<String>,
}

impl Player {
    fn new(entries: &[Entry], incidents: &[String]) -> Self {
        let incidents: BTreeSet<IncidentId> = incidents.iter().cloned().map(IncidentId).collect();
        let of_them = |record: &Record| record.incident().is_some_and(|id| incidents.contains(id));
        let open = entries
            .iter()
            .filter(|entry| is_decided(&entry.record) && of_them(&entry.record))
            .map(|entry| (entry.sequence, timeline::describe(entry).text))
            .collect();
        Self {
            open,
            facts: 0,
            decisions: 0,
            records: 0,
            differing: 0,
            first: None,
            span: None,
            notes: Vec::new(),
        }
    }

    fn at(&mut self, at: Tick) {
        self.span = Some(
            self.span
                .map_or((at, at), |(from, to)| (from.min(at), to.max(at))),
        );
    }

    fn see(&mut self, at: Tick, facts: usize) {
        self.at(at);
        self.facts = self.facts.saturating_add(facts as u64);
    }

    fn decide(&mut self, stage: &Stage, scene: &Scene) {
        let decided = scene.decided;
        self.at(decided.now);
        self.decisions = self.decisions.saturating_add(1);
        let made = decide(&Situation {
            now: decided.now,
            policy: &stage.setup.policy,
            inventory: &stage.setup.inventory,
            world: &stage.world,
            ledger: &stage.ledger,
        });
        let records = made.plan.records;
        for entry in &scene.made {
            self.open.remove(&entry.sequence);
        }
        let blank = Difference {
            recording: stage.recording,
            at: decided.now,
            after: decided.before,
            record: 0,
            journal: None,
            replay: None,
            place: String::new(),
            journal_value: String::new(),
            replay_value: String::new(),
        };
        if decided.refused > 0 {
            // The journal did not take them, so there is nothing to compare but their number.
            if records.len() as u64 != decided.refused {
                self.differ(Difference {
                    journal: Some(format!("{} records that it did not take", decided.refused)),
                    replay: Some(format!("{} records", records.len())),
                    ..blank
                });
            }
            return;
        }
        let journaled = |index: usize| scene.made.get(index).map(|entry| &entry.record);
        let unequal = (0..scene.made.len().max(records.len()))
            .find(|index| journaled(*index) != records.get(*index));
        let Some(record) = unequal else {
            self.records = self.records.saturating_add(records.len() as u64);
            return;
        };
        let (journal, replay) = (journaled(record), records.get(record));
        let (place, journal_value, replay_value) =
            differ::first(&json(journal), &json(replay)).unwrap_or_default();
        self.differ(Difference {
            record,
            journal: journal.map(|record| words(decided.now, record)),
            replay: replay.map(|record| words(decided.now, record)),
            place,
            journal_value,
            replay_value,
            ..blank
        });
    }

    fn differ(&mut self, difference: Difference) {
        self.differing = self.differing.saturating_add(1);
        self.first.get_or_insert(difference);
    }

    fn stop(&mut self, stop: &Stop) {
        let note = match stop.how {
            Ending::Closed | Ending::Full => return,
            Ending::Running => format!("recording {} is still running", stop.recording),
            Ending::Cut => format!(
                "recording {} ends where its controller ended: what it saw in its last moments may be missing",
                stop.recording
            ),
        };
        self.notes.push(note);
    }

    fn finish<R: BufRead>(mut self, bundle: &Bundle<R>) -> Replay {
        let mut gaps = bundle.gaps.clone();
        if bundle.recordings() == 0 {
            gaps.push("nothing was recorded of it".into());
        }
        if let Some((sequence, text)) = self.open.first_key_value() {
            let count = self.open.len();
            gaps.push(format!(
                "{count} decided journal entries have no recorded decision; the first is {sequence}: {text}"
            ));
        }
        self.notes.extend(bundle.assumed().cloned());
        let verdict = if self.differing > 0 {
            Verdict::Differs
        } else if gaps.is_empty() {
            Verdict::Reproduced
        } else {
            Verdict::Incomplete
        };
        Replay {
            verdict,
            incidents: bundle.header.incidents.clone(),
            recordings: bundle.recordings(),
            facts: self.facts,
            decisions: self.decisions,
            records: self.records,
            differing: self.differing,
            first: self.first,
            span: self.span,
            gaps,
            notes: self.notes,
        }
    }
}
