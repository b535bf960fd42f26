//! The rescue image: booted to learn whether the fault is in the machine's own system or outside it, and left again in every case.
//!
//! **Invariants**
//! - Its root password is stored and read back before the image is booted.
//! - Where it answers, the machine stays in it until a person has decided about the disk. Where it does not, its own disk is booted again.
//! - Whatever comes next looks at the machine's own system: the image's words have faded by then.

use super::{Step, is_act, once, pending_password, position, undo};
use crate::diagnose::reach::reach;
use crate::effect::{Action, Outcome};
use crate::ladder::{Need, need};
use crate::ledger::{EffectState, Incident, RungState};
use crate::plan::work::{Work, trouble};
use crate::policy::step::StepKind;
use crate::record::{RungResult, Waiting};
use crate::time::Tick;
use std::time::Duration;

pub(crate) fn step(w: &mut Work<'_>, incident: &Incident, rung: &RungState) {
    let tries = || {
        let is = |e: &&EffectState| matches!(e.effect.action, Action::Rescue { .. });
        incident.effects_of(rung).filter(is)
    };
    match tries().next_back().map(|e| (e, &e.latest)) {
        None => begin(w, incident, rung),
        Some((_, Some((at, outcome @ Outcome::NotStarted { .. })))) => {
            let (class, detail) = trouble(outcome);
            // A password that the provider refused as leaked is drawn anew, at once.
            if class != "invalid" || tries().count() >= super::TRIES_BEFORE_PAGE {
                w.again(class, detail, *at, tries().count());
            }
            if w.waiting.is_empty() {
                begin(w, incident, rung);
            }
        }
        Some((_, Some((_, Outcome::Failed { detail })))) => {
            if undo(w, incident) {
                w.end(incident, rung, RungResult::Failed, detail.clone());
            }
        }
        Some((_, Some((at, Outcome::Done { .. })))) => inside(w, incident, rung, *at),
        // Not settled: `busy` waits for it.
        Some((_, None | Some((_, Outcome::InDoubt { .. } | Outcome::Started { .. })))) => {}
    }
}

fn begin(w: &mut Work<'_>, incident: &Incident, rung: &RungState) {
    match need(w.policy, w.node.diagnosis, StepKind::Rescue, incident) {
        Need::Gone => {
            if undo(w, incident) {
                let why = format!("the node is {} now", w.node.diagnosis);
                w.end(incident, rung, RungResult::Moot, why);
            }
            return;
        }
        Need::Unsure => {
            w.gates_open(incident, &rung.rung, rung.started);
            return;
        }
        Need::Stands => {}
    }
    let begun = incident.effects_of(rung).any(is_act);
    if !begun && !w.gates_open(incident, &rung.rung, rung.started) {
        return;
    }
    match once(
        w,
        incident,
        drawn_from(incident, rung),
        &Action::StorePassword,
    ) {
        Step::Done => {}
        Step::Waits => return,
        Step::Stuck(why) => {
            if undo(w, incident) {
                let why = format!("could not be prepared: {why}");
                w.end(incident, rung, RungResult::Failed, why);
            }
            return;
        }
    }
    let Some((password_key, stored)) = pending_password(incident) else {
        return;
    };
    if w.gates_open(incident, &rung.rung, stored) {
        w.intend(Action::Rescue { password_key });
    }
}

/// Where the password of the next try is looked for among the incident's effects: behind the last one that was refused.
fn drawn_from(incident: &Incident, rung: &RungState) -> usize {
    let refused = incident.effects.iter().rposition(|e| {
        matches!(e.effect.action, Action::Rescue { .. })
            && matches!(&e.latest, Some((_, Outcome::NotStarted { class, .. })) if class == "invalid")
    });
    refused.map_or(rung.effects_before, |i| i.max(rung.effects_before))
}

/// The image has so long to answer. One answer is enough; silence must be everybody's.
fn inside(w: &mut Work<'_>, incident: &Incident, rung: &RungState, at: Tick) {
    let terms = w.terms(incident, &rung.rung);
    let until = at.after(Duration::from_secs(terms.wait_secs));
    let after = Tick(at.0.saturating_add(1));
    let words = reach(w.s, w.name, &w.all.healthy_observers, after);
    if let Some(why) = w.helped(terms.verify, at) {
        if leave(w, incident) != Step::Waits {
            w.end(incident, rung, RungResult::Recovered, why);
        }
    } else if words.reached > 0 {
        let why = format!(
            "the rescue image answers {} of {} observers: the fault is in the machine's own system, and its disk can be read",
            words.reached,
            words.reached.saturating_add(words.silent)
        );
        w.end(incident, rung, RungResult::NoHelp, why);
    } else if w.s.now < until {
        let of = "the rescue image has until then to answer".into();
        w.waiting.insert(Waiting::Patience { until, of });
    } else if !words.is_silence(w.policy.quorum) {
        w.wait_fresh("probes");
    } else {
        match leave(w, incident) {
            Step::Waits => {}
            Step::Done => {
                let why = format!(
                    "nobody reached the rescue image for {} s either: the fault is outside the machine's own system",
                    terms.wait_secs
                );
                w.end(incident, rung, RungResult::NoHelp, why);
            }
            Step::Stuck(why) => w.end(incident, rung, RungResult::Failed, why),
        }
    }
}

/// Boots the machine's own disk again, if the rescue image runs or may run.
pub(super) fn leave(w: &mut Work<'_>, incident: &Incident) -> Step {
    let Some(rescue) = incident.rescue() else {
        return Step::Done;
    };
    if incident.left_rescue().is_some() {
        return Step::Done;
    }
    once(
        w,
        incident,
        position(incident, rescue),
        &Action::LeaveRescue,
    )
}

/// Before a recreate: first whoever must decide about the disk has decided, then the image is left, then its words have faded.
pub(super) fn is_over(w: &mut Work<'_>, incident: &Incident, rung: &RungState) -> bool {
    if incident.rescue().is_none() {
        return true;
    }
    if let Some(left) = incident.left_rescue() {
        let until = left.after(Duration::from_secs(w.policy.probe_fresh_secs));
        let over = w.s.now >= until;
        if !over {
            let of = "what answered may still have been the rescue image".into();
            w.waiting.insert(Waiting::Patience { until, of });
        }
        return over;
    }
    let mut held = w.closed(incident, &rung.rung, rung.started);
    held.retain(|why| !is_of_the_machine(why));
    if !held.is_empty() {
        w.ask(incident, &rung.rung, &held);
        w.waiting.extend(held);
        return false;
    }
    if let Step::Stuck(why) = leave(w, incident) {
        w.end(incident, rung, RungResult::Failed, why);
    }
    false
}

/// What the machine says, or is said of it, while it runs the image is no reason for or against what comes after.
fn is_of_the_machine(why: &Waiting) -> bool {
    matches!(
        why,
        Waiting::Quorum { .. }
            | Waiting::FreshFacts { .. }
            | Waiting::ProviderBusy { .. }
            | Waiting::ProviderUnknown { .. }
    )
}
