//! The answers that the golden tests render: the night of styx, and a plugin that tries to drive the terminal.

use super::Style;
use crate::model::{
    Event, Explanation, Fact, Finding, Incident, Incidents, Node, NodeDetail, Nodes, Reason,
    TimelineEntry,
};
use jiff::Timestamp;
use serde_json::json;

#[allow(clippy::unnecessary_wraps, reason = "the models' times are options")]
fn at(text: &str) -> Option<Timestamp> {
    Some(text.parse().expect("a time"))
}

pub(super) fn style(width: Option<u16>, color: bool) -> Style {
    Style {
        width,
        color,
        now: "2026-11-23T03:20:00Z".parse().expect("a time"),
    }
}

pub(super) fn styx() -> Node {
    Node {
        name: "styx".into(),
        role: "worker".into(),
        address: "10.0.0.7".into(),
        provider: "hostinger".into(),
        machine: "712695".into(),
        agent: "gone".into(),
        lease: "stale".into(),
        reach: "0/3".into(),
        machine_state: "running".into(),
        diagnosis: "isolated".into(),
        incident: "inc-7".into(),
        waiting: vec![
            "approval for recreate".into(),
            "quorum: 1 observer of the 2 that are needed says the same".into(),
        ],
        paused: false,
        worst: "critical".into(),
    }
}

pub(super) fn nodes() -> Nodes {
    let lethe = Node {
        name: "lethe".into(),
        role: "server".into(),
        agent: "up".into(),
        lease: "fresh".into(),
        reach: "3/3".into(),
        machine_state: "running".into(),
        diagnosis: "healthy".into(),
        worst: "ok".into(),
        paused: true,
        ..Node::default()
    };
    Nodes {
        nodes: vec![lethe, styx()],
        controller_state: "leader, 2 nodes, journal well".into(),
    }
}

fn facts() -> Vec<Fact> {
    let fact = |channel: &str, vantage: &str, value: &str, age_ms, fresh| Fact {
        channel: channel.into(),
        vantage: vantage.into(),
        value: value.into(),
        age_ms,
        fresh,
    };
    vec![
        fact(
            "agent",
            "controller",
            "gone: no heartbeat for 15 s",
            Some(61_000),
            true,
        ),
        fact(
            "probe",
            "lethe",
            "icmp timeout, tcp/22 timeout, tcp/10250 timeout, tcp/7444 timeout",
            Some(950),
            true,
        ),
        fact("metrics", "provider", "", None, false),
    ]
}

pub(super) fn node() -> NodeDetail {
    let rejected = Finding {
        plugin: "k3s-agent".into(),
        code: "k3s-agent.node-password-rejected".into(),
        severity: "critical".into(),
        subject: "k3s-agent.service".into(),
        summary: "The server refuses this node's password, so a restart cannot help: its Secret must be removed first.".into(),
        remedies: vec![],
        at: at("2026-11-23T03:19:48Z"),
        fault: "".into(),
    };
    let slow = Finding {
        plugin: "coredns".into(),
        code: "coredns.slow".into(),
        severity: "warning".into(),
        subject: "10.43.0.10".into(),
        summary: "\u{1b}[2J\u{1b}]0;all is well\u{7}answers in 900 ms".into(),
        remedies: vec!["delete-pod".into()],
        ..rejected.clone()
    };
    let broken = Finding {
        plugin: "network-probe".into(),
        fault: "trap: unreachable executed in check, and the plugin is held back for 60 s after 3 strikes".into(),
        ..Finding { at: at("2026-11-23T02:00:00Z"), ..Finding::default() }
    };
    NodeDetail {
        node: styx(),
        findings: vec![rejected, broken, slow],
        facts: facts(),
    }
}

pub(super) fn incident() -> Incident {
    Incident {
        id: "inc-7".into(),
        node: "styx".into(),
        diagnosis: "isolated".into(),
        state: "open".into(),
        phase: "reboot did not help; recreate is next".into(),
        opened: at("2026-11-23T03:12:45Z"),
        closed: None,
        rungs: vec!["reboot".into(), "recreate".into()],
        recreates: 0,
        waiting: vec!["approval for recreate".into()],
        awaits_approval: "recreate of styx (local data on it is lost)".into(),
    }
}

pub(super) fn incidents() -> Incidents {
    let closed = Incident {
        id: "inc-6".into(),
        state: "closed".into(),
        diagnosis: "k3s-agent-down".into(),
        phase: "recovered".into(),
        opened: at("2026-11-22T11:00:00Z"),
        closed: at("2026-11-22T11:01:00Z"),
        awaits_approval: "".into(),
        ..incident()
    };
    Incidents {
        incidents: vec![incident(), closed],
    }
}

pub(super) fn timeline() -> Vec<TimelineEntry> {
    let entry = |sequence, time: &str, kind: &str, text: &str| TimelineEntry {
        sequence,
        at: at(time),
        kind: kind.into(),
        text: text.into(),
    };
    vec![
        entry(
            40,
            "2026-11-22T23:59:58Z",
            "fact",
            "styx: agent gone, no heartbeat for 15 s",
        ),
        entry(
            41,
            "2026-11-23T00:00:10Z",
            "diagnosis",
            "styx is isolated: lethe, acheron and the controller reach nothing of it, while the provider says that it runs",
        ),
        entry(
            42,
            "2026-11-23T00:00:11Z",
            "intent",
            "reboot styx through hostinger, key e-42",
        ),
        entry(
            43,
            "2026-11-23T00:01:30Z",
            "outcome",
            "reboot: done, and uptime did not fall\nfake line",
        ),
    ]
}

pub(super) fn explanation() -> Explanation {
    let reason = |name: &str, yes, why: &str| Reason {
        name: name.into(),
        yes,
        why: why.into(),
    };
    Explanation {
        node: "styx".into(),
        diagnosis: "isolated".into(),
        evidence: vec![
            "agent gone".into(),
            "lease stale".into(),
            "reached by 0 of 3 observers, not by the controller".into(),
            "provider says running".into(),
        ],
        facts: facts(),
        rungs: vec![
            reason("reboot", false, "was tried at 00:00:11Z and did not help"),
            reason(
                "recreate",
                true,
                "the next rung for an isolated worker with a provider, and none was done in this incident",
            ),
        ],
        gates: vec![
            reason("quorum", true, "3 of 3 observers"),
            reason(
                "approval",
                false,
                "recreate needs a person's approval by policy",
            ),
        ],
        next_look_ms: Some(4_200),
        waiting: vec!["approval for recreate".into()],
        would_have: Vec::new(),
    }
}

pub(super) fn event() -> Event {
    Event {
        sequence: 43,
        at: at("2026-11-23T00:01:30.25Z"),
        kind: "outcome".into(),
        node: "styx".into(),
        incident: "inc-7".into(),
        text: "reboot: done, and uptime did not fall, so the machine did not restart at all".into(),
        json: json!({"resolved": {"effect": "e-42", "c1": "\u{9b}2J"}}),
    }
}
