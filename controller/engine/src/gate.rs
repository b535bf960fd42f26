//! Gates: reasons why a disruptive effect may not happen now. Each is a small pure function; all of them are asked, so that an operator
//! sees every reason at once.

use crate::diagnose::channel::{Lease, Machine};
use crate::diagnose::reach::reach;
use crate::diagnose::{Assessment, Assessments};
use crate::fact::{MachineState, Role};
use crate::id::EffectId;
use crate::ledger::{Incident, Ledger, Standing};
use crate::plan::Situation;
use crate::policy::Mode;
use crate::record::{Rung, Waiting};
use crate::time::Tick;
use crate::world::Seen;
use std::time::Duration;

/// What is asked: may this rung act on this node now?
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Everything that a decision rests on.
    pub situation: &'a Situation<'a>,
    /// All nodes.
    pub all: &'a Assessments,
    /// This node.
    pub node: &'a Assessment,
    /// Its incident.
    pub incident: &'a Incident,
    /// Which rung.
    pub rung: &'a Rung,
    /// Facts must be newer than this: the moment of the decision, or of the last preparation.
    pub since: Tick,
    /// A disruptive effect that this very plan begins on another node.
    pub claimed: Option<&'a EffectId>,
}

/// One gate's answer; `None`: open.
pub type Answer = (&'static str, Option<Waiting>);

type Gate = fn(&Question<'_>) -> Option<Waiting>;

const ALWAYS: [(&str, Gate); 8] = [
    ("journal", journal),
    ("pause", paused),
    ("denied", denied),
    ("observe", observe),
    ("approval", approval),
    ("in-flight", in_flight),
    ("cut-off", cut_off),
    ("storm", storm),
];
const POWER: [(&str, Gate); 2] = [("provider", provider), ("fresh-provider", fresh_machine)];
const SILENCE: [(&str, Gate); 2] = [("fresh-probes", fresh_probes), ("quorum", quorum)];
const RECREATE: [(&str, Gate); 5] = [
    ("control-plane", control_plane),
    ("kubernetes", kubernetes),
    ("local-data", local_data),
    ("secret-store", secret_store),
    ("recreate-budget", recreate_budget),
];
const REBOOT: [(&str, Gate); 1] = [("reboot-budget", reboot_budget)];

/// Every gate that stands before this rung, with its answer.
#[must_use]
pub fn answers(q: &Question<'_>) -> Vec<Answer> {
    let mut gates: Vec<(&'static str, Gate)> = ALWAYS.to_vec();
    match q.rung {
        Rung::Page => return Vec::new(),
        Rung::Fix(_) => {}
        Rung::Start => gates.extend(POWER),
        Rung::Reboot => {
            gates.extend(POWER);
            gates.extend(SILENCE);
            gates.extend(REBOOT);
        }
        Rung::Recreate => {
            gates.extend(POWER);
            gates.extend(SILENCE);
            gates.extend(RECREATE);
        }
    }
    gates
        .into_iter()
        .map(|(name, gate)| (name, gate(q)))
        .collect()
}

/// The reasons of the closed ones.
#[must_use]
pub fn closed(q: &Question<'_>) -> Vec<Waiting> {
    answers(q).into_iter().filter_map(|(_, why)| why).collect()
}

fn journal(q: &Question<'_>) -> Option<Waiting> {
    let why = q.situation.world.store.clone()?;
    Some(Waiting::Journal { why })
}

fn paused(q: &Question<'_>) -> Option<Waiting> {
    let reason = q.situation.ledger.pause_reason(&q.incident.node)?;
    Some(Waiting::Paused {
        reason: reason.to_owned(),
    })
}

fn denied(q: &Question<'_>) -> Option<Waiting> {
    (q.incident.decision(q.rung) == Some(false)).then(|| Waiting::Denied {
        rung: q.rung.clone(),
    })
}

fn observe(q: &Question<'_>) -> Option<Waiting> {
    (q.situation.policy.mode(q.rung) == Mode::Observe).then(|| Waiting::ObserveOnly {
        rung: q.rung.clone(),
    })
}

fn approval(q: &Question<'_>) -> Option<Waiting> {
    let wanted = q.situation.policy.mode(q.rung) == Mode::Approve || local_data(q).is_some();
    (wanted && q.incident.decision(q.rung) != Some(true)).then(|| Waiting::Approval {
        rung: q.rung.clone(),
    })
}

fn in_flight(q: &Question<'_>) -> Option<Waiting> {
    let s = q.situation;
    let busy = s
        .ledger
        .disruptive_in_flight(s.policy, s.now)
        .map(|e| &e.effect)
        .find(|e| e.incident != q.incident.id)
        .map(|e| &e.id);
    let effect = q
        .claimed
        .or(busy)
        .or_else(|| mending(s.ledger, q).map(|e| &e.effect.id))?;
    Some(Waiting::InFlight {
        effect: effect.clone(),
    })
}

/// Another node is being mended: its power was cycled or its machine recreated, and it has not had its time to come back.
fn mending<'a>(ledger: &'a Ledger, q: &Question<'_>) -> Option<&'a crate::ledger::EffectState> {
    let patience = Duration::from_secs(q.situation.policy.rejoin_secs);
    let others = ledger.incidents.values().filter(|i| {
        i.id != q.incident.id && matches!(i.standing, Standing::Open) && i.running().is_some()
    });
    others
        .filter_map(|i| {
            i.effects_of(i.running()?)
                .rfind(|e| e.effect.action.is_disruptive())
        })
        .find(|e| {
            e.done()
                .is_some_and(|at| q.situation.now.since(at) < patience)
        })
}

fn cut_off(q: &Question<'_>) -> Option<Waiting> {
    q.all.cut_off.clone()
}

fn storm(q: &Question<'_>) -> Option<Waiting> {
    q.all.storm.clone()
}

fn provider(q: &Question<'_>) -> Option<Waiting> {
    match &q.node.machine {
        Machine::NoProvider => Some(Waiting::ProviderUnknown {
            class: "none".into(),
            message: "this node has no provider to ask".into(),
        }),
        Machine::Unasked => Some(Waiting::FreshFacts {
            channel: "provider".into(),
        }),
        Machine::Unknown { class, message } => Some(Waiting::ProviderUnknown {
            class: class.clone(),
            message: message.clone(),
        }),
        Machine::Known { state, busy } => match (state, busy) {
            (_, Some(what)) => Some(Waiting::ProviderBusy { what: what.clone() }),
            (MachineState::Blocked(what), None) => Some(Waiting::ProviderBusy {
                what: format!("it is blocked: {what}"),
            }),
            (MachineState::Recovery, None) => Some(Waiting::ProviderBusy {
                what: "it runs its rescue image".into(),
            }),
            (MachineState::Changing(what), None) => {
                Some(Waiting::ProviderBusy { what: what.clone() })
            }
            (MachineState::Running | MachineState::Stopped, None) => None,
        },
    }
}

fn fresh_machine(q: &Question<'_>) -> Option<Waiting> {
    let facts = q.situation.world.nodes.get(&q.incident.node);
    let seen = facts.and_then(|f| f.machine.as_ref());
    let fresh = seen.is_some_and(|m: &Seen<_>| m.at > q.since);
    (!fresh).then(|| Waiting::FreshFacts {
        channel: "provider".into(),
    })
}

/// A powered-off machine needs no probes: the provider's word is certain.
fn is_off(q: &Question<'_>) -> bool {
    matches!(
        &q.node.machine,
        Machine::Known {
            state: MachineState::Stopped,
            busy: None
        }
    )
}

fn fresh_probes(q: &Question<'_>) -> Option<Waiting> {
    let newer = Tick(q.since.0.saturating_add(1));
    let again = reach(
        q.situation,
        &q.incident.node,
        &q.all.healthy_observers,
        newer,
    );
    let fresh = again.reached > 0 || again.is_silence(q.situation.policy.quorum);
    (!fresh && !is_off(q)).then(|| Waiting::FreshFacts {
        channel: "probes".into(),
    })
}

fn quorum(q: &Question<'_>) -> Option<Waiting> {
    let need = q.situation.policy.quorum.max(1);
    let reach = &q.node.reach;
    (!reach.is_silence(need) && !is_off(q)).then_some(Waiting::Quorum {
        have: if reach.reached > 0 { 0 } else { reach.silent },
        need,
    })
}

fn control_plane(q: &Question<'_>) -> Option<Waiting> {
    (q.node.role == Role::Server).then_some(Waiting::ControlPlane)
}

fn kubernetes(q: &Question<'_>) -> Option<Waiting> {
    match &q.node.lease {
        Lease::Unknown { why } => Some(Waiting::KubeUnknown { why: why.clone() }),
        Lease::Young => Some(Waiting::KubeUnknown {
            why: "the lease was not watched for long enough".into(),
        }),
        Lease::Absent | Lease::Fresh | Lease::NotReady | Lease::Stale { .. } | Lease::Missing => {
            None
        }
    }
}

fn local_data(q: &Question<'_>) -> Option<Waiting> {
    let s = q.situation;
    let asked = *q.rung == Rung::Recreate && !s.policy.local_data_expendable;
    if !asked || q.incident.decision(q.rung) == Some(true) {
        return None;
    }
    let volumes = &s
        .world
        .nodes
        .get(&q.incident.node)?
        .kube
        .as_ref()?
        .value
        .local_data;
    (!volumes.is_empty()).then(|| Waiting::LocalData {
        volumes: volumes.clone(),
    })
}

fn secret_store(q: &Question<'_>) -> Option<Waiting> {
    let why = q.situation.world.secret_store.clone()?;
    Some(Waiting::SecretStore { why })
}

fn recreate_budget(q: &Question<'_>) -> Option<Waiting> {
    let limit = q.situation.policy.recreates_per_day;
    let used = q.situation.ledger.recreates_today(q.situation.now);
    (used >= usize::try_from(limit).unwrap_or(usize::MAX)).then(|| Waiting::Budget {
        what: format!("recreates in 24 hours in the cluster: {used} of {limit}"),
    })
}

fn reboot_budget(q: &Question<'_>) -> Option<Waiting> {
    let limit = q.situation.policy.reboots_per_day;
    let used = q
        .situation
        .ledger
        .reboots_today(&q.incident.node, q.situation.now);
    (used >= usize::try_from(limit).unwrap_or(usize::MAX)).then(|| Waiting::Budget {
        what: format!("reboots of this node in 24 hours: {used} of {limit}"),
    })
}
