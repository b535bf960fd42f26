//! The cluster as a whole: whose trouble it is when many nodes look bad at once, and what is then not acted on.
//!
//! **Invariant**: only nodes that are not plainly well are looked at one by one; the others count by their number.

use crate::diagnose::channel::{Agent, Lease, Machine};
use crate::diagnose::{Assessment, Assessments};
use crate::fact::{NodeSpec, Role};
use crate::id::NodeName;
use crate::ledger::Standing;
use crate::plan::Situation;
use crate::record::{Diagnosis, Waiting};
use crate::time::Tick;
use std::collections::BTreeMap;
use std::time::Duration;

impl Assessments {
    fn troubled(&self) -> impl Iterator<Item = (&NodeName, &Assessment)> {
        self.restless
            .iter()
            .filter_map(|name| Some((name, self.nodes.get(name)?)))
    }
}

/// Every lease stale, or every node not Ready, while the agents are up is the API server's trouble, not the nodes'.
pub(super) fn distrust_api(all: &mut Assessments) {
    let up = |a: &&Assessment| matches!(a.agent, Agent::Up { .. });
    let stale = |a: &Assessment| matches!(a.lease, Lease::Stale { .. } | Lease::NotReady { .. });
    let alive = all.nodes.values().filter(up).count();
    if alive < 2 || !all.nodes.values().filter(up).all(stale) {
        return;
    }
    for node in all.nodes.values_mut() {
        node.lease = Lease::Unknown {
            why: format!(
                "the leases of all {alive} nodes with a live agent went stale at once: the API server's trouble"
            ),
        };
    }
}

/// Kubernetes has said nothing that counts of any node whose agent speaks, for as long as settling takes: somebody should know, and one
/// page is enough. Whoever comes first by name has it.
pub(super) fn silent_api(s: &Situation<'_>, all: &Assessments) -> Option<(NodeName, Tick)> {
    let up = || {
        let alive = all.nodes.iter();
        alive.filter(|(_, a)| matches!(a.agent, Agent::Up { .. }))
    };
    let silent = |a: &Assessment| matches!(a.lease, Lease::Unknown { .. });
    let (first, _) = up().next()?;
    // A server that is away is why, and has its own page.
    let away = |a: &Assessment| a.role == Role::Server && !matches!(a.agent, Agent::Up { .. });
    if !up().all(|(_, a)| silent(a)) || all.nodes.values().any(away) {
        return None;
    }
    let changes = s.world.nodes.values();
    let changes = changes.filter_map(|f| f.kube.as_ref()?.value.lease_changed);
    let since = changes.fold(s.world.since, Tick::max);
    let long = Duration::from_secs(s.policy.settle_secs);
    (s.now.since(since) >= long).then(|| (first.clone(), since))
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn has_joined(node: &Assessment) -> bool {
    node.alone != Diagnosis::NeverJoined && !node.stranger
}

fn is_lost(node: &Assessment) -> bool {
    matches!(node.agent, Agent::Gone { .. }) && has_joined(node)
}

/// Looks at the cluster as a whole, and takes away diagnoses that must not be acted on.
pub(super) fn brake(s: &Situation<'_>, all: &mut Assessments) {
    all.cut_off = cut_off(all);
    all.storm = storm(s, all);
    all.domains = domains(s, all);
    all.outages = outages(s, all);
    for name in &all.restless {
        let Some(node) = all.nodes.get_mut(name) else {
            continue;
        };
        if all.cut_off.is_some() && is_lost(node) {
            node.diagnosis = Diagnosis::ControllerCutOff;
        } else if node.is_down(s.policy.quorum)
            && (all.storm.is_some() || all.domains.contains_key(name))
        {
            node.diagnosis = Diagnosis::Storm;
        }
    }
}

fn cut_off(all: &Assessments) -> Option<Waiting> {
    let strangers = all.troubled().filter(|(_, a)| !has_joined(a)).count();
    let of = all.nodes.len().saturating_sub(strangers);
    let lost = all.troubled().filter(|(_, a)| is_lost(a)).count();
    let many = lost >= 1 && (lost == of || (lost >= 2 && lost.saturating_mul(2) > of));
    let reaches_any = || {
        all.troubled()
            .any(|(_, a)| is_lost(a) && a.reach.controller_reached)
    };
    (many && !reaches_any()).then(|| Waiting::AmICutOff {
        lost: count(lost),
        of: count(of),
    })
}

/// Down, and no person has it in hand: a parked node is no part of a new storm.
fn counts(s: &Situation<'_>, name: &NodeName, node: &Assessment) -> bool {
    let in_hand = || {
        s.ledger
            .open_incident(name)
            .is_some_and(|i| i.standing == Standing::Parked)
    };
    node.is_down(s.policy.quorum) && !in_hand()
}

/// Most nodes that may be down at once.
pub(crate) fn storm_limit(s: &Situation<'_>) -> usize {
    match usize::try_from(s.policy.storm_limit).unwrap_or(usize::MAX) {
        0 => (s.inventory.nodes.len() / 3).max(1),
        set => set,
    }
}

fn storm(s: &Situation<'_>, all: &Assessments) -> Option<Waiting> {
    let down = all.troubled().filter(|(n, a)| counts(s, n, a)).count();
    let limit = storm_limit(s);
    (down > limit).then(|| Waiting::Storm {
        down: count(down),
        limit: count(limit),
    })
}

/// Two nodes and more than half of what shares a zone or an image, but not the whole cluster.
fn domains(s: &Situation<'_>, all: &Assessments) -> BTreeMap<NodeName, Waiting> {
    if !all.troubled().any(|(name, a)| counts(s, name, a)) {
        return BTreeMap::new();
    }
    let mut members: BTreeMap<(&str, &str), Vec<&NodeSpec>> = BTreeMap::new();
    for spec in s.inventory.nodes.values() {
        for (key, value) in &spec.domains {
            members.entry((key, value)).or_default().push(spec);
        }
    }
    let mut held = BTreeMap::new();
    for ((key, value), specs) in members {
        let is_down = |spec: &&&NodeSpec| {
            all.nodes
                .get(&spec.name)
                .is_some_and(|a| counts(s, &spec.name, a))
        };
        let (down, of) = (specs.iter().filter(is_down).count(), specs.len());
        if down < 2 || down.saturating_mul(2) <= of || of == s.inventory.nodes.len() {
            continue;
        }
        for spec in specs {
            let why = Waiting::Domain {
                domain: format!("{key}={value}"),
                down: count(down),
                of: count(of),
            };
            held.entry(spec.name.clone()).or_insert(why);
        }
    }
    held
}

/// Providers of two machines or more whose word on each was asked for lately and is unknown.
fn outages(s: &Situation<'_>, all: &Assessments) -> BTreeMap<String, Waiting> {
    let is_unknown = |a: &Assessment| matches!(a.machine, Machine::Unknown { .. });
    if !all.troubled().any(|(_, a)| is_unknown(a)) {
        return BTreeMap::new();
    }
    let mut words: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (name, node) in &all.nodes {
        let spec = s.inventory.nodes.get(name);
        let Some((provider, _)) = spec.and_then(|n| n.machine.as_ref()) else {
            continue;
        };
        let (unknown, asked) = words.entry(provider.as_str()).or_default();
        match &node.machine {
            Machine::NoProvider | Machine::Unasked => {}
            Machine::Unknown { .. } => {
                *unknown = unknown.saturating_add(1);
                *asked = asked.saturating_add(1);
            }
            Machine::Known { .. } => *asked = asked.saturating_add(1),
        }
    }
    words
        .into_iter()
        .filter(|(_, (unknown, asked))| *asked >= 2 && unknown == asked)
        .map(|(provider, (_, asked))| {
            let why = Waiting::ProviderOutage {
                provider: provider.to_owned(),
                machines: count(asked),
            };
            (provider.to_owned(), why)
        })
        .collect()
}
