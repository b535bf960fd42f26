//! The rest of the cluster: what is under way, how many are away, who must agree.

use super::Question;
use crate::diagnose::Assessment;
use crate::diagnose::channel::{Agent, Lease};
use crate::diagnose::cluster::storm_limit;
use crate::fact::Role;
use crate::id::NodeName;
use crate::ledger::{EffectState, Incident, Ledger, Standing};
use crate::record::{Rung, Waiting};
use std::time::Duration;

pub(super) fn in_flight(q: &Question<'_>) -> Option<Waiting> {
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
fn mending<'a>(ledger: &'a Ledger, q: &Question<'_>) -> Option<&'a EffectState> {
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

pub(super) fn cut_off(q: &Question<'_>) -> Option<Waiting> {
    q.all.cut_off.clone()
}

pub(super) fn storm(q: &Question<'_>) -> Option<Waiting> {
    let domain = || q.all.domains.get(&q.incident.node).cloned();
    q.all.storm.clone().or_else(domain)
}

/// After a storm one node is repaired and watched to its end before the next: what felled them all may still be there. Once one has
/// recovered the others follow, one at a time as ever.
pub(super) fn canary(q: &Question<'_>) -> Option<Waiting> {
    let s = q.situation;
    let lately = Duration::from_secs(q.policy.canary_secs);
    let of_storm = |i: &&Incident| i.held.is_some_and(|at| s.now.since(at) < lately);
    if !of_storm(&q.incident) {
        return None;
    }
    let touched = |i: &&Incident| {
        let since = i.held.unwrap_or(i.opened);
        let after = |e: &EffectState| e.effect.action.is_disruptive() && e.intended >= since;
        i.effects.iter().any(|e| after(e) && !e.never_began())
    };
    let mut canaries = s
        .ledger
        .incidents
        .values()
        .filter(|i| i.id != q.incident.id)
        .filter(of_storm)
        .filter(touched)
        .peekable();
    canaries.peek()?;
    let is_well = |i: &&Incident| matches!(i.standing, Standing::Closed(..));
    let all: Vec<&Incident> = canaries.collect();
    if all.iter().any(is_well) {
        return None;
    }
    all.first().map(|i| Waiting::Canary {
        incident: i.id.clone(),
    })
}

/// Whether a node does its share now.
fn is_there(q: &Question<'_>, name: &NodeName, node: &Assessment) -> bool {
    let facts = q.situation.world.nodes.get(name);
    let cordoned = facts
        .and_then(|f| f.kube.as_ref())
        .is_some_and(|k| k.value.unschedulable);
    let lease = matches!(node.lease, Lease::Fresh | Lease::Absent);
    lease && !cordoned && matches!(node.agent, Agent::Up { .. } | Agent::Lapsed)
}

/// A machine that answers still does something: it is not rebooted while others are away, and in a small cluster one is enough.
pub(super) fn disruption(q: &Question<'_>) -> Option<Waiting> {
    if !q.answers() || q.all.nodes.len() < 2 {
        return None;
    }
    let others = q.all.nodes.iter().filter(|(n, _)| **n != q.incident.node);
    let away = others.filter(|(n, a)| !is_there(q, n, a)).count();
    let limit = storm_limit(q.situation);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (away.saturating_add(1) > limit).then(|| Waiting::Disruption {
        away: count(away),
        limit: count(limit),
    })
}

/// A server that nobody reaches votes no more, and a reboot costs nothing; all the others must then be able to agree without it. The
/// only server is rebooted by itself only when it is silent.
pub(super) fn etcd_quorum(q: &Question<'_>) -> Option<Waiting> {
    let yes = q.incident.decision(q.rung) == Some(true);
    if q.node.role != Role::Server || *q.rung != Rung::Reboot || yes {
        return None;
    }
    let servers: Vec<(&NodeName, &Assessment)> = q
        .all
        .nodes
        .iter()
        .filter(|(_, a)| a.role == Role::Server)
        .collect();
    if servers.len() == 1 {
        return q
            .answers()
            .then_some(Waiting::EtcdQuorum { have: 0, need: 1 });
    }
    let well = |(name, a): &&(&NodeName, &Assessment)| {
        let stale = matches!(a.lease, Lease::Stale { .. } | Lease::Missing);
        **name != q.incident.node && matches!(a.agent, Agent::Up { .. }) && !stale
    };
    let have = servers.iter().filter(well).count();
    let need = (servers.len() / 2).saturating_add(1);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (have < need).then(|| Waiting::EtcdQuorum {
        have: count(have),
        need: count(need),
    })
}
