//! Golden output of every command, at a fixed width and as JSON.

use super::{sample, *};
use crate::model::{Followed, IncidentDetail};
use insta::assert_snapshot;
use unicode_width::UnicodeWidthStr as _;

fn narrow() -> Style {
    sample::style(Some(80), false)
}

fn whole_timeline(style: &Style) -> String {
    let mut timeline = Timeline::default();
    sample::timeline()
        .iter()
        .map(|entry| timeline.entry(style, entry))
        .collect()
}

/// Every table of every command.
fn all(style: &Style) -> String {
    [
        nodes(style, &sample::nodes()),
        node(style, &sample::node()),
        incidents(style, &sample::incidents()),
        incident_header(style, &sample::incident()),
        whole_timeline(style),
        explanation(style, &sample::explanation()),
        event(style, &sample::event()),
    ]
    .concat()
}

#[test]
fn nodes_fit_80_columns() {
    assert_snapshot!(nodes(&narrow(), &sample::nodes()));
}

#[test]
fn a_node_shows_signals_findings_and_broken_plugins_apart() {
    assert_snapshot!(node(&narrow(), &sample::node()));
}

#[test]
fn incidents_show_what_needs_a_person() {
    assert_snapshot!(incidents(&narrow(), &sample::incidents()));
}

#[test]
fn an_incident_reads_as_a_timeline() {
    assert_snapshot!(
        incident_header(&narrow(), &sample::incident()) + "\n" + &whole_timeline(&narrow())
    );
}

#[test]
fn an_explanation_says_yes_or_no_and_why() {
    assert_snapshot!(explanation(&narrow(), &sample::explanation()));
}

#[test]
fn an_event_starts_with_its_sequence() {
    assert_snapshot!(event(&narrow(), &sample::event()));
}

#[test]
fn nothing_at_all_is_said_in_words() {
    let style = narrow();
    let nothing = [
        nodes(&style, &crate::model::Nodes::default()),
        node(&style, &crate::model::NodeDetail::default()),
        incidents(&style, &crate::model::Incidents::default()),
        explanation(&style, &crate::model::Explanation::default()),
    ];
    assert_snapshot!(nothing.join("----\n"));
}

#[test]
fn json_is_one_object_on_one_line_and_keeps_its_shape() {
    let detail = IncidentDetail {
        incident: sample::incident(),
        timeline: sample::timeline(),
    };
    let entry = sample::timeline().remove(0);
    let lines = [
        json(&sample::nodes()),
        json(&sample::node()),
        json(&sample::incidents()),
        json(&detail),
        json(&Followed::Incident(&detail.incident)),
        json(&Followed::Entry(&entry)),
        json(&sample::explanation()),
        json(&sample::event()),
        json(&crate::model::Answer {
            message: "paused styx".into(),
        }),
    ];
    for line in &lines {
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(!line.trim_end().chars().any(char::is_control), "{line}");
    }
    assert_snapshot!(lines.concat());
}

#[test]
fn no_line_is_wider_than_the_terminal_and_no_control_character_gets_out() {
    for width in [60, 80, 120] {
        let out = all(&sample::style(Some(width), false));
        assert!(!out.chars().any(|c| c.is_control() && c != '\n'));
        for line in out.lines() {
            assert!(
                line.width() <= usize::from(width),
                "{} columns at {width}: {line}",
                line.width()
            );
        }
    }
}

#[test]
fn without_a_width_every_row_is_one_line() {
    let out = explanation(&sample::style(None, false), &sample::explanation());
    assert!(out.contains("the next rung for an isolated worker with a provider, and none was done in this incident\n"), "{out}");
}

#[test]
fn colours_only_repeat_the_words() {
    let plain = all(&narrow());
    let colored = all(&sample::style(Some(80), true));
    assert!(colored.contains("\u{1b}[") && !plain.contains('\u{1b}'));
    assert_eq!(squeeze(&strip(&colored)), squeeze(&plain));
}

/// Without the colours: `ESC [ … m`.
fn strip(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| {
        out + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

/// Blanks at a line's end may be coloured, so they are left out of the comparison.
fn squeeze(text: &str) -> String {
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

/// What the engine says of styx in the middle of its night, from the engine's own golden trace.
fn explained_by_the_engine() -> crate::model::Explanation {
    let golden = include_str!("../../../engine/tests/snapshots/traces__explain_styx.snap");
    let body = golden.splitn(3, "---\n").nth(2).unwrap();
    let told: iaso_engine::explain::Explanation = serde_json::from_str(body).unwrap();
    let reason = |answer: iaso_engine::explain::Answer| crate::model::Reason {
        name: answer.name.into(),
        yes: answer.yes,
        why: answer.why.into(),
    };
    let fact = |line: iaso_engine::explain::FactLine| crate::model::Fact {
        channel: line.channel.into(),
        vantage: line.vantage.into(),
        value: line.value.into(),
        age_ms: line.age_ms,
        fresh: line.fresh,
    };
    crate::model::Explanation {
        node: told.node.as_str().into(),
        diagnosis: told.diagnosis.to_string().into(),
        evidence: told.evidence.iter().map(|e| e.as_str().into()).collect(),
        facts: told.facts.into_iter().map(fact).collect(),
        rungs: told.rungs.into_iter().map(reason).collect(),
        gates: told.gates.into_iter().map(reason).collect(),
        next_look_ms: Some(5_000),
        waiting: told.waiting.iter().map(|w| w.to_string().into()).collect(),
        would_have: Vec::new(),
    }
}

#[test]
fn an_explanation_of_the_engine_is_one_page_with_facts_diagnosis_rungs_gates_and_when_it_looks_again()
 {
    let page = explanation(&sample::style(Some(110), false), &explained_by_the_engine());
    assert!(page.lines().count() <= 60, "{page}");
    for part in [
        "diagnosis",
        "because",
        "looks again",
        "Ladder",
        "Gates",
        "Signals",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_snapshot!(page);
}
