//! The invariants, one small function each. An answer is a broken one: its name, and why.

use crate::history::{Act, End, History};
use crate::sight;
use iaso_engine::effect::{Action, Effect};
use iaso_engine::fact::{MachineState, Role};
use iaso_engine::ledger::Incident;
use iaso_engine::plan::Situation;
use iaso_engine::policy::Mode;
use iaso_engine::record::Rung;

const DAY_MS: u64 = 86_400_000;

type Broken = Option<(&'static str, String)>;
type Invariant = fn(&Situation<'_>, &History, &Effect) -> Broken;

/// The first invariant that an effect breaks.
pub(crate) fn broken(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let invariants: &[Invariant] = match &effect.action {
        Action::Recreate { .. } => &[
            unused_id,
            allowed,
            worker_only,
            silence,
            provider_plain,
            once,
            prepared,
            local_data,
            recreates_a_day,
            alone_in_flight,
            no_storm,
            stores,
        ],
        Action::Reboot => &[
            unused_id,
            allowed,
            silence,
            provider_plain,
            reboots_a_day,
            alone_in_flight,
            no_storm,
        ],
        Action::Start => &[
            unused_id,
            allowed,
            provider_plain,
            only_when_stopped,
            alone_in_flight,
            no_storm,
        ],
        Action::ApplyFix { .. } => &[unused_id, allowed, alone_in_flight, no_storm],
        Action::Release => &[unused_id, fenced],
        Action::Remember
        | Action::Cordon
        | Action::StorePassword
        | Action::PrepareScript
        | Action::Restore { .. }
        | Action::Uncordon
        | Action::PromotePassword { .. }
        | Action::Cleanup { .. }
        | Action::Page { .. } => &[unused_id],
    };
    invariants
        .iter()
        .find_map(|check| check(s, history, effect))
}

fn unused_id(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let used = history.all().any(|a| a.id == effect.id);
    used.then(|| ("effect-id-once", format!("{} was used before", effect.id)))
}

fn rung_of(action: &Action) -> Option<(Rung, &'static str)> {
    match action {
        Action::ApplyFix { plugin, fix } => Some((Rung::Fix(format!("{plugin}/{fix}")), "fix")),
        Action::Reboot => Some((Rung::Reboot, "reboot")),
        Action::Start => Some((Rung::Start, "start")),
        Action::Recreate { .. } => Some((Rung::Recreate, "recreate")),
        Action::Remember
        | Action::Cordon
        | Action::StorePassword
        | Action::PrepareScript
        | Action::Release
        | Action::Restore { .. }
        | Action::Uncordon
        | Action::PromotePassword { .. }
        | Action::Cleanup { .. }
        | Action::Page { .. } => None,
    }
}

fn incident<'a>(s: &Situation<'a>, effect: &Effect) -> Option<&'a Incident> {
    s.ledger.incidents.get(&effect.incident)
}

/// The latest word of a person on this rung of this incident.
fn said(s: &Situation<'_>, effect: &Effect, rung: &Rung) -> Option<bool> {
    let decisions = &incident(s, effect)?.decisions;
    let mut word = None;
    for (_, about, yes) in decisions {
        if about == rung {
            word = Some(*yes);
        }
    }
    word
}

fn allowed(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    let (rung, name) = rung_of(&effect.action)?;
    let held = s.ledger.paused.contains_key(&None)
        || s.ledger.paused.contains_key(&Some(effect.node.clone()));
    if held {
        return Some((
            "paused-means-still",
            format!("{name} while a person holds {}", effect.node),
        ));
    }
    let mode = match name {
        "fix" => s.policy.fix,
        "reboot" => s.policy.reboot,
        "start" => s.policy.start,
        _ => s.policy.recreate,
    };
    let word = said(s, effect, &rung);
    match (mode, word) {
        (_, Some(false)) => Some(("no-means-no", format!("a person said no to {name}"))),
        (Mode::Observe, _) => Some(("observe-acts-not", format!("{name} is only observed"))),
        (Mode::Approve, None) => Some(("approval-first", format!("nobody approved {name}"))),
        (Mode::Approve, Some(true)) | (Mode::Auto, None | Some(true)) => None,
    }
}

fn worker_only(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
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

/// A machine that the provider calls stopped needs no probes, unless somebody reached it.
fn silence(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    let node = &effect.node;
    if sight::answers_anybody(s, node) {
        return Some(("silence-of-all", format!("{node} answered a probe")));
    }
    if sight::is_up(s, node) {
        return Some(("silence-of-all", format!("the agent of {node} is up")));
    }
    if matches!(sight::machine(s, node), Ok(MachineState::Stopped)) {
        return None;
    }
    let (silent, controller) = sight::silence(s, node);
    let need = usize::try_from(s.policy.quorum.max(1)).unwrap_or(usize::MAX);
    (silent < need || !controller).then(|| {
        (
            "quorum-of-silence",
            format!(
                "{silent} of {need} observers met silence, controller among them: {controller}"
            ),
        )
    })
}

fn provider_plain(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    let why = sight::machine(s, &effect.node).err()?;
    Some(("provider-known-and-idle", why))
}

fn only_when_stopped(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    match sight::machine(s, &effect.node) {
        Ok(MachineState::Stopped) => None,
        _ => Some((
            "start-only-when-stopped",
            "the provider does not say stopped".into(),
        )),
    }
}

fn once(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let before = history
        .of_incident(&effect.incident)
        .find(|a| matches!(a.action, Action::Recreate { .. }) && a.end != End::NeverBegan)?;
    Some((
        "one-recreate",
        format!("{} recreated it, or may have", before.id),
    ))
}

fn prepared(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let Action::Recreate { password_key, .. } = &effect.action else {
        return None;
    };
    let done = |wanted: fn(&Action) -> bool| {
        history
            .of_incident(&effect.incident)
            .filter(|a| a.end == End::Done && wanted(&a.action))
            .map(|a| &a.id)
            .collect::<Vec<_>>()
    };
    // The key is the store's own: it is compared with what the storing yielded, not with the effect's id.
    let mut stored = history
        .of_incident(&effect.incident)
        .filter(|a| a.end == End::Done && matches!(a.action, Action::StorePassword));
    if !stored.any(|a| a.password_key.as_ref() == Some(password_key)) {
        return Some((
            "password-stored-first",
            format!("no stored password has the key {password_key}"),
        ));
    }
    done(|a| matches!(a, Action::PrepareScript))
        .is_empty()
        .then(|| {
            (
                "script-first",
                "no post-install script was made in this incident".into(),
            )
        })
}

fn local_data(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    if s.policy.local_data_expendable
        || said(s, effect, &Rung::Recreate) == Some(true)
        || !s.inventory.has_cluster
    {
        return None;
    }
    match s
        .world
        .nodes
        .get(&effect.node)
        .and_then(|f| f.kube.as_ref())
    {
        None => Some((
            "local-data-known",
            "Kubernetes never said what lies on the node".into(),
        )),
        Some(kube) if kube.value.local_data.is_empty() => None,
        Some(kube) => Some(("local-data-kept", kube.value.local_data.join(", "))),
    }
}

fn within_a_day(s: &Situation<'_>, act: &Act) -> bool {
    act.end != End::NeverBegan && s.now.0.saturating_sub(act.at.0) < DAY_MS
}

fn recreates_a_day(s: &Situation<'_>, history: &History, _: &Effect) -> Broken {
    let used = history
        .all()
        .filter(|a| matches!(a.action, Action::Recreate { .. }) && within_a_day(s, a))
        .count();
    let limit = usize::try_from(s.policy.recreates_per_day).unwrap_or(usize::MAX);
    (used >= limit).then(|| {
        (
            "recreate-budget",
            format!("{used} in 24 hours, {limit} allowed"),
        )
    })
}

fn reboots_a_day(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let used = history
        .all()
        .filter(|a| {
            a.node == effect.node && matches!(a.action, Action::Reboot) && within_a_day(s, a)
        })
        .count();
    let limit = usize::try_from(s.policy.reboots_per_day).unwrap_or(usize::MAX);
    (used >= limit).then(|| {
        (
            "reboot-budget",
            format!("{used} in 24 hours, {limit} allowed"),
        )
    })
}

/// A fix of an agent that died with its machine is over when its own time is.
fn alone_in_flight(s: &Situation<'_>, history: &History, _: &Effect) -> Broken {
    let fix_ms = s
        .policy
        .fix_wait_secs
        .saturating_add(s.policy.doubt_secs)
        .saturating_mul(1_000);
    let busy = history.all().find(|a| {
        let moving = match &a.action {
            Action::ApplyFix { .. } => s.now.0.saturating_sub(a.at.0) < fix_ms,
            Action::Reboot | Action::Start | Action::Recreate { .. } => true,
            Action::Remember
            | Action::Cordon
            | Action::StorePassword
            | Action::PrepareScript
            | Action::Release
            | Action::Restore { .. }
            | Action::Uncordon
            | Action::PromotePassword { .. }
            | Action::Cleanup { .. }
            | Action::Page { .. } => false,
        };
        moving && a.end == End::Open
    })?;
    Some((
        "one-disruption-at-a-time",
        format!("{} is under way", busy.id),
    ))
}

fn no_storm(s: &Situation<'_>, _: &History, effect: &Effect) -> Broken {
    if matches!(effect.action, Action::ApplyFix { .. }) {
        return None;
    }
    let (lost, of) = sight::lost(s);
    let reaches = s
        .inventory
        .nodes
        .keys()
        .any(|n| !sight::is_up(s, n) && sight::controller_reaches(s, n));
    if lost > 0 && (lost == of || (lost > 1 && lost.saturating_mul(2) > of)) && !reaches {
        let why = format!("{lost} of {of} nodes are silent to the controller");
        return Some(("controller-not-cut-off", why));
    }
    let dark = s
        .inventory
        .nodes
        .keys()
        .filter(|n| sight::is_dark(s, n))
        .count();
    let limit = match s.policy.storm_limit {
        0 => (s.inventory.nodes.len() / 3).max(1),
        set => usize::try_from(set).unwrap_or(usize::MAX),
    };
    (dark > limit).then(|| {
        (
            "no-storm",
            format!("{dark} nodes are down at once, {limit} may be"),
        )
    })
}

fn stores(s: &Situation<'_>, _: &History, _: &Effect) -> Broken {
    if let Some(why) = &s.world.secret_store {
        return Some(("secret-store-works", why.clone()));
    }
    s.world
        .store
        .as_ref()
        .map(|why| ("journal-works", why.clone()))
}

fn fenced(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let wiped = history
        .of_incident(&effect.incident)
        .any(|a| matches!(a.action, Action::Recreate { .. }) && a.end == End::Done);
    let stopped = matches!(sight::machine(s, &effect.node), Ok(MachineState::Stopped));
    (!wiped && !stopped).then(|| {
        (
            "fence-before-release",
            "the old machine may still run".into(),
        )
    })
}
