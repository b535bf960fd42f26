//! What a plan may write down besides its effects: never a person's word or an outcome, no parking in silence, no ending too early.

use super::Broken;
use crate::history::{Act, End, History};
use crate::sight;
use iaso_engine::effect::Action;
use iaso_engine::id::IncidentId;
use iaso_engine::ledger::Standing;
use iaso_engine::plan::Situation;
use iaso_engine::record::Record;

/// The first invariant that a record breaks. An `Intended` is asked elsewhere.
pub(crate) fn of_record(s: &Situation<'_>, history: &History, record: &Record) -> Broken {
    match record {
        Record::ControllerStarted { .. }
        | Record::Resolved { .. }
        | Record::Approved { .. }
        | Record::Denied { .. }
        | Record::Paused { .. }
        | Record::Resumed { .. } => Some((
            "no-forged-word",
            "a plan neither speaks for a person nor says how an effect ended".into(),
        )),
        Record::Parked { incident, .. } => told(history, incident),
        Record::Closed { incident, .. } => closed(s, history, incident),
        Record::Intended { .. }
        | Record::Noted { .. }
        | Record::IncidentOpened { .. }
        | Record::Diagnosed { .. }
        | Record::WaitingChanged { .. }
        | Record::RungStarted { .. }
        | Record::RungEnded { .. }
        | Record::WouldHave { .. }
        | Record::Verifying { .. }
        | Record::VerifyFailed { .. } => None,
    }
}

/// A person must decide: so a person is told, every time.
fn told(history: &History, incident: &IncidentId) -> Broken {
    let told = history.case(incident).is_some_and(|case| case.told);
    (!told).then(|| {
        (
            "parked-is-told",
            format!("{incident} is parked, and nobody is told"),
        )
    })
}

fn closed(s: &Situation<'_>, history: &History, incident: &IncidentId) -> Broken {
    let Some(case) = history.case(incident) else {
        return Some(("closed-when-well", format!("{incident} was never opened")));
    };
    let watched = match case.standing {
        Standing::Verifying(since) => sight::age_secs(s.now, since) >= s.policy.verify_secs,
        Standing::Open | Standing::Parked | Standing::Closed(..) => false,
    };
    let well = sight::is_up(s, &case.node) && sight::kubelet_ready(s, &case.node);
    if !watched || !well {
        let why = format!("watched for long enough: {watched}; up and Ready: {well}");
        return Some(("closed-when-well", why));
    }
    let mut acts = history.of_incident(incident);
    if let Some(act) = acts.find(|a| a.is_power() && a.end == End::Open) {
        return Some(("closed-when-settled", format!("{} has not ended", act.id)));
    }
    if let Some(act) = history.rescue(incident) {
        let why = format!("{} booted the rescue image, and it was not left", act.id);
        return Some(("never-left-in-rescue", why));
    }
    still_cordoned(history, incident).then(|| {
        (
            "never-left-cordoned",
            format!("{} is cordoned by this incident still", case.node),
        )
    })
}

fn still_cordoned(history: &History, incident: &IncidentId) -> bool {
    let theirs = history.remembered(incident).is_some_and(|r| r.was_cordoned);
    let changes = |a: &&Act| {
        (a.action == Action::Cordon && matches!(a.end, End::Done | End::Open))
            || (a.action == Action::Uncordon && a.end == End::Done)
    };
    let last = history.of_incident(incident).rev().find(changes);
    !theirs && last.is_some_and(|a| a.action == Action::Cordon)
}
