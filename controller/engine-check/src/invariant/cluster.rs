//! The cluster as a whole: whether the controller may trust itself, and whether another node has its turn.

use super::Broken;
use crate::history::{End, History};
use crate::sight;
use iaso_engine::effect::Effect;
use iaso_engine::ledger::Standing;
use iaso_engine::plan::Situation;
use iaso_engine::record::Rung;

pub(super) fn no_storm(s: &Situation<'_>, history: &History, _: &Effect) -> Broken {
    let (lost, of) = sight::lost(s);
    let reaches = s
        .inventory
        .nodes
        .keys()
        .any(|n| !sight::is_up(s, n) && sight::controller_reaches(s, n));
    if lost > 0 && (lost == of || (lost > 1 && lost.saturating_mul(2) > of)) && !reaches {
        let why = format!("{lost} of {of} nodes are silent to the controller");
        return Some(("controller-not-cut-off", why));
    }
    let dark = s
        .inventory
        .nodes
        .keys()
        .filter(|n| sight::is_dark(s, history, n))
        .count();
    let limit = match s.policy.storm_limit {
        0 => (s.inventory.nodes.len() / 3).max(1),
        set => usize::try_from(set).unwrap_or(usize::MAX),
    };
    (dark > limit).then(|| {
        (
            "no-storm",
            format!("{dark} nodes are down at once, {limit} may be"),
        )
    })
}

pub(super) fn no_domain_failure(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let (domain, dark, of) = sight::dark_domain(s, history, &effect.node)?;
    Some((
        "no-domain-failure",
        format!("{dark} of the {of} nodes of {domain} are down at once"),
    ))
}

/// A machine that was wiped has its time to come back before another node is interrupted.
pub(super) fn others_mending(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let patience_ms = s.policy.rejoin_secs.saturating_mul(1_000);
    let rejoining = |id: &iaso_engine::id::IncidentId| {
        let wipe = history.wipe(id).filter(|a| a.end == End::Done);
        let at = wipe.and_then(|a| a.ended);
        at.is_some_and(|at| s.now.0.saturating_sub(at.0) < patience_ms)
    };
    let (id, _) = history.cases().find(|(id, case)| {
        **id != effect.incident
            && case.standing == Standing::Open
            && case.takes(&Rung::Recreate).is_some()
            && rejoining(id)
    })?;
    Some((
        "one-node-at-a-time",
        format!("the new machine of {id} is on its way back"),
    ))
}
