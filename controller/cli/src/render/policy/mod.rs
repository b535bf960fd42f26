//! `iaso policy check`.

mod model;
#[cfg(test)]
mod tests;

pub(crate) use model::{Model, model};

use super::layout::{Grid, bullets, field, heading, paragraph};
use super::style::{Style, date_time};
use crate::text::Text;
use iaso_engine::fact::Role;
use iaso_engine::policy::outlook::span;
use iaso_engine::policy::step::Verify;
use iaso_engine::policy::{Mode, Policy};
use model::{Declared, Different, Ladder, RungTerms};
use std::fmt::Write as _;

/// The ladders with their terms, what comes before any of them, what is different for whom, and what is dangerous.
pub(crate) fn policy(style: &Style, model: &Model<'_>) -> String {
    let mut out = String::new();
    title(&mut out, style, model);
    before(&mut out, style, model.policy);
    heading(&mut out, style, "Ladders: for a worker with a provider");
    ladders(&mut out, style, &model.ladders);
    told(&mut out, style, model);
    windows(&mut out, style, model);
    for different in &model.overrides {
        overridden(&mut out, style, different);
    }
    nodes(&mut out, style, &model.nodes);
    dangers(&mut out, style, model);
    out
}

fn title(out: &mut String, style: &Style, model: &Model<'_>) {
    let file = model.file.as_deref().map(Text::from);
    let name = file.map_or_else(|| "the default policy".to_owned(), |file| file.to_string());
    let _ = writeln!(out, "{}", style.bold(&name));
    if model.is_default {
        let says = "it says nothing of its own, and an empty policy is safe: it mends by fixes, and asks a person before anything is switched, rebooted or wiped";
        paragraph(out, style, "  ", says);
    }
    let p = model.policy;
    for (key, value) in [
        ("fix", p.fix),
        ("start", p.start),
        ("reboot", p.reboot),
        ("rescue", p.rescue),
        ("recreate", p.recreate),
    ] {
        field(out, style, key, in_words(value));
    }
}

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Approve => "approve",
        Mode::Auto => "auto",
    }
}

fn in_words(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe: recorded, never done",
        Mode::Approve => "approve: after a person's yes",
        Mode::Auto => "auto: by itself",
    }
}

/// What must be so before any rung.
fn before(out: &mut String, style: &Style, p: &Policy) {
    let storm = match p.storm_limit {
        0 => "one node, or a third of all if that is more,".to_owned(),
        n => format!("{n} nodes"),
    };
    let data = if p.local_data_expendable {
        "local data on the node does NOT stop a recreate"
    } else {
        "a node with local data is recreated only after a person's yes, whatever its mode"
    };
    let lines = [
        format!(
            "bad facts have stood for {}; an agent is gone after {}, a lease stale after {}",
            span(p.confirm_secs),
            span(p.agent_gone_secs),
            span(p.lease_stale_secs)
        ),
        format!(
            "at the provider: {} observers agree, the controller among them, on probes of the last {}, and the provider's word is no older than {}",
            p.quorum,
            span(p.probe_fresh_secs),
            span(p.machine_fresh_secs)
        ),
        format!("nothing else is in flight, and at most {storm} down at once"),
        format!(
            "in 24 hours at most: recreates {} in the cluster; reboots and power-ons {} of a node, {} of all; fixes {} of a node",
            p.recreates_per_day, p.reboots_per_day, p.cluster_reboots_per_day, p.fixes_per_day
        ),
        format!(
            "it did not come and go {} times within {}: that is flapping, and a person's",
            p.flapping_times,
            span(p.flapping_secs)
        ),
        data.to_owned(),
        format!(
            "a check opens an incident when it is critical and its code matches: {}",
            p.act_on.join(", ")
        ),
    ];
    bullets(
        out,
        style,
        "Before anything is done",
        &lines.map(Text::from),
    );
}

fn ladders(out: &mut String, style: &Style, all: &[Ladder]) {
    let mut grid = Grid::new(
        style,
        &[
            "DIAGNOSIS",
            "RUNG",
            "MODE",
            "NOT BEFORE",
            "TIMES",
            "AGAIN AFTER",
            "TO HELP",
            "PAGED AFTER",
            "HELPED WHEN",
            "WINDOW",
        ],
    );
    for ladder in all {
        let name = ladder.diagnosis.to_string();
        if ladder.rungs.is_empty() {
            let nothing = std::iter::repeat_n("-".to_owned(), 8);
            grid.row(
                [name, "a person is told".to_owned()]
                    .into_iter()
                    .chain(nothing),
            );
            continue;
        }
        for (n, rung) in ladder.rungs.iter().enumerate() {
            let first = if n == 0 { name.clone() } else { String::new() };
            let number = n.saturating_add(1);
            grid.row(std::iter::once(first).chain(terms(number, rung)));
        }
    }
    out.push_str(&grid.finish());
}

fn terms(number: usize, t: &RungTerms) -> [String; 9] {
    let or_dash = |secs: u64| {
        if secs == 0 {
            "-".to_owned()
        } else {
            span(secs)
        }
    };
    let helped = match t.verify {
        Verify::Healthy => "all well",
        Verify::Ready => "Ready",
    };
    let windows = if t.windows.is_empty() {
        "-".to_owned()
    } else {
        t.windows.join(" or ")
    };
    [
        format!("{number} {}", t.rung),
        word(t.mode).to_owned(),
        or_dash(t.after_secs),
        t.attempts.to_string(),
        or_dash(t.cooldown_secs),
        span(t.wait_secs),
        span(t.timeout_secs),
        format!("{helped} for {}", span(t.verify_secs)),
        windows,
    ]
}

fn told(out: &mut String, style: &Style, model: &Model<'_>) {
    let all: Vec<String> = model.told.iter().map(|t| t.diagnosis.to_string()).collect();
    let line = format!(
        "after the last rung, and at once for {}: each page has the facts and the runbook ({}/DIAGNOSIS.md)",
        all.join(", "),
        Text::from(model.policy.runbook_base.as_str())
    );
    bullets(out, style, "A person is told", &[line.into()]);
}

fn windows(out: &mut String, style: &Style, model: &Model<'_>) {
    if model.windows.is_empty() {
        return;
    }
    heading(out, style, "Repair windows");
    let mut grid = Grid::new(style, &["WINDOW", "RUNGS", "OPENS"]);
    for window in &model.windows {
        let rungs: Vec<String> = window.rungs.iter().map(ToString::to_string).collect();
        grid.row([
            window.window.clone(),
            rungs.join(", "),
            window
                .next_opening
                .map_or_else(|| "open now".to_owned(), date_time),
        ]);
    }
    out.push_str(&grid.finish());
}

fn overridden(out: &mut String, style: &Style, different: &Different) {
    heading(out, style, &format!("Different for {}", different.of));
    if different.keys.is_empty() && different.ladders.is_empty() {
        out.push_str("  nothing\n");
    }
    if !different.keys.is_empty() {
        let mut grid = Grid::new(style, &["KEY", "VALUE", "INSTEAD OF"]);
        for key in &different.keys {
            grid.row([
                key.key.clone(),
                key.value.or_dash(),
                key.instead_of.or_dash(),
            ]);
        }
        out.push_str(&grid.finish());
    }
    if !different.ladders.is_empty() {
        ladders(out, style, &different.ladders);
    }
}

fn nodes(out: &mut String, style: &Style, nodes: &[Declared]) {
    let always = "a server is never recreated, and a node without a provider gets fixes only";
    if nodes.is_empty() {
        bullets(out, style, "Whatever a policy says", &[always.into()]);
        return;
    }
    heading(out, style, "Nodes");
    let mut grid = Grid::new(style, &["NODE", "ROLE", "PROVIDER", "NEVER"]);
    for node in nodes {
        let role = match node.role {
            Role::Server => "server",
            Role::Worker => "worker",
        };
        let provider = node
            .provider
            .as_deref()
            .map_or_else(|| "-".into(), Text::from);
        let never = if node.never.is_empty() {
            "-".to_owned()
        } else {
            node.never.join("; ")
        };
        grid.row([
            node.node.to_string(),
            role.to_owned(),
            provider.to_string(),
            never,
        ]);
    }
    out.push_str(&grid.finish());
}

fn dangers(out: &mut String, style: &Style, model: &Model<'_>) {
    let all: Vec<Text> = model.dangers.iter().map(|d| d.as_str().into()).collect();
    if all.is_empty() {
        heading(out, style, "Dangers");
        let none = if model.nodes.is_empty() {
            "none that can be seen without the nodes: check the controller's configuration to see those too"
        } else {
            "none"
        };
        paragraph(out, style, "  ", none);
    }
    bullets(
        out,
        style,
        "Dangers: allowed, and to be thought about",
        &all,
    );
}
