//! The latest word of each plugin: whether it changed, and when it is too old to be believed.
//!
//! **Invariants**
//! - A result that is older than three intervals is `unknown`, and no remedy rests on it.
//! - A change is a change of what is wrong, not of a measured number: those would send every run.

use std::{collections::BTreeMap, time::Duration};

use iaso_host::{PluginFault, types::Finding};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::plugins::{CheckRun, Refused};

/// After so many intervals without a new result the last one is not believed any more.
const STALE_INTERVALS: u32 = 3;
/// An unchanged good result is sent again after so many runs, with its fresh numbers. One that says what is wrong is sent every time:
/// the controller believes it only for as long as it is fresh.
const REFRESH_RUNS: u32 = 20;

/// The latest result of one plugin.
#[derive(Debug, Clone)]
pub struct Latest {
    /// The run.
    pub run: CheckRun,
    /// Its sequence in the outbox, when it was sent.
    pub sequence: Option<u64>,
    at: Instant,
    stale_after: Duration,
    unsent_runs: u32,
}

impl Latest {
    /// Findings as they are to be believed at `now`; a fault when the plugin is broken.
    pub fn believed(&self, now: Instant) -> Result<Vec<Finding>, &PluginFault> {
        let findings = self.run.outcome.as_ref()?;
        if now.saturating_duration_since(self.at) <= self.stale_after {
            return Ok(findings.clone());
        }
        let decay = |finding: &Finding| Finding {
            severity: "unknown".into(),
            remedies: Vec::new(),
            ..finding.clone()
        };
        Ok(findings.iter().map(decay).collect())
    }
}

/// The latest results of all plugins.
#[derive(Debug, Default)]
pub struct Reports {
    latest: BTreeMap<String, Latest>,
}

impl Reports {
    /// Takes a run; true if it is news.
    pub fn record(
        &mut self,
        plugin: &str,
        run: CheckRun,
        interval: Duration,
        now: Instant,
    ) -> bool {
        let before = self.latest.get(plugin);
        let unsent = before.map_or(0, |latest| latest.unsent_runs + 1);
        let news = before.is_none_or(|latest| essence(&latest.run) != essence(&run))
            || unsent >= REFRESH_RUNS
            || is_bad(&run);
        let latest = Latest {
            stale_after: interval * STALE_INTERVALS + run.duration,
            sequence: before.and_then(|latest| latest.sequence),
            unsent_runs: if news { 0 } else { unsent },
            at: now,
            run,
        };
        self.latest.insert(plugin.to_owned(), latest);
        news
    }

    /// The latest result gets to say which version is refused; the result, if it said something else before.
    pub fn refuse(&mut self, plugin: &str, refused: Option<Refused>) -> Option<CheckRun> {
        let latest = self.latest.get_mut(plugin)?;
        if latest.run.refused == refused {
            return None;
        }
        latest.run.refused = refused;
        Some(latest.run.clone())
    }

    /// The latest result went to the outbox as `sequence`.
    pub fn sent(&mut self, plugin: &str, sequence: u64) {
        if let Some(latest) = self.latest.get_mut(plugin) {
            latest.sequence = Some(sequence);
        }
    }

    /// Forgets plugins that are not assigned any more.
    pub fn retain(&mut self, keep: &[&str]) {
        self.latest.retain(|name, _| keep.contains(&name.as_str()));
    }

    /// Every plugin's latest result, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Latest)> {
        self.latest
            .iter()
            .map(|(name, latest)| (name.as_str(), latest))
    }

    /// SHA-256 over the essence of all latest results.
    #[must_use]
    pub fn digest(&self) -> Vec<u8> {
        let mut hash = Sha256::new();
        for (name, latest) in &self.latest {
            hash.update(name.as_bytes());
            hash.update([0]);
            hash.update(essence(&latest.run).as_bytes());
        }
        hash.finalize().to_vec()
    }
}

/// It says that something is wrong.
fn is_bad(run: &CheckRun) -> bool {
    let bad = |finding: &Finding| matches!(finding.severity.as_str(), "warning" | "critical");
    run.outcome
        .as_ref()
        .is_ok_and(|findings| findings.iter().any(bad))
}

/// What is wrong, without measured numbers.
fn essence(run: &CheckRun) -> String {
    let refused = run.refused.as_ref().map(|refused| {
        let Refused { digest, fault, .. } = refused;
        format!(
            "refused\u{1}{digest}\u{1}{}\u{1}{}",
            fault.class, fault.message
        )
    });
    [&run.digest, &found(run), &refused.unwrap_or_default()]
        .map(String::as_str)
        .join("\u{3}")
}

fn found(run: &CheckRun) -> String {
    let findings = match &run.outcome {
        Ok(findings) => findings,
        Err(fault) => return format!("fault\u{1}{}\u{1}{}", fault.class, fault.message),
    };
    let mut lines: Vec<String> = findings
        .iter()
        .map(|finding| {
            [
                &finding.code,
                &finding.severity,
                &finding.subject,
                &finding.remedies.join(","),
            ]
            .map(String::as_str)
            .join("\u{1}")
        })
        .collect();
    lines.sort();
    lines.join("\u{2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn run(severity: &str, summary: &str) -> CheckRun {
        let finding = Finding {
            code: "k3s-agent.down".into(),
            severity: severity.into(),
            subject: "k3s-agent.service".into(),
            summary: summary.into(),
            remedies: vec!["restart".into()],
            attributes: Vec::new(),
        };
        CheckRun {
            version: String::new(),
            digest: String::new(),
            started_unix_ms: 0,
            duration: Duration::ZERO,
            outcome: Ok(vec![finding]),
            refused: None,
        }
    }

    /// Whether a finding of something wrong that is still believed names this fix.
    fn names_remedy(reports: &Reports, fix: &str, now: Instant) -> bool {
        let believed = reports
            .iter()
            .filter_map(|(_, latest)| latest.believed(now).ok());
        believed.flatten().any(|finding| {
            finding.severity == "critical" && finding.remedies.iter().any(|r| r == fix)
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_number_is_no_news_and_a_new_severity_is() {
        let (mut reports, now) = (Reports::default(), Instant::now());
        assert!(reports.record("k3s-agent", run("ok", "12 ms"), INTERVAL, now));
        let digest = reports.digest();
        assert!(!reports.record("k3s-agent", run("ok", "13 ms"), INTERVAL, now));
        assert_eq!(reports.digest(), digest);
        assert!(reports.record("k3s-agent", run("critical", "gone"), INTERVAL, now));
        assert_ne!(reports.digest(), digest);
    }

    #[tokio::test(start_paused = true)]
    async fn fresh_numbers_go_up_once_in_a_while() {
        let (mut reports, now) = (Reports::default(), Instant::now());
        let news = (0..=REFRESH_RUNS)
            .filter(|_| reports.record("a", run("ok", "x"), INTERVAL, now))
            .count();
        assert_eq!(news, 2);
    }

    /// The controller believes it only while it is fresh: one that was said once would be forgotten, and the node called well.
    #[tokio::test(start_paused = true)]
    async fn a_finding_of_something_wrong_is_news_on_every_run_until_it_is_over() {
        let (mut reports, now) = (Reports::default(), Instant::now());
        for severity in ["warning", "critical"] {
            let runs = (0..REFRESH_RUNS * 2)
                .filter(|_| reports.record("a", run(severity, "the same"), INTERVAL, now));
            assert_eq!(runs.count(), (REFRESH_RUNS * 2) as usize, "{severity}");
        }
        assert!(reports.record("a", run("ok", "over"), INTERVAL, now));
        assert!(!reports.record("a", run("ok", "over"), INTERVAL, now));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_plugin_found_before_it_broke_is_believed_no_more() {
        let (mut reports, now) = (Reports::default(), Instant::now());
        reports.record("k3s-agent", run("critical", "gone"), INTERVAL, now);
        let broken = CheckRun {
            outcome: Err(PluginFault {
                class: iaso_host::FaultClass::Trap,
                message: "it crashed".into(),
            }),
            ..run("critical", "gone")
        };
        assert!(reports.record("k3s-agent", broken.clone(), INTERVAL, now));
        assert!(!names_remedy(&reports, "restart", now));
        let (_, latest) = reports.iter().next().expect("one");
        assert!(
            latest.believed(now).is_err(),
            "it is broken, and the node unknown"
        );
        assert!(
            !reports.record("k3s-agent", broken, INTERVAL, now),
            "the same fault is no news"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_finding_decays_to_unknown_and_is_nobodys_remedy() {
        let (mut reports, now) = (Reports::default(), Instant::now());
        reports.record("k3s-agent", run("critical", "gone"), INTERVAL, now);
        assert!(names_remedy(&reports, "restart", now + INTERVAL));
        assert!(!names_remedy(&reports, "killall", now));
        assert!(!names_remedy(&reports, "restart", now + INTERVAL * 4));
        let (_, latest) = reports.iter().next().expect("one");
        assert_eq!(
            latest.believed(now + INTERVAL * 4).expect("no fault")[0].severity,
            "unknown"
        );
    }
}
