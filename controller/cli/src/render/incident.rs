//! `iaso incidents`, `iaso incident ID`, and a timeline that can go on.

use super::layout::{Grid, bullets, field, hanging, heading, list, paragraph};
use super::style::{Style, Tone, date_time};
use crate::model::{Incident, Incidents, TimelineEntry};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::fmt::Write as _;

/// Incidents, one row each, and below what needs a person.
pub(crate) fn incidents(style: &Style, answer: &Incidents) -> String {
    if answer.incidents.is_empty() {
        return "no incidents\n".to_owned();
    }
    let mut grid = Grid::new(
        style,
        &[
            "INCIDENT",
            "NODE",
            "STATE",
            "DIAGNOSIS",
            "OPENED",
            "RECREATES",
            "PHASE",
        ],
    );
    for incident in &answer.incidents {
        grid.row([
            incident.id.to_string(),
            incident.node.or_dash(),
            incident.state.or_dash(),
            incident.diagnosis.or_dash(),
            incident.opened.map_or_else(|| "-".to_owned(), date_time),
            incident.recreates.to_string(),
            incident.phase.or_dash(),
        ]);
    }
    let mut out = grid.finish();
    let awaiting: Vec<_> = answer
        .incidents
        .iter()
        .filter(|incident| !incident.awaits_approval.is_empty())
        .collect();
    if !awaiting.is_empty() {
        heading(&mut out, style, "Needs you");
    }
    for incident in awaiting {
        approval(&mut out, style, incident);
    }
    out
}

/// One incident without its timeline.
pub(crate) fn incident_header(style: &Style, incident: &Incident) -> String {
    let mut out = String::new();
    let state = style.paint(Tone::of(incident.state.raw()), &incident.state.or_dash());
    let _ = writeln!(
        out,
        "{}  {state}",
        style.bold(&format!("incident {}", incident.id))
    );
    field(&mut out, style, "node", &incident.node.or_dash());
    field(&mut out, style, "diagnosis", &incident.diagnosis.or_dash());
    field(&mut out, style, "phase", &incident.phase.or_dash());
    field(&mut out, style, "opened", &style.moment(incident.opened));
    if incident.closed.is_some() {
        field(&mut out, style, "closed", &style.moment(incident.closed));
    }
    field(&mut out, style, "rungs", &list(&incident.rungs));
    field(
        &mut out,
        style,
        "recreates",
        &incident.recreates.to_string(),
    );
    bullets(&mut out, style, "Waits for", &incident.waiting);
    if !incident.awaits_approval.is_empty() {
        heading(&mut out, style, "Needs you");
        approval(&mut out, style, incident);
    }
    out
}

fn approval(out: &mut String, style: &Style, incident: &Incident) {
    paragraph(
        out,
        style,
        "  - ",
        &format!(
            "{} awaits approval: {}",
            incident.id, incident.awaits_approval
        ),
    );
    let _ = writeln!(out, "    iaso approve {0}  or  iaso deny {0}", incident.id);
}

/// A timeline, fed entry by entry: the date is said once for each day.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    day: Option<Date>,
}

impl Timeline {
    /// The next line or lines.
    pub(crate) fn entry(&mut self, style: &Style, entry: &TimelineEntry) -> String {
        let mut out = String::new();
        let at = entry.at.map(|at| TimeZone::UTC.to_datetime(at));
        if let Some(at) = at.filter(|at| self.day != Some(at.date())) {
            self.day = Some(at.date());
            let _ = writeln!(out, "{}", style.bold(&format!("{} UTC", at.date())));
        }
        let time = at.map_or_else(
            || "--:--:--".to_owned(),
            |at| at.strftime("%H:%M:%S").to_string(),
        );
        let kind = format!("{:<9}", entry.kind.to_string());
        let width = "  HH:MM:SS  ".len() + kind.chars().count() + 2;
        let lead = format!(
            "  {time}  {}  ",
            style.paint(Tone::of(entry.kind.raw()), &kind)
        );
        hanging(&mut out, style, &lead, width, &entry.text.to_string());
        out
    }
}
