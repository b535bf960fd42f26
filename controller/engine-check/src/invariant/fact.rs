//! What must be seen, how lately, and by whom.

use super::Broken;
use super::form::rung_of;
use super::person::said;
use crate::history::{End, History};
use crate::{law, sight};
use iaso_engine::effect::{Action, Effect};
use iaso_engine::fact::{MachineState, Severity};
use iaso_engine::plan::Situation;
use iaso_engine::record::Rung;
use iaso_engine::time::Tick;

/// Nothing is wiped that spoke so lately, unless the policy takes a shorter silence for lasting.
const WIPE_SILENCE_SECS: u64 = 90;

/// A machine that the provider calls stopped needs no probes, unless somebody reached it.
pub(super) fn silence(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let node = &effect.node;
    if sight::answers_anybody(s, node) {
        return Some(("silence-of-all", format!("{node} answered a probe")));
    }
    if !sight::agent_silent(s, node) {
        return Some((
            "silence-of-all",
            format!("the agent of {node} spoke lately, or has had no time to"),
        ));
    }
    let spoke_secs = sight::agent_silence_secs(s, node);
    let least_secs = WIPE_SILENCE_SECS.min(s.policy.silence_secs);
    if matches!(effect.action, Action::Recreate { .. }) && spoke_secs < least_secs {
        let why = format!("the agent of {node} spoke {spoke_secs} s ago, or could not be heard");
        return Some(("silence-that-lasts", why));
    }
    let answered = sight::answered(s, node).filter(|at| !was_rescue(s, history, effect, *at));
    let lately = answered.map(|at| sight::age_secs(s.now, at));
    if let Some(secs) = lately.filter(|secs| *secs < s.policy.silence_secs) {
        let why = format!("{node} answered a probe {secs} s ago: answers may be lost");
        return Some(("silence-that-lasts", why));
    }
    if is_stopped(s, effect) {
        return None;
    }
    let (silent, controller) = sight::silence(s, node, Tick(0));
    let need = quorum(s);
    (silent < need || !controller).then(|| {
        (
            "quorum-of-silence",
            format!(
                "{silent} of {need} observers met silence, controller among them: {controller}"
            ),
        )
    })
}

/// What answered then was a rescue image that the same incident booted: its own disk says nothing by it.
fn was_rescue(s: &Situation<'_>, history: &History, effect: &Effect, at: Tick) -> bool {
    let mut on = false;
    for act in history.of_incident(&effect.incident) {
        let ended = act.ended.unwrap_or(act.at);
        let fades = Tick(
            ended
                .0
                .saturating_add(s.policy.probe_fresh_secs.saturating_mul(1_000)),
        );
        match (&act.action, act.end) {
            (Action::Rescue { .. }, End::Done | End::Open) if act.at <= at => on = true,
            (Action::LeaveRescue, End::Done) if fades <= at => on = false,
            _ => {}
        }
    }
    on
}

/// Before a reboot the silence of all, or the answer of all with a node that Kubernetes has lost.
pub(super) fn silent_or_lost(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let node = &effect.node;
    let alive = sight::answers_anybody(s, node) || sight::is_up(s, node);
    if !alive || !law::may_reboot_alive(s, node) {
        return silence(s, history, effect)
            .or_else(|| kubelet_silent(s, history, effect))
            .or_else(|| probed_since(s, history, effect));
    }
    if !sight::lost_by_kubernetes(s, node) {
        return Some((
            "alive-means-lost-by-kubernetes",
            format!("{node} answers, and Kubernetes has not lost it by a fresh word"),
        ));
    }
    let since = decided(history, effect);
    let newer = Tick(since.0.saturating_add(1));
    let (answered, silent, controller) = sight::chorus(s, node, newer);
    let need = quorum(s);
    (answered < need || silent > 0 || !controller).then(|| {
        (
            "quorum-of-answers",
            format!("{answered} of {need} observers reach it after the decision, {silent} do not, the controller among the first: {controller}"),
        )
    })
}

fn quorum(s: &Situation<'_>) -> usize {
    usize::try_from(s.policy.quorum.max(1)).unwrap_or(usize::MAX)
}

fn is_stopped(s: &Situation<'_>, effect: &Effect) -> bool {
    matches!(sight::machine(s, &effect.node), Ok(MachineState::Stopped))
}

/// A kubelet that renews its lease runs on a machine that runs.
pub(super) fn kubelet_silent(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    sight::kubelet_renews(s, &effect.node).then(|| {
        (
            "kubelet-is-silent",
            format!("{} renews its lease", effect.node),
        )
    })
}

/// Facts before this moment were known when the decision, or its last preparation, was made: they are no second look.
fn decided(history: &History, effect: &Effect) -> Tick {
    let rung = rung_of(&effect.action)
        .and_then(|rung| history.case(&effect.incident)?.takes(&rung))
        .unwrap_or_default();
    let prepared = history
        .of_incident(&effect.incident)
        .filter(|a| {
            a.end == End::Done
                && matches!(
                    a.action,
                    Action::Remember
                        | Action::Cordon
                        | Action::StorePassword
                        | Action::PrepareScript
                )
        })
        .filter_map(|a| a.ended);
    prepared.fold(rung, Tick::max)
}

pub(super) fn asked_since(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let facts = s.world.nodes.get(&effect.node);
    let asked = facts.and_then(|f| f.machine.as_ref()).map(|m| m.at);
    let since = decided(history, effect);
    asked.is_none_or(|at| at <= since).then(|| {
        (
            "looked-at-the-last-moment",
            "the provider was not asked again after the decision".into(),
        )
    })
}

pub(super) fn probed_since(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    if is_stopped(s, effect) {
        return None;
    }
    let since = decided(history, effect);
    let newer = Tick(since.0.saturating_add(1));
    let (silent, controller) = sight::silence(s, &effect.node, newer);
    let need = quorum(s);
    (silent < need || !controller).then(|| {
        (
            "looked-at-the-last-moment",
            format!("{silent} of {need} observers probed again after the decision, controller among them: {controller}"),
        )
    })
}

pub(super) fn provider_plain(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    let declared = s.inventory.nodes.get(&effect.node);
    if declared.is_none_or(|n| n.machine.is_none()) {
        let why = format!("{} is declared without a machine", effect.node);
        return Some(("provider-known-and-idle", why));
    }
    let why = sight::machine(s, &effect.node).err()?;
    Some(("provider-known-and-idle", why))
}

pub(super) fn only_when_stopped(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    (!is_stopped(s, effect)).then(|| {
        (
            "start-only-when-stopped",
            "the provider does not say stopped".into(),
        )
    })
}

pub(super) fn local_data(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    let expendable = law::over(s, &effect.node, |o| o.local_data_expendable)
        .unwrap_or(s.policy.local_data_expendable);
    let given_up = expendable || said(s, effect, &Rung::Recreate) == Some(true);
    if !s.inventory.has_cluster && given_up {
        return None;
    }
    let Some(kube) = sight::kube(s, &effect.node) else {
        return Some((
            "local-data-known",
            "Kubernetes did not say lately what lies on the node".into(),
        ));
    };
    (!given_up && !kube.local_data.is_empty())
        .then(|| ("local-data-kept", kube.local_data.join(", ")))
}

pub(super) fn agent_up(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    (!sight::is_up(s, &effect.node)).then(|| {
        (
            "fix-needs-the-agent",
            format!("the agent of {} is not up", effect.node),
        )
    })
}

/// A cause must be named, now, by a check that says that this fix helps: nothing is restarted on a hunch.
pub(super) fn fix_of_a_finding(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    let Action::ApplyFix { plugin, fix } = &effect.action else {
        return None;
    };
    let run = s
        .world
        .nodes
        .get(&effect.node)
        .and_then(|f| f.plugins.get(plugin));
    let fresh = run.filter(|r| {
        r.value.fault.is_none() && sight::age_secs(s.now, r.at) < s.policy.finding_fresh_secs
    });
    let named = fresh.is_some_and(|r| {
        r.value.findings.iter().any(|f| {
            f.severity == Severity::Critical
                && f.remedies.contains(fix)
                && law::acts_on(s, &effect.node, &f.code)
        })
    });
    (!named).then(|| {
        (
            "fix-of-a-finding",
            format!("no critical finding of {plugin} names {fix} now"),
        )
    })
}
