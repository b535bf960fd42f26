//! Would it have been right? An act that was only decided, judged by what happened afterwards.
//!
//! **Invariants**
//! - A judgement rests on the journal's entries alone, so it can be made again at any time.
//! - What cannot be told is said to be unclear: a node that was helped says nothing about what it would have done alone.
//!
//! Deliberately absent: what the act would have *caused*. It was not done, so nobody knows.

use crate::effect::Outcome;
use crate::id::{EffectId, IncidentId};
use crate::record::{Entry, Record, Rung};
use crate::time::Tick;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A node that is well again by itself so soon after did not need the act.
pub const GRACE: Duration = Duration::from_mins(10);

/// How an act is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was needed: an act as strong came later, or nothing but a person helped.
    Right,
    /// It was not needed: the node became well by itself shortly after, or by a gentler act.
    False,
    /// What happened says neither.
    Unclear,
    /// Too early to say.
    Open,
}

impl Verdict {
    /// As in JSON and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::False => "false",
            Self::Unclear => "unclear",
            Self::Open => "open",
        }
    }
}

/// One act that was only decided, and its judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scored {
    /// Which rung.
    pub rung: Rung,
    /// When it was decided.
    pub at: Tick,
    /// The judgement.
    pub verdict: Verdict,
    /// Why, in words.
    pub why: String,
}

#[derive(Debug, Clone)]
struct Act {
    at: Tick,
    rung: Rung,
    effect: EffectId,
    never_began: bool,
}

/// What one incident's entries say of what was done and how it went.
#[derive(Debug, Clone, Default)]
pub struct Aftermath {
    acts: Vec<Act>,
    decided: Vec<(Tick, Rung)>,
    running: Option<Rung>,
    /// Since when it looks well; `None`: it does not.
    well_since: Option<Tick>,
    parked: Option<Tick>,
}

impl Aftermath {
    /// Reads the entries of one incident, in order; others are passed over.
    #[must_use]
    pub fn of(entries: &[Entry], incident: &IncidentId) -> Self {
        let mut aftermath = Self::default();
        for entry in entries {
            if entry.record.incident() == Some(incident) {
                aftermath.hear(entry);
            } else if let Record::Resolved {
                effect,
                outcome: Outcome::NotStarted { .. },
            } = &entry.record
            {
                let acts = aftermath.acts.iter_mut();
                acts.filter(|act| act.effect == *effect)
                    .for_each(|act| act.never_began = true);
            }
        }
        aftermath
    }

    fn hear(&mut self, entry: &Entry) {
        match &entry.record {
            Record::RungStarted { rung, .. } => self.running = Some(rung.clone()),
            Record::RungEnded { .. } => self.running = None,
            Record::Intended { effect } if effect.action.is_disruptive() => {
                let rung = self.running.clone().unwrap_or(Rung::Page);
                self.acts.push(Act {
                    at: entry.at,
                    rung,
                    effect: effect.id.clone(),
                    never_began: false,
                });
            }
            Record::WouldHave { rung, .. } => self.decided.push((entry.at, rung.clone())),
            Record::Verifying { .. } => self.well_since = Some(entry.at),
            Record::VerifyFailed { .. } => self.well_since = None,
            Record::Parked { .. } => self.parked = Some(entry.at),
            Record::ControllerStarted { .. }
            | Record::Noted { .. }
            | Record::IncidentOpened { .. }
            | Record::Diagnosed { .. }
            | Record::WaitingChanged { .. }
            | Record::Intended { .. }
            | Record::Resolved { .. }
            | Record::Approved { .. }
            | Record::Denied { .. }
            | Record::Paused { .. }
            | Record::Resumed { .. }
            | Record::Closed { .. } => {}
        }
    }

    /// The time at which the node became well for good, as far as the entries go.
    #[must_use]
    pub fn well_since(&self) -> Option<Tick> {
        self.well_since
    }

    /// Judges an act of `rung` decided at `at`, as of `now`.
    #[must_use]
    pub fn judge(&self, rung: &Rung, at: Tick, now: Tick) -> (Verdict, String) {
        let well = self.well_since.filter(|well| *well >= at);
        let later = self.acts.iter().filter(|act| {
            act.at > at && !act.never_began && well.is_none_or(|well| act.at <= well)
        });
        let strongest = later.max_by_key(|act| act.rung.clone());
        match (well, strongest) {
            (_, Some(act)) if act.rung >= *rung => (
                Verdict::Right,
                format!("{} was needed {} later", act.rung, span(act.at.since(at))),
            ),
            (Some(_), Some(act)) => (
                Verdict::False,
                format!("{} was enough, {} later", act.rung, span(act.at.since(at))),
            ),
            (Some(well), None) => self.well_alone(at, well),
            (None, _) => self.not_well(at, now),
        }
    }

    fn well_alone(&self, at: Tick, well: Tick) -> (Verdict, String) {
        let after = well.since(at);
        if after <= GRACE {
            let why = format!("it was well again by itself {} later", span(after));
            (Verdict::False, why)
        } else if self.parked.is_some_and(|parked| parked <= well) {
            let why = format!(
                "it was well again only {} later, after a person had been called",
                span(after)
            );
            (Verdict::Right, why)
        } else {
            let why = format!(
                "it was well again by itself, but only {} later",
                span(after)
            );
            (Verdict::Unclear, why)
        }
    }

    fn not_well(&self, at: Tick, now: Tick) -> (Verdict, String) {
        let since = now.since(at);
        if since > GRACE {
            let called = if self.parked.is_some() {
                ", and a person was called"
            } else {
                ""
            };
            let why = format!("it has not been well for {} since{called}", span(since));
            (Verdict::Right, why)
        } else {
            let why = format!("{} later it is not well yet", span(since));
            (Verdict::Open, why)
        }
    }
}

/// Every [`Record::WouldHave`] of an incident, judged as of `now`.
#[must_use]
pub fn would_haves(entries: &[Entry], incident: &IncidentId, now: Tick) -> Vec<Scored> {
    let aftermath = Aftermath::of(entries, incident);
    let decided = aftermath.decided.iter();
    decided
        .map(|(at, rung)| {
            let (verdict, why) = aftermath.judge(rung, *at, now);
            Scored {
                rung: rung.clone(),
                at: *at,
                verdict,
                why,
            }
        })
        .collect()
}

/// `90 s`, `12 min`, `2.5 h`.
#[must_use]
pub fn span(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", secs / 60),
        _ => format!("{}.{} h", secs / 3_600, secs % 3_600 / 360),
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]
mod tests;
