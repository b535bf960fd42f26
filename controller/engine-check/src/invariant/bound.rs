//! How much, and how much at once.

use super::Broken;
use crate::history::{Act, End, History};
use iaso_engine::effect::{Action, Effect};
use iaso_engine::plan::Situation;

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

pub(super) fn reboots_a_day(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let used = history
        .all()
        .filter(|a| {
            a.node == effect.node && matches!(a.action, Action::Reboot) && within_a_day(s, a)
        })
        .count();
    let limit = many(s.policy.reboots_per_day);
    (used >= limit).then(|| {
        (
            "reboot-budget",
            format!("{used} in 24 hours, {limit} allowed"),
        )
    })
}

pub(super) fn fixes(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let used = history
        .of_incident(&effect.incident)
        .filter(|a| a.action == effect.action && a.end != End::NeverBegan)
        .count();
    let limit = many(s.policy.fix_attempts);
    (used >= limit).then(|| {
        (
            "fix-budget",
            format!("{used} in this incident, {limit} allowed"),
        )
    })
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
