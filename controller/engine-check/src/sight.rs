//! What is seen now, as the checker reads the world: plain, strict, and without the engine's words.

use crate::history::History;
use iaso_engine::fact::{KubeNode, MachineSeen, MachineState, Observer, ProbeOutcome, Ready};
use iaso_engine::id::NodeName;
use iaso_engine::plan::Situation;
use iaso_engine::time::Tick;
use iaso_engine::world::{AgentLink, NodeFacts};

pub(crate) fn age_secs(now: Tick, at: Tick) -> u64 {
    now.0.saturating_sub(at.0) / 1_000
}

fn last_word(facts: &NodeFacts) -> Option<Tick> {
    facts.heartbeat.or(facts.agent.as_ref().map(|a| a.at))
}

/// Its agent speaks.
pub(crate) fn is_up(s: &Situation<'_>, node: &NodeName) -> bool {
    let Some(facts) = s.world.nodes.get(node) else {
        return false;
    };
    let session = facts
        .agent
        .as_ref()
        .is_some_and(|a| matches!(a.value, AgentLink::Up { .. }));
    session && last_word(facts).is_some_and(|at| age_secs(s.now, at) < s.policy.agent_gone_secs)
}

/// When its agent's present session opened, if it has one.
pub(crate) fn session_since(s: &Situation<'_>, node: &NodeName) -> Option<Tick> {
    let agent = s.world.nodes.get(node)?.agent.as_ref()?;
    matches!(agent.value, AgentLink::Up { .. }).then_some(agent.at)
}

/// Its agent has been silent for as long as the policy asks; one never heard of, for as long as this controller has listened.
pub(crate) fn agent_silent(s: &Situation<'_>, node: &NodeName) -> bool {
    agent_silence_secs(s, node) >= s.policy.agent_gone_secs
}

/// For how long nothing was heard of its agent; of one never heard of, since this controller began to listen.
pub(crate) fn agent_silence_secs(s: &Situation<'_>, node: &NodeName) -> u64 {
    let spoke = s.world.nodes.get(node).and_then(last_word);
    age_secs(s.now, spoke.unwrap_or(s.world.since))
}

/// What Kubernetes says of a node, if the API server answers and said it lately.
pub(crate) fn kube<'a>(s: &Situation<'a>, node: &NodeName) -> Option<&'a KubeNode> {
    let fresh = |at: Tick| age_secs(s.now, at) < s.policy.lease_stale_secs;
    let api = s.world.kube_api.as_ref()?;
    let seen = s.world.nodes.get(node)?.kube.as_ref()?;
    (fresh(api.at) && api.value.is_none() && fresh(seen.at)).then_some(&seen.value)
}

/// Its kubelet renews the lease.
pub(crate) fn kubelet_renews(s: &Situation<'_>, node: &NodeName) -> bool {
    let lease = kube(s, node)
        .filter(|k| k.exists)
        .and_then(|k| k.lease_changed);
    s.inventory.has_cluster
        && lease.is_some_and(|at| age_secs(s.now, at) < s.policy.lease_stale_secs)
}

/// Its kubelet renews the lease and is Ready; without a cluster there is none to ask.
pub(crate) fn kubelet_ready(s: &Situation<'_>, node: &NodeName) -> bool {
    let ready = kube(s, node).is_some_and(|k| k.ready == Ready::True);
    !s.inventory.has_cluster || (ready && kubelet_renews(s, node))
}

/// Nodes that once spoke to this controller, or are known to Kubernetes, and how many of them have fallen silent.
pub(crate) fn lost(s: &Situation<'_>) -> (usize, usize) {
    let (mut lost, mut of) = (0_usize, 0_usize);
    for name in s.inventory.nodes.keys() {
        let facts = s.world.nodes.get(name);
        let spoke = facts.and_then(last_word);
        let in_cluster = facts
            .and_then(|f| f.kube.as_ref())
            .is_some_and(|k| k.value.exists);
        if spoke.is_none() && !in_cluster {
            continue;
        }
        of = of.saturating_add(1);
        // One that has not been heard yet has as long as one that was.
        if agent_silent(s, name) {
            lost = lost.saturating_add(1);
        }
    }
    (lost, of)
}

/// Silent on every channel for as long as the policy asks, and no person has it in hand.
pub(crate) fn is_dark(s: &Situation<'_>, history: &History, node: &NodeName) -> bool {
    let Some(facts) = s.world.nodes.get(node) else {
        return false;
    };
    let agent_silent =
        last_word(facts).is_some_and(|at| age_secs(s.now, at) >= s.policy.agent_gone_secs);
    let old = age_secs(s.now, s.world.since) >= s.policy.lease_stale_secs;
    let lease_silent = !s.inventory.has_cluster
        || facts
            .kube
            .as_ref()
            .is_some_and(|k| match k.value.lease_changed {
                Some(at) => age_secs(s.now, at) >= s.policy.lease_stale_secs,
                None => old,
            });
    agent_silent && lease_silent && !answers_anybody(s, node) && !history.is_parked(node)
}

/// Whether the controller's own probe reached this node lately.
pub(crate) fn controller_reaches(s: &Situation<'_>, node: &NodeName) -> bool {
    answers(s, node)
        .iter()
        .any(|(o, answered)| **o == Observer::Controller && *answered)
}

/// The machine answered somebody lately.
pub(crate) fn answers_anybody(s: &Situation<'_>, node: &NodeName) -> bool {
    answers(s, node).iter().any(|(_, answered)| *answered)
}

/// When it last answered a probe of this controller or of an agent.
pub(crate) fn answered(s: &Situation<'_>, node: &NodeName) -> Option<Tick> {
    s.world.nodes.get(node)?.answered
}

/// Silence met lately, and not before `after`, by live observers, and whether the controller is one.
pub(crate) fn silence(s: &Situation<'_>, node: &NodeName, after: Tick) -> (usize, bool) {
    let mut heard = answers(s, node);
    let probes = s.world.nodes.get(node).map(|f| &f.probes);
    heard.retain(|(observer, _)| {
        let at = probes.and_then(|p| p.get(observer)).map(|seen| seen.at);
        at.is_some_and(|at| at >= after)
    });
    let silent = heard
        .iter()
        .filter(|(observer, answered)| !answered && counts(s, node, observer));
    let all: Vec<&Observer> = silent.map(|(o, _)| *o).collect();
    (all.len(), all.contains(&&Observer::Controller))
}

/// The controller, and every other node that lives and is fit.
fn counts(s: &Situation<'_>, node: &NodeName, observer: &Observer) -> bool {
    match observer {
        Observer::Controller => true,
        Observer::Node(peer) => peer != node && is_up(s, peer) && is_fit(s, peer),
    }
}

/// Half unfit by its own word, or lost in time, is too unfit to accuse another.
fn is_fit(s: &Situation<'_>, node: &NodeName) -> bool {
    let Some(facts) = s.world.nodes.get(node) else {
        return false;
    };
    let skew_secs_max = s.policy.clock_skew_secs.saturating_mul(1_000);
    facts.self_health < 4 && facts.skew_ms.unsigned_abs() <= skew_secs_max
}

/// Observers whom the machine answered lately, and not before `after`; how many that count met silence; and whether the controller is
/// one of the first.
pub(crate) fn chorus(s: &Situation<'_>, node: &NodeName, after: Tick) -> (usize, usize, bool) {
    let probes = s.world.nodes.get(node).map(|f| &f.probes);
    let late = |observer: &Observer| {
        let at = probes.and_then(|p| p.get(observer)).map(|seen| seen.at);
        at.is_some_and(|at| at >= after)
    };
    let (mut answered, mut silent): (Vec<_>, Vec<_>) =
        answers(s, node).into_iter().partition(|(_, yes)| *yes);
    answered.retain(|(observer, _)| late(observer));
    let controller = answered.iter().any(|(o, _)| **o == Observer::Controller);
    silent.retain(|(observer, _)| {
        let accused = matches!(observer, Observer::Node(peer) if is_accused(s, peer));
        !accused && counts(s, node, observer)
    });
    (answered.len(), silent.len(), controller)
}

/// A check says critical of it, or Kubernetes that it is not well: what it does not see may be its own fault.
fn is_accused(s: &Situation<'_>, node: &NodeName) -> bool {
    let Some(facts) = s.world.nodes.get(node) else {
        return false;
    };
    let by_a_check = facts.plugins.values().any(|run| {
        age_secs(s.now, run.at) < s.policy.finding_fresh_secs.max(1)
            && run.value.critical_since.is_some()
    });
    let not_ready = kube(s, node).is_some_and(|k| k.exists && k.ready == Ready::False);
    by_a_check || not_ready || lost_by_kubernetes(s, node)
}

/// The API server answers, knows the node, and its lease has not changed for as long as the policy asks.
pub(crate) fn lost_by_kubernetes(s: &Situation<'_>, node: &NodeName) -> bool {
    let stale = s.policy.lease_stale_secs;
    let api = s.world.kube_api.as_ref();
    let api_well = api.is_some_and(|a| a.value.is_none() && age_secs(s.now, a.at) < stale);
    let seen = s.world.nodes.get(node).and_then(|f| f.kube.as_ref());
    let lost = seen.is_some_and(|k| {
        let since = k.value.lease_changed.unwrap_or(s.world.since);
        k.value.exists && age_secs(s.now, k.at) < stale && age_secs(s.now, since) >= stale
    });
    s.inventory.has_cluster && api_well && lost
}

/// A zone, an image or the like of this node of which two nodes and more than half are dark, if it is not the whole cluster.
pub(crate) fn dark_domain(
    s: &Situation<'_>,
    history: &History,
    node: &NodeName,
) -> Option<(String, usize, usize)> {
    let own = &s.inventory.nodes.get(node)?.domains;
    own.iter().find_map(|(key, value)| {
        let same = s.inventory.nodes.values();
        let same: Vec<_> = same.filter(|n| n.domains.get(key) == Some(value)).collect();
        let dark = same.iter().filter(|n| is_dark(s, history, &n.name)).count();
        let failing = dark >= 2
            && dark.saturating_mul(2) > same.len()
            && same.len() < s.inventory.nodes.len();
        failing.then(|| (format!("{key}={value}"), dark, same.len()))
    })
}

fn answers<'a>(s: &Situation<'a>, node: &NodeName) -> Vec<(&'a Observer, bool)> {
    let Some(facts) = s.world.nodes.get(node) else {
        return Vec::new();
    };
    let fresh = facts
        .probes
        .iter()
        .filter(|(_, seen)| age_secs(s.now, seen.at) < s.policy.probe_fresh_secs.max(1));
    fresh
        .filter_map(|(observer, seen)| {
            let mut tried = false;
            for probe in &seen.value {
                match probe.outcome {
                    ProbeOutcome::Reached | ProbeOutcome::Refused => return Some((observer, true)),
                    ProbeOutcome::Timeout | ProbeOutcome::Unreachable => tried = true,
                    ProbeOutcome::Error => {}
                }
            }
            tried.then_some((observer, false))
        })
        .collect()
}

/// The provider's word, if it is fresh, plain and says that nothing is going on. Else why not.
pub(crate) fn machine<'a>(s: &Situation<'a>, node: &NodeName) -> Result<&'a MachineState, String> {
    let seen = s.world.nodes.get(node).and_then(|f| f.machine.as_ref());
    let Some(seen) = seen.filter(|m| age_secs(s.now, m.at) < s.policy.machine_fresh_secs.max(1))
    else {
        return Err("the provider said nothing lately".into());
    };
    match &seen.value {
        MachineSeen::NoProvider => Err("there is no provider".into()),
        MachineSeen::Unknown { class, .. } => {
            Err(format!("the provider's word is unknown: {class}"))
        }
        MachineSeen::Known { locked: true, .. } => {
            Err("the provider has locked the machine".into())
        }
        MachineSeen::Known {
            pending: Some(what),
            ..
        } => Err(format!("the provider is at work: {what}")),
        MachineSeen::Known { state, .. } => match state {
            MachineState::Running | MachineState::Stopped => Ok(state),
            MachineState::Changing(what) | MachineState::Blocked(what) => {
                Err(format!("the machine is {what}"))
            }
            MachineState::Recovery => Err("the machine is in its rescue image".into()),
        },
    }
}
