//! `iaso nodes` and `iaso node NAME`.

use super::layout::{Grid, bullets, field, hanging, heading, list, paragraph};
use super::style::{Style, Tone, millis};
use crate::model::{Fact, Finding, Node, NodeDetail, Nodes};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// All nodes, one row each, and below what each waits for.
pub(crate) fn nodes(style: &Style, answer: &Nodes) -> String {
    let mut out = String::new();
    if !answer.controller_state.is_empty() {
        paragraph(
            &mut out,
            style,
            "controller: ",
            &answer.controller_state.to_string(),
        );
        out.push('\n');
    }
    if answer.nodes.is_empty() {
        out.push_str("no nodes: the controller's configuration names none ([[nodes]])\n");
        return out;
    }
    let mut grid = Grid::new(
        style,
        &[
            "NODE",
            "ROLE",
            "AGENT",
            "LEASE",
            "REACH",
            "MACHINE",
            "WORST",
            "DIAGNOSIS",
            "INCIDENT",
        ],
    );
    for node in &answer.nodes {
        grid.row([
            if node.paused {
                format!("{} (paused)", node.name)
            } else {
                node.name.to_string()
            },
            node.role.or_dash(),
            node.agent.or_dash(),
            node.lease.or_dash(),
            node.reach.or_dash(),
            node.machine_state.or_dash(),
            node.worst.or_dash(),
            node.diagnosis.or_dash(),
            node.incident.or_dash(),
        ]);
    }
    out.push_str(&grid.finish());
    for node in &answer.nodes {
        bullets(
            &mut out,
            style,
            &format!("{} waits for", node.name),
            &node.waiting,
        );
    }
    out
}

/// One node: what is known, what was found, what it waits for.
pub(crate) fn node(style: &Style, detail: &NodeDetail) -> String {
    let mut out = String::new();
    summary(&mut out, style, &detail.node);
    bullets(&mut out, style, "Waits for", &detail.node.waiting);
    out.push_str(&signals(style, &detail.facts));
    findings(&mut out, style, &detail.findings);
    broken(&mut out, style, &detail.findings);
    out
}

fn summary(out: &mut String, style: &Style, node: &Node) {
    let _ = writeln!(
        out,
        "{}  {}  {}",
        style.bold(&node.name.to_string()),
        node.role.or_dash(),
        node.address.or_dash()
    );
    let machine = if node.machine.is_empty() {
        "none".to_owned()
    } else {
        format!("{}/{}", node.provider, node.machine)
    };
    field(out, style, "diagnosis", &node.diagnosis.or_dash());
    field(out, style, "worst", &node.worst.or_dash());
    field(out, style, "agent", &node.agent.or_dash());
    field(out, style, "lease", &node.lease.or_dash());
    field(
        out,
        style,
        "reached by",
        &if node.reach.is_empty() {
            "not asked yet".to_owned()
        } else {
            node.reach.to_string()
        },
    );
    field(
        out,
        style,
        "machine",
        &format!("{} ({machine})", node.machine_state.or_dash()),
    );
    field(out, style, "incident", &node.incident.or_dash());
    field(
        out,
        style,
        "paused",
        if node.paused {
            "yes: nothing disruptive happens to it"
        } else {
            "not paused"
        },
    );
}

/// The signals as a table; used by `explain` too.
pub(super) fn signals(style: &Style, facts: &[Fact]) -> String {
    let mut out = String::new();
    heading(&mut out, style, "Signals");
    if facts.is_empty() {
        out.push_str("  none yet\n");
        return out;
    }
    let mut grid = Grid::new(style, &["CHANNEL", "VANTAGE", "AGE", "FRESH", "VALUE"]);
    for fact in facts {
        grid.row([
            fact.channel.to_string(),
            fact.vantage.or_dash(),
            fact.age_ms.map_or_else(|| "never".to_owned(), millis),
            if fact.fresh { "yes" } else { "no" }.to_owned(),
            fact.value.or_dash(),
        ]);
    }
    out.push_str(&grid.finish());
    out
}

fn findings(out: &mut String, style: &Style, all: &[Finding]) {
    let mut by_plugin: BTreeMap<_, Vec<&Finding>> = BTreeMap::new();
    for finding in all.iter().filter(|finding| finding.fault.is_empty()) {
        by_plugin.entry(&finding.plugin).or_default().push(finding);
    }
    heading(out, style, "Findings");
    if by_plugin.is_empty() {
        out.push_str("  none yet\n");
    }
    for (plugin, findings) in by_plugin {
        let _ = writeln!(out, "  {}", style.bold(&plugin.to_string()));
        for finding in findings {
            one(out, style, finding);
        }
    }
}

fn one(out: &mut String, style: &Style, finding: &Finding) {
    let severity = format!("{:<8}", finding.severity.or_dash());
    let lead = format!(
        "    {}  ",
        style.paint(Tone::of(finding.severity.raw()), &severity)
    );
    let indent = "    ".len() + severity.chars().count() + 2;
    let age = finding
        .at
        .map_or_else(String::new, |at| format!(", {}", style.ago(at)));
    hanging(
        out,
        style,
        &lead,
        indent,
        &format!("{} ({}{age})", finding.code, finding.subject.or_dash()),
    );
    let under = " ".repeat(indent);
    paragraph(out, style, &under, &finding.summary.or_dash());
    if finding.severity.raw() != "ok" {
        let remedies = if finding.remedies.is_empty() {
            "none of this plugin's fixes would help".to_owned()
        } else {
            list(&finding.remedies)
        };
        paragraph(out, style, &format!("{under}remedies: "), &remedies);
    }
}

fn broken(out: &mut String, style: &Style, all: &[Finding]) {
    let broken: Vec<&Finding> = all
        .iter()
        .filter(|finding| !finding.fault.is_empty())
        .collect();
    if broken.is_empty() {
        return;
    }
    heading(out, style, "Broken plugins (says nothing about the node)");
    for finding in broken {
        let age = finding
            .at
            .map_or_else(String::new, |at| format!(" ({})", style.ago(at)));
        let mark = style.paint(Tone::Bad, "*plugin broken*");
        let lead_width = "  *plugin broken* ".len();
        hanging(
            out,
            style,
            &format!("  {mark} "),
            lead_width,
            &format!("{}: {}{age}", finding.plugin, finding.fault),
        );
    }
}
