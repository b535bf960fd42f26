//! What to look at, and when to plan again. The driver asks once for a look that is under way already.

use crate::diagnose::Assessment;
use crate::diagnose::channel::{Agent, Machine};
use crate::effect::Outcome;
use crate::fact::Observer;
use crate::id::NodeName;
use crate::ledger::{EffectState, Standing};
use crate::plan::work::Work;
use crate::plan::{Look, Situation};
use crate::time::Tick;
use crate::world::NodeFacts;
use std::time::Duration;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) fn looks(
    s: &Situation<'_>,
    name: &NodeName,
    node: &Assessment,
    work: &Work<'_>,
) -> Vec<Look> {
    let nothing = NodeFacts::default();
    let facts = s.world.nodes.get(name).unwrap_or(&nothing);
    let mut looks = Vec::new();
    if node.is_suspect() || is_open(work) {
        let due = |seen: Option<Tick>, every: Duration| {
            seen.is_none_or(|at| {
                s.now.since(at) >= every || work.newer_than.is_some_and(|want| at <= want)
            })
        };
        let probed = facts.probes.get(&Observer::Controller).map(|p| p.at);
        if due(probed, secs(s.policy.probe_round_secs)) {
            looks.push(Look::Probe(name.clone()));
        }
        let asked = facts.machine.as_ref().map(|m| m.at);
        if node.machine != Machine::NoProvider && due(asked, secs(s.policy.machine_fresh_secs) / 2)
        {
            looks.push(Look::Machine(name.clone()));
        }
    }
    if let Some(incident) = &work.incident {
        let asks = |e: &&EffectState| is_to_be_asked(s, e);
        looks.extend(
            incident
                .effects
                .iter()
                .filter(asks)
                .map(|e| Look::Effect(e.effect.id.clone())),
        );
    }
    looks
}

fn is_open(work: &Work<'_>) -> bool {
    work.incident
        .as_ref()
        .is_some_and(|i| matches!(i.standing, Standing::Open))
}

/// An effect that was intended a moment ago is being executed; later, silence means that nobody knows.
fn is_to_be_asked(s: &Situation<'_>, effect: &EffectState) -> bool {
    match &effect.latest {
        Some((_, Outcome::InDoubt { .. } | Outcome::Started { .. })) => true,
        None => s.now.since(effect.intended) >= secs(s.policy.probe_round_secs),
        Some((_, Outcome::Done { .. } | Outcome::Failed { .. } | Outcome::NotStarted { .. })) => {
            false
        }
    }
}

/// Moves the next wake forward to the first moment at which this node's picture changes by time alone.
pub(super) fn wake(
    s: &Situation<'_>,
    name: &NodeName,
    node: &Assessment,
    work: &Work<'_>,
    next: &mut Option<Tick>,
) {
    let mut at = |tick: Tick| {
        if tick > s.now {
            *next = Some(next.map_or(tick, |n| n.min(tick)));
        }
    };
    for waiting in &work.waiting {
        if let Some(until) = waiting.until() {
            at(until);
        }
    }
    if node.is_suspect() || is_open(work) {
        at(s.now.after(secs(s.policy.probe_round_secs.max(1))));
        // Asked again before its word is old: else what it says would come and go, and never last.
        let asked = s.world.nodes.get(name).and_then(|f| f.machine.as_ref());
        if let Some(seen) = asked {
            at(seen.at.after(secs(s.policy.machine_fresh_secs) / 2));
        }
    }
    let gone = secs(s.policy.agent_gone_secs);
    let stale = secs(s.policy.lease_stale_secs);
    if node.agent == Agent::Unknown {
        at(s.world.since.after(gone));
    }
    if s.inventory.has_cluster {
        at(s.world.since.after(stale));
    }
    let Some(facts) = s.world.nodes.get(name) else {
        return;
    };
    if let Some(heartbeat) = facts.heartbeat {
        at(heartbeat.after(gone));
    }
    if let Some(changed) = facts.kube.as_ref().and_then(|k| k.value.lease_changed) {
        at(changed.after(stale));
    }
    for run in facts.plugins.values() {
        at(run.at.after(secs(s.policy.finding_fresh_secs)));
    }
}

/// The first moment at which anything about a plainly well node changes by time alone, its evidence included.
pub(super) fn due(s: &Situation<'_>, name: &NodeName) -> Option<Tick> {
    let policy = s.policy;
    let gone = secs(policy.agent_gone_secs);
    let stale = secs(policy.lease_stale_secs);
    let probe = secs(policy.probe_fresh_secs);
    let nothing = NodeFacts::default();
    let facts = s.world.nodes.get(name).unwrap_or(&nothing);
    let young = [gone, stale, secs(policy.settle_secs)].map(|span| s.world.since.after(span));
    let alive = facts.heartbeat.or(facts.agent.as_ref().map(|a| a.at));
    let kube = facts.kube.as_ref();
    let leased = kube.and_then(|k| k.value.lease_changed);
    let asked = facts.machine.as_ref().map(|m| m.at);
    young
        .into_iter()
        .chain(alive.map(|at| at.after(gone)))
        .chain(kube.map(|k| k.at.after(stale)))
        .chain(leased.map(|at| at.after(stale)))
        .chain(asked.map(|at| at.after(secs(policy.machine_fresh_secs))))
        .chain(facts.probes.values().map(|seen| seen.at.after(probe)))
        .chain(facts.silent_since.values().map(|at| at.after(probe)))
        .chain(
            facts
                .plugins
                .values()
                .map(|run| run.at.after(secs(policy.finding_fresh_secs))),
        )
        .filter(|tick| *tick > s.now)
        .min()
}
