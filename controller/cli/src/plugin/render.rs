//! What the answers of `iaso plugin` look like. Pure.

use super::inspect::{Inspected, Limits, Signature};
use super::play::{Benched, Case, Tested};
use crate::render::Style;
use crate::render::layout::{Grid, bullets, field, heading, paragraph};
use crate::text::Text;
use iaso_grants::{GrantSet, Grants};
use iaso_package::{Budget, Kind};
use std::fmt::Write as _;

/// One plugin, for a person.
pub(super) fn inspected(style: &Style, seen: &Inspected) -> String {
    let mut out = String::new();
    let title = match (&seen.name, &seen.version) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        _ => "a plugin that does not say its name".to_owned(),
    };
    let _ = writeln!(out, "{}", style.bold(&title));
    if let Some(description) = &seen.description {
        field(&mut out, style, "about", &description.to_string());
    }
    field(&mut out, style, "kind", kind(seen.kind));
    let file = Text::from(seen.file.display().to_string());
    field(
        &mut out,
        style,
        "file",
        &format!("{file}, {} bytes", seen.bytes),
    );
    field(&mut out, style, "sha256", &seen.digest);
    field(&mut out, style, "signature", &signature(&seen.signature));
    if !seen.made_by.is_empty() {
        let makers: Vec<String> = seen.made_by.iter().map(Text::to_string).collect();
        field(&mut out, style, "made by", &makers.join(", "));
    }
    uses(&mut out, style, seen);
    requests(&mut out, style, seen);
    config(&mut out, style, seen);
    limits(&mut out, style, &seen.limits, &seen.budget);
    bullets(&mut out, style, "An agent would refuse it", &seen.problems);
    out
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Check => "check: it looks, and never acts",
        Kind::CheckAndFix => "check and fix: it looks, and acts when it is told to",
        Kind::FixOnly => "fix without a check, which no agent runs",
        Kind::Neither => "neither a check nor a fix",
    }
}

fn signature(signature: &Signature) -> String {
    match signature {
        Signature::None => "none".to_owned(),
        Signature::Trusted { key, who } => format!("good, by {who} (key {key})"),
        Signature::Valid { key } => {
            format!("good, by the key {key}; whether to trust it, --key FILE.pub would tell")
        }
        Signature::Bad { why } => format!("BAD: {why}"),
    }
}

fn uses(out: &mut String, style: &Style, seen: &Inspected) {
    heading(out, style, "May do, by what it imports, if it is granted");
    if seen.uses.is_empty() {
        out.push_str("  nothing but think\n");
    }
    for used in &seen.uses {
        let needs = if used.grants.is_empty() {
            "always granted".to_owned()
        } else {
            format!("needs {}", used.grants.join(", "))
        };
        let text = format!("{} ({}): {}", used.means, needs, used.functions.join(", "));
        paragraph(out, style, &format!("  {:<30} ", used.import), &text);
    }
}

fn requests(out: &mut String, style: &Style, seen: &Inspected) {
    heading(out, style, "Asks for");
    let Some(grants) = &seen.requests else {
        out.push_str("  it has no manifest, and does not say\n");
        return;
    };
    let lines = grant_lines(grants);
    if lines.is_empty() {
        out.push_str("  nothing\n");
    }
    for line in &lines {
        paragraph(out, style, "  ", &Text::from(line.as_str()).to_string());
    }
    if !seen.not_requested.is_empty() {
        let text = format!(
            "It imports what needs {} and does not ask for it: with these grants it would be refused.",
            seen.not_requested.join(", ")
        );
        paragraph(out, style, "  ! ", &text);
    }
    if !seen.unused.is_empty() {
        let text = format!(
            "It asks for {}, and imports nothing that uses it.",
            seen.unused.join(", ")
        );
        paragraph(out, style, "  ! ", &text);
    }
}

/// Grants as they would stand in a configuration, one in a line: `check.net.icmp = ["*"]`.
pub(super) fn grant_lines(grants: &Grants) -> Vec<String> {
    let mut lines = set_lines("check", &grants.check);
    lines.extend(set_lines("fix", &grants.fix));
    if !grants.declined.is_empty() {
        lines.push(format!("declined = {}", toml_value(&grants.declined)));
    }
    lines
}

fn set_lines(phase: &str, set: &GrantSet) -> Vec<String> {
    let mut lines = Vec::new();
    if set.host {
        lines.push(format!("{phase}.host = true"));
    }
    let mut push = |key: &str, is_empty: bool, value: String| {
        if !is_empty {
            lines.push(format!("{phase}.{key} = {value}"));
        }
    };
    let GrantSet {
        host: _,
        net,
        dns,
        http,
        services,
        scripts,
        files,
        kube,
    } = set;
    push("net.tcp", net.tcp.is_empty(), toml_value(&net.tcp));
    push("net.icmp", net.icmp.is_empty(), toml_value(&net.icmp));
    push("net.unix", net.unix.is_empty(), toml_value(&net.unix));
    push(
        "dns.servers",
        dns.servers.is_empty(),
        toml_value(&dns.servers),
    );
    push("http", http.is_empty(), toml_value(http));
    push(
        "services.read",
        services.read.is_empty(),
        toml_value(&services.read),
    );
    push(
        "services.control",
        services.control.is_empty(),
        toml_value(&services.control),
    );
    push("scripts", scripts.is_empty(), toml_value(scripts));
    push("files.read", files.read.is_empty(), toml_value(&files.read));
    push("kube.pods", kube.pods.is_empty(), toml_value(&kube.pods));
    push(
        "kube.services",
        kube.services.is_empty(),
        toml_value(&kube.services),
    );
    push(
        "kube.delete_pods",
        kube.delete_pods.is_empty(),
        toml_value(&kube.delete_pods),
    );
    lines
}

fn toml_value(value: &impl serde::Serialize) -> String {
    toml::Value::try_from(value).map_or_else(|_| "?".to_owned(), |value| value.to_string())
}

fn config(out: &mut String, style: &Style, seen: &Inspected) {
    if seen.config.is_empty() {
        return;
    }
    heading(out, style, "Configuration");
    for (key, about) in &seen.config {
        let default = about.default.as_ref().map_or_else(
            || "must be given".to_owned(),
            |text| format!("default {text:?}"),
        );
        let text = Text::from(format!("{} ({default})", about.summary));
        paragraph(out, style, &format!("  {key:<24} "), &text.to_string());
    }
}

fn limits(out: &mut String, style: &Style, limits: &Limits, budget: &Budget) {
    heading(out, style, "Limits of one run, whatever it asks for");
    let text = format!(
        "{} ms of processor time, {} MiB of memory, {} host calls, {} findings, {} KiB of log; the wall clock is the operator's timeout_ms",
        limits.cpu_ms,
        limits.memory_kib >> 10,
        limits.host_calls,
        limits.findings,
        limits.log_bytes >> 10
    );
    paragraph(out, style, "  ", &text);
    let promised = budget_words(budget);
    if !promised.is_empty() {
        let text = format!("Its author promises at most {}.", promised.join(", "));
        paragraph(out, style, "  ", &text);
    }
}

/// What an author promises.
pub(super) fn budget_words(budget: &Budget) -> Vec<String> {
    [
        (budget.component_kib, "KiB of component"),
        (budget.memory_kib, "KiB of memory"),
        (budget.host_calls, "host calls"),
        (budget.cpu_us, "µs of processor time"),
        (budget.wall_us, "µs of wall clock"),
    ]
    .into_iter()
    .filter_map(|(value, unit)| value.map(|value| format!("{value} {unit}")))
    .collect()
}

/// The verdict on each fixture; what failed, with what was seen.
pub(super) fn tested(style: &Style, tested: &Tested) -> String {
    let mut out = String::new();
    let title = format!("{} {}", tested.name, tested.version);
    let file = Text::from(tested.component.display().to_string());
    let _ = writeln!(out, "{} from {file}", style.bold(&title));
    for case in &tested.fixtures {
        fixture(&mut out, style, case);
    }
    let failed = tested.fixtures.iter().filter(|case| !case.passed).count();
    let faults: usize = tested.fixtures.iter().map(|case| case.fault_runs).sum();
    let _ = writeln!(
        out,
        "{} fixtures, {failed} failed; {faults} more runs with host calls made to fail",
        tested.fixtures.len()
    );
    out
}

fn fixture(out: &mut String, style: &Style, case: &Case) {
    let word = if case.passed { "ok  " } else { "FAIL" };
    let lead = format!("  {word}  {}", Text::from(case.name.as_str()));
    let about = if case.about.is_empty() {
        String::new()
    } else {
        format!(": {}", case.about)
    };
    paragraph(out, style, &lead, &about);
    for failure in &case.failures {
        paragraph(out, style, "        - ", &failure.to_string());
    }
    if !case.passed {
        for (what, lines) in [
            ("called", &case.calls),
            ("found", &case.ended),
            ("logged", &case.log),
        ] {
            for line in lines {
                paragraph(
                    out,
                    style,
                    &format!("        {what:<7} "),
                    &line.to_string(),
                );
            }
        }
    }
    for note in &case.notes {
        paragraph(out, style, "        note: ", &note.to_string());
    }
    if case.fault_runs_left_out > 0 {
        let text = format!(
            "{} runs with faults were left out",
            case.fault_runs_left_out
        );
        paragraph(out, style, "        note: ", &text);
    }
}

/// What each fixture costs, and the budget.
pub(super) fn benched(style: &Style, benched: &Benched) -> String {
    let mut out = String::new();
    let title = format!("{} {}", benched.name, benched.version);
    let _ = writeln!(out, "{}", style.bold(&title));
    let mut grid = Grid::new(
        style,
        &[
            "FIXTURE", "RUNS", "CPU P50", "P99", "WALL P50", "P99", "MEMORY", "CALLS",
        ],
    );
    for cost in &benched.fixtures {
        grid.row([
            Text::from(cost.name.as_str()).to_string(),
            cost.runs.to_string(),
            format!("{} µs", cost.cpu_us_p50),
            format!("{} µs", cost.cpu_us_p99),
            format!("{} µs", cost.wall_us_p50),
            format!("{} µs", cost.wall_us_p99),
            format!("{} KiB", cost.memory_kib),
            cost.host_calls.to_string(),
        ]);
    }
    out.push_str(&grid.finish());
    heading(&mut out, style, "Budget");
    for line in &benched.budget {
        let text = match line.budget {
            None => format!("{}, no budget in plugin.toml", line.used),
            Some(budget) if line.over => format!("{} of {budget}: OVER", line.used),
            Some(budget) => format!("{} of {budget}", line.used),
        };
        paragraph(&mut out, style, &format!("  {:<18}", line.what), &text);
    }
    out
}
