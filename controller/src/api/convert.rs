//! From the agents' protobuf to the engine's words, with bounds; and orders the other way.

use crate::config::Config;
use crate::plugins::{Compiled, Fault, Plugin, Refused, Running};
use crate::sessions::Order;
use crate::text::bounded;
use iaso_engine::effect::{Outcome, Yield};
use iaso_engine::fact::{Finding, Observation, PluginFault, ProbeOutcome, ProbeResult, Severity};
use iaso_engine::id::NodeName;
use iaso_engine::ledger::Ledger;
use iaso_engine::record::Rung;
use iaso_proto::v1;
use iaso_proto::{MAX_FINDINGS, MAX_TEXT_BYTES};
use std::collections::BTreeMap;

/// Longest name or code, in bytes.
const WORD_BYTES_MAX: usize = 128;
/// Most remedies or attributes of a finding.
const PARTS_MAX: usize = 32;
/// Most probe results of one report.
const PROBES_MAX: usize = 2_048;

fn word(text: &str) -> String {
    bounded(text, WORD_BYTES_MAX)
}

pub(super) fn text(text: &str) -> String {
    bounded(text, MAX_TEXT_BYTES)
}

fn severity(text: &str) -> Severity {
    match text {
        "ok" => Severity::Ok,
        "info" => Severity::Info,
        "warning" => Severity::Warning,
        "critical" => Severity::Critical,
        _ => Severity::Unknown,
    }
}

/// A word for a severity.
pub(super) fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Info => "info",
        Severity::Unknown => "unknown",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

fn finding(from: &v1::Finding) -> Finding {
    Finding {
        code: word(&from.code),
        severity: severity(&from.severity),
        subject: text(&from.subject),
        summary: text(&from.summary),
        remedies: from
            .remedies
            .iter()
            .take(PARTS_MAX)
            .map(|remedy| word(remedy))
            .collect(),
        attributes: from
            .attributes
            .iter()
            .take(PARTS_MAX)
            .map(|pair| (word(&pair.key), bounded(&pair.value, 1_024)))
            .collect(),
    }
}

/// One plugin's report as a fact. The second value says how many findings were cut.
pub(super) fn report(node: &NodeName, from: v1::PluginReport) -> (Observation, usize) {
    let plugin = word(&from.plugin);
    let cut = from.findings.len().saturating_sub(MAX_FINDINGS);
    let mut findings: Vec<Finding> = from
        .findings
        .iter()
        .take(MAX_FINDINGS)
        .map(finding)
        .collect();
    if cut > 0 {
        findings.push(Finding {
            code: "iaso.findings-cut".into(),
            severity: Severity::Warning,
            subject: plugin.clone(),
            summary: format!(
                "{cut} more findings were cut: at most {MAX_FINDINGS} of one run are kept"
            ),
            remedies: Vec::new(),
            attributes: Vec::new(),
        });
    }
    let fault = from.fault.map(|fault| PluginFault {
        class: word(&fault.class),
        message: text(&fault.message),
    });
    if fault.is_some() {
        findings.clear();
    }
    (
        Observation::Report {
            node: node.clone(),
            plugin,
            findings,
            fault,
        },
        cut,
    )
}

/// Which version of which plugin the report is of.
pub(super) fn running(from: &v1::PluginReport) -> (String, Running) {
    let fault = |fault: &v1::PluginFault| Fault {
        class: word(&fault.class),
        message: text(&fault.message),
    };
    let refused = from.refused.as_ref().map(|refused| Refused {
        version: word(&refused.version),
        digest: word(&refused.digest),
        fault: fault(&refused.fault.clone().unwrap_or_default()),
    });
    let running = Running {
        version: word(&from.plugin_version),
        digest: word(&from.digest),
        fault: from.fault.as_ref().map(fault),
        refused,
        at: tokio::time::Instant::now(),
    };
    (word(&from.plugin), running)
}

/// What the agent says became of an order.
pub(super) fn outcome(from: &v1::FixOutcome) -> Outcome {
    let steps: Vec<String> = from
        .steps
        .iter()
        .take(PARTS_MAX)
        .map(|step| bounded(step, 512))
        .collect();
    let mut detail = text(&from.reason);
    if !steps.is_empty() {
        detail = format!("{detail} [{}]", steps.join("; "));
    }
    match from.result.as_str() {
        // The agent never began: the order may be given again.
        class @ ("expired" | "stale-term" | "busy") => Outcome::NotStarted {
            class: class.into(),
            detail,
        },
        result => Outcome::Done {
            detail,
            yielded: Yield::Fix {
                result: word(result),
            },
        },
    }
}

/// A probe report, by target.
pub(super) fn probes(from: v1::ProbeReport) -> BTreeMap<NodeName, Vec<ProbeResult>> {
    let mut by_target: BTreeMap<NodeName, Vec<ProbeResult>> = BTreeMap::new();
    for result in from.results.into_iter().take(PROBES_MAX) {
        let Ok(target) = NodeName::new(result.node) else {
            continue;
        };
        let outcome = match result.outcome.as_str() {
            "reached" => ProbeOutcome::Reached,
            "refused" => ProbeOutcome::Refused,
            "timeout" => ProbeOutcome::Timeout,
            "unreachable" => ProbeOutcome::Unreachable,
            _ => ProbeOutcome::Error,
        };
        let kind = if result.kind == "icmp" {
            "icmp".to_owned()
        } else {
            format!("tcp/{}", result.port)
        };
        let rtt_us = (outcome == ProbeOutcome::Reached).then_some(result.rtt_us);
        by_target.entry(target).or_default().push(ProbeResult {
            kind,
            outcome,
            rtt_us,
        });
    }
    by_target
}

/// An order as the agent reads it.
pub(super) fn order(from: Order) -> v1::ControllerMessage {
    use v1::controller_message::Kind;
    let kind = match from {
        Order::Fix {
            id,
            plugin,
            fix,
            deadline,
            term,
            reason,
        } => Kind::FixOrder(v1::FixOrder {
            order_id: id,
            plugin,
            fix,
            deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
            term,
            reason: text(&reason),
        }),
        Order::Probe {
            round,
            targets,
            timeout,
        } => Kind::ProbeOrder(v1::ProbeOrder {
            round_id: round.to_string(),
            targets: targets
                .into_iter()
                .map(|target| v1::ProbeTarget {
                    node: target.node.into(),
                    address: target.address.to_string(),
                    tcp_ports: target.tcp_ports.into_iter().map(u32::from).collect(),
                    icmp: target.icmp,
                })
                .collect(),
            timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
        }),
    };
    v1::ControllerMessage { kind: Some(kind) }
}

/// What a person has said about a node, and an agent that is cut off must keep to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Everything is held.
    all: bool,
    /// Fixes that were denied in the open incident, `plugin/fix`.
    denied: Vec<String>,
}

impl Held {
    pub(super) fn of(ledger: &Ledger, node: &NodeName) -> Self {
        let denied = ledger.open_incident(node).map(|incident| {
            let said_no = |rung: &Rung| incident.decision(rung) == Some(false);
            let denied = incident
                .decisions
                .iter()
                .filter(|(_, rung, _)| said_no(rung));
            denied
                .filter_map(|(_, rung, _)| match rung {
                    Rung::Fix(fix) => Some(fix.clone()),
                    Rung::Start | Rung::Reboot | Rung::Rescue | Rung::Recreate | Rung::Page => None,
                })
                .collect()
        });
        Self {
            all: ledger.pause_reason(node).is_some(),
            denied: denied.unwrap_or_default(),
        }
    }
}

/// What an agent may do while it is cut off, and how the engine that it then runs is to be set.
pub(super) fn delegation(config: &Config, held: &Held) -> v1::Delegation {
    let (delegation, policy) = (&config.delegation, &config.policy);
    if !config.delegates() || held.all {
        return v1::Delegation::default();
    }
    let denied = |fix: &&String| held.denied.contains(fix);
    v1::Delegation {
        after_ms: delegation.cut_off_after_secs.saturating_mul(1_000),
        rungs: delegation
            .fixes
            .iter()
            .filter(|fix| !denied(fix))
            .cloned()
            .collect(),
        attempts: delegation.attempts,
        confirm_secs: policy.confirm_secs,
        fix_wait_secs: policy.fix_wait_secs,
        verify_secs: policy.verify_secs,
        act_on: policy.act_on.clone(),
    }
}

/// A compiled plugin as the agent reads it.
pub(super) fn assignment(plugin: &Plugin, compiled: &Compiled) -> v1::PluginAssignment {
    let config = &plugin.config;
    let value = |value: &toml::Value| match value.as_str() {
        Some(text) => text.to_owned(),
        None => serde_json::to_string(value).unwrap_or_else(|_| value.to_string()),
    };
    v1::PluginAssignment {
        name: config.name.clone(),
        // Components carry no version of their own yet; the digest says exactly which one runs.
        version: plugin.digest.chars().take(12).collect(),
        digest: plugin.digest.clone(),
        compiled_digest: compiled.digest.clone(),
        interval_ms: config.interval_secs.saturating_mul(1_000),
        timeout_ms: config.timeout_ms,
        config: config
            .config
            .iter()
            .map(|(key, v)| v1::KeyValue {
                key: key.clone(),
                value: value(v),
            })
            .collect(),
        grants_json: serde_json::to_string(&config.grants).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_with_too_many_findings_is_cut_and_says_so() {
        let from = v1::PluginReport {
            plugin: "p".into(),
            findings: vec![
                v1::Finding {
                    code: "x".repeat(10_000),
                    ..v1::Finding::default()
                };
                1_000
            ],
            ..v1::PluginReport::default()
        };
        let (fact, cut) = report(&NodeName::new("styx").unwrap(), from);
        let Observation::Report { findings, .. } = fact else {
            panic!("not a report")
        };
        assert_eq!(
            (findings.len(), cut),
            (MAX_FINDINGS + 1, 1_000 - MAX_FINDINGS)
        );
        assert!(
            findings
                .iter()
                .all(|finding| finding.code.len() <= WORD_BYTES_MAX)
        );
        assert_eq!(findings.last().unwrap().code, "iaso.findings-cut");
    }

    #[test]
    fn an_order_that_never_began_is_not_a_fix_that_did_not_help() {
        let said = |result: &str| {
            outcome(&v1::FixOutcome {
                result: result.into(),
                ..v1::FixOutcome::default()
            })
        };
        assert!(matches!(said("busy"), Outcome::NotStarted { .. }));
        assert!(matches!(
            said("failed"),
            Outcome::Done {
                yielded: Yield::Fix { .. },
                ..
            }
        ));
    }
}
