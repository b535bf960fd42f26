//! `iaso replay`.

use super::layout::{bullets, field, heading};
use super::style::{Style, date_time};
use crate::text::Text;
use iaso_engine::time::Tick;
use iaso_replay::replay::{Difference, Replay, Verdict};
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::Write as _;

/// What a replay found, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Model<'a> {
    verdict: Verdict,
    incidents: &'a [String],
    recordings: u64,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    facts: u64,
    decisions: u64,
    records: u64,
    differing: u64,
    first: Option<Differing<'a>>,
    gaps: &'a [String],
    notes: &'a [String],
}

#[derive(Debug, Serialize)]
struct Differing<'a> {
    at: Option<Timestamp>,
    #[serde(flatten)]
    difference: &'a Difference,
}

/// The stable shape that scripts read.
pub(crate) fn model(found: &Replay) -> Model<'_> {
    Model {
        verdict: found.verdict,
        incidents: &found.incidents,
        recordings: found.recordings,
        from: found.span.and_then(|(from, _)| time(from)),
        until: found.span.and_then(|(_, until)| time(until)),
        facts: found.facts,
        decisions: found.decisions,
        records: found.records,
        differing: found.differing,
        first: found.first.as_ref().map(|difference| Differing {
            at: time(difference.at),
            difference,
        }),
        gaps: &found.gaps,
        notes: &found.notes,
    }
}

pub(super) fn time(tick: Tick) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(tick.0).ok()?).ok()
}

pub(super) fn shown(tick: Tick) -> String {
    time(tick).map_or_else(|| "-".to_owned(), date_time)
}

/// The verdict, what it rests on, and the first difference.
pub(crate) fn replay(style: &Style, found: &Replay) -> String {
    let mut out = String::new();
    let verdict = match found.verdict {
        Verdict::Reproduced => {
            "reproduced: every decision came out as it was journaled, bit for bit"
        }
        Verdict::Differs => {
            "differs: at least one decision came out otherwise than it was journaled"
        }
        Verdict::Incomplete => {
            "incomplete: what was recorded came out the same, but not all of it was recorded"
        }
    };
    let incidents = Text::from(found.incidents.join(", "));
    let _ = writeln!(out, "{}", style.bold(&incidents.to_string()));
    field(&mut out, style, "replay", verdict);
    if let Some((from, until)) = found.span {
        field(
            &mut out,
            style,
            "span",
            &format!("{} to {}", shown(from), shown(until)),
        );
    }
    field(&mut out, style, "recordings", &found.recordings.to_string());
    field(&mut out, style, "facts", &found.facts.to_string());
    field(
        &mut out,
        style,
        "decisions",
        &format!("{}, {} otherwise", found.decisions, found.differing),
    );
    field(
        &mut out,
        style,
        "records",
        &format!("{} the same as in the journal", found.records),
    );
    if let Some(first) = &found.first {
        difference(&mut out, style, first);
    }
    bullets(&mut out, style, "Missing", &texts(&found.gaps));
    bullets(&mut out, style, "To know", &texts(&found.notes));
    out
}

fn difference(out: &mut String, style: &Style, first: &Difference) {
    heading(out, style, "The first difference");
    let word = |text: &Option<String>| {
        text.as_ref().map_or_else(
            || "nothing".to_owned(),
            |text| Text::from(text.as_str()).to_string(),
        )
    };
    field(
        out,
        style,
        "when",
        &format!(
            "{}, after journal entry {}, record {}",
            shown(first.at),
            first.after,
            first.record.saturating_add(1)
        ),
    );
    field(out, style, "journal", &word(&first.journal));
    field(out, style, "replay", &word(&first.replay));
    if !first.place.is_empty() {
        let text = |text: &str| Text::from(text).to_string();
        field(
            out,
            style,
            "where",
            &format!(
                "{}: {} in the journal, {} in the replay",
                text(&first.place),
                text(&first.journal_value),
                text(&first.replay_value)
            ),
        );
    }
}

fn texts(lines: &[String]) -> Vec<Text> {
    lines.iter().map(|line| Text::from(line.as_str())).collect()
}
