//! `iaso backtest`.

use super::layout::{Grid, bullets, field, heading};
use super::replay::{shown, time};
use super::style::Style;
use crate::text::Text;
use iaso_replay::backtest::{Backtest, Judgement, Row};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a backtest found, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Model<'a> {
    recordings: u64,
    decisions: u64,
    vetoes: u64,
    totals: &'a BTreeMap<Judgement, u64>,
    rows: Vec<Line<'a>>,
    gaps: &'a [String],
    limits: &'a [String],
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    node: &'a str,
    incident: Option<&'a str>,
    rung: String,
    done: Option<Timestamp>,
    done_times: u32,
    would: Option<Timestamp>,
    would_times: u32,
    shift_ms: Option<i64>,
    guess: bool,
    judgement: Judgement,
    why: &'a str,
}

/// The stable shape that scripts read.
pub(crate) fn model(found: &Backtest) -> Model<'_> {
    let line = |row| {
        let row: &Row = row;
        Line {
            node: row.node.as_str(),
            incident: row.incident.as_deref(),
            rung: row.rung.to_string(),
            done: row.done.and_then(time),
            done_times: row.done_times,
            would: row.would.and_then(time),
            would_times: row.would_times,
            shift_ms: row.shift_ms,
            guess: row.guess,
            judgement: row.judgement,
            why: &row.why,
        }
    };
    Model {
        recordings: found.recordings,
        decisions: found.decisions,
        vetoes: found.vetoes,
        totals: &found.totals,
        rows: found.rows.iter().map(line).collect(),
        gaps: &found.gaps,
        limits: &found.limits,
    }
}

fn word(judgement: Judgement) -> &'static str {
    match judgement {
        Judgement::Same => "same",
        Judgement::Right => "right",
        Judgement::False => "FALSE",
        Judgement::Missed => "MISSED",
        Judgement::Spared => "spared",
        Judgement::Unclear => "unclear",
        Judgement::Open => "open",
    }
}

/// The rows, what they add up to, and what cannot be known.
pub(crate) fn backtest(style: &Style, found: &Backtest) -> String {
    let mut out = String::new();
    let totals: Vec<String> = found
        .totals
        .iter()
        .map(|(judgement, count)| format!("{count} {}", word(*judgement)))
        .collect();
    field(&mut out, style, "tried on", &tried(found));
    let totals = if totals.is_empty() {
        "neither policy acted".to_owned()
    } else {
        totals.join(", ")
    };
    field(&mut out, style, "acts", &totals);
    if found.vetoes > 0 {
        let vetoes = format!("{} steps were stopped by the checker", found.vetoes);
        field(&mut out, style, "vetoes", &vetoes);
    }
    if !found.rows.is_empty() {
        heading(&mut out, style, "Then, and under this policy");
        let mut grid = Grid::new(
            style,
            &["INCIDENT", "RUNG", "DONE", "WOULD BE DONE", "", "WHY"],
        );
        for row in &found.rows {
            grid.row(cells(row));
        }
        out.push_str(&grid.finish());
    }
    let texts = |lines: &[String]| -> Vec<Text> {
        lines.iter().map(|line| Text::from(line.as_str())).collect()
    };
    bullets(&mut out, style, "Missing", &texts(&found.gaps));
    bullets(
        &mut out,
        style,
        "What a backtest cannot know",
        &texts(&found.limits),
    );
    out
}

fn tried(found: &Backtest) -> String {
    format!(
        "{} recordings, {} decisions",
        found.recordings, found.decisions
    )
}

fn cells(row: &Row) -> [String; 6] {
    let text = |text: &str| Text::from(text).to_string();
    let times = |at: Option<_>, times: u32| match (at, times) {
        (None, _) => "-".to_owned(),
        (Some(at), 0 | 1) => shown(at),
        (Some(at), times) => format!("{} ×{times}", shown(at)),
    };
    let shift = row.shift_ms.filter(|ms| ms.abs() >= 1_000).map(|ms| {
        let secs = ms.abs() / 1_000;
        let word = if ms < 0 { "earlier" } else { "later" };
        format!(", {secs} s {word}")
    });
    let guess = if row.guess { " (?)" } else { "" };
    let incident = row.incident.as_deref().unwrap_or(row.node.as_str());
    [
        text(incident),
        text(&row.rung.to_string()),
        times(row.done, row.done_times),
        format!(
            "{}{}{guess}",
            times(row.would, row.would_times),
            shift.unwrap_or_default()
        ),
        word(row.judgement).to_owned(),
        text(&row.why),
    ]
}
