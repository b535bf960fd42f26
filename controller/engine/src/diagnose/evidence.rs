//! The channels of one node, in words that do not change while nothing changes.

use crate::diagnose::channel::{Agent, Lease, Machine};
use crate::diagnose::{Assessment, SELF_HEALTH_MAX};
use crate::fact::MachineState;

pub(super) fn words(node: &Assessment) -> Vec<String> {
    let mut all = vec![agent(&node.agent).to_owned(), lease(&node.lease)];
    if let Some(off) = node.skew_secs {
        all.push(format!("its clock is off by {off} s"));
    }
    if node.self_health > SELF_HEALTH_MAX {
        all.push(format!(
            "its agent calls itself unfit ({} of 8)",
            node.self_health
        ));
    }
    let asked = node.reach.reached.saturating_add(node.reach.silent);
    // Silence met before its agent came up again is no news.
    let outdated = matches!(node.agent, Agent::Up { .. })
        && node.reach.reached == 0
        && node.unheard_since.is_none();
    if asked > 0 && !outdated {
        all.push(format!(
            "reached by {} of {asked} observers{}",
            node.reach.reached,
            if node.reach.controller_silent {
                ", not by the controller"
            } else {
                ""
            }
        ));
    }
    all.push(machine(&node.machine));
    for fault in &node.faults {
        all.push(format!(
            "{} says {}: {}",
            fault.plugin, fault.code, fault.summary
        ));
    }
    all.extend(node.doubts.iter().cloned());
    all
}

pub(crate) fn agent(agent: &Agent) -> &'static str {
    match agent {
        Agent::Up { .. } => "agent up",
        Agent::Lapsed => "agent's session just ended",
        Agent::Gone { seen: true, .. } => "agent gone",
        Agent::Gone { seen: false, .. } => "agent not seen since the controller started",
        Agent::Unknown => "agent not seen yet",
    }
}

pub(crate) fn lease(lease: &Lease) -> String {
    match lease {
        Lease::Absent => "no cluster configured".into(),
        Lease::Fresh => "lease fresh".into(),
        Lease::NotReady { .. } => "lease fresh, node not Ready".into(),
        Lease::Stale { ready: false, .. } => "lease stale".into(),
        Lease::Stale { ready: true, .. } => {
            "lease stale (Ready still says True: latched, and no sign of life)".into()
        }
        Lease::Missing => "no Node object".into(),
        Lease::Young => "lease not seen for long enough".into(),
        Lease::Unknown { why } => format!("lease unknown: {why}"),
    }
}

pub(crate) fn machine(machine: &Machine) -> String {
    match machine {
        Machine::NoProvider => "no provider".into(),
        Machine::Unasked => "provider not asked lately".into(),
        Machine::Unknown { class, message } => format!("provider unknown ({class}): {message}"),
        Machine::Known { state, busy } => {
            let word = state_word(state);
            match busy {
                Some(what) => format!("provider says {word}, busy: {what}"),
                None => format!("provider says {word}"),
            }
        }
    }
}

fn state_word(state: &MachineState) -> String {
    match state {
        MachineState::Running => "running".into(),
        MachineState::Stopped => "stopped".into(),
        MachineState::Changing(what) => format!("changing ({what})"),
        MachineState::Blocked(what) => format!("blocked ({what})"),
        MachineState::Recovery => "in its rescue image".into(),
    }
}
