//! Who, whose, under which name: what must be true of an effect before its meaning is looked at.

use super::Broken;
use crate::history::History;
use iaso_engine::effect::{Action, Effect};
use iaso_engine::ledger::Standing;
use iaso_engine::plan::Situation;
use iaso_engine::record::Rung;

pub(super) fn unused_id(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let used = history.all().any(|a| a.id == effect.id);
    used.then(|| ("effect-id-once", format!("{} was used before", effect.id)))
}

/// The driver ends what an incident pursues by the beginning of its id, so that is no ornament.
pub(super) fn of_its_incident(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let why = match history.case(&effect.incident) {
        None => format!("no incident {} is open", effect.incident),
        Some(case) if case.node != effect.node => format!(
            "{} is of {}, not of {}",
            effect.incident, case.node, effect.node
        ),
        Some(_) if !s.inventory.nodes.contains_key(&effect.node) => {
            format!("{} is in no inventory", effect.node)
        }
        Some(_) => {
            let number = effect.id.as_str().strip_prefix(effect.incident.as_str());
            let named = number.and_then(|n| n.strip_prefix('/'));
            if named.is_some_and(|n| n.parse::<u64>().is_ok()) {
                return None;
            }
            format!("{} does not name {}", effect.id, effect.incident)
        }
    };
    Some(("effect-of-its-incident", why))
}

/// Where a person must decide, Iaso tells and takes back, and does nothing else.
pub(super) fn live(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let standing = history.case(&effect.incident)?.standing;
    let harmless = matches!(
        effect.action,
        Action::Page { .. }
            | Action::Uncordon
            | Action::LeaveRescue
            | Action::Cleanup { .. }
            | Action::DiscardPassword { .. }
    );
    match standing {
        Standing::Open => None,
        Standing::Parked if harmless => None,
        Standing::Verifying(_) if matches!(effect.action, Action::Page { .. }) => None,
        Standing::Parked => Some((
            "parked-is-still",
            format!("{} of a parked incident", effect.action.name()),
        )),
        Standing::Verifying(_) => Some((
            "verifying-is-still",
            format!("{} while the node is watched", effect.action.name()),
        )),
        Standing::Closed(..) => Some((
            "closed-is-over",
            format!("{} of a closed incident", effect.action.name()),
        )),
    }
}

pub(super) fn evidence(_: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    effect.evidence.is_empty().then(|| {
        (
            "evidence-carried",
            format!("{} rests on nothing", effect.id),
        )
    })
}

/// The rung that an action is, for the ones that are one.
pub(super) fn rung_of(action: &Action) -> Option<Rung> {
    match action {
        Action::ApplyFix { plugin, fix } => Some(Rung::Fix(format!("{plugin}/{fix}"))),
        Action::Reboot => Some(Rung::Reboot),
        Action::Start => Some(Rung::Start),
        Action::Rescue { .. } => Some(Rung::Rescue),
        Action::Recreate { .. } => Some(Rung::Recreate),
        Action::LeaveRescue
        | Action::Remember
        | Action::Cordon
        | Action::StorePassword
        | Action::PrepareScript
        | Action::Release
        | Action::Restore { .. }
        | Action::Uncordon
        | Action::PromotePassword { .. }
        | Action::DiscardPassword { .. }
        | Action::Cleanup { .. }
        | Action::Page { .. } => None,
    }
}

/// A disruption belongs to a rung that was begun in the journal, with its reason.
pub(super) fn of_its_rung(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let rung = rung_of(&effect.action)?;
    let begun = history.case(&effect.incident)?.takes(&rung).is_some();
    (!begun).then(|| ("effect-of-its-rung", format!("rung {rung} was not begun")))
}

/// Both need a root password.
pub(super) fn of_recreate_or_rescue(
    s: &Situation<'_>,
    history: &History,
    effect: &Effect,
) -> Broken {
    let case = history.case(&effect.incident)?;
    if case.takes(&Rung::Rescue).is_some() {
        return None;
    }
    of_recreate(s, history, effect)
}

pub(super) fn of_recreate(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let case = history.case(&effect.incident)?;
    case.takes(&Rung::Recreate).is_none().then(|| {
        (
            "effect-of-its-rung",
            format!("{} without a recreate", effect.action.name()),
        )
    })
}
