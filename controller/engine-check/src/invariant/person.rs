//! What people said: pauses, approvals, refusals, the policy's modes, and what a node is declared to be.

use super::Broken;
use super::form::rung_of;
use crate::history::History;
use crate::{law, sight};
use iaso_engine::effect::Effect;
use iaso_engine::fact::Role;
use iaso_engine::plan::Situation;
use iaso_engine::policy::Mode;
use iaso_engine::policy::step::StepKind;
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

pub(super) fn allowed(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
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
    let kind = StepKind::of(&rung);
    let mode = law::mode(s, &effect.node, history.diagnosis(&effect.incident), kind);
    match (mode, said(s, effect, &rung)) {
        (_, Some(false)) => Some(("no-means-no", format!("a person said no to {name}"))),
        (Mode::Observe, _) => Some(("observe-acts-not", format!("{name} is only observed"))),
        (Mode::Approve, None) => Some(("approval-first", format!("nobody approved {name}"))),
        (Mode::Approve, Some(true)) | (Mode::Auto, None | Some(true)) => None,
    }
}

/// The owner's word stands until Kubernetes shows that it was taken back, however old it is.
pub(super) fn not_opted_out(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    let facts = s.world.nodes.get(&effect.node)?;
    let reason = facts.kube.as_ref()?.value.opt_out.as_ref()?;
    Some((
        "opted-out-means-still",
        format!("{}: {reason}", effect.node),
    ))
}

pub(super) fn in_window(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    let kind = StepKind::of(&rung_of(&effect.action)?);
    law::is_shut(s, &effect.node, kind).then(|| {
        (
            "repair-window-open",
            format!("no repair window of {kind} is open"),
        )
    })
}

/// A server that answers, or one of several, is rebooted only when the others can agree without it, or a person said yes.
pub(super) fn servers_agree(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    let servers = s.inventory.nodes.values();
    let servers: Vec<_> = servers
        .filter(|n| n.role == Role::Server)
        .map(|n| &n.name)
        .collect();
    if !servers.contains(&&effect.node) || said(s, effect, &Rung::Reboot) == Some(true) {
        return None;
    }
    if servers.len() == 1 {
        let answers = sight::answers_anybody(s, &effect.node) || sight::is_up(s, &effect.node);
        let why = format!("{} is the only server, and it answers", effect.node);
        return answers.then_some(("only-server-silent", why));
    }
    let others = servers.iter().filter(|n| ***n != effect.node);
    let alive = others.filter(|n| sight::is_up(s, n)).count();
    let why = format!("{alive} of {} servers would be left", servers.len());
    (alive.saturating_mul(2) <= servers.len()).then_some(("servers-keep-quorum", why))
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
