//! What must hold in every state, what must come true in the end, and what must happen somewhere for the rest to mean anything.

use crate::Protocol;
use crate::closure;
use crate::state::{Kind, State};
use iaso_engine::effect::{Action, Outcome};
use iaso_engine::id::EffectId;
use iaso_engine::ledger::Standing;
use stateright::Property;
use std::collections::BTreeMap;

pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always("one disruptive action at a time", |_, s: &State| {
            !s.ghost.overlap
        }),
        Property::always("no recreate without a quorum", |_, s: &State| {
            !s.ghost.quorumless
        }),
        Property::always("one recreate for an incident", one_recreate),
        Property::always("an order is begun at most once", |_, s: &State| {
            s.ghost.begun.values().all(|n| *n <= 1)
        }),
        Property::always("a stale term begins nothing", |_, s: &State| {
            !s.ghost.stale_begun
        }),
        Property::always("a stale term writes nothing", |_, s: &State| {
            !s.ghost.stale_write
        }),
        Property::always("what never began did not begin", never_began),
        Property::always("engine, checker and journal agree", |_, s: &State| {
            s.ghost.vetoed.is_none()
        }),
        Property::always(
            "every intent is settled in the end",
            |p: &Protocol, s: &State| s.tick < p.bounds.ticks || closure::settles(p, s),
        ),
        Property::sometimes(
            "a machine was recreated and its incident closed",
            |_, s: &State| closed(s) && s.operations.iter().any(|o| o.kind == Kind::Recreate),
        ),
        Property::sometimes("a fix was applied", |_, s: &State| {
            !s.ghost.begun.is_empty()
        }),
        Property::sometimes("an intent was in doubt", |_, s: &State| {
            let mut open = s.journal.unsettled();
            open.any(|e| matches!(e.latest, Some((_, Outcome::InDoubt { .. }))))
        }),
        Property::sometimes("a call was found to have never begun", |_, s: &State| {
            let mut all = s.journal.effects();
            all.any(|e| e.effect.action == Action::Reboot && e.never_began())
        }),
        Property::sometimes("a stale term was refused by the agent", |_, s: &State| {
            s.ghost.stale_refused
        }),
        Property::sometimes("two controllers lived at once", |_, s: &State| {
            s.controllers.len() > 1
        }),
    ]
}

fn closed(state: &State) -> bool {
    let mut all = state.journal.incidents.values();
    all.any(|i| matches!(i.standing, Standing::Closed(..)))
}

/// Counted at the provider, not in the journal.
fn one_recreate(_: &Protocol, state: &State) -> bool {
    let mut of_incident: BTreeMap<&str, u32> = BTreeMap::new();
    for operation in state.operations.iter().filter(|o| o.kind == Kind::Recreate) {
        let incident = operation.owner.as_str().split('/').next();
        let count = of_incident.entry(incident.unwrap_or_default()).or_default();
        *count = count.saturating_add(1);
    }
    of_incident.values().all(|n| *n <= 1)
}

/// The journal says so only of what no agent began and no provider took.
fn never_began(_: &Protocol, state: &State) -> bool {
    let began = |id: &EffectId| {
        state.ghost.begun.contains_key(id) || state.operations.iter().any(|o| &o.owner == id)
    };
    let mut all = state.journal.effects();
    all.all(|e| !e.never_began() || !began(&e.effect.id))
}
