//! Gates: reasons why a disruptive effect may not happen now. Each is a small pure function; all of them are asked, so that an operator
//! sees every reason at once.

mod data;
mod neighbours;
mod quota;

use crate::diagnose::channel::{Agent, Lease, Machine};
use crate::diagnose::reach::reach;
use crate::diagnose::{Assessment, Assessments};
use crate::fact::{MachineState, Observer, Role};
use crate::id::EffectId;
use crate::ledger::Incident;
use crate::plan::Situation;
use crate::policy::step::{StepKind, Terms};
use crate::policy::window;
use crate::policy::{Mode, Policy};
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
    /// The policy that holds for it.
    pub policy: &'a Policy,
    /// Its incident.
    pub incident: &'a Incident,
    /// Which rung.
    pub rung: &'a Rung,
    /// Facts must be newer than this: the moment of the decision, or of the last preparation.
    pub since: Tick,
    /// A disruptive effect that this very plan begins on another node.
    pub claimed: Option<&'a EffectId>,
}

impl Question<'_> {
    fn terms(&self) -> Terms {
        let kind = StepKind::of(self.rung);
        self.policy.terms(self.incident.diagnosis, kind)
    }

    /// The provider's word must be newer than this in the end: a wipe may have waited long for its turn, and what held before that may
    /// hold no more.
    pub(crate) fn asked_after(&self) -> Tick {
        let fresh = Duration::from_secs(self.policy.probe_fresh_secs);
        if *self.rung == Rung::Recreate {
            self.since.max(self.situation.now.before(fresh))
        } else {
            self.since
        }
    }

    /// The machine answers somebody, or its agent speaks: whatever is done to it takes something away that still works.
    fn answers(&self) -> bool {
        matches!(self.node.agent, Agent::Up { .. }) || self.node.reach.reached > 0
    }
}

/// One gate's answer; `None`: open.
pub type Answer = (&'static str, Option<Waiting>);

/// At least so long, or the policy's `silence_secs` if that is less, lies between the last word of a machine's agent, or the moment from
/// which this controller listens, and its wipe.
const WIPE_SILENCE: Duration = Duration::from_secs(90);

type Gate = fn(&Question<'_>) -> Option<Waiting>;

/// So few other observers that a quorum may be all but one of them.
const FEW_OBSERVERS: usize = 5;

const ALWAYS: [(&str, Gate); 12] = [
    ("journal", journal),
    ("pause", paused),
    ("opt-out", opt_out),
    ("denied", denied),
    ("observe", observe),
    ("approval", approval),
    ("window", repair_window),
    ("cooldown", quota::cooldown),
    ("in-flight", neighbours::in_flight),
    ("cut-off", neighbours::cut_off),
    ("storm", neighbours::storm),
    ("canary", neighbours::canary),
];
const FIX: [(&str, Gate); 1] = [("fix-budget", quota::fix_budget)];
const POWER: [(&str, Gate); 2] = [("provider", provider), ("fresh-provider", fresh_machine)];
const GROUNDS: [(&str, Gate); 5] = [
    ("fresh-probes", fresh_probes),
    ("quorum", quorum),
    ("lasting-silence", lasting_silence),
    ("silent-kubelet", silent_kubelet),
    ("boots", boots),
];
const SWITCH: [(&str, Gate); 1] = [("reboot-budget", quota::reboot_budget)];
const REBOOT: [(&str, Gate); 3] = [
    ("lost-by-kubernetes", lost_by_kubernetes),
    ("disruption", neighbours::disruption),
    ("etcd-quorum", neighbours::etcd_quorum),
];
const RESCUE: [(&str, Gate); 2] = [
    ("control-plane", control_plane),
    ("secret-store", data::secret_store),
];
const RECREATE: [(&str, Gate); 5] = [
    ("control-plane", control_plane),
    ("kubernetes", data::kubernetes),
    ("local-data", data::local_data),
    ("secret-store", data::secret_store),
    ("recreate-budget", quota::recreate_budget),
];

/// Every gate that stands before this rung, with its answer.
#[must_use]
pub fn answers(q: &Question<'_>) -> Vec<Answer> {
    let mut gates: Vec<(&'static str, Gate)> = ALWAYS.to_vec();
    match q.rung {
        Rung::Page => return Vec::new(),
        Rung::Fix(_) => gates.extend(FIX),
        Rung::Start => {
            gates.extend(POWER);
            gates.extend(SWITCH);
        }
        Rung::Reboot => {
            gates.extend(POWER);
            gates.extend(GROUNDS);
            gates.extend(SWITCH);
            gates.extend(REBOOT);
        }
        Rung::Rescue => {
            gates.extend(POWER);
            gates.extend(GROUNDS);
            gates.extend(SWITCH);
            gates.extend(RESCUE);
        }
        Rung::Recreate => {
            gates.extend(POWER);
            gates.extend(GROUNDS);
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
    let mut closed: Vec<Waiting> = answers(q).into_iter().filter_map(|(_, why)| why).collect();
    if closed.is_empty() && *q.rung == Rung::Recreate {
        closed.extend(machine_asked(q, q.asked_after()));
    }
    closed
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

/// The owner's word stands until Kubernetes shows that it was taken back, however old it is.
fn opt_out(q: &Question<'_>) -> Option<Waiting> {
    let facts = q.situation.world.nodes.get(&q.incident.node)?;
    let reason = facts.kube.as_ref()?.value.opt_out.clone()?;
    Some(Waiting::OptOut { reason })
}

fn denied(q: &Question<'_>) -> Option<Waiting> {
    (q.incident.decision(q.rung) == Some(false)).then(|| Waiting::Denied {
        rung: q.rung.clone(),
    })
}

fn observe(q: &Question<'_>) -> Option<Waiting> {
    (q.terms().mode == Mode::Observe).then(|| Waiting::ObserveOnly {
        rung: q.rung.clone(),
    })
}

/// A person is asked by policy, and whenever what holds the rung is theirs to decide.
fn approval(q: &Question<'_>) -> Option<Waiting> {
    let theirs = || {
        let recreate = *q.rung == Rung::Recreate;
        (recreate && (data::local_data(q).is_some() || quota::cooldown(q).is_some()))
            || (*q.rung == Rung::Reboot && neighbours::etcd_quorum(q).is_some())
    };
    let wanted = q.terms().mode == Mode::Approve || theirs();
    (wanted && q.incident.decision(q.rung) != Some(true)).then(|| Waiting::Approval {
        rung: q.rung.clone(),
    })
}

fn repair_window(q: &Question<'_>) -> Option<Waiting> {
    let kind = StepKind::of(q.rung);
    let until = window::wait_for(&q.policy.windows, kind, q.situation.now)?;
    Some(Waiting::Window {
        rung: q.rung.clone(),
        until,
    })
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
        Machine::Unknown { class, message } => {
            let unknown = || Waiting::ProviderUnknown {
                class: class.clone(),
                message: message.clone(),
            };
            Some(outage(q).unwrap_or_else(unknown))
        }
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

fn outage(q: &Question<'_>) -> Option<Waiting> {
    let spec = q.situation.inventory.nodes.get(&q.incident.node)?;
    let (provider, _) = spec.machine.as_ref()?;
    q.all.outages.get(provider).cloned()
}

fn fresh_machine(q: &Question<'_>) -> Option<Waiting> {
    machine_asked(q, q.since)
}

fn machine_asked(q: &Question<'_>, after: Tick) -> Option<Waiting> {
    let facts = q.situation.world.nodes.get(&q.incident.node);
    let seen = facts.and_then(|f| f.machine.as_ref());
    let fresh = seen.is_some_and(|m: &Seen<_>| m.at > after);
    (!fresh).then(|| Waiting::FreshFacts {
        channel: "provider".into(),
    })
}

/// A powered-off machine needs no probes: the provider's word is certain, unless somebody hears it all the same.
fn is_off(q: &Question<'_>) -> bool {
    let stopped = matches!(
        &q.node.machine,
        Machine::Known {
            state: MachineState::Stopped,
            busy: None
        }
    );
    stopped && !q.answers()
}

fn fresh_probes(q: &Question<'_>) -> Option<Waiting> {
    let newer = Tick(q.since.0.saturating_add(1));
    let again = reach(
        q.situation,
        &q.incident.node,
        &q.all.healthy_observers,
        newer,
    );
    // One answer already says that a machine is not silent; that everybody reaches it takes everybody's word anew.
    let alive = *q.rung == Rung::Reboot && q.answers();
    let fresh = if alive {
        again.is_chorus() && again.reached >= q.policy.quorum.max(1)
    } else {
        again.reached > 0 || (again.is_silence(q.policy.quorum) && all_have_spoken(q, newer))
    };
    (!fresh && !is_off(q)).then(|| Waiting::FreshFacts {
        channel: "probes".into(),
    })
}

/// Where observers are few, each one's word may be the one that the machine answers: it is waited for, but not for ever.
fn all_have_spoken(q: &Question<'_>, newer: Tick) -> bool {
    let s = q.situation;
    let patience = Duration::from_secs(q.policy.probe_fresh_secs.saturating_mul(2));
    let others = || {
        q.all
            .healthy_observers
            .iter()
            .filter(|name| **name != q.incident.node)
    };
    if s.now.since(newer) >= patience || others().count() > FEW_OBSERVERS {
        return true;
    }
    let facts = s.world.nodes.get(&q.incident.node);
    others().all(|name| {
        let word = facts.and_then(|f| f.probes.get(&Observer::Node(name.clone())));
        word.is_some_and(|seen| seen.at >= newer)
    })
}

/// Enough observers say the same: silence before a recreate; before a reboot silence, or all of them an answer.
fn quorum(q: &Question<'_>) -> Option<Waiting> {
    let need = q.policy.quorum.max(1);
    let reach = &q.node.reach;
    let alive = *q.rung == Rung::Reboot && q.answers();
    let agree = if alive {
        reach.is_chorus() && reach.reached >= need
    } else {
        reach.is_silence(need)
    };
    let have = match (alive, reach.reached > 0) {
        (true, _) => reach.reached,
        (false, true) => 0,
        (false, false) => reach.silent,
    };
    (!agree && !is_off(q)).then_some(Waiting::Quorum { have, need })
}

/// A machine that still answers is rebooted only when Kubernetes, by a fresh word, has lost it.
fn lost_by_kubernetes(q: &Question<'_>) -> Option<Waiting> {
    if !q.answers() {
        return None;
    }
    match &q.node.lease {
        Lease::Stale { .. } => None,
        Lease::Unknown { why } => Some(Waiting::KubeUnknown { why: why.clone() }),
        Lease::Absent | Lease::Fresh | Lease::NotReady { .. } | Lease::Missing | Lease::Young => {
            Some(Waiting::FreshFacts {
                channel: "a stale lease: it answers, and Kubernetes has not lost it".into(),
            })
        }
    }
}

/// What answered a probe a moment ago and is silent to all now may only be hard to hear: where answers are lost, a few in a row say little.
/// And nothing is wiped whose agent spoke a moment ago, however hasty the policy is.
fn lasting_silence(q: &Question<'_>) -> Option<Waiting> {
    let s = q.situation;
    let facts = s.world.nodes.get(&q.incident.node)?;
    if *q.rung == Rung::Recreate {
        let spoke = facts.heartbeat.unwrap_or(s.world.since);
        let long = WIPE_SILENCE.min(Duration::from_secs(q.policy.silence_secs));
        let until = spoke.after(long);
        if s.now < until {
            let of = "its agent spoke not long ago".into();
            return Some(Waiting::Patience { until, of });
        }
    }
    let answered = facts.answered?;
    let until = answered.after(Duration::from_secs(q.policy.silence_secs));
    let fade = Duration::from_secs(q.policy.probe_fresh_secs);
    let rescue = q.incident.was_rescue(answered, fade);
    (!q.answers() && !rescue && s.now < until).then(|| Waiting::Patience {
        until,
        of: "it answered a probe not long ago".into(),
    })
}

/// A lease that changed lately was renewed by something that lives, whatever is thought of the others' leases.
fn silent_kubelet(q: &Question<'_>) -> Option<Waiting> {
    let s = q.situation;
    let facts = s.world.nodes.get(&q.incident.node)?;
    let kube = &facts.kube.as_ref()?.value;
    let until = kube
        .lease_changed?
        .after(Duration::from_secs(s.policy.lease_stale_secs));
    let held = s.inventory.has_cluster && kube.exists && !q.answers() && s.now < until;
    held.then(|| Waiting::Patience {
        until,
        of: "its lease was renewed not long ago".into(),
    })
}

/// It was off until a moment ago: whoever powered it on, it has its time to boot.
fn boots(q: &Question<'_>) -> Option<Waiting> {
    let wait = Duration::from_secs(q.policy.reboot_wait_secs);
    let until = q.incident.on?.after(wait);
    let held = *q.rung != Rung::Rescue && q.situation.now < until;
    held.then(|| Waiting::Patience {
        until,
        of: "it was powered off a moment ago, and boots".into(),
    })
}

fn control_plane(q: &Question<'_>) -> Option<Waiting> {
    (q.node.role == Role::Server).then_some(Waiting::ControlPlane)
}
