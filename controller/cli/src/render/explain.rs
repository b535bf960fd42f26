//! `iaso explain NODE`.

use super::layout::{Grid, bullets, field, heading};
use super::node::signals;
use super::style::{Style, millis};
use crate::model::{Explanation, Reason};
use std::fmt::Write as _;

/// The diagnosis, the ladder, the gates, and when it looks again.
pub(crate) fn explanation(style: &Style, answer: &Explanation) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", style.bold(&answer.node.to_string()));
    field(&mut out, style, "diagnosis", &answer.diagnosis.or_dash());
    let evidence: Vec<String> = answer.evidence.iter().map(ToString::to_string).collect();
    if !evidence.is_empty() {
        field(&mut out, style, "because", &evidence.join("; "));
    }
    let next = answer.next_look_ms.map_or_else(
        || "when something changes".to_owned(),
        |ms| format!("in {}", millis(ms)),
    );
    field(&mut out, style, "looks again", &next);
    bullets(&mut out, style, "Waits for", &answer.waiting);
    bullets(
        &mut out,
        style,
        "Would have done, but only observes",
        &answer.would_have,
    );
    reasons(
        &mut out,
        style,
        "Ladder: would it be tried now?",
        "RUNG",
        &answer.rungs,
    );
    reasons(&mut out, style, "Gates: is it open?", "GATE", &answer.gates);
    out.push_str(&signals(style, &answer.facts));
    out
}

fn reasons(out: &mut String, style: &Style, title: &str, column: &str, reasons: &[Reason]) {
    heading(out, style, title);
    if reasons.is_empty() {
        out.push_str("  none for this diagnosis\n");
        return;
    }
    let mut grid = Grid::new(style, &[column, "", "WHY"]);
    for reason in reasons {
        grid.row([
            reason.name.to_string(),
            if reason.yes { "yes" } else { "no" }.to_owned(),
            reason.why.or_dash(),
        ]);
    }
    out.push_str(&grid.finish());
}
