//! What a policy would do, diagnosis by diagnosis: for `iaso policy check`, before anything is wrong.

use crate::fact::{Inventory, NodeSpec, Role};
use crate::policy::step::{StepKind, Terms, Verify};
use crate::policy::{Mode, Override, Policy};
use crate::record::Diagnosis;
use serde::Serialize;

/// The diagnoses that may have rungs, in the order in which an operator reads them.
pub const WITH_RUNGS: [Diagnosis; 6] = [
    Diagnosis::CheckFailing,
    Diagnosis::NotReady,
    Diagnosis::K3sAgentDown,
    Diagnosis::Hung,
    Diagnosis::Isolated,
    Diagnosis::PoweredOff,
];

/// The diagnoses that no rung mends.
pub const ONLY_TOLD: [Diagnosis; 9] = [
    Diagnosis::AgentLost,
    Diagnosis::PartialPartition,
    Diagnosis::Flapping,
    Diagnosis::ProviderTrouble,
    Diagnosis::ProviderUnknown,
    Diagnosis::GoneNoProvider,
    Diagnosis::NeverJoined,
    Diagnosis::Storm,
    Diagnosis::ControllerCutOff,
];

/// One diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// Of which diagnosis.
    pub diagnosis: Diagnosis,
    /// What is done, in order, in words. Empty: a person is told at once.
    pub steps: Vec<String>,
    /// Rungs of the ladder that this node does not get, and why.
    pub left_out: Vec<String>,
    /// Where the runbook is.
    pub runbook: String,
}

/// What would be done for one node, on the policy that holds for it; `None`: a worker with a provider.
#[must_use]
pub fn outlook(policy: &Policy, node: Option<&NodeSpec>) -> Vec<Outlook> {
    let rungs = WITH_RUNGS.iter().map(|d| one(policy, node, *d));
    let told = ONLY_TOLD.iter().map(|d| Outlook {
        diagnosis: *d,
        steps: Vec::new(),
        left_out: Vec::new(),
        runbook: policy.runbook(*d),
    });
    rungs.chain(told).collect()
}

fn one(policy: &Policy, node: Option<&NodeSpec>, diagnosis: Diagnosis) -> Outlook {
    let (mut steps, mut left_out) = (Vec::new(), Vec::new());
    for terms in policy.steps(diagnosis) {
        let no = node.and_then(|n| not_for(n, terms.kind));
        match no {
            Some(why) => left_out.push(format!("{}: {why}", terms.kind)),
            None => steps.push(words(policy, &terms)),
        }
    }
    Outlook {
        diagnosis,
        steps,
        left_out,
        runbook: policy.runbook(diagnosis),
    }
}

/// Why a node never gets a rung, whatever the policy says.
#[must_use]
pub fn not_for(node: &NodeSpec, kind: StepKind) -> Option<&'static str> {
    if kind.is_power() && node.machine.is_none() {
        Some("this node has no provider")
    } else if kind == StepKind::Recreate && node.role == Role::Server {
        Some("a server node is never recreated")
    } else if kind == StepKind::Rescue && node.role == Role::Server {
        Some("a server node never goes past a reboot")
    } else {
        None
    }
}

fn words(policy: &Policy, t: &Terms) -> String {
    let mode = match t.mode {
        Mode::Observe => "recorded only",
        Mode::Approve => "after a person's yes",
        Mode::Auto => "by itself",
    };
    let mut all = vec![mode.to_owned()];
    all.push(match (t.kind, t.attempts) {
        (StepKind::Fix, n) => format!("each remedy {n} times at most"),
        (_, 1) => "once".into(),
        (_, n) => format!("{n} times at most"),
    });
    if t.after_secs > 0 {
        all.push(format!(
            "not before it has stood for {}",
            span(t.after_secs)
        ));
    }
    if t.cooldown_secs > 0 {
        all.push(format!(
            "not within {} of the last one",
            span(t.cooldown_secs)
        ));
    }
    all.push(format!("{} to help", span(t.wait_secs)));
    if t.verify == Verify::Ready {
        all.push("enough when Kubernetes says Ready".into());
    }
    let windows: Vec<String> = policy
        .windows
        .iter()
        .filter(|w| w.rungs.contains(&t.kind))
        .map(ToString::to_string)
        .collect();
    if !windows.is_empty() {
        all.push(format!("only {}", windows.join(" or ")));
    }
    format!("{}: {}", t.kind, all.join(", "))
}

/// The word of one role or node: what held before it, and what holds with it.
#[derive(Debug, Clone)]
pub struct Said<'a> {
    /// `role server`, `node styx`.
    pub of: String,
    /// Its role, where that is known.
    pub role: Option<Role>,
    /// The word.
    pub word: &'a Override,
    /// Without it. Of a node whose role is not known, its role's word is left out.
    pub before: Policy,
    /// With it.
    pub after: Policy,
}

/// What a policy says of single roles and nodes.
#[must_use]
pub fn said<'a>(policy: &'a Policy, inventory: Option<&Inventory>) -> Vec<Said<'a>> {
    let plain = Policy {
        roles: std::collections::BTreeMap::new(),
        nodes: std::collections::BTreeMap::new(),
        ..policy.clone()
    };
    let with = |role: Option<Role>, before: &Policy| {
        let mut merged = before.clone();
        if let Some(word) = role.and_then(|role| policy.roles.get(&role)) {
            word.apply(&mut merged);
        }
        merged
    };
    let roles = policy.roles.iter().map(|(role, word)| Said {
        of: match role {
            Role::Server => "role server".into(),
            Role::Worker => "role worker".into(),
        },
        role: Some(*role),
        word,
        before: plain.clone(),
        after: with(Some(*role), &plain),
    });
    let nodes = policy.nodes.iter().map(|(node, word)| {
        let role = inventory.and_then(|i| i.nodes.get(node)).map(|n| n.role);
        let before = with(role, &plain);
        let mut after = before.clone();
        word.apply(&mut after);
        Said {
            of: format!("node {node}"),
            role,
            word,
            before,
            after,
        }
    });
    roles.chain(nodes).collect()
}

/// `90 s`, `5 min`, `20 h`, `7 days`: the largest unit that says it exactly.
#[must_use]
pub fn span(secs: u64) -> String {
    for (unit, name) in [(86_400, "days"), (3_600, "h"), (60, "min")] {
        if secs >= 2 * unit && secs.is_multiple_of(unit) {
            return format!("{} {name}", secs / unit);
        }
    }
    format!("{secs} s")
}
