//! The engine's state as operators read it.

use super::convert::severity_word;
use crate::config::Config;
use crate::driver::View;
use crate::plugins::{Plugins, Refused};
use crate::status::word;
use iaso_engine::effect::Action;
use iaso_engine::explain::{Explanation, FactLine, explain};
use iaso_engine::fact::{MachineSeen, MachineState, ProbeOutcome, Role};
use iaso_engine::id::NodeName;
use iaso_engine::ledger::{Incident, Standing};
use iaso_engine::record::{Closing, Entry, Rung, Waiting};
use iaso_engine::world::{AgentLink, NodeFacts};
use iaso_proto::v1;
use std::time::Duration;

fn millis(tick: iaso_engine::time::Tick) -> i64 {
    i64::try_from(tick.0).unwrap_or(i64::MAX)
}

/// One node, for a table.
pub(super) fn node(view: &View<'_>, config: &Config, name: &NodeName) -> Option<v1::Node> {
    let declared = config.nodes.iter().find(|node| &node.name == name)?;
    let empty = NodeFacts::default();
    let facts = view.world.nodes.get(name).unwrap_or(&empty);
    let planned = view.nodes.get(name);
    let incident = view.ledger.open_incident(name);
    Some(v1::Node {
        name: name.as_str().into(),
        role: role(declared.role).into(),
        address: declared.address.to_string(),
        provider: declared.provider.clone(),
        machine: declared.machine.clone().unwrap_or_default(),
        agent: agent(view, facts).into(),
        lease: lease(view, facts).into(),
        reach: reach(view, facts),
        machine_state: machine(declared.machine.is_some(), facts),
        diagnosis: planned.map_or_else(|| "unknown".into(), |plan| word(&plan.diagnosis)),
        incident: incident
            .map(|incident| incident.id.0.clone())
            .unwrap_or_default(),
        waiting: planned
            .map(|plan| waiting(&plan.waiting))
            .unwrap_or_default(),
        paused: view.ledger.pause_reason(name).is_some(),
        worst: worst(facts).into(),
    })
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Server => "server",
        Role::Worker => "worker",
    }
}

fn waiting(reasons: &[Waiting]) -> Vec<String> {
    reasons.iter().map(Waiting::to_string).collect()
}

fn agent(view: &View<'_>, facts: &NodeFacts) -> &'static str {
    let gone_after = Duration::from_secs(view.policy.agent_gone_secs);
    match &facts.agent {
        // What this process has not seen for as long as it would take is gone or was never there; before that, nobody knows.
        None if view.now.since(view.world.since) < gone_after => "unknown",
        None => "never",
        Some(seen) => match &seen.value {
            AgentLink::Lost { .. } => "gone",
            AgentLink::Up { .. }
                if facts
                    .heartbeat
                    .is_some_and(|at| view.now.since(at) > gone_after) =>
            {
                "gone"
            }
            AgentLink::Up { .. } => "up",
        },
    }
}

fn lease(view: &View<'_>, facts: &NodeFacts) -> &'static str {
    if !view.inventory.has_cluster {
        return "none";
    }
    let Some(kube) = &facts.kube else {
        return "unknown";
    };
    let stale_after = Duration::from_secs(view.policy.lease_stale_secs);
    match kube.value.lease_changed {
        Some(at) if view.now.since(at) <= stale_after => "fresh",
        Some(_) => "stale",
        None => "none",
    }
}

fn reach(view: &View<'_>, facts: &NodeFacts) -> String {
    let fresh = Duration::from_secs(view.policy.probe_fresh_secs);
    let latest = facts
        .probes
        .values()
        .filter(|seen| view.now.since(seen.at) <= fresh);
    let told: Vec<bool> = latest
        .filter(|seen| {
            seen.value
                .iter()
                .any(|result| result.outcome != ProbeOutcome::Error)
        })
        .map(|seen| {
            let answers =
                |outcome| matches!(outcome, ProbeOutcome::Reached | ProbeOutcome::Refused);
            seen.value.iter().any(|result| answers(result.outcome))
        })
        .collect();
    if told.is_empty() {
        return String::new();
    }
    format!(
        "{}/{}",
        told.iter().filter(|reached| **reached).count(),
        told.len()
    )
}

fn machine(rented: bool, facts: &NodeFacts) -> String {
    match facts.machine.as_ref().map(|seen| &seen.value) {
        None if !rented => "none".into(),
        None => "unknown".into(),
        Some(MachineSeen::NoProvider) => "none".into(),
        Some(MachineSeen::Unknown { class, .. }) => format!("unknown ({class})"),
        Some(MachineSeen::Known { state, locked, .. }) => {
            let state = match state {
                MachineState::Running => "running",
                MachineState::Stopped => "stopped",
                MachineState::Recovery => "recovery",
                MachineState::Changing(word) | MachineState::Blocked(word) => word,
            };
            if *locked {
                format!("{state} (locked)")
            } else {
                state.into()
            }
        }
    }
}

fn worst(facts: &NodeFacts) -> &'static str {
    let all = facts.plugins.values().flat_map(|run| &run.value.findings);
    all.map(|finding| finding.severity)
        .max()
        .map_or("", severity_word)
}

/// One node with all that is known.
pub(super) fn detail(
    view: &View<'_>,
    config: &Config,
    plugins: &Plugins,
    name: &NodeName,
) -> Option<v1::NodeDetail> {
    let shown = node(view, config, name)?;
    let mut findings = Vec::new();
    for (plugin, run) in view
        .world
        .nodes
        .get(name)
        .map(|facts| &facts.plugins)
        .into_iter()
        .flatten()
    {
        let fault = run
            .value
            .fault
            .as_ref()
            .map(|fault| format!("{}: {}", fault.class, fault.message));
        if let Some(fault) = fault {
            findings.push(broken(plugin, fault, millis(run.at)));
        }
        for finding in &run.value.findings {
            findings.push(v1::NodeFinding {
                plugin: plugin.clone(),
                code: finding.code.clone(),
                severity: severity_word(finding.severity).into(),
                subject: finding.subject.clone(),
                summary: finding.summary.clone(),
                remedies: finding.remedies.clone(),
                at_unix_ms: millis(run.at),
                fault: String::new(),
            });
        }
    }
    for (plugin, running) in plugins.heard.of(name) {
        findings.extend(running.refused.map(|refused| refusal(&plugin, &refused)));
    }
    let role = config.nodes.iter().find(|node| &node.name == name)?.role;
    for (plugin, why) in plugins.refused(role) {
        findings.push(broken(&plugin, format!("not assigned: {why}"), 0));
    }
    let facts = explain(&view.situation(), name)
        .map(|explained| fact_lines(explained.facts))
        .unwrap_or_default();
    Some(v1::NodeDetail {
        node: Some(shown),
        findings,
        facts,
    })
}

fn refusal(plugin: &str, refused: &Refused) -> v1::NodeFinding {
    let Refused {
        version,
        digest,
        fault,
    } = refused;
    let which = if version.is_empty() { digest } else { version };
    let text = format!("{}: {}", fault.class, fault.message);
    v1::NodeFinding {
        code: format!("{plugin}.version-refused"),
        summary: format!("version {which} cannot be loaded here; the one before it runs on"),
        ..broken(plugin, text, 0)
    }
}

fn broken(plugin: &str, fault: String, at_unix_ms: i64) -> v1::NodeFinding {
    v1::NodeFinding {
        plugin: plugin.into(),
        code: format!("{plugin}.broken"),
        severity: "unknown".into(),
        subject: plugin.into(),
        summary: "the plugin is broken; this says nothing about the node".into(),
        remedies: Vec::new(),
        at_unix_ms,
        fault,
    }
}

fn fact_lines(facts: Vec<FactLine>) -> Vec<v1::FactLine> {
    let line = |fact: FactLine| v1::FactLine {
        channel: fact.channel,
        vantage: fact.vantage,
        value: fact.value,
        age_ms: fact
            .age_ms
            .map_or(-1, |age| i64::try_from(age).unwrap_or(i64::MAX)),
        fresh: fact.fresh,
    };
    facts.into_iter().map(line).collect()
}

/// An explanation.
pub(super) fn explanation(view: &View<'_>, explained: Explanation) -> v1::Explanation {
    let line = |answer: iaso_engine::explain::Answer| v1::ExplainLine {
        name: answer.name,
        yes: answer.yes,
        why: answer.why,
    };
    let next = explained.next_look.map_or(-1, |at| {
        i64::try_from(at.0.saturating_sub(view.now.0)).unwrap_or(i64::MAX)
    });
    v1::Explanation {
        node: explained.node.into(),
        diagnosis: word(&explained.diagnosis),
        facts: fact_lines(explained.facts),
        rungs: explained.rungs.into_iter().map(line).collect(),
        gates: explained.gates.into_iter().map(line).collect(),
        next_look_ms: next,
        waiting: waiting(&explained.waiting),
        would_have: Vec::new(),
        evidence: explained.evidence,
    }
}

/// The rung that an operator may approve now.
pub(super) fn awaits_approval(incident: &Incident) -> Option<Rung> {
    incident.waiting.iter().find_map(|reason| {
        if let Waiting::Approval { rung } = reason {
            Some(rung.clone())
        } else {
            None
        }
    })
}

/// The state in one word.
pub(super) fn state(incident: &Incident) -> &'static str {
    match incident.standing {
        Standing::Open | Standing::Verifying(_) => "open",
        Standing::Parked => "parked",
        Standing::Closed(..) => "closed",
    }
}

/// One incident, for a table.
pub(super) fn incident(incident: &Incident) -> v1::Incident {
    let phase = match &incident.standing {
        Standing::Verifying(_) => "verifying that it stays well".to_owned(),
        Standing::Parked => "a person must decide".into(),
        Standing::Closed(_, Closing::Recovered) => "recovered".into(),
        Standing::Closed(_, Closing::RecoveredByItself) => "recovered by itself".into(),
        Standing::Open => {
            let effect = incident
                .effects
                .iter()
                .rev()
                .find(|state| !state.is_settled());
            let rung = incident
                .rungs
                .iter()
                .rev()
                .find(|rung| rung.ended.is_none());
            match (effect, rung) {
                (Some(state), _) => state.effect.action.name().to_owned(),
                (None, Some(rung)) => rung.rung.to_string(),
                (None, None) => "deciding".into(),
            }
        }
    };
    let closed = if let Standing::Closed(at, _) = incident.standing {
        millis(at)
    } else {
        0
    };
    let recreates = incident
        .effects
        .iter()
        .filter(|state| {
            matches!(state.effect.action, Action::Recreate { .. }) && !state.never_began()
        })
        .count();
    v1::Incident {
        id: incident.id.0.clone(),
        node: incident.node.as_str().into(),
        diagnosis: word(&incident.diagnosis),
        state: state(incident).into(),
        phase,
        opened_unix_ms: millis(incident.opened),
        closed_unix_ms: closed,
        rungs: incident
            .rungs
            .iter()
            .map(|rung| rung.rung.to_string())
            .collect(),
        recreates: u32::try_from(recreates).unwrap_or(u32::MAX),
        waiting: waiting(&incident.waiting),
        awaits_approval: awaits_approval(incident)
            .map(|rung| rung.to_string())
            .unwrap_or_default(),
    }
}

/// One line of a timeline.
pub(super) fn timeline(entry: &Entry) -> v1::TimelineEntry {
    let line = iaso_engine::timeline::describe(entry);
    v1::TimelineEntry {
        sequence: entry.sequence,
        at_unix_ms: millis(line.at),
        kind: line.kind,
        text: line.text,
    }
}

/// One event.
pub(super) fn event(entry: &Entry) -> v1::Event {
    let line = iaso_engine::timeline::describe(entry);
    let scope = crate::store::Scope::of(&entry.record);
    v1::Event {
        sequence: entry.sequence,
        at_unix_ms: millis(line.at),
        kind: line.kind,
        node: scope.about().unwrap_or_default().to_owned(),
        incident: scope.incident.unwrap_or_default(),
        text: line.text,
        json: serde_json::to_string(&entry.record).unwrap_or_default(),
    }
}
