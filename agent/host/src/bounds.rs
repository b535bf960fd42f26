//! What a plugin answers is cut to size before anyone else sees it, and the cut is said.

use crate::fault::{FaultClass, PluginFault};
use crate::run::{RunLimits, RunReport};
use crate::types::{Attributes, Finding, FixDescription, FixOutcome, FixPlan};

/// Findings of one check.
pub const FINDINGS_MAX: usize = 64;
/// Bytes of one text.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Attributes of one record, and entries of its lists.
pub const ATTRIBUTES_MAX: usize = 32;
/// Fixes of one plugin.
const FIXES_MAX: usize = 32;
/// Bytes of a finding's code or a fix's name.
const NAME_BYTES_MAX: usize = 128;

/// Cuts and remembers whether it had to.
#[derive(Default)]
struct Cutter {
    has_cut: bool,
}

impl Cutter {
    fn text(&mut self, text: &mut String) {
        if text.len() > TEXT_BYTES_MAX {
            self.has_cut = true;
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX - '…'.len_utf8()));
            text.push('…');
        }
    }

    fn list<T>(&mut self, list: &mut Vec<T>, max: usize) {
        self.has_cut |= list.len() > max;
        list.truncate(max);
    }

    fn texts(&mut self, texts: &mut Vec<String>) {
        self.list(texts, ATTRIBUTES_MAX);
        for text in texts {
            self.text(text);
        }
    }

    fn attributes(&mut self, attributes: &mut Attributes) {
        self.list(attributes, ATTRIBUTES_MAX);
        for (key, value) in attributes {
            self.text(key);
            self.text(value);
        }
    }

    fn finding(&mut self, finding: &mut Finding) {
        for text in [
            &mut finding.severity,
            &mut finding.subject,
            &mut finding.summary,
        ] {
            self.text(text);
        }
        self.texts(&mut finding.remedies);
        self.attributes(&mut finding.attributes);
    }

    fn act(
        &mut self,
        verdict: &mut String,
        reason: &mut String,
        steps: &mut Vec<String>,
        more: &mut Attributes,
    ) {
        self.text(verdict);
        self.text(reason);
        self.texts(steps);
        self.attributes(more);
        if self.has_cut {
            more.truncate(ATTRIBUTES_MAX - 1);
            more.push(("iaso.output-cut".to_owned(), "true".to_owned()));
        }
    }
}

/// The findings, cut to size; a further finding says so.
pub(crate) fn findings(
    plugin: &str,
    mut findings: Vec<Finding>,
) -> Result<Vec<Finding>, PluginFault> {
    if let Some(bad) = findings.iter().find(|finding| !is_name(&finding.code)) {
        let code: String = bad
            .code
            .chars()
            .take(64)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        return Err(PluginFault::new(
            FaultClass::BadOutput,
            format!(
                "its finding's code `{code}` is not 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`"
            ),
        ));
    }
    let count = findings.len();
    let mut cutter = Cutter::default();
    cutter.list(&mut findings, FINDINGS_MAX);
    for finding in &mut findings {
        cutter.finding(finding);
    }
    if cutter.has_cut {
        findings.truncate(FINDINGS_MAX - 1);
        findings.push(output_cut(plugin, count));
    }
    Ok(findings)
}

fn output_cut(plugin: &str, count: usize) -> Finding {
    Finding {
        code: format!("{plugin}.output-cut"),
        severity: "info".to_owned(),
        subject: plugin.to_owned(),
        summary: format!(
            "The plugin answered more than the agent takes ({count} findings; at most {FINDINGS_MAX}, {TEXT_BYTES_MAX} bytes a text, \
             {ATTRIBUTES_MAX} attributes): the rest was cut."
        ),
        remedies: Vec::new(),
        attributes: Vec::new(),
    }
}

/// The fixes of a plugin. What cannot be named cannot be called, so here a cut would be wrong.
pub(crate) fn fixes(mut fixes: Vec<FixDescription>) -> Result<Vec<FixDescription>, PluginFault> {
    if fixes.len() > FIXES_MAX || fixes.iter().any(|fix| !is_name(&fix.name)) {
        return Err(PluginFault::new(
            FaultClass::BadOutput,
            format!(
                "it offers more than {FIXES_MAX} fixes, or one whose name is not 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`"
            ),
        ));
    }
    let mut cutter = Cutter::default();
    for fix in &mut fixes {
        cutter.text(&mut fix.summary);
    }
    Ok(fixes)
}

pub(crate) fn plan(mut plan: FixPlan) -> FixPlan {
    Cutter::default().act(
        &mut plan.verdict,
        &mut plan.reason,
        &mut plan.steps,
        &mut plan.attributes,
    );
    plan
}

pub(crate) fn outcome(mut outcome: FixOutcome) -> FixOutcome {
    Cutter::default().act(
        &mut outcome.outcome,
        &mut outcome.reason,
        &mut outcome.steps,
        &mut outcome.attributes,
    );
    outcome
}

/// Bytes of a fault's words.
const FAULT_BYTES_MAX: usize = 2048;

/// What a report holds beside its answer, cut to size and made printable.
fn report<T>(report: RunReport<T>, limits: &RunLimits) -> RunReport<T> {
    let (mut room, mut dropped) = (limits.log_bytes, report.log_lines_dropped);
    let mut log = report.log;
    log.retain_mut(|line| {
        let fits = line.message.len() <= room;
        if fits {
            room -= line.message.len();
            line.message = words(&line.message, limits.log_bytes);
        } else {
            dropped = dropped.saturating_add(1);
        }
        fits
    });
    RunReport {
        outcome: report.outcome.map_err(|fault| PluginFault {
            message: words(&fault.message, FAULT_BYTES_MAX),
            ..fault
        }),
        log,
        log_lines_dropped: dropped,
        ..report
    }
}

fn words(text: &str, bytes_max: usize) -> String {
    let kept = text.get(..text.floor_char_boundary(bytes_max));
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    kept.unwrap_or_default().chars().map(printable).collect()
}

/// A report that came from a process which is not trusted, within the bounds that an honest one keeps of itself.
pub trait Bounded: Sized {
    /// The same, cut to size; one that no honest process sends becomes a fault.
    #[must_use]
    fn bounded(self, plugin: &str, limits: &RunLimits) -> Self;
}

impl Bounded for RunReport<Vec<Finding>> {
    fn bounded(self, plugin: &str, limits: &RunLimits) -> Self {
        report(self, limits).and_then(|found| findings(plugin, found))
    }
}

impl Bounded for RunReport<Vec<FixDescription>> {
    fn bounded(self, _plugin: &str, limits: &RunLimits) -> Self {
        report(self, limits).and_then(fixes)
    }
}

impl Bounded for RunReport<FixPlan> {
    fn bounded(self, _plugin: &str, limits: &RunLimits) -> Self {
        report(self, limits).and_then(|found| Ok(plan(found)))
    }
}

impl Bounded for RunReport<FixOutcome> {
    fn bounded(self, _plugin: &str, limits: &RunLimits) -> Self {
        report(self, limits).and_then(|found| Ok(outcome(found)))
    }
}

fn is_name(text: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(is_good)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::run::{LogLevel, LogLine};

    fn finding(summary: String, attributes: Attributes) -> Finding {
        Finding {
            code: "p.x".to_owned(),
            severity: "ok".to_owned(),
            subject: String::new(),
            summary,
            remedies: Vec::new(),
            attributes,
        }
    }

    proptest! {
        /// Catches: a cut inside a character, a bound that the added finding exceeds, a cut that nobody is told of.
        #[test]
        fn answers_are_within_bounds_and_a_cut_is_always_said(
            count in 0usize..80, unit in "[aé…😀]", times in 0usize..5000, attributes in 0usize..40
        ) {
            let given = finding(unit.repeat(times), vec![("k".to_owned(), "v".to_owned()); attributes]);
            let cut = findings("p", vec![given.clone(); count]).expect("the code is good");
            prop_assert!(cut.len() <= FINDINGS_MAX);
            for finding in &cut {
                prop_assert!(finding.summary.len() <= TEXT_BYTES_MAX);
                prop_assert!(finding.attributes.len() <= ATTRIBUTES_MAX);
            }
            let is_whole = cut == vec![given; count];
            prop_assert_eq!(!is_whole, cut.last().is_some_and(|f| f.code == "p.output-cut"));
        }
    }

    /// Catches: a bound that only the honest side keeps.
    #[test]
    fn what_an_untrusted_process_sends_is_cut_as_a_plugins_answer_is() {
        let mut sent = RunReport::unrun(Ok(vec![finding("x".repeat(1 << 20), Vec::new()); 100]));
        let line = |message: String| LogLine {
            level: LogLevel::Info,
            message,
        };
        sent.log = vec![line("\u{1b}[2J".to_owned()), line("y".repeat(1 << 20))];
        let got = sent.bounded("p", &RunLimits::default());
        let found = got.outcome.expect("the codes are good");
        assert_eq!(found.len(), FINDINGS_MAX);
        assert!(found.iter().all(|f| f.summary.len() <= TEXT_BYTES_MAX));
        assert_eq!(
            (got.log, got.log_lines_dropped),
            (vec![line(" [2J".to_owned())], 1)
        );
        let fault = PluginFault::new(FaultClass::Trap, "\n".repeat(1 << 20));
        let sent: RunReport<FixPlan> = RunReport::unrun(Err(fault));
        let fault = sent
            .bounded("p", &RunLimits::default())
            .outcome
            .expect_err("a fault");
        assert_eq!(fault.message, " ".repeat(FAULT_BYTES_MAX));
    }

    /// What is within the bounds stays as it is: an honest process's answer is not cut twice.
    #[test]
    fn an_answer_that_was_cut_already_stays_as_it_is() {
        let cut = findings("p", vec![finding("é".repeat(5000), Vec::new()); 70]).expect("good");
        let sent = RunReport::unrun(Ok(cut));
        assert_eq!(sent.clone().bounded("p", &RunLimits::default()), sent);
    }

    #[test]
    fn a_code_that_is_no_code_is_bad_output() {
        let mut given = finding(String::new(), Vec::new());
        given.code = "p x\n".to_owned();
        assert_eq!(
            findings("p", vec![given]).expect_err("bad code").class,
            FaultClass::BadOutput
        );
    }
}
