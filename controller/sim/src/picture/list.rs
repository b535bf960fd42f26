//! Below the lanes: each incident's time by phase, and its milestones in words.

use crate::picture::draw::{Block, Canvas, Text, fitted, width, wrapped};
use crate::picture::scale::{clock, share, span};
use crate::picture::{BAR, MARGIN, RIGHT, SMALL, left};
use crate::story::{IncidentStory, Story};

/// Most incidents whose phases are drawn, and most lines of the list.
const INCIDENTS_MAX: usize = 8;
const LINES_MAX: usize = 24;
const HOLDS_MAX: usize = 10;
const LINE: f64 = 18.0;
/// Where phases begin.
const BARS: f64 = 232.0;
/// Where the second column begins.
const HALF: f64 = 660.0;

/// Draws both; returns the height of the whole.
pub(super) fn draw(canvas: &mut Canvas, story: &Story, y: f64) -> f64 {
    let y = phases(canvas, story, y + 16.0) + 22.0;
    let left = milestones(canvas, story, y);
    let right = holds(canvas, story, y);
    left.max(right) + 10.0
}

fn phases(canvas: &mut Canvas, story: &Story, y: f64) -> f64 {
    canvas.text(left(
        MARGIN,
        y,
        14.0,
        "strong",
        "Time by phase, added up from the fault to the end",
    ));
    let total = |i: &IncidentStory| i.phases.all().iter().map(|(_, secs)| secs).sum::<u64>();
    let longest = story.incidents.iter().map(total).max().unwrap_or(0);
    let mut y = y + 14.0;
    if story.incidents.is_empty() {
        canvas.text(left(MARGIN, y + 8.0, SMALL, "soft", "no incident"));
        return y + LINE;
    }
    for incident in story.incidents.iter().take(INCIDENTS_MAX) {
        let name = fitted(&incident.incident, SMALL, BARS - MARGIN - 10.0);
        canvas.text(left(MARGIN, y + 14.0, SMALL, "", &name));
        let mut x = BARS;
        let mut words = Vec::new();
        for (phase, secs) in incident
            .phases
            .all()
            .into_iter()
            .filter(|(_, secs)| *secs > 0)
        {
            let long = share(secs, longest) * (RIGHT - BARS);
            let label = format!("{phase} {}", span(secs));
            canvas.block(Block {
                x,
                y,
                width: long.max(1.0),
                height: BAR,
                class: class(phase),
                tip: &label,
            });
            // All of it, or at least the name, or nothing.
            let fits = |text: &&str| width(text, SMALL) + 8.0 <= long;
            if let Some(text) = [label.as_str(), phase].iter().find(|t| fits(t)) {
                canvas.text(left(x + 4.0, y + 14.5, SMALL, "", text));
            }
            words.push(label);
            x += long;
        }
        let outcome = format!(
            "{}: {} ({})",
            incident.outcome,
            span(incident.total_s().unwrap_or_else(|| total(incident))),
            words.join(", ")
        );
        let outcome = fitted(&outcome, SMALL, RIGHT - BARS);
        canvas.text(left(BARS, y + 35.0, SMALL, "soft", &outcome));
        y += 48.0;
    }
    let counts = (story.incidents.len(), INCIDENTS_MAX);
    more(canvas, counts, "incidents", (MARGIN, y))
}

fn class(phase: &str) -> &'static str {
    match phase {
        "unseen" => "fault",
        "detect" | "decide" => "diagnosis",
        "fix or reboot" => "power",
        "recreate" | "rejoin" => "recreate",
        _ => "verify",
    }
}

/// Says how many were left out.
fn more(canvas: &mut Canvas, (all, most): (usize, usize), what: &str, (x, y): (f64, f64)) -> f64 {
    if all <= most {
        return y;
    }
    let line = format!(
        "and {} more {what}: --output json has all",
        all.saturating_sub(most)
    );
    canvas.text(left(x, y + 4.0, SMALL, "soft", &line));
    y + LINE
}

fn milestones(canvas: &mut Canvas, story: &Story, y: f64) -> f64 {
    canvas.text(left(MARGIN, y, 14.0, "strong", "What happened"));
    let mut all: Vec<_> = story
        .incidents
        .iter()
        .flat_map(|i| i.milestones.iter().map(move |m| (m.at_ms, i, m)))
        .collect();
    if all.len() > LINES_MAX {
        // Of many, those that say what was decided.
        all.retain(|(.., m)| !m.what.starts_with("now ") && !m.what.starts_with("since "));
    }
    all.sort_by_key(|(at, ..)| *at);
    let mut y = y + 20.0;
    for (at, incident, mark) in all.iter().take(LINES_MAX) {
        let time = clock(*at);
        let end = |x: f64, text| Text {
            anchor: "end",
            ..left(x, y, SMALL, "soft", text)
        };
        canvas.text(end(MARGIN + 54.0, &time));
        let after = mark
            .after_s
            .map_or_else(String::new, |secs| format!("{secs:+} s"));
        canvas.text(end(MARGIN + 124.0, &after));
        let line = format!("{}: {}", incident.incident, mark.what);
        let line = fitted(&line, SMALL, HALF - MARGIN - 160.0);
        canvas.text(left(MARGIN + 140.0, y, SMALL, "", &line));
        y += LINE;
    }
    more(canvas, (all.len(), LINES_MAX), "moments", (MARGIN, y))
}

fn holds(canvas: &mut Canvas, story: &Story, y: f64) -> f64 {
    canvas.text(left(HALF, y, 14.0, "strong", "Refused or held, and why"));
    let all = grouped(story);
    let mut y = y + 20.0;
    if all.is_empty() {
        canvas.text(left(HALF, y, SMALL, "soft", "nothing"));
        return y + LINE;
    }
    for (name, why, whose, longest) in all.iter().take(HOLDS_MAX) {
        let lasted = span(*longest);
        let first = match whose.as_slice() {
            [only] => format!("{only}: {name}, for {lasted}"),
            several => format!("{}: {name}, for up to {lasted}", several.join(", ")),
        };
        canvas.text(left(
            HALF,
            y,
            SMALL,
            "",
            &fitted(&first, SMALL, RIGHT - HALF),
        ));
        y += 15.0;
        for line in wrapped(why, SMALL, RIGHT - HALF - 14.0).iter().take(3) {
            let line = fitted(line, SMALL, RIGHT - HALF - 14.0);
            canvas.text(left(HALF + 14.0, y, SMALL, "soft", &line));
            y += 15.0;
        }
        y += 6.0;
    }
    more(canvas, (all.len(), HOLDS_MAX), "reasons", (HALF, y))
}

/// One reason: its name, its words, whose it was, and how long it held at most.
type Group<'a> = (&'a str, &'a str, Vec<&'a str>, u64);

/// The same words of several incidents are one reason.
fn grouped(story: &Story) -> Vec<Group<'_>> {
    let mut all: Vec<Group<'_>> = Vec::new();
    for hold in story.holds.iter().filter(|h| h.refused) {
        let same = |group: &&mut Group<'_>| group.0 == hold.name && group.1 == hold.why;
        match all.iter_mut().find(same) {
            Some((_, _, whose, longest)) => {
                whose.push(&hold.incident);
                *longest = hold.seconds.max(*longest);
            }
            None => all.push((&hold.name, &hold.why, vec![&hold.incident], hold.seconds)),
        }
    }
    all
}
