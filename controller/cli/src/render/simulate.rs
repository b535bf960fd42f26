//! `iaso simulate`.

use super::layout::{Grid, bullets, field, heading, paragraph};
use super::style::Style;
use crate::text::Text;
use iaso_sim::story::{IncidentStory, Story};
use std::fmt::Write as _;

/// Most lines of the timeline that a table shows: JSON has all.
const LINES_MAX: usize = 200;

/// How the run went: timeline, incidents with their phases, what was held and why, and the judge's word.
pub(crate) fn simulation(style: &Style, story: &Story) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", style.bold(&text(&story.name)));
    if !story.about.is_empty() {
        paragraph(&mut out, style, "  ", &text(&story.about));
    }
    let setting = format!(
        "{} nodes, seed {}, ended after {}",
        story.nodes,
        story.seed,
        clock(story.ended_ms)
    );
    field(&mut out, style, "run", &setting);
    let acts = &story.acts;
    let ordered = format!(
        "fixes {}, power-ons {}, reboots {}, recreates {}, pages {}",
        acts.fixes, acts.starts, acts.reboots, acts.recreates, acts.pages
    );
    field(&mut out, style, "ordered", &ordered);
    timeline(&mut out, style, story);
    incidents(&mut out, style, &story.incidents);
    for incident in &story.incidents {
        milestones(&mut out, style, incident);
    }
    holds(&mut out, style, story);
    healed(&mut out, style, story);
    judge(&mut out, style, story);
    out
}

fn text(raw: &str) -> String {
    Text::from(raw).to_string()
}

/// `12:34`, from an hour on `1:02:34`.
fn clock(ms: u64) -> String {
    let secs = ms / 1_000;
    let (hours, minutes, seconds) = (secs / 3_600, secs / 60 % 60, secs % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

fn timeline(out: &mut String, style: &Style, story: &Story) {
    heading(
        out,
        style,
        "Timeline: what Iaso wrote down, and with # what really happened",
    );
    let waiting = |kind: &str| kind == "waiting";
    let lines: Vec<_> = story
        .timeline
        .iter()
        .filter(|m| !waiting(&m.kind))
        .collect();
    for moment in lines.iter().take(LINES_MAX) {
        let mark = if moment.truth { "#" } else { " " };
        let lead = format!("{:>8} {mark} ", clock(moment.at_ms));
        paragraph(out, style, &lead, &text(&moment.text));
    }
    if lines.len() > LINES_MAX {
        let more = lines.len().saturating_sub(LINES_MAX);
        let _ = writeln!(out, "  … {more} more: --output json has all");
    }
}

fn incidents(out: &mut String, style: &Style, all: &[IncidentStory]) {
    heading(
        out,
        style,
        "Incidents: seconds by phase, from the fault to the end",
    );
    if all.is_empty() {
        out.push_str("  none\n");
        return;
    }
    let mut grid = Grid::new(
        style,
        &[
            "INCIDENT",
            "OUTCOME",
            "DIAGNOSIS",
            "UNSEEN",
            "DETECT",
            "DECIDE",
            "FIX, REBOOT",
            "RECREATE",
            "REJOIN",
            "VERIFY",
            "MTTR",
        ],
    );
    for incident in all {
        let mut cells = vec![
            text(&incident.incident),
            incident.outcome.clone(),
            incident.diagnosis.clone(),
        ];
        cells.extend(
            incident
                .phases
                .all()
                .iter()
                .map(|(_, secs)| secs.to_string()),
        );
        cells.push(
            incident
                .total_s()
                .map_or_else(|| "-".to_owned(), |secs| secs.to_string()),
        );
        grid.row(cells);
    }
    out.push_str(&grid.finish());
}

fn milestones(out: &mut String, style: &Style, incident: &IncidentStory) {
    heading(
        out,
        style,
        &format!("{}: after the fault", text(&incident.incident)),
    );
    for mark in &incident.milestones {
        let after = mark
            .after_s
            .map_or_else(|| "-".to_owned(), |secs| format!("{secs:+} s"));
        let lead = format!("{:>8} {after:>8}  ", clock(mark.at_ms));
        paragraph(out, style, &lead, &text(&mark.what));
    }
    if let Some(secs) = incident.recreate_decided_s {
        let line = format!("from silence to the decision to recreate: {secs} s");
        paragraph(out, style, "  ", &style.bold(&line));
    }
    let would: Vec<Text> = incident
        .would_have
        .iter()
        .map(|w| w.as_str().into())
        .collect();
    bullets(out, style, "Would have done, but only observes", &would);
}

fn holds(out: &mut String, style: &Style, story: &Story) {
    let tables = [("Refused or held, and why", true), ("Given time", false)];
    for (title, refused) in tables {
        let own: Vec<_> = story
            .holds
            .iter()
            .filter(|h| h.refused == refused)
            .collect();
        heading(out, style, title);
        if own.is_empty() {
            out.push_str("  nothing\n");
            continue;
        }
        let mut grid = Grid::new(style, &["INCIDENT", "GATE", "SECONDS", "WHY"]);
        for hold in own {
            grid.row([
                text(&hold.incident),
                hold.name.clone(),
                hold.seconds.to_string(),
                text(&hold.why),
            ]);
        }
        out.push_str(&grid.finish());
    }
}

fn healed(out: &mut String, style: &Style, story: &Story) {
    if story.healed.is_empty() {
        return;
    }
    heading(
        out,
        style,
        "Time from a fault until the node was well, in truth",
    );
    let mut grid = Grid::new(style, &["FAULT", "SECONDS"]);
    for healed in &story.healed {
        grid.row([healed.class.to_owned(), healed.seconds.to_string()]);
    }
    out.push_str(&grid.finish());
}

fn judge(out: &mut String, style: &Style, story: &Story) {
    heading(out, style, "The judge, who knows the truth");
    let word = &story.judge;
    if word.clean {
        paragraph(out, style, "  ", "nothing that must never happen did");
    }
    let listed =
        |lines: &[String]| -> Vec<Text> { lines.iter().map(|l| l.as_str().into()).collect() };
    bullets(
        out,
        style,
        "Must never happen, and did",
        &listed(&word.wrongs),
    );
    bullets(
        out,
        style,
        "Down at the end, though an allowed rung heals it",
        &listed(&word.missed),
    );
    bullets(
        out,
        style,
        "Not as the scenario expects",
        &listed(&story.unmet),
    );
}
