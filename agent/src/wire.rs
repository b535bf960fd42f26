//! Between the agent's own types and the protocol's: the only place that knows both.

use std::time::Duration;

use iaso_host::{PluginFault, types::Finding};
use iaso_proto::{MAX_FINDINGS, MAX_TEXT_BYTES, v1};

use crate::{
    autonomy::{Delegation, Rung},
    orders::Outcome,
    plugins::{CheckRun, Spec},
};

/// Most plugins of one assignment.
const PLUGINS_MAX: usize = 64;
/// Most fixes that are delegated.
const RUNGS_MAX: usize = 16;
/// Most acts in one absence, whatever the controller says.
const ATTEMPTS_MAX: u32 = 10;
/// Longest period of a delegation: a day.
const SECS_MAX: u64 = 86_400;

/// Wraps one kind of message.
#[must_use]
pub fn message(kind: v1::agent_message::Kind) -> v1::AgentMessage {
    v1::AgentMessage { kind: Some(kind) }
}

fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT_BYTES.min(text.len()));
    text.get(..end).unwrap_or_default().to_owned()
}

/// One run of a check.
#[must_use]
pub fn report(plugin: &str, run: &CheckRun, sequence: u64) -> v1::PluginReport {
    let (findings, broken) = match &run.outcome {
        Ok(found) => (findings(plugin, found), None),
        Err(why) => (Vec::new(), Some(fault(why))),
    };
    v1::PluginReport {
        sequence,
        plugin: plugin.to_owned(),
        plugin_version: run.version.clone(),
        digest: run.digest.clone(),
        started_unix_ms: run.started_unix_ms,
        duration_us: u64::try_from(run.duration.as_micros()).unwrap_or(u64::MAX),
        findings,
        fault: broken,
        refused: run.refused.as_ref().map(|refused| v1::RefusedVersion {
            version: cut(&refused.version),
            digest: cut(&refused.digest),
            fault: Some(fault(&refused.fault)),
        }),
    }
}

fn fault(fault: &PluginFault) -> v1::PluginFault {
    v1::PluginFault {
        class: fault.class.as_str().into(),
        message: cut(&fault.message),
    }
}

fn findings(plugin: &str, found: &[Finding]) -> Vec<v1::Finding> {
    let room = if found.len() > MAX_FINDINGS {
        MAX_FINDINGS - 1
    } else {
        MAX_FINDINGS
    };
    let mut out: Vec<v1::Finding> = found.iter().take(room).map(finding).collect();
    if found.len() > MAX_FINDINGS {
        out.push(v1::Finding {
            code: format!("{plugin}.findings-cut"),
            severity: "warning".into(),
            subject: plugin.into(),
            summary: format!("{} findings; only the first {room} are shown", found.len()),
            ..v1::Finding::default()
        });
    }
    out
}

fn finding(finding: &Finding) -> v1::Finding {
    let pair = |(key, value): &(String, String)| v1::KeyValue {
        key: cut(key),
        value: cut(value),
    };
    v1::Finding {
        code: cut(&finding.code),
        severity: finding.severity.clone(),
        subject: cut(&finding.subject),
        summary: cut(&finding.summary),
        remedies: finding.remedies.iter().map(|remedy| cut(remedy)).collect(),
        attributes: finding.attributes.iter().map(pair).collect(),
    }
}

/// What became of an order.
#[must_use]
pub fn outcome(outcome: &Outcome, sequence: u64) -> v1::FixOutcome {
    v1::FixOutcome {
        sequence,
        order_id: outcome.order_id.clone(),
        plugin: outcome.plugin.clone(),
        fix: outcome.fix.clone(),
        result: outcome.result.clone(),
        reason: cut(&outcome.reason),
        steps: outcome
            .steps
            .iter()
            .take(MAX_FINDINGS)
            .map(|step| cut(step))
            .collect(),
        started_unix_ms: outcome.started_unix_ms,
        duration_us: outcome.duration_us,
    }
}

/// One assigned plugin; `Err` says what is wrong with the assignment.
pub fn spec(assigned: &v1::PluginAssignment) -> Result<Spec, String> {
    let Some(bare) = bare(assigned) else {
        return Err(format!("`{}` is not a plugin's name", cut(&assigned.name)));
    };
    let compiled = assigned
        .compiled_digest
        .parse()
        .map_err(|error| format!("compiled_digest: {error}"))?;
    let grants = match assigned.grants_json.as_str() {
        "" => iaso_grants::Grants::default(),
        text => serde_json::from_str(text).map_err(|error| format!("grants: {error}"))?,
    };
    Ok(Spec {
        compiled: Some(compiled),
        config: assigned
            .config
            .iter()
            .map(|pair| (pair.key.clone(), pair.value.clone()))
            .collect(),
        grants,
        ..bare
    })
}

/// An assigned plugin without anything that it could run with; `None` if it cannot even be named.
#[must_use]
pub fn bare(assigned: &v1::PluginAssignment) -> Option<Spec> {
    let bounded = |ms: u64, least: u64, most: u64| Duration::from_millis(ms.clamp(least, most));
    crate::config::is_plugin_name(&assigned.name).then(|| Spec {
        name: assigned.name.clone(),
        version: assigned.version.clone(),
        digest: assigned.digest.clone(),
        compiled: None,
        interval: bounded(assigned.interval_ms, 100, 86_400_000),
        timeout: bounded(assigned.timeout_ms, 10, 600_000),
        config: Vec::new(),
        grants: iaso_grants::Grants::default(),
    })
}

/// The assigned plugins, as many as are allowed.
pub fn plugins(assignment: &v1::Assignment) -> impl Iterator<Item = &v1::PluginAssignment> {
    assignment.plugins.iter().take(PLUGINS_MAX)
}

/// What the controller delegates.
#[must_use]
pub fn delegation(delegation: Option<&v1::Delegation>) -> Delegation {
    let Some(delegation) = delegation else {
        return Delegation::default();
    };
    let rungs = delegation.rungs.iter().take(RUNGS_MAX);
    Delegation {
        after: (delegation.after_ms > 0).then(|| Duration::from_millis(delegation.after_ms)),
        rungs: rungs.filter_map(|text| Rung::parse(text)).collect(),
        attempts: delegation.attempts.min(ATTEMPTS_MAX),
        confirm_secs: delegation.confirm_secs.min(SECS_MAX),
        fix_wait_secs: delegation.fix_wait_secs.clamp(1, SECS_MAX),
        verify_secs: delegation.verify_secs.min(SECS_MAX),
        act_on: delegation
            .act_on
            .iter()
            .take(MAX_FINDINGS)
            .map(|code| cut(code))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned() -> v1::PluginAssignment {
        v1::PluginAssignment {
            name: "k3s-agent".into(),
            compiled_digest: "ab".repeat(32),
            grants_json: r#"{"check":{"host":true}}"#.into(),
            ..v1::PluginAssignment::default()
        }
    }

    #[test]
    fn an_assignment_with_a_bad_name_digest_or_grant_is_refused_in_words() {
        assert!(spec(&assigned()).is_ok_and(|spec| spec.grants.check.host));
        let name = v1::PluginAssignment {
            name: "../x".into(),
            ..assigned()
        };
        let digest = v1::PluginAssignment {
            compiled_digest: "x".into(),
            ..assigned()
        };
        let grant = v1::PluginAssignment {
            grants_json: r#"{"chek":{}}"#.into(),
            ..assigned()
        };
        for (assigned, word) in [(name, "name"), (digest, "compiled_digest"), (grant, "chek")] {
            let error = spec(&assigned).expect_err("refused");
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn more_findings_than_allowed_are_cut_and_the_cut_is_a_finding() {
        let one = Finding {
            code: "a.b".into(),
            severity: "ok".into(),
            subject: "é".repeat(MAX_TEXT_BYTES),
            summary: String::new(),
            remedies: Vec::new(),
            attributes: Vec::new(),
        };
        let sent = findings("a", &vec![one; MAX_FINDINGS + 5]);
        assert_eq!(sent.len(), MAX_FINDINGS);
        assert_eq!(sent[MAX_FINDINGS - 1].code, "a.findings-cut");
        assert!(sent[0].subject.len() <= MAX_TEXT_BYTES);
    }
}
