//! The recreate saga: prepared and read back before the wipe, wiped once, fenced before release, and only what is ours is taken back.

use super::Broken;
use crate::history::{Act, End, History};
use crate::sight;
use iaso_engine::effect::{Action, Effect, Yield};
use iaso_engine::fact::MachineState;
use iaso_engine::plan::Situation;

pub(super) fn once(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let before = history.wipe(&effect.incident)?;
    Some((
        "one-recreate",
        format!("{} recreated it, or may have", before.id),
    ))
}

fn done<'a>(history: &'a History, effect: &'a Effect) -> impl DoubleEndedIterator<Item = &'a Act> {
    history
        .of_incident(&effect.incident)
        .filter(|a| a.end == End::Done)
}

/// The key is the store's own: it is compared with what the storing yielded, not with the effect's id.
pub(super) fn password_stored(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let (Action::Recreate { password_key, .. } | Action::Rescue { password_key }) = &effect.action
    else {
        return None;
    };
    let stored = done(history, effect)
        .any(|a| matches!(&a.yielded, Yield::Password { key } if key == password_key));
    (!stored).then(|| {
        (
            "password-stored-first",
            format!("no stored password has the key {password_key}"),
        )
    })
}

/// A machine in the rescue image may hold what a person is saving, and what it answers says nothing of its own system.
pub(super) fn own_disk(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let rescue = history.rescue(&effect.incident)?;
    Some((
        "own-disk-first",
        format!("{} booted the rescue image, and it was not left", rescue.id),
    ))
}

/// A rescue image that a person booted stays.
pub(super) fn own_rescue(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    history.rescue(&effect.incident).is_none().then(|| {
        (
            "leave-only-our-own-rescue",
            "this incident runs no rescue image".into(),
        )
    })
}

/// The latest script, and not deleted since.
pub(super) fn script_made(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let Action::Recreate { script, .. } = &effect.action else {
        return None;
    };
    let mut there = false;
    for act in done(history, effect) {
        match (&act.action, &act.yielded) {
            (_, Yield::Script { script: made, .. }) => there = made == script,
            (Action::Cleanup { script: gone, .. }, _) if gone == script => there = false,
            _ => {}
        }
    }
    (!there).then(|| {
        (
            "script-first",
            format!("no post-install script {script} of this incident is there"),
        )
    })
}

pub(super) fn remembered_and_cordoned(
    s: &Situation<'_>,
    history: &History,
    effect: &Effect,
) -> Broken {
    if !s.inventory.has_cluster {
        return None;
    }
    let cordoned = done(history, effect).any(|a| a.action == Action::Cordon);
    let why = match (history.remembered(&effect.incident), cordoned) {
        (None, _) => "what the node was is not written down",
        (Some(_), false) => "the node is not cordoned",
        (Some(_), true) => return None,
    };
    Some(("remembered-and-cordoned-first", why.into()))
}

/// Whoever cordons must know whether somebody else did before.
pub(super) fn remembered_first(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    history.remembered(&effect.incident).is_none().then(|| {
        (
            "remembered-before-cordon",
            "nobody wrote down whether it was cordoned before".into(),
        )
    })
}

/// After the wipe there is nothing to write down but a blank node, and no password to draw that anything would use.
pub(super) fn before_the_wipe(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let wipe = history.wipe(&effect.incident)?;
    Some((
        "prepared-before-the-wipe",
        format!("{} after {}", effect.action.name(), wipe.id),
    ))
}

pub(super) fn after_the_wipe(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let wiped = history
        .wipe(&effect.incident)
        .is_some_and(|a| a.end == End::Done);
    (!wiped).then(|| {
        (
            "restored-after-the-wipe",
            format!("{} before anything was wiped", effect.action.name()),
        )
    })
}

/// Only a machine that was wiped, or is off by the provider's fresh word, provably runs nothing any more.
pub(super) fn fenced(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let wipe = history.wipe(&effect.incident);
    let wiped = wipe.is_some_and(|a| a.end == End::Done);
    let stopped = matches!(sight::machine(s, &effect.node), Ok(MachineState::Stopped));
    (!wiped && !stopped).then(|| {
        (
            "fence-before-release",
            "the old machine may still run".into(),
        )
    })
}

pub(super) fn restores_what_was(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let Action::Restore { remembered } = &effect.action else {
        return None;
    };
    (history.remembered(&effect.incident) != Some(remembered)).then(|| {
        (
            "restore-what-was-remembered",
            "it is not what was written down in this incident".into(),
        )
    })
}

/// A cordon that a person or another tool set stays.
pub(super) fn own_cordon(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let ours = history
        .of_incident(&effect.incident)
        // One that "did not begin" may have been done all the same: its answer was lost.
        .any(|a| a.action == Action::Cordon);
    let theirs = history
        .remembered(&effect.incident)
        .is_some_and(|r| r.was_cordoned);
    let why = match (ours, theirs) {
        (true, false) => return None,
        (false, _) => "this incident did not cordon it",
        (true, true) => "somebody else had cordoned it before",
    };
    Some(("uncordon-only-our-own", why.into()))
}

/// A machine that was wiped, or may have been, takes workloads only when it is back.
pub(super) fn well_again(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let wipe = history.wipe(&effect.incident)?;
    let node = &effect.node;
    let new = wipe.end != End::Done
        || sight::session_since(s, node).is_some_and(|session| session > wipe.at);
    let back =
        wipe.end != End::Open && new && sight::is_up(s, node) && sight::kubelet_ready(s, node);
    (!back).then(|| {
        (
            "uncordon-only-when-back",
            format!("{node} was wiped ({}) and is not back", wipe.id),
        )
    })
}

pub(super) fn promotes_what_was_used(
    _: &Situation<'_>,
    history: &History,
    effect: &Effect,
) -> Broken {
    let Action::PromotePassword { password_key } = &effect.action else {
        return None;
    };
    let used = done(history, effect).any(|a| {
        matches!(&a.action, Action::Recreate { password_key: used, .. } if used == password_key)
    });
    (!used).then(|| {
        (
            "promote-what-was-used",
            format!("no machine was recreated with the password {password_key}"),
        )
    })
}

/// A password that a machine may have been given stays.
pub(super) fn never_used(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let Action::DiscardPassword { password_key } = &effect.action else {
        return None;
    };
    let own = done(history, effect)
        .any(|a| matches!(&a.yielded, Yield::Password { key } if key == password_key));
    if !own {
        return Some((
            "discard-only-our-own",
            format!("this incident did not store the password {password_key}"),
        ));
    }
    let user = history.all().find(|a| {
        let given =
            matches!(&a.action, Action::Recreate { password_key: k, .. } if k == password_key);
        let promoted =
            matches!(&a.action, Action::PromotePassword { password_key: k } if k == password_key);
        let rescues = matches!(&a.action, Action::Rescue { password_key: k } if k == password_key)
            && history.rescue(&a.incident).is_some_and(|on| on.id == a.id);
        promoted || rescues || (given && a.end != End::NeverBegan)
    })?;
    Some((
        "used-password-kept",
        format!("{} may have given {password_key} to the machine", user.id),
    ))
}

pub(super) fn cleans_its_own(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let Action::Cleanup { script, token } = &effect.action else {
        return None;
    };
    let own = done(history, effect).any(|a| {
        matches!(&a.yielded, Yield::Script { script: s, token: t } if s == script && t == token)
    });
    (!own).then(|| {
        (
            "cleanup-only-our-own",
            format!("this incident did not make the script {script} with the token {token}"),
        )
    })
}

pub(super) fn script_not_needed(_: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let Action::Cleanup { script, .. } = &effect.action else {
        return None;
    };
    let user = history.of_incident(&effect.incident).find(|a| {
        a.end == End::Open
            && matches!(&a.action, Action::Recreate { script: used, .. } if used == script)
    })?;
    Some((
        "script-kept-while-needed",
        format!("{} may be running it", user.id),
    ))
}
