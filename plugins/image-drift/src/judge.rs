//! Which differences last, and what they mean.

use std::time::Duration;

use iaso_plugin::{Error, Finding};

use crate::compare::{Drift, Kind};
use crate::settings::Settings;

/// Findings for single differences; more are counted.
const DRIFTS_MAX: usize = 24;
const PODS_NAMED_MAX: usize = 4;

/// Everything that one look saw.
pub(crate) struct Sight<'a> {
    pub(crate) drifts: Vec<(Drift, Duration)>,
    pub(crate) pods_count: usize,
    pub(crate) unseen: Vec<(&'a str, Error)>,
    /// Why nothing is remembered until the next look.
    pub(crate) forgets: Option<Error>,
}

pub(crate) fn judge(settings: &Settings, sight: &Sight<'_>) -> Vec<Finding> {
    let (lasting, fresh): (Vec<_>, Vec<_>) = sight
        .drifts
        .iter()
        .partition(|(_, seen_for)| *seen_for >= settings.grace);
    let mut findings: Vec<Finding> = lasting
        .iter()
        .take(DRIFTS_MAX)
        .map(|(drift, seen_for)| of_drift(drift, *seen_for))
        .collect();
    if lasting.len() > DRIFTS_MAX {
        let summary = format!(
            "{} differences more last than are named here",
            lasting.len() - DRIFTS_MAX
        );
        findings.push(Finding::warning("image-drift.more", "this node", summary));
    }
    for (namespace, why) in &sight.unseen {
        let summary = format!("its pods and what made them could not be looked at: {why}");
        findings.push(Finding::unknown("image-drift.unknown", *namespace, summary));
    }
    if let (Some(why), false) = (&sight.forgets, fresh.is_empty()) {
        let summary = format!(
            "{} images differ, and whether that lasts is not known: {why}",
            fresh.len()
        );
        findings.push(Finding::unknown(
            "image-drift.unknown",
            "this node",
            summary,
        ));
    }
    if findings.is_empty() {
        let rolling = if fresh.is_empty() {
            String::new()
        } else {
            format!("; {} differ for less than `grace`", fresh.len())
        };
        let summary = format!(
            "{} pods on this node run what is asked for{rolling}",
            sight.pods_count
        );
        findings.push(Finding::ok("image-drift.ok", "this node", summary));
    }
    findings
}

fn of_drift(drift: &Drift, seen_for: Duration) -> Finding {
    let minutes = seen_for.as_secs() / 60;
    let pods = pods(&drift.pods);
    let summary = match drift.kind {
        Kind::Stale => format!(
            "{pods} still run {} after {minutes} minutes, and {} is asked for: the roll-out is stuck; see `kubectl rollout status`",
            drift.runs, drift.asked
        ),
        Kind::NotExpected => format!(
            "it asks for {} since {minutes} minutes or more, and {} is expected: whoever applies it (Flux, CI) is behind",
            drift.runs, drift.asked
        ),
        Kind::TagMoved => format!(
            "{pods} all ask for {} and run {}: the tag was moved between their starts; restart them together, or name a digest",
            drift.asked, drift.runs
        ),
        Kind::DigestDiffers => format!(
            "it asks for {} and runs {}: another image under a digest's name; delete the pod, and see the node's image store",
            drift.asked, drift.runs
        ),
    };
    Finding::warning(
        format!("image-drift.{}", drift.kind.as_str()),
        drift.subject.clone(),
        summary,
    )
    .attribute("runs", drift.runs.clone())
    .attribute("asked", drift.asked.clone())
}

fn pods(names: &[String]) -> String {
    let shown: Vec<&str> = names
        .iter()
        .take(PODS_NAMED_MAX)
        .map(String::as_str)
        .collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(PODS_NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
