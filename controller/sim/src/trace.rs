//! Runs and scores as text for people.

use crate::driver::START;
use crate::scenario::{SECOND, Scenario};
use crate::score::{Score, Summary};
use crate::sim::Run;
use iaso_engine::timeline::describe;
use std::fmt::Write as _;

/// What a run is made of, in short.
#[must_use]
pub fn setting(scenario: &Scenario) -> String {
    let mut out = String::new();
    for (number, node) in scenario.nodes.iter().enumerate().take(40) {
        let _ = writeln!(
            out,
            "node {number} {} {:?} zone={:?} machine={} data={} joined={} boot={}s ready={}s",
            node.name,
            node.role,
            node.zone,
            node.machine,
            node.local_data,
            node.joined,
            node.boot / SECOND,
            node.ready / SECOND
        );
    }
    for strike in &scenario.strikes {
        let _ = writeln!(
            out,
            "{:>6}s {:?} on {:?} until {:?} healed by {:?} (cause {})",
            strike.at / SECOND,
            strike.fault,
            strike.nodes.iter().map(|ix| ix.0).collect::<Vec<_>>(),
            strike.until.map(|u| u / SECOND),
            strike.heal,
            strike.cause
        );
    }
    let _ = writeln!(
        out,
        "cluster={} {:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        scenario.has_cluster,
        scenario.policy,
        scenario.provider,
        scenario.net,
        scenario.operator,
        scenario.crash_on
    );
    out
}

/// The journal and what really happened, in the order of time. Times of the journal are the controller's.
#[must_use]
pub fn text(run: &Run) -> String {
    let mut lines: Vec<(u64, String)> = run
        .entries
        .iter()
        .map(|entry| {
            let at = entry.at.0.saturating_sub(START);
            let line = describe(entry);
            (
                at,
                format!("{:>6}s   {:<9} {}", at / SECOND, line.kind, line.text),
            )
        })
        .collect();
    lines.extend(
        run.happenings
            .iter()
            .map(|(at, what)| (*at, format!("{:>6}s # {what}", at / SECOND))),
    );
    lines.sort_by_key(|(at, _)| *at);
    let text: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    format!("{}\nended at {} s", text.join("\n"), run.ended / SECOND)
}

/// The score.
#[must_use]
pub fn summary(score: &Score, summary: &Summary, took_s: f64) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<22}{value}");
    };
    line("scenarios", summary.scenarios.to_string());
    line("false recreates", summary.false_recreates.to_string());
    line("false reboots", summary.false_reboots.to_string());
    line("double actions", summary.double_actions.to_string());
    line("two nodes at once", score.count("overlap").to_string());
    line("left cordoned", summary.left_cordoned.to_string());
    line("stuck", summary.stuck.to_string());
    line("released unfenced", score.count("unfenced").to_string());
    line("vetoes", score.count("veto").to_string());
    line("journal or planner", score.broken.to_string());
    line("missed", summary.missed.to_string());
    for (why, count) in &score.missed {
        line("", format!("{count:>8}  {why}"));
    }
    line(
        "acts",
        format!(
            "{} recreates ({} of faults that would have passed later), {} reboots, {} fixes",
            score.recreates, score.unforeseeable, score.reboots, score.fixes
        ),
    );
    line("time to recovery", "       p50       p99".into());
    for (class, spread) in &summary.mttr_s {
        line(
            "",
            format!("{:>8} s{:>8} s  {class}", spread.p50, spread.p99),
        );
    }
    line(
        "speed",
        format!(
            "{} plans/s, {took_s:.1} s in all, {} simulated hours",
            summary.steps_per_s,
            score.simulated / SECOND / 3_600
        ),
    );
    out
}
