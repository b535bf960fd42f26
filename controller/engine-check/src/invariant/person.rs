//! What people said: pauses, approvals, refusals, the policy's modes, and what a node is declared to be.

use super::Broken;
use super::form::rung_of;
use crate::history::History;
use iaso_engine::effect::Effect;
use iaso_engine::fact::Role;
use iaso_engine::plan::Situation;
use iaso_engine::policy::Mode;
use iaso_engine::record::Rung;

/// The latest word of a person on this rung of this incident.
pub(super) fn said(s: &Situation<'_>, effect: &Effect, rung: &Rung) -> Option<bool> {
    let decisions = &s.ledger.incidents.get(&effect.incident)?.decisions;
    let mut word = None;
    for (_, about, yes) in decisions {
        if about == rung {
            word = Some(*yes);
        }
    }
    word
}

pub(super) fn allowed(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    let rung = rung_of(&effect.action)?;
    let name = effect.action.name();
    let held = s.ledger.paused.contains_key(&None)
        || s.ledger.paused.contains_key(&Some(effect.node.clone()));
    if held {
        return Some((
            "paused-means-still",
            format!("{name} while a person holds {}", effect.node),
        ));
    }
    let mode = match rung {
        Rung::Fix(_) => s.policy.fix,
        Rung::Reboot => s.policy.reboot,
        Rung::Start => s.policy.start,
        Rung::Recreate | Rung::Page => s.policy.recreate,
    };
    match (mode, said(s, effect, &rung)) {
        (_, Some(false)) => Some(("no-means-no", format!("a person said no to {name}"))),
        (Mode::Observe, _) => Some(("observe-acts-not", format!("{name} is only observed"))),
        (Mode::Approve, None) => Some(("approval-first", format!("nobody approved {name}"))),
        (Mode::Approve, Some(true)) | (Mode::Auto, None | Some(true)) => None,
    }
}

pub(super) fn worker_only(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    match s.inventory.nodes.get(&effect.node).map(|n| n.role) {
        Some(Role::Worker) => None,
        Some(Role::Server) => Some((
            "server-never-recreated",
            format!("{} is a server", effect.node),
        )),
        None => Some((
            "server-never-recreated",
            format!("{} is in no inventory", effect.node),
        )),
    }
}
