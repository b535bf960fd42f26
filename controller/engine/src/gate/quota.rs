//! How often: attempts, money and wear, for a node and for the cluster.

use super::Question;
use crate::policy::step::StepKind;
use crate::record::Waiting;
use std::time::Duration;

fn over(used: usize, limit: u32) -> bool {
    used >= usize::try_from(limit).unwrap_or(usize::MAX)
}

pub(super) fn recreate_budget(q: &Question<'_>) -> Option<Waiting> {
    let limit = q.policy.recreates_per_day;
    let used = q.situation.ledger.recreates_today(q.situation.now);
    over(used, limit).then(|| Waiting::Budget {
        what: format!("recreates in 24 hours in the cluster: {used} of {limit}"),
    })
}

pub(super) fn reboot_budget(q: &Question<'_>) -> Option<Waiting> {
    let s = q.situation;
    let own = s.ledger.reboots_today(Some(&q.incident.node), s.now);
    let limit = q.policy.reboots_per_day;
    if over(own, limit) {
        return Some(Waiting::Budget {
            what: format!("reboots of this node in 24 hours: {own} of {limit}"),
        });
    }
    let all = s.ledger.reboots_today(None, s.now);
    let limit = q.policy.cluster_reboots_per_day;
    over(all, limit).then(|| Waiting::Budget {
        what: format!("reboots in 24 hours in the cluster: {all} of {limit}"),
    })
}

pub(super) fn fix_budget(q: &Question<'_>) -> Option<Waiting> {
    let limit = q.policy.fixes_per_day;
    let used = q
        .situation
        .ledger
        .fixes_today(&q.incident.node, q.situation.now);
    over(used, limit).then(|| Waiting::Budget {
        what: format!("fixes of this node in 24 hours: {used} of {limit}; what is mended so often is not mended"),
    })
}

/// The same, over all incidents of the node: a loop has as many incidents as it likes. A person's yes since then opens it.
pub(super) fn cooldown(q: &Question<'_>) -> Option<Waiting> {
    let kind = StepKind::of(q.rung);
    let wait = Duration::from_secs(q.terms().cooldown_secs);
    // What this very rung did is no reason against it.
    let before = q.incident.running().map_or(q.situation.now, |r| r.started);
    let ledger = q.situation.ledger;
    let last = ledger.last_of_kind(&q.incident.node, kind, before)?;
    let until = last.after(wait);
    let held = q.situation.now < until && !q.incident.approved_after(q.rung, last);
    held.then(|| Waiting::Cooldown {
        rung: q.rung.clone(),
        until,
    })
}
