//! Protobuf types to models, once.

use crate::model;
use crate::text::Text;
use iaso_proto::v1;
use jiff::Timestamp;
use serde_json::Value;

pub(super) fn nodes(answer: v1::ListNodesResponse) -> model::Nodes {
    model::Nodes {
        nodes: answer.nodes.into_iter().map(node).collect(),
        controller_state: answer.controller_state.into(),
    }
}

fn node(node: v1::Node) -> model::Node {
    model::Node {
        name: node.name.into(),
        role: node.role.into(),
        address: node.address.into(),
        provider: node.provider.into(),
        machine: node.machine.into(),
        agent: node.agent.into(),
        lease: node.lease.into(),
        reach: node.reach.into(),
        machine_state: node.machine_state.into(),
        diagnosis: node.diagnosis.into(),
        incident: node.incident.into(),
        waiting: texts(node.waiting),
        paused: node.paused,
        worst: node.worst.into(),
    }
}

pub(super) fn node_detail(answer: v1::NodeDetail) -> model::NodeDetail {
    model::NodeDetail {
        node: answer.node.map(node).unwrap_or_default(),
        findings: answer.findings.into_iter().map(finding).collect(),
        facts: answer.facts.into_iter().map(fact).collect(),
    }
}

fn finding(finding: v1::NodeFinding) -> model::Finding {
    model::Finding {
        plugin: finding.plugin.into(),
        code: finding.code.into(),
        severity: finding.severity.into(),
        subject: finding.subject.into(),
        summary: finding.summary.into(),
        remedies: texts(finding.remedies),
        at: time(finding.at_unix_ms),
        fault: finding.fault.into(),
    }
}

fn fact(fact: v1::FactLine) -> model::Fact {
    model::Fact {
        channel: fact.channel.into(),
        vantage: fact.vantage.into(),
        value: fact.value.into(),
        age_ms: u64::try_from(fact.age_ms).ok(),
        fresh: fact.fresh,
    }
}

pub(super) fn incidents(answer: v1::ListIncidentsResponse) -> model::Incidents {
    model::Incidents {
        incidents: answer.incidents.into_iter().map(incident).collect(),
    }
}

fn incident(incident: v1::Incident) -> model::Incident {
    model::Incident {
        id: incident.id.into(),
        node: incident.node.into(),
        diagnosis: incident.diagnosis.into(),
        state: incident.state.into(),
        phase: incident.phase.into(),
        opened: time(incident.opened_unix_ms),
        closed: time(incident.closed_unix_ms),
        rungs: texts(incident.rungs),
        recreates: incident.recreates,
        waiting: texts(incident.waiting),
        awaits_approval: incident.awaits_approval.into(),
    }
}

pub(super) fn incident_detail(answer: v1::IncidentDetail) -> model::IncidentDetail {
    model::IncidentDetail {
        incident: answer.incident.map(incident).unwrap_or_default(),
        timeline: answer.timeline.into_iter().map(timeline_entry).collect(),
    }
}

fn timeline_entry(entry: v1::TimelineEntry) -> model::TimelineEntry {
    model::TimelineEntry {
        sequence: entry.sequence,
        at: time(entry.at_unix_ms),
        kind: entry.kind.into(),
        text: entry.text.into(),
    }
}

pub(super) fn report(answer: v1::Report) -> model::Report {
    model::Report {
        format: answer.format.into(),
        body: answer.body.into(),
        path: answer.path.into(),
    }
}

pub(super) fn explanation(answer: v1::Explanation) -> model::Explanation {
    model::Explanation {
        node: answer.node.into(),
        diagnosis: answer.diagnosis.into(),
        evidence: texts(answer.evidence),
        facts: answer.facts.into_iter().map(fact).collect(),
        rungs: answer.rungs.into_iter().map(reason).collect(),
        gates: answer.gates.into_iter().map(reason).collect(),
        next_look_ms: u64::try_from(answer.next_look_ms).ok(),
        waiting: texts(answer.waiting),
        would_have: texts(answer.would_have),
    }
}

fn reason(line: v1::ExplainLine) -> model::Reason {
    model::Reason {
        name: line.name.into(),
        yes: line.yes,
        why: line.why.into(),
    }
}

pub(super) fn join_token(made: v1::CreateJoinTokenResponse) -> model::JoinToken {
    model::JoinToken {
        token: made.token.into(),
        expires: time(made.expires_unix_ms),
    }
}

pub(super) fn event(event: v1::Event) -> model::Event {
    model::Event {
        sequence: event.sequence,
        at: time(event.at_unix_ms),
        kind: event.kind.into(),
        node: event.node.into(),
        incident: event.incident.into(),
        text: event.text.into(),
        json: serde_json::from_str(&event.json).unwrap_or(Value::String(event.json)),
    }
}

fn texts(list: Vec<String>) -> Vec<Text> {
    list.into_iter().map(Text::from).collect()
}

/// The protocol's 0 is "not yet"; a time that no calendar holds is not shown either.
fn time(unix_ms: i64) -> Option<Timestamp> {
    if unix_ms == 0 {
        None
    } else {
        Timestamp::from_millisecond(unix_ms).ok()
    }
}
