//! Which objects fail, are stuck, or are fought over.

use std::time::Duration;

use iaso_plugin::Finding;
use iaso_plugin::capability::{Condition, StatusObject};

use crate::cause::{fighting_managers, helps};
use crate::settings::Settings;

/// Findings for single objects; more are counted.
const OBJECTS_MAX: usize = 24;
/// Of what Flux says.
const MESSAGE_CHARS_MAX: usize = 300;

/// Everything that one look saw.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    /// With their kind.
    pub(crate) objects: Vec<(&'static str, StatusObject)>,
    /// What could not be looked at, and why.
    pub(crate) unseen: Vec<(String, String)>,
}

pub(crate) fn judge(settings: &Settings, sight: &Sight, now_ms: u64) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut suspended: Vec<String> = Vec::new();
    for (kind, object) in &sight.objects {
        if object.suspended {
            suspended.push(subject(kind, object));
        } else {
            findings.extend(of_object(settings, kind, object, now_ms));
        }
    }
    let more = findings.len().saturating_sub(OBJECTS_MAX);
    findings.truncate(OBJECTS_MAX);
    if more > 0 {
        let summary = format!("{more} objects more do not work than are named here");
        findings.push(Finding::warning("flux.more", "flux", summary));
    }
    for (what, why) in &sight.unseen {
        let summary = format!("they could not be looked at: {why}");
        findings.push(Finding::unknown("flux.unknown", what, summary));
    }
    if findings.is_empty() {
        findings.push(if sight.objects.is_empty() {
            let summary =
                "there is no Flux object where was looked: name other `namespaces` or `kinds`";
            Finding::unknown("flux.unknown", "flux", summary)
        } else {
            let summary = format!(
                "{} objects, and none of them fails or is stuck",
                sight.objects.len()
            );
            Finding::ok("flux.ok", "flux", summary)
        });
    }
    if let Some(first) = suspended.first() {
        let summary = format!(
            "{} objects are suspended, {first} among them: what changes in Git does not reach them",
            suspended.len()
        );
        findings.push(Finding::info("flux.suspended", "flux", summary));
    }
    findings
}

fn subject(kind: &str, object: &StatusObject) -> String {
    format!("{kind}/{}/{}", object.namespace, object.name)
}

fn of_object(
    settings: &Settings,
    kind: &str,
    object: &StatusObject,
    now_ms: u64,
) -> Option<Finding> {
    let condition = |name: &str| object.conditions.iter().find(|one| one.name == name);
    let told = |code: &str, summary: String| {
        Finding::warning(format!("flux.{code}"), subject(kind, object), summary)
    };
    if let Some(stalled) = condition("Stalled").filter(|one| one.status == "True") {
        let summary = format!(
            "it has given up ({}) and waits for a change: {}{}",
            stalled.reason,
            helps(&stalled.reason, &stalled.message),
            quoted(stalled)
        );
        return Some(told("stalled", summary).attribute("reason", stalled.reason.clone()));
    }
    let is_behind =
        object.observed_generation != 0 && object.observed_generation < object.generation;
    let Some(ready) = condition("Ready") else {
        let age = Duration::from_millis(now_ms.saturating_sub(object.created_unix_ms));
        return (age > settings.working_max).then(|| {
            let summary = format!(
                "it has said nothing since it was made {} ago: does its controller run?",
                span(age)
            );
            told("stuck", summary)
        });
    };
    let lasts = Duration::from_millis(now_ms.saturating_sub(ready.changed_unix_ms));
    match ready.status.as_str() {
        "True" if !is_behind => None,
        "False" if !is_behind => {
            let fighting = fighting_managers(&ready.message);
            if !fighting.is_empty() {
                let summary = format!(
                    "{} set the same fields ({}): let one of them go, or give the fields to it{}",
                    fighting.join(" and "),
                    ready.reason,
                    quoted(ready)
                );
                return Some(
                    told("field-conflict", summary).attribute("managers", fighting.join(",")),
                );
            }
            (lasts > settings.failing_max).then(|| {
                let summary = format!(
                    "it fails for {} ({}): {}{}",
                    span(lasts),
                    ready.reason,
                    helps(&ready.reason, &ready.message),
                    quoted(ready)
                );
                told("not-ready", summary).attribute("reason", ready.reason.clone())
            })
        }
        _ => (lasts > settings.working_max).then(|| {
            let what = if is_behind {
                "its last change is not taken up"
            } else {
                "it is at work and does not end"
            };
            let summary = format!(
                "{what}, {} after its state last changed ({}): see the log of its controller{}",
                span(lasts),
                ready.reason,
                quoted(ready)
            );
            told("stuck", summary).attribute("reason", ready.reason.clone())
        }),
    }
}

fn quoted(condition: &Condition) -> String {
    let message: String = condition
        .message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MESSAGE_CHARS_MAX)
        .collect();
    if message.is_empty() {
        message
    } else {
        format!(" (`{message}`)")
    }
}

fn span(time: Duration) -> String {
    match time.as_secs() {
        secs @ 0..7_200 => format!("{} min", secs / 60),
        secs @ 7_200..172_800 => format!("{} h", secs / 3_600),
        secs => format!("{} days", secs / 86_400),
    }
}
