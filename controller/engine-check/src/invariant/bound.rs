//! How much, and how much at once.

use super::Broken;
use super::person::said;
use crate::history::{Act, End, History};
use crate::law;
use iaso_engine::effect::{Action, Effect};
use iaso_engine::plan::Situation;
use iaso_engine::record::Rung;

const DAY_MS: u64 = 86_400_000;

fn many(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn within_a_day(s: &Situation<'_>, act: &Act) -> bool {
    act.end != End::NeverBegan && s.now.0.saturating_sub(act.at.0) < DAY_MS
}

pub(super) fn recreates_a_day(s: &Situation<'_>, history: &History, _: &Effect) -> Broken {
    let used = history
        .all()
        .filter(|a| a.is_recreate() && within_a_day(s, a))
        .count();
    let limit = many(s.policy.recreates_per_day);
    (used >= limit).then(|| {
        (
            "recreate-budget",
            format!("{used} in 24 hours, {limit} allowed"),
        )
    })
}

/// What a fresh disk did not mend, another one will not: a loop of recreates has an incident for each.
pub(super) fn recreated_long_ago(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    if said(s, effect, &Rung::Recreate) == Some(true) {
        return None;
    }
    let diagnosis = history.diagnosis(&effect.incident);
    let secs = law::recreate_cooldown_secs(s, &effect.node, diagnosis);
    let before = history.all().find(|a| {
        let lately = s.now.0.saturating_sub(a.at.0) < secs.saturating_mul(1_000);
        a.node == effect.node && a.is_recreate() && a.end != End::NeverBegan && lately
    })?;
    Some((
        "recreate-cooldown",
        format!("{} recreated it less than {secs} s ago", before.id),
    ))
}

pub(super) fn reboots_a_day(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let switches = |a: &&Act| {
        matches!(
            a.action,
            Action::Reboot | Action::Start | Action::Rescue { .. }
        )
    };
    let today = || {
        history
            .all()
            .filter(switches)
            .filter(|a| within_a_day(s, a))
    };
    let own = today().filter(|a| a.node == effect.node).count();
    let limit = law::over(s, &effect.node, |o| o.reboots_per_day);
    let limit = many(limit.unwrap_or(s.policy.reboots_per_day));
    let (all, most) = (today().count(), many(s.policy.cluster_reboots_per_day));
    (own >= limit || all >= most).then(|| {
        (
            "reboot-budget",
            format!(
                "in 24 hours {own} of this node, {limit} allowed, and {all} of all, {most} allowed"
            ),
        )
    })
}

pub(super) fn fixes(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let used = history
        .of_incident(&effect.incident)
        .filter(|a| a.action == effect.action && a.end != End::NeverBegan)
        .count();
    let limit = many(law::fix_attempts(
        s,
        &effect.node,
        history.diagnosis(&effect.incident),
    ));
    (used >= limit).then(|| {
        (
            "fix-budget",
            format!("{used} in this incident, {limit} allowed"),
        )
    })
}

pub(super) fn fixes_a_day(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let used = history
        .all()
        .filter(|a| a.node == effect.node && matches!(a.action, Action::ApplyFix { .. }))
        .filter(|a| within_a_day(s, a))
        .count();
    let limit = law::over(s, &effect.node, |o| o.fixes_per_day).unwrap_or(s.policy.fixes_per_day);
    (used >= many(limit)).then(|| ("fix-budget", format!("{used} in 24 hours, {limit} allowed")))
}

/// A fix of an agent that died with its machine is over when its own time is.
pub(super) fn alone_in_flight(s: &Situation<'_>, history: &History, _: &Effect) -> Broken {
    let fix_ms = s
        .policy
        .fix_wait_secs
        .saturating_add(s.policy.doubt_secs)
        .saturating_mul(1_000);
    let moving = |a: &&Act| {
        let fixing =
            matches!(a.action, Action::ApplyFix { .. }) && s.now.0.saturating_sub(a.at.0) < fix_ms;
        a.end == End::Open && (fixing || a.is_power())
    };
    let busy = history.all().find(moving)?;
    Some((
        "one-disruption-at-a-time",
        format!("{} is under way", busy.id),
    ))
}

pub(super) fn journal(s: &Situation<'_>, _: &History, _: &Effect) -> Broken {
    let why = s.world.store.as_ref()?;
    Some(("journal-works", why.clone()))
}

pub(super) fn secret_store(s: &Situation<'_>, _: &History, _: &Effect) -> Broken {
    let why = s.world.secret_store.as_ref()?;
    Some(("secret-store-works", why.clone()))
}
