//! The recreate saga: prepare, wipe once, rejoin. Every step is an effect of its own, so that it resumes where the journal ends.
//!
//! **Invariants**
//! - The password is stored and read back, and the script exists, before the machine is wiped.
//! - The machine is wiped at most once in an incident. Only a recreate that provably never began is intended again, under a new id.
//! - What the old machine held is released only after the recreate's success: then it provably cannot run.
//! - A machine in the rescue image is given its own disk again, and looked at once more, before it is wiped.
//! - Before the wipe everything can be undone, and is when the node turns out well. After it there is only forward: a slow machine is
//!   waited for and reported, never wiped again.

pub(crate) mod rescue;

use crate::diagnose::channel::{Agent, Lease};
use crate::effect::{Action, Outcome, Remembered, Yield};
use crate::ladder::{Need, need};
use crate::ledger::{EffectState, Incident, RungState};
use crate::plan::rung::is_act;
use crate::plan::work::{Work, trouble};
use crate::policy::step::StepKind;
use crate::record::{Diagnosis, RungResult, Waiting};
use crate::time::Tick;
use std::time::Duration;

/// After so many tries of one step a person is told; what is not essential is then left for them.
pub(crate) const TRIES_BEFORE_PAGE: usize = 5;
/// A script older than this is made anew: the join token in it does not live for ever.
const SCRIPT_FRESH: Duration = Duration::from_mins(30);

/// Where one step stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Done,
    Waits,
    /// It was tried so often without success.
    Stuck(String),
}

pub(crate) fn step(w: &mut Work<'_>, incident: &Incident, rung: &RungState) {
    let Some(recreate) = incident.recreate() else {
        return prepare(w, incident, rung);
    };
    match &recreate.latest {
        Some((_, Outcome::Done { .. })) => rejoin(w, incident, rung, recreate),
        Some((_, Outcome::Failed { detail })) => {
            let why = format!("the provider's recreate failed: {detail}");
            if tidy_script(w, incident) != Step::Waits {
                w.end(incident, rung, RungResult::Failed, why);
            }
        }
        // Not settled: asked for, never done again.
        None
        | Some((
            _,
            Outcome::NotStarted { .. } | Outcome::InDoubt { .. } | Outcome::Started { .. },
        )) => {}
    }
}

fn prepare(w: &mut Work<'_>, incident: &Incident, rung: &RungState) {
    match need(w.policy, w.node.diagnosis, StepKind::Recreate, incident) {
        Need::Gone => {
            if undo(w, incident) {
                let why = format!(
                    "the node is {} now: undone before the wipe",
                    w.node.diagnosis
                );
                w.end(incident, rung, RungResult::Moot, why);
            }
            return;
        }
        Need::Unsure => {
            w.gates_open(incident, &rung.rung, rung.started);
            w.explain_unknown(incident);
            return;
        }
        Need::Stands => {}
    }
    if !rescue::is_over(w, incident, rung) {
        return;
    }
    let begun = incident.effects_of(rung).any(is_act);
    if !begun && !w.gates_open(incident, &rung.rung, rung.started) {
        return;
    }
    let steps: [fn(&mut Work<'_>, &Incident, &RungState) -> Step; 5] =
        [remember, cordon, password, script, wipe];
    for step in steps {
        match step(w, incident, rung) {
            Step::Done => {}
            Step::Waits => return,
            Step::Stuck(why) => {
                if undo(w, incident) {
                    w.end(
                        incident,
                        rung,
                        RungResult::Failed,
                        format!("could not be prepared: {why}"),
                    );
                }
                return;
            }
        }
    }
}

fn remember(w: &mut Work<'_>, incident: &Incident, rung: &RungState) -> Step {
    kube_once(w, incident, rung.effects_before, &Action::Remember)
}

fn cordon(w: &mut Work<'_>, incident: &Incident, rung: &RungState) -> Step {
    kube_once(w, incident, rung.effects_before, &Action::Cordon)
}

/// A password that the provider refused as leaked is drawn anew.
fn password(w: &mut Work<'_>, incident: &Incident, rung: &RungState) -> Step {
    let refused = incident.effects.iter().rposition(|e| {
        matches!(e.effect.action, Action::Recreate { .. })
            && matches!(&e.latest, Some((_, Outcome::NotStarted { class, .. })) if class == "invalid")
    });
    let from = refused.map_or(rung.effects_before, |i| i.max(rung.effects_before));
    once(w, incident, from, &Action::StorePassword)
}

fn script(w: &mut Work<'_>, incident: &Incident, rung: &RungState) -> Step {
    let made = incident
        .effects
        .iter()
        .rposition(|e| matches!(e.effect.action, Action::PrepareScript) && e.done().is_some());
    let expired = made.filter(|i| {
        let at = incident.effects.get(*i).and_then(EffectState::done);
        at.is_some_and(|at| w.s.now.since(at) >= SCRIPT_FRESH)
    });
    let Some(expired) = expired else {
        return once(w, incident, rung.effects_before, &Action::PrepareScript);
    };
    if tidy_script(w, incident) == Step::Waits {
        return Step::Waits;
    }
    let from = rung.effects_before.max(expired.saturating_add(1));
    once(w, incident, from, &Action::PrepareScript)
}

fn wipe(w: &mut Work<'_>, incident: &Incident, rung: &RungState) -> Step {
    let (Some((password_key, stored)), Some((script, _, made))) =
        (pending_password(incident), made_script(incident))
    else {
        return Step::Waits;
    };
    let tries: Vec<&EffectState> = incident
        .effects_of(rung)
        .filter(|e| matches!(e.effect.action, Action::Recreate { .. }))
        .collect();
    if let Some((at, outcome)) = tries.last().and_then(|e| e.latest.as_ref()) {
        let (class, detail) = trouble(outcome);
        if class == "invalid" && tries.len() >= TRIES_BEFORE_PAGE {
            return Step::Stuck(format!("the provider refuses the recreate: {detail}"));
        }
        if class != "invalid" {
            w.again(class, detail, *at, tries.len());
        }
    }
    if is_half_undone(incident) {
        if undo(w, incident) {
            let why = "it seemed well and is not: what was prepared is undone, to begin anew";
            w.end(incident, rung, RungResult::Moot, why);
        }
        return Step::Waits;
    }
    if w.waiting.is_empty() && w.gates_open(incident, &rung.rung, stored.max(made)) {
        w.intend(Action::Recreate {
            password_key,
            script,
        });
    }
    Step::Waits
}

/// Undoing began when the node seemed well. A machine that were wiped with a script that is deleted would never join.
fn is_half_undone(incident: &Incident) -> bool {
    let last = |wanted: fn(&Action) -> bool| {
        let is = |e: &EffectState| wanted(&e.effect.action);
        incident.effects.iter().rposition(is)
    };
    let made = last(|a| matches!(a, Action::PrepareScript));
    let deleted = last(|a| matches!(a, Action::Cleanup { .. }));
    let cordoned = last(|a| matches!(a, Action::Cordon));
    let uncordoned = last(|a| matches!(a, Action::Uncordon));
    deleted > made || uncordoned > cordoned
}

fn rejoin(w: &mut Work<'_>, incident: &Incident, rung: &RungState, recreate: &EffectState) {
    let done = recreate.done().unwrap_or(recreate.intended);
    let terms = w.terms(incident, &rung.rung);
    let late = done.after(Duration::from_secs(terms.wait_secs));
    if w.s.now >= late {
        w.page(
            "rejoin overdue",
            format!(
                "{} was recreated {} s ago and is not back: {}. Iaso goes on waiting and never recreates twice; look at /post_install.log on the machine",
                w.name, terms.wait_secs, w.node.evidence.join("; ")
            ),
        );
    }
    let from = position(incident, recreate);
    if kube_once(w, incident, from, &Action::Release) != Step::Done {
        return;
    }
    if !joined(w, recreate, late) {
        return;
    }
    if let Some(remembered) = remembered(incident)
        && kube_once(w, incident, from, &Action::Restore { remembered }) != Step::Done
    {
        return;
    }
    if !green(w, recreate) {
        w.wait_fresh("checks of the new machine");
        return;
    }
    let keep = remembered(incident).is_some_and(|r| r.was_cordoned);
    if !keep && kube_once(w, incident, from, &Action::Uncordon) != Step::Done {
        return;
    }
    if let Action::Recreate { password_key, .. } = &recreate.effect.action {
        let promote = Action::PromotePassword {
            password_key: password_key.clone(),
        };
        if once(w, incident, from, &promote) == Step::Waits {
            return;
        }
    }
    if tidy_script(w, incident) != Step::Waits && tidy_passwords(w, incident) != Step::Waits {
        w.end(
            incident,
            rung,
            RungResult::Recovered,
            "recreated, joined, restored, and its checks are green",
        );
    }
}

/// The new machine's agent, in a session that began after the wipe was intended, and its kubelet Ready.
fn joined(w: &mut Work<'_>, recreate: &EffectState, until: Tick) -> bool {
    let agent = matches!(w.node.agent, Agent::Up { since } if since > recreate.intended);
    let ready = matches!(w.node.lease, Lease::Fresh | Lease::Absent);
    if agent && ready {
        return true;
    }
    if w.s.now < until {
        let of = "the new machine boots, installs and becomes Ready".into();
        w.waiting.insert(Waiting::Patience { until, of });
    }
    w.wait_fresh(if agent {
        "the new machine's lease"
    } else {
        "the new machine's agent"
    });
    if let Lease::Unknown { why } = &w.node.lease {
        w.waiting.insert(Waiting::KubeUnknown { why: why.clone() });
    }
    false
}

/// Healthy, by at least one check that ran on the new machine.
fn green(w: &Work<'_>, recreate: &EffectState) -> bool {
    let ran = w.s.world.nodes.get(w.name).is_some_and(|facts| {
        facts
            .plugins
            .values()
            .any(|run| run.at > recreate.intended && run.value.fault.is_none())
    });
    ran && w.node.diagnosis == Diagnosis::Healthy
}

/// Takes back what was prepared: the rescue image, the script with its token, passwords that were never used, and the cordon. True when
/// nothing is left to take back.
pub(crate) fn undo(w: &mut Work<'_>, incident: &Incident) -> bool {
    if rescue::leave(w, incident) == Step::Waits {
        return false;
    }
    if tidy_script(w, incident) == Step::Waits || tidy_passwords(w, incident) == Step::Waits {
        return false;
    }
    let intended = |name: &str| {
        let named = |e: &EffectState| e.effect.action.name() == name;
        incident.effects.iter().rposition(named)
    };
    let last = |name: &str| {
        incident
            .effects
            .iter()
            .rposition(|e| e.effect.action.name() == name && e.done().is_some())
    };
    // One whose answer was lost may have been done all the same: the API server's silence is no proof.
    let Some(cordoned) = intended("cordon") else {
        return true;
    };
    let keep = remembered(incident).is_some_and(|r| r.was_cordoned);
    if keep || last("uncordon").is_some_and(|u| u > cordoned) {
        return true;
    }
    kube_once(w, incident, cordoned, &Action::Uncordon) == Step::Done
}

/// Deletes the latest script and its token, if it was made and not deleted yet.
fn tidy_script(w: &mut Work<'_>, incident: &Incident) -> Step {
    let Some((script, token, _)) = made_script(incident) else {
        return Step::Done;
    };
    let cleanup = Action::Cleanup { script, token };
    let from = incident
        .effects
        .iter()
        .rposition(|e| matches!(e.effect.action, Action::PrepareScript) && e.done().is_some())
        .unwrap_or(0);
    once(w, incident, from, &cleanup)
}

/// Forgets every pending password that no recreate can have used: a provider may have taken one whose answer was lost.
fn tidy_passwords(w: &mut Work<'_>, incident: &Incident) -> Step {
    for key in unused_passwords(incident) {
        let discard = Action::DiscardPassword { password_key: key };
        if once(w, incident, 0, &discard) == Step::Waits {
            return Step::Waits;
        }
    }
    Step::Done
}

/// Stored, and named by no recreate that may have begun and no rescue image that may still run; discarded ones left in: the step knows that it is done.
fn unused_passwords(incident: &Incident) -> Vec<String> {
    let stored = incident.effects.iter().filter_map(stored_password);
    let used = |key: &str| {
        incident.effects.iter().any(|e| {
            let wiped = matches!(&e.effect.action, Action::Recreate { password_key, .. } if password_key == key);
            let rescued = matches!(&e.effect.action, Action::Rescue { password_key } if password_key == key);
            (wiped || (rescued && incident.left_rescue().is_none())) && !e.never_began()
        })
    };
    stored
        .map(|(key, _)| key)
        .filter(|key| !used(key))
        .collect()
}

/// What an incident has left on the node, at the provider or in the secret store, in words with what to do; empty: nothing.
pub(crate) fn left_behind(incident: &Incident) -> Vec<String> {
    let mut all = Vec::new();
    let last = |name: &str| incident.last_done(name).and_then(EffectState::done);
    let keep = remembered(incident).is_some_and(|r| r.was_cordoned);
    let node = &incident.node;
    if incident.rescue().is_some() && incident.left_rescue().is_none() {
        all.push(format!(
            "{node} runs the provider's rescue image: its own disk is booted again when it is recreated, after `iaso deny`, or at the provider's console"
        ));
    }
    if last("cordon").is_some_and(|at| last("uncordon").is_none_or(|u| u < at)) && !keep {
        all.push(format!(
            "{node} is cordoned by Iaso: it is uncordoned when it is well again, or with kubectl uncordon {node}"
        ));
    }
    if last("prepare-script").is_some_and(|at| last("cleanup").is_none_or(|c| c < at)) {
        all.push("the post-install script and its join token: delete them at the provider and in kube-system".into());
    }
    let discarded = |key: &str| {
        incident.effects.iter().any(|e| {
            e.done().is_some()
                && matches!(&e.effect.action, Action::DiscardPassword { password_key } if password_key == key)
        })
    };
    let promoted = last("promote-password").is_some();
    for (key, _) in incident.effects.iter().filter_map(stored_password) {
        if !promoted && !discarded(&key) {
            all.push(format!(
                "a root password is pending under key {key}: if the machine was recreated, it may be the one in use"
            ));
        }
    }
    all
}

fn stored_password(effect: &EffectState) -> Option<(String, Tick)> {
    match &effect.latest {
        Some((
            at,
            Outcome::Done {
                yielded: Yield::Password { key },
                ..
            },
        )) => Some((key.clone(), *at)),
        _ => None,
    }
}

/// A step of Kubernetes: skipped without a cluster, waited for while the API does not answer.
fn kube_once(w: &mut Work<'_>, incident: &Incident, from: usize, action: &Action) -> Step {
    if !w.s.inventory.has_cluster {
        return Step::Done;
    }
    let pending = latest(incident, from, action).is_none_or(|(e, _)| e.done().is_none());
    if pending && let Some(trouble) = w.kube_trouble() {
        w.waiting.insert(trouble);
        return Step::Waits;
    }
    match once(w, incident, from, action) {
        // Without Kubernetes' word the node would be left half done: go on asking, a person was told.
        Step::Stuck(_) if !matches!(action, Action::Remember | Action::Cordon) => Step::Waits,
        step @ (Step::Done | Step::Waits | Step::Stuck(_)) => step,
    }
}

/// Intends a step unless it is done; tries again, later each time.
fn once(w: &mut Work<'_>, incident: &Incident, from: usize, action: &Action) -> Step {
    let Some((effect, tries)) = latest(incident, from, action) else {
        w.intend(action.clone());
        return Step::Waits;
    };
    let Some((at, outcome)) = &effect.latest else {
        return Step::Waits;
    };
    if effect.done().is_some() {
        return Step::Done;
    }
    if !effect.is_settled() {
        return Step::Waits;
    }
    let (class, detail) = trouble(outcome);
    let why = format!(
        "{} did not work {tries} times ({class}): {detail}",
        action.name()
    );
    let essential = !matches!(
        action,
        Action::Cleanup { .. } | Action::PromotePassword { .. } | Action::DiscardPassword { .. }
    );
    let kube = matches!(
        action,
        Action::Release | Action::Restore { .. } | Action::Uncordon
    );
    if tries >= TRIES_BEFORE_PAGE {
        w.page(
            &format!("{} does not work", action.name()),
            format!("{}: {why}", w.name),
        );
        if !kube || !essential {
            return Step::Stuck(why);
        }
    }
    let until = w.retry_at(*at, tries);
    if w.s.now >= until {
        w.intend(action.clone());
    } else {
        if matches!(action, Action::StorePassword) {
            w.waiting.insert(Waiting::SecretStore {
                why: detail.to_owned(),
            });
        }
        w.waiting.insert(Waiting::Patience { until, of: why });
    }
    Step::Waits
}

/// The latest effect of this kind among the incident's effects from an index on, and how many there are.
fn latest<'i>(
    incident: &'i Incident,
    from: usize,
    action: &Action,
) -> Option<(&'i EffectState, usize)> {
    let same = || {
        incident
            .effects
            .iter()
            .skip(from)
            .filter(|e| is_same_step(&e.effect.action, action))
    };
    same().next_back().map(|e| (e, same().count()))
}

/// Of the same kind, and about the same password where it is about one.
fn is_same_step(one: &Action, other: &Action) -> bool {
    match (one, other) {
        (
            Action::DiscardPassword { password_key: a },
            Action::DiscardPassword { password_key: b },
        ) => a == b,
        _ => one.name() == other.name(),
    }
}

fn position(incident: &Incident, effect: &EffectState) -> usize {
    incident
        .effects
        .iter()
        .position(|e| e.effect.id == effect.effect.id)
        .unwrap_or(0)
}

fn pending_password(incident: &Incident) -> Option<(String, Tick)> {
    stored_password(incident.last_done("store-password")?)
}

fn made_script(incident: &Incident) -> Option<(String, String, Tick)> {
    let effect = incident.last_done("prepare-script")?;
    match &effect.latest {
        Some((
            at,
            Outcome::Done {
                yielded: Yield::Script { script, token },
                ..
            },
        )) => Some((script.clone(), token.clone(), *at)),
        _ => None,
    }
}

fn remembered(incident: &Incident) -> Option<Remembered> {
    match &incident.last_done("remember")?.latest {
        Some((
            _,
            Outcome::Done {
                yielded: Yield::Remembered { remembered },
                ..
            },
        )) => Some(remembered.clone()),
        _ => None,
    }
}
