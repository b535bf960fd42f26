//! Why this, why not that, what it waits for, and when it looks again: for one node, in words.

use crate::diagnose::channel::Machine;
use crate::diagnose::{Assessment, Assessments, assess, evidence};
use crate::fact::{Finding, Observer, ProbeOutcome, Role};
use crate::gate::{self, Question};
use crate::id::NodeName;
use crate::ladder::{self, Next};
use crate::ledger::Incident;
use crate::plan::{Situation, plan};
use crate::policy::step::StepKind;
use crate::policy::{Mode, Policy};
use crate::record::{Diagnosis, Record, Rung, Waiting};
use crate::saga;
use crate::time::Tick;
use crate::world::NodeFacts;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One fact, as an operator reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactLine {
    /// `agent`, `lease`, `probe`, `provider`, `check`, …
    pub channel: String,
    /// Who saw it.
    pub vantage: String,
    /// What was seen.
    pub value: String,
    /// How long ago, milliseconds; `None`: never.
    pub age_ms: Option<u64>,
    /// Whether it still counts.
    pub fresh: bool,
}

/// A yes or no, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Of a rung or a gate.
    pub name: String,
    /// Rung: it would be taken. Gate: it is open.
    pub yes: bool,
    /// Why.
    pub why: String,
}

/// All about one node's standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Which node.
    pub node: NodeName,
    /// What the facts, together, say.
    pub diagnosis: Diagnosis,
    /// The facts it rests on, in words.
    pub evidence: Vec<String>,
    /// Every channel.
    pub facts: Vec<FactLine>,
    /// Each rung: taken or not, and why.
    pub rungs: Vec<Answer>,
    /// Each gate of the next disruptive step: open or not, and why.
    pub gates: Vec<Answer>,
    /// What it waits for.
    pub waiting: Vec<Waiting>,
    /// When it looks again at the latest; `None`: when something changes.
    pub next_look: Option<Tick>,
}

/// Explains one node. `None`: the inventory does not have it.
#[must_use]
pub fn explain(situation: &Situation<'_>, node: &NodeName) -> Option<Explanation> {
    let all = assess(situation);
    let seen = all.nodes.get(node)?;
    let mut plan = plan(situation);
    let part = plan.nodes.remove(node)?;
    // Without an incident the question is what would stand before an act, were one opened now.
    let incident = match situation.ledger.open_incident(node) {
        Some(open) => open.clone(),
        None => imagined(situation, node, seen)?,
    };
    let policy = all.policy(situation, node);
    let next = next_rung(policy, seen, &incident);
    Some(Explanation {
        node: node.clone(),
        diagnosis: seen.diagnosis,
        evidence: seen.evidence.clone(),
        facts: facts(situation, node, seen),
        rungs: rungs(policy, seen, &incident),
        gates: gates(situation, &all, seen, &incident, next.as_ref()),
        waiting: part.waiting,
        next_look: plan.next_wake,
    })
}

fn imagined(s: &Situation<'_>, node: &NodeName, seen: &Assessment) -> Option<Incident> {
    Incident::opened_by(
        s.now,
        &Record::IncidentOpened {
            incident: s.ledger.next_incident(node),
            node: node.clone(),
            since: s.now,
            diagnosis: seen.diagnosis,
            evidence: Vec::new(),
        },
    )
}

fn next_rung(policy: &Policy, seen: &Assessment, incident: &Incident) -> Option<Rung> {
    if let Some(running) = incident.running() {
        return Some(running.rung.clone());
    }
    match ladder::next(policy, seen, incident) {
        Next::Take { rung, .. } => Some(rung),
        Next::Tell { .. } | Next::Exhausted { .. } | Next::Nothing => None,
    }
}

fn gates(
    s: &Situation<'_>,
    all: &Assessments,
    node: &Assessment,
    incident: &Incident,
    next: Option<&Rung>,
) -> Vec<Answer> {
    let first = node_first(all.policy(s, &incident.node), node);
    let rung = next.unwrap_or(&first);
    let question = Question {
        situation: s,
        all,
        node,
        policy: all.policy(s, &incident.node),
        incident,
        rung,
        since: incident.running().map_or(incident.diagnosed, |r| r.started),
        claimed: None,
    };
    gate::answers(&question)
        .into_iter()
        .map(|(name, closed)| Answer {
            name: format!("{rung}: {name}"),
            yes: closed.is_none(),
            why: closed.map_or_else(|| "open".to_owned(), |why| why.to_string()),
        })
        .collect()
}

/// The rung whose gates are of interest when none is next: the first of its ladder.
fn node_first(policy: &Policy, node: &Assessment) -> Rung {
    let first = policy.steps(node.diagnosis).first().map(|t| t.kind);
    match first {
        Some(StepKind::Start) => Rung::Start,
        Some(StepKind::Rescue) => Rung::Rescue,
        Some(StepKind::Recreate) => Rung::Recreate,
        Some(StepKind::Fix | StepKind::Reboot | StepKind::Page) | None => Rung::Reboot,
    }
}

fn rungs(policy: &Policy, seen: &Assessment, incident: &Incident) -> Vec<Answer> {
    let next = ladder::next(policy, seen, incident);
    let mut all: Vec<Rung> = incident.rungs.iter().map(|r| r.rung.clone()).collect();
    if let Next::Take { rung, .. } = &next {
        all.push(rung.clone());
    }
    all.extend([Rung::Start, Rung::Reboot]);
    // Most ladders do without it: of those nobody asks.
    let steps = policy.steps(seen.diagnosis);
    all.extend(
        steps
            .iter()
            .any(|t| t.kind == StepKind::Rescue)
            .then_some(Rung::Rescue),
    );
    all.extend([Rung::Recreate, Rung::Page]);
    let mut answers: Vec<Answer> = Vec::new();
    for rung in all {
        let name = rung.to_string();
        if !answers.iter().any(|a| a.name == name) {
            let (yes, why) = why(policy, &rung, &next, seen, incident);
            answers.push(Answer { name, yes, why });
        }
    }
    answers
}

fn why(
    policy: &Policy,
    rung: &Rung,
    next: &Next,
    seen: &Assessment,
    incident: &Incident,
) -> (bool, String) {
    let mode = match policy.mode(seen.diagnosis, rung) {
        Mode::Observe => " (the policy only observes it)",
        Mode::Approve => " (after a person's yes)",
        Mode::Auto => "",
    };
    if incident.running().is_some_and(|r| &r.rung == rung) {
        return (true, format!("it is being taken{mode}"));
    }
    match next {
        Next::Take { rung: chosen, why } if chosen == rung => {
            return (true, format!("{why}{mode}"));
        }
        Next::Tell { why } | Next::Exhausted { why } if *rung == Rung::Page => {
            return (true, why.clone());
        }
        Next::Take { .. } | Next::Tell { .. } | Next::Exhausted { .. } | Next::Nothing => {}
    }
    (false, why_not(policy, rung, seen, incident))
}

fn why_not(policy: &Policy, rung: &Rung, seen: &Assessment, incident: &Incident) -> String {
    let kind = StepKind::of(rung);
    let steps = policy.steps(seen.diagnosis);
    let place = steps.iter().position(|t| t.kind == kind);
    let taken = incident.rungs.iter().rev().find(|r| &r.rung == rung);
    if let Some((_, result)) = taken.and_then(|r| r.ended) {
        return format!("it was taken: {result}");
    }
    if kind == StepKind::Recreate && seen.role == Role::Server {
        return "a server node never goes past a reboot by itself".into();
    }
    if kind.is_power() && seen.machine == Machine::NoProvider {
        return "this node has no provider".into();
    }
    match place {
        Some(n) => format!(
            "rung {} of {} for {}: its turn comes when the ones before did not help",
            n.saturating_add(1),
            steps.len(),
            seen.diagnosis
        ),
        None if *rung == Rung::Page && steps.is_empty() => "nothing to tell now".into(),
        None if *rung == Rung::Page => "when no rung is left".into(),
        None => format!("not the answer to {}", seen.diagnosis),
    }
}

fn facts(s: &Situation<'_>, name: &NodeName, seen: &Assessment) -> Vec<FactLine> {
    let nothing = NodeFacts::default();
    let facts = s.world.nodes.get(name).unwrap_or(&nothing);
    let line = |channel: &str, vantage: &str, value: String, at: Option<Tick>, fresh_secs: u64| {
        let age = at.map(|at| s.now.since(at));
        FactLine {
            channel: channel.into(),
            vantage: vantage.into(),
            value,
            age_ms: age.map(|a| u64::try_from(a.as_millis()).unwrap_or(u64::MAX)),
            fresh: age.is_some_and(|a| a < Duration::from_secs(fresh_secs)),
        }
    };
    let p = s.policy;
    let mut all = vec![
        line(
            "agent",
            "controller",
            evidence::agent(&seen.agent).into(),
            facts.heartbeat,
            p.agent_gone_secs,
        ),
        line(
            "lease",
            "kubernetes",
            evidence::lease(&seen.lease),
            facts.kube.as_ref().map(|k| k.at),
            p.lease_stale_secs,
        ),
        line(
            "provider",
            "provider",
            evidence::machine(&seen.machine),
            facts.machine.as_ref().map(|m| m.at),
            p.machine_fresh_secs,
        ),
    ];
    all.extend(standing(s, name, seen));
    for (observer, probed) in &facts.probes {
        let vantage = match observer {
            Observer::Controller => "controller",
            Observer::Node(node) => node.as_str(),
        };
        let met: Vec<String> = probed
            .value
            .iter()
            .map(|r| format!("{} {}", r.kind, outcome(r.outcome)))
            .collect();
        all.push(line(
            "probe",
            vantage,
            met.join(", "),
            Some(probed.at),
            p.probe_fresh_secs,
        ));
    }
    for (plugin, run) in &facts.plugins {
        let value = match &run.value.fault {
            Some(fault) => format!("the plugin is broken ({}): {}", fault.class, fault.message),
            None => worst(&run.value.findings),
        };
        all.push(line(
            "check",
            plugin,
            value,
            Some(run.at),
            p.finding_fresh_secs,
        ));
    }
    all
}

/// What holds for as long as nobody takes it back: clock, owner's word, cordon, what it shares with others, what was left behind.
fn standing(s: &Situation<'_>, name: &NodeName, seen: &Assessment) -> Vec<FactLine> {
    let facts = s.world.nodes.get(name);
    let line = |channel: &str, vantage: &str, value: String, at: Option<Tick>| FactLine {
        channel: channel.into(),
        vantage: vantage.into(),
        value,
        age_ms: at.map(|at| u64::try_from(s.now.since(at).as_millis()).unwrap_or(u64::MAX)),
        fresh: true,
    };
    let mut all = Vec::new();
    if let Some(off) = seen.skew_secs {
        let value = format!("off by {off} s: its word about others does not count");
        let at = facts.and_then(|f| f.heartbeat);
        all.push(line("clock", "controller", value, at));
    }
    if let Some(kube) = facts.and_then(|f| f.kube.as_ref()) {
        if let Some(reason) = &kube.value.opt_out {
            let value = format!("opted out of repairs: {reason}");
            all.push(line("opt-out", "kubernetes", value, Some(kube.at)));
        }
        if kube.value.unschedulable {
            all.push(line(
                "cordon",
                "kubernetes",
                "cordoned".into(),
                Some(kube.at),
            ));
        }
    }
    let spec = s.inventory.nodes.get(name);
    for (key, value) in spec.iter().flat_map(|n| &n.domains) {
        all.push(line(
            "domain",
            "inventory",
            format!("{key}={value}"),
            Some(s.now),
        ));
    }
    let incident = s.ledger.open_incident(name);
    for left in incident.map(saga::left_behind).unwrap_or_default() {
        all.push(line(
            "left-behind",
            "journal",
            left,
            incident.map(|i| i.opened),
        ));
    }
    all
}

fn worst(findings: &[Finding]) -> String {
    match findings.iter().max_by_key(|f| f.severity) {
        Some(f) => format!("{}: {}", f.code, f.summary),
        None => "no findings".into(),
    }
}

fn outcome(met: ProbeOutcome) -> &'static str {
    match met {
        ProbeOutcome::Reached => "reached",
        ProbeOutcome::Refused => "refused",
        ProbeOutcome::Timeout => "timeout",
        ProbeOutcome::Unreachable => "unreachable",
        ProbeOutcome::Error => "not probed",
    }
}
