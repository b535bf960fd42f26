//! The timeline of a run as SVG: for each node its fault in truth, what Iaso took it for, what it did and what it waited for; below, the
//! time of each incident by phase, and what happened in words.
//!
//! **Invariants**
//! - The same story gives the same picture, byte for byte.
//! - A label stands where there is room for it, else nowhere: nothing overlaps. Every bar says all in its tooltip, and every event stands in
//!   the list below.
//! - What a bar is follows from its row, not from its colour alone.

mod draw;
mod list;
mod scale;

use crate::scenario::{Ms, SECOND};
use crate::story::{IncidentStory, Kind, Lane, Span, Story};
use draw::{Block, Canvas, Text, fitted, width, wrapped};
use scale::{Scale, clock, span};
use std::fmt::Write as _;

const WIDTH: f64 = 1_280.0;
const LEFT: f64 = 232.0;
const RIGHT: f64 = WIDTH - 28.0;
const MARGIN: f64 = 28.0;
/// Height of a bar, and of its row with the space between.
const BAR: f64 = 20.0;
const ROW: f64 = 26.0;
const SMALL: f64 = 12.0;
/// Most lanes that are drawn.
const LANES_MAX: usize = 24;
/// Most bars on top of each other in one row.
const STACK_MAX: usize = 4;

/// Draws a run.
#[must_use]
pub fn svg(story: &Story) -> String {
    let scale = Scale {
        left: LEFT,
        right: RIGHT,
        end: story.ended_ms.max(SECOND),
    };
    let mut canvas = Canvas::default();
    let top = head(&mut canvas, story);
    let mut bars = Canvas::default();
    let bottom = lanes(&mut bars, story, &scale, top + 30.0);
    axis(&mut canvas, &scale, top, bottom);
    canvas.add(&bars);
    let y = legend(&mut canvas, bottom + 26.0);
    let height = list::draw(&mut canvas, story, y);
    canvas.finish(WIDTH, height, &title(story), &description(story))
}

fn title(story: &Story) -> String {
    format!("{}: what happened and what Iaso did", story.name)
}

/// For those who do not see the picture.
fn description(story: &Story) -> String {
    let mut all = vec![story.about.clone()];
    all.extend(story.incidents.iter().map(|i| {
        let took = i
            .total_s()
            .map_or_else(String::new, |secs| format!(" after {}", span(secs)));
        format!(
            "{} on {}: {}, {}{took}.",
            i.incident, i.node, i.diagnosis, i.outcome
        )
    }));
    all.push(ordered(story));
    all.join(" ")
}

fn ordered(story: &Story) -> String {
    let acts = &story.acts;
    format!(
        "Ordered: {} fixes, {} power-ons, {} reboots, {} recreates, {} pages.",
        acts.fixes, acts.starts, acts.reboots, acts.recreates, acts.pages
    )
}

fn left<'a>(x: f64, y: f64, size: f64, class: &'static str, words: &'a str) -> Text<'a> {
    Text {
        x,
        y,
        size,
        class,
        anchor: "start",
        words,
    }
}

/// Title and what it is about; returns where the axis begins.
fn head(canvas: &mut Canvas, story: &Story) -> f64 {
    canvas.text(left(MARGIN, 38.0, 20.0, "strong", &story.name));
    let mut y = 60.0;
    for line in wrapped(&story.about, 13.0, WIDTH - 2.0 * MARGIN) {
        canvas.text(left(MARGIN, y, 13.0, "soft", &line));
        y += 18.0;
    }
    let quiet = story.nodes.saturating_sub(story.lanes.len());
    let mut line = format!(
        "{} nodes, seed {}. {}",
        story.nodes,
        story.seed,
        ordered(story)
    );
    if quiet > 0 {
        let _ = write!(line, " Not drawn: {quiet} nodes on which nothing happened.");
    }
    canvas.text(left(MARGIN, y, 13.0, "soft", &line));
    y + 26.0
}

fn axis(canvas: &mut Canvas, scale: &Scale, top: f64, bottom: f64) {
    let caption = Text {
        anchor: "end",
        ..left(
            LEFT - 34.0,
            top + 12.0,
            SMALL,
            "soft",
            "since the beginning",
        )
    };
    canvas.text(caption);
    for tick in scale.ticks() {
        let x = scale.x(tick);
        canvas.line("grid", (x, top + 18.0), (x, bottom));
        let label = clock(tick);
        canvas.text(Text {
            anchor: "middle",
            ..left(x, top + 12.0, SMALL, "soft", &label)
        });
    }
}

/// Draws all lanes from `y` down; returns where they end.
fn lanes(canvas: &mut Canvas, story: &Story, scale: &Scale, y: f64) -> f64 {
    let mut y = y;
    if !story.everywhere.is_empty() {
        let rows = [("fault", story.everywhere.as_slice())];
        y = lane(canvas, scale, ("everywhere", "of no single node"), &rows, y);
    }
    for one in story.lanes.iter().take(LANES_MAX) {
        let measured = measured(story, one);
        let mut rows: Vec<(&str, &[Span])> = one.rows().to_vec();
        rows.push(("measured", &measured));
        y = lane(canvas, scale, (&one.node, &one.about), &rows, y);
    }
    if story.lanes.len() > LANES_MAX {
        let more = story.lanes.len().saturating_sub(LANES_MAX);
        let line = format!("and {more} more nodes: --output json has all");
        canvas.text(left(MARGIN, y + 14.0, SMALL, "soft", &line));
        y += 24.0;
    }
    canvas.line("edge", (MARGIN, y), (RIGHT, y));
    y
}

/// One lane with its rows that are not empty.
fn lane(
    canvas: &mut Canvas,
    scale: &Scale,
    (name, about): (&str, &str),
    rows: &[(&str, &[Span])],
    y: f64,
) -> f64 {
    canvas.line("edge", (MARGIN, y), (RIGHT, y));
    let room = LEFT - MARGIN - 84.0;
    let name = fitted(name, 14.0, room);
    canvas.text(left(MARGIN, y + 22.0, 14.0, "strong", &name));
    for (n, line) in (0_u8..3).zip(wrapped(about, SMALL, room)) {
        let line = fitted(&line, SMALL, room);
        canvas.text(left(
            MARGIN,
            y + 40.0 + f64::from(n) * 15.0,
            SMALL,
            "soft",
            &line,
        ));
    }
    let mut next = y + 7.0;
    for (title, spans) in rows {
        if spans.is_empty() {
            continue;
        }
        canvas.text(Text {
            anchor: "end",
            ..left(LEFT - 10.0, next + 14.0, SMALL, "soft", title)
        });
        next = row(canvas, scale, spans, next);
    }
    next.max(y + 54.0) + 5.0
}

/// Bars of one row; those that are at the same time stand below each other.
fn row(canvas: &mut Canvas, scale: &Scale, spans: &[Span], y: f64) -> f64 {
    let mut tracks: Vec<Vec<&Span>> = Vec::new();
    for span in spans {
        let free = |track: &Vec<&Span>| track.last().is_none_or(|l| l.to_ms <= span.from_ms);
        match tracks.iter().position(free) {
            Some(n) => tracks.get_mut(n).expect("it was found").push(span),
            None if tracks.len() < STACK_MAX => tracks.push(vec![span]),
            None => {}
        }
    }
    let mut y = y;
    for track in tracks {
        let starts = track.iter().skip(1).map(|s| scale.x(s.from_ms));
        let limits = starts.chain([RIGHT]);
        for (span, limit) in track.iter().zip(limits) {
            bar(canvas, scale, span, y, limit);
        }
        y += ROW;
    }
    y
}

/// One bar, with its label inside, or beside it up to `limit`, or without.
fn bar(canvas: &mut Canvas, scale: &Scale, one: &Span, y: f64, limit: f64) {
    let (from, to) = (scale.x(one.from_ms), scale.x(one.to_ms));
    let long = to.max(from + 2.0) - from;
    let lasted = span(one.to_ms.saturating_sub(one.from_ms) / SECOND);
    let tip = format!(
        "{} to {} ({lasted}): {}",
        clock(one.from_ms),
        clock(one.to_ms),
        one.text
    );
    canvas.block(Block {
        x: from,
        y,
        width: long,
        height: BAR,
        class: class(one.kind),
        tip: &tip,
    });
    let needs = width(&one.label, SMALL);
    let baseline = y + 14.5;
    let short = one.label.split(" to ").next().unwrap_or_default();
    let short = short.split(" until ").next().unwrap_or_default();
    let is_number = one.kind == Kind::Measure;
    if needs + 10.0 <= long {
        canvas.text(left(from + 5.0, baseline, SMALL, "", &one.label));
    } else if from + long + needs + 12.0 <= limit {
        canvas.text(left(from + long + 5.0, baseline, SMALL, "soft", &one.label));
    } else if is_number && width(short, SMALL) + 6.0 <= long {
        canvas.text(left(from + 4.0, baseline, SMALL, "", short));
    } else if !is_number && long >= 60.0 {
        let cut = fitted(&one.label, SMALL, long - 10.0);
        canvas.text(left(from + 5.0, baseline, SMALL, "", &cut));
    }
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Fault => "fault",
        Kind::After => "after",
        Kind::Diagnosis => "diagnosis",
        Kind::Fix => "fix",
        Kind::Power => "power",
        Kind::Recreate => "recreate",
        Kind::Verify => "verify",
        Kind::Parked => "parked",
        Kind::Wait => "wait",
        Kind::Measure => "measure",
    }
}

/// What a reader wants to know first: how long until the decision, and until all was well.
fn measured(story: &Story, lane: &Lane) -> Vec<Span> {
    let own = story.incidents.iter().filter(|i| i.node == lane.node);
    own.flat_map(spans_of).collect()
}

fn spans_of(incident: &IncidentStory) -> Vec<Span> {
    let at = |what: &str| {
        let mark = incident.milestones.iter().find(|m| m.what == what);
        mark.map(|m| m.at_ms)
    };
    let piece = |from: Ms, to: Ms, label: String| Span {
        kind: Kind::Measure,
        from_ms: from,
        to_ms: to,
        text: label.clone(),
        label,
    };
    let Some(fault) = incident.fault_ms else {
        return Vec::new();
    };
    let closed = incident.total_s().map(|secs| (fault + secs * SECOND, secs));
    match (
        incident.recreate_decided_s.zip(at("recreate decided")),
        closed,
    ) {
        (Some((secs, decided)), closed) => {
            let first = format!("{} to the decision to recreate", span(secs));
            let rest = closed.map(|(end, total)| {
                let text = format!("{} until verified", span(total));
                piece(decided, end, text)
            });
            std::iter::once(piece(fault, decided, first))
                .chain(rest)
                .collect()
        }
        (None, Some((end, secs))) => {
            let text = format!("{} until verified", span(secs));
            vec![piece(fault, end, text)]
        }
        (None, None) => Vec::new(),
    }
}

/// What the colours of the rows of actions mean; returns where the next part begins.
fn legend(canvas: &mut Canvas, y: f64) -> f64 {
    let keys = [
        ("fault", "fault, in truth"),
        ("after", "not well yet"),
        ("diagnosis", "diagnosis"),
        ("fix", "fix"),
        ("power", "power-on or reboot"),
        ("recreate", "recreate"),
        ("verify", "watched"),
        ("parked", "a person's"),
        ("wait", "waits"),
    ];
    let (mut x, mut y) = (MARGIN, y);
    for (class, text) in keys {
        let needs = 20.0 + width(text, SMALL) + 10.0;
        if x + needs > RIGHT {
            (x, y) = (MARGIN, y + 20.0);
        }
        canvas.block(Block {
            x,
            y: y - 11.0,
            width: 14.0,
            height: 14.0,
            class,
            tip: text,
        });
        canvas.text(left(x + 20.0, y, SMALL, "soft", text));
        x += needs;
    }
    y + 18.0
}
