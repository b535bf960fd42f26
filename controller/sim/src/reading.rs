//! The policy as the reference reads it, by itself: it asks the engine nothing.
//!
//! A ladder may give a rung another mode for another diagnosis, and the reference does not diagnose: so it knows the loosest and the
//! strictest mode that a rung of a node can have.

use crate::scenario::NodeSetup;
use iaso_engine::policy::step::StepKind;
use iaso_engine::policy::{Mode, Override, Policy};
use iaso_engine::record::Rung;

/// The words about a node, the nearest first.
fn words<'a>(policy: &'a Policy, node: &NodeSetup) -> impl Iterator<Item = &'a Override> {
    let own = policy.nodes.get(&node.name);
    own.into_iter().chain(policy.roles.get(&node.role))
}

fn of_keys(policy: &Policy, node: &NodeSetup, rung: &Rung) -> Mode {
    let (cluster, key): (Mode, fn(&Override) -> Option<Mode>) = match rung {
        Rung::Fix(_) => (policy.fix, |word| word.fix),
        Rung::Start => (policy.start, |word| word.start),
        Rung::Reboot => (policy.reboot, |word| word.reboot),
        Rung::Rescue => (policy.rescue, |word| word.rescue),
        Rung::Recreate => (policy.recreate, |word| word.recreate),
        Rung::Page => (Mode::Auto, |_| None),
    };
    words(policy, node).find_map(key).unwrap_or(cluster)
}

fn kind(rung: &Rung) -> StepKind {
    match rung {
        Rung::Fix(_) => StepKind::Fix,
        Rung::Start => StepKind::Start,
        Rung::Reboot => StepKind::Reboot,
        Rung::Rescue => StepKind::Rescue,
        Rung::Recreate => StepKind::Recreate,
        Rung::Page => StepKind::Page,
    }
}

/// Every mode that a rung of a node can have, by its keys and by the ladders that hold for it.
fn modes(policy: &Policy, node: &NodeSetup, rung: &Rung) -> impl Iterator<Item = Mode> {
    let of_ladders =
        |ladders: &std::collections::BTreeMap<_, Vec<iaso_engine::policy::step::Step>>| {
            let steps = ladders.values().flatten();
            let own = steps.filter(|step| step.rung == kind(rung));
            own.filter_map(|step| step.mode).collect::<Vec<_>>()
        };
    let all: Vec<Mode> = words(policy, node)
        .flat_map(|word| of_ladders(&word.ladder))
        .chain(of_ladders(&policy.ladder))
        .collect();
    std::iter::once(of_keys(policy, node, rung)).chain(all)
}

fn loose(mode: Mode) -> u8 {
    match mode {
        Mode::Observe => 0,
        Mode::Approve => 1,
        Mode::Auto => 2,
    }
}

/// The loosest mode of a rung.
pub(crate) fn mode(policy: &Policy, node: &NodeSetup, rung: &Rung) -> Mode {
    let all = modes(policy, node, rung);
    all.max_by_key(|mode| loose(*mode)).unwrap_or(Mode::Observe)
}

/// The strictest mode of a rung.
pub(crate) fn strictest(policy: &Policy, node: &NodeSetup, rung: &Rung) -> Mode {
    let all = modes(policy, node, rung);
    all.min_by_key(|mode| loose(*mode)).unwrap_or(Mode::Observe)
}

/// Local data on a node may be destroyed without asking.
pub(crate) fn expendable(policy: &Policy, node: &NodeSetup) -> bool {
    let said = words(policy, node).find_map(|word| word.local_data_expendable);
    said.unwrap_or(policy.local_data_expendable)
}
