//! What is done twice in one incident: prepared, taken back and prepared anew; tried again and again; left behind.

use crate::night::moment::{before, intends as intended, tell};
use crate::night::{Night, done, failed, name};
use crate::{facts, intends, planned, styx};
use iaso_engine::effect::{Action, Effect, Outcome, Remembered, Yield};
use iaso_engine::fact::Observation;
use iaso_engine::id::EffectId;
use iaso_engine::ledger::{EffectState, Incident};
use iaso_engine::policy::step::{Step, StepKind};
use iaso_engine::record::{Diagnosis, Record, Waiting};
use iaso_engine::time::Tick;

/// Styx is cut off, and its reboot fails.
fn cut() -> Night {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("styx")));
    night.replies.insert("reboot", vec![failed("error")]);
    night
}

/// The policy has no reboot before the wipe: so nothing is thought to have helped when the node comes back for a while.
fn cut_and_never_rebooted() -> Night {
    let mut night = cut();
    let steps = vec![Step::new(StepKind::Recreate)];
    night.policy.ladder.insert(Diagnosis::Isolated, steps);
    night
}

/// It seems well when it was cordoned, and is cut off again when that was taken back.
fn comes_and_goes(again: &'static str) -> Night {
    let mut night = cut_and_never_rebooted();
    night.delays.insert("prepare-script", 60);
    night.after.insert("cordon", (5, |n| n.heal("styx")));
    let gone = |n: &mut Night| {
        n.cut("styx");
        n.after.clear();
        n.delays.insert("prepare-script", 1);
        n.after.insert("recreate", (120, |n| n.heal("styx")));
    };
    night.after.insert(again, (3, gone));
    night
}

/// What was intended, and when.
fn order(night: &Night) -> std::vec::IntoIter<(&'static str, Tick)> {
    let intended = night.entries.iter().filter_map(|e| match &e.record {
        Record::Intended { effect } => Some((effect.action.name(), e.at)),
        _ => None,
    });
    intended.collect::<Vec<_>>().into_iter()
}

/// Catches: a count of steps that begins before the wipe, so that what an earlier preparation took back counts for the new machine.
#[test]
fn a_node_that_was_uncordoned_once_is_uncordoned_again_after_its_wipe() {
    let night = comes_and_goes("uncordon").until_closed(4_000);
    assert!(night.closed(), "{}", night.trace());
    let many = ["cordon", "uncordon", "recreate"].map(|action| night.intended(action));
    assert_eq!(many, [2, 2, 1], "{}", night.trace());
    let last = |wanted: &str| order(&night).rposition(|(name, _)| name == wanted);
    assert!(
        last("uncordon") < last("promote-password"),
        "{}",
        night.trace()
    );
    assert!(!night.hosts[&name("styx")].cordoned);
}

/// Catches: a machine that is wiped with a script that was deleted when it seemed well for a moment.
#[test]
fn a_preparation_that_is_half_undone_is_undone_and_begun_anew() {
    let mut night = comes_and_goes("cleanup");
    night.delays.insert("discard-password", 600);
    night.delays.insert("uncordon", 600);
    let night = night.until_closed(6_000);
    assert!(night.closed(), "{}", night.trace());
    let many = ["prepare-script", "recreate"].map(|action| night.intended(action));
    assert_eq!(many, [2, 1], "{}", night.trace());
    assert!(night.trace().contains("to begin anew"), "{}", night.trace());
}

/// It is cordoned a second time, and well before the second wipe: the first uncordon is not the second.
#[test]
fn a_second_cordon_is_taken_back_as_the_first_was() {
    let mut night = cut_and_never_rebooted();
    night.delays.insert("prepare-script", 60);
    night.after.insert("cordon", (5, |n| n.heal("styx")));
    night.after.insert(
        "uncordon",
        (3, |n| {
            n.cut("styx");
            n.after.remove("uncordon");
        }),
    );
    let night = night.until_closed(4_000);
    assert!(night.closed(), "{}", night.trace());
    let many = ["cordon", "uncordon", "recreate"].map(|action| night.intended(action));
    assert_eq!(many, [2, 2, 0], "{}", night.trace());
    assert!(!night.hosts[&name("styx")].cordoned);
}

#[test]
fn what_somebody_else_cordoned_stays_so_when_the_preparation_is_undone() {
    let mut night = cut();
    let remembered = Remembered {
        was_cordoned: true,
        ..Remembered::default()
    };
    let yielded = Yield::Remembered { remembered };
    let reply = Outcome::Done {
        detail: "ok".into(),
        yielded,
    };
    night.replies.insert("remember", vec![reply]);
    night.delays.insert("prepare-script", 60);
    night.after.insert("cordon", (5, |n| n.heal("styx")));
    let night = night.until_closed(3_000);
    assert!(night.closed(), "{}", night.trace());
    let many = ["cordon", "uncordon", "recreate"].map(|action| night.intended(action));
    assert_eq!(many, [1, 0, 0]);
}

/// A token does not live for ever: after half an hour of waiting the script is deleted, and made anew before the wipe.
#[test]
fn a_script_that_grew_old_while_the_wipe_was_held_is_deleted_and_made_anew() {
    let mut night = cut();
    night.after.insert(
        "prepare-script",
        (0, |n| {
            n.ledger.paused.insert(None, "upgrade".into());
        }),
    );
    // A page in between is no script.
    night.at.push((1_500, |n| {
        n.host("styx").local_data = vec!["pvc-1".into()];
    }));
    night.at.push((2_200, |n| {
        n.host("styx").local_data.clear();
        n.after.clear();
        n.after.insert("recreate", (120, |n| n.heal("styx")));
        n.ledger.paused.clear();
    }));
    let night = night.until_closed(4_000);
    assert!(night.closed(), "{}", night.trace());
    let script = ["prepare-script", "cleanup", "recreate"];
    let steps = order(&night).filter(|(name, _)| script.contains(name));
    let (order, at): (Vec<_>, Vec<_>) = steps.unzip();
    assert!(at[1] < at[2], "deleted first: {}", night.trace());
    let expected = [
        "prepare-script",
        "cleanup",
        "prepare-script",
        "recreate",
        "cleanup",
    ];
    assert_eq!(order, expected, "{}", night.trace());
}

/// Each password that was refused is forgotten, and not only the first.
#[test]
fn every_password_that_was_never_used_is_forgotten() {
    let mut night = cut();
    night.after.insert("recreate", (120, |n| n.heal("styx")));
    let refused = crate::night::not_started("invalid");
    let replies = vec![refused.clone(), refused, done()];
    night.replies.insert("recreate", replies);
    let night = night.until_closed(3_000);
    assert!(night.closed(), "{}", night.trace());
    let many = ["store-password", "discard-password"].map(|action| night.intended(action));
    assert_eq!(many, [3, 2], "{}", night.trace());
}

/// What a step does when it fails again and again: the node's own are tried on, the others are left to a person after five tries.
#[test]
fn a_step_that_fails_again_and_again_is_given_up_only_where_nothing_is_left_half_done() {
    let fails = |action: &'static str, until: u64| {
        let mut night = cut();
        night.after.insert("recreate", (120, |n| n.heal("styx")));
        let replies = [vec![failed("timed out"); 6], vec![done()]].concat();
        night.replies.insert(action, replies);
        let night = night.until_closed(until);
        (
            night.intended(action),
            night.intended("recreate"),
            night.closed(),
            night.trace().contains("could not be prepared"),
        )
    };
    assert_eq!(fails("uncordon", 2_000), (7, 1, true, false));
    assert_eq!(fails("release", 2_000), (7, 1, true, false));
    assert_eq!(fails("cleanup", 2_000), (5, 1, true, false));
    assert_eq!(fails("promote-password", 2_000), (5, 1, true, false));
    assert_eq!(fails("cordon", 900), (5, 0, false, true));
    assert_eq!(fails("remember", 900), (5, 0, false, true));
}

#[test]
fn nothing_is_released_while_the_api_server_is_silent() {
    let (mut night, _) = before(styx(), intended("release"));
    assert_eq!(intends(&night), ["release"]);
    let now = night.now();
    let trouble = Some("timed out".into());
    night.world.observe(now, Observation::KubeApi { trouble });
    assert_eq!(intends(&night), [""; 0]);
    let waits = planned(&night).nodes[&name("styx")].waiting.clone();
    assert!(
        waits
            .iter()
            .any(|w| matches!(w, Waiting::KubeUnknown { .. }))
    );
}

/// A check that ran when the machine was wiped ran on the old one.
#[test]
fn a_new_machine_is_green_by_a_check_that_ran_after_the_wipe() {
    let (night, _) = before(styx(), intended("uncordon"));
    let goes_on = |after_ms: u64| {
        let mut night = night.clone();
        let mut effects = night.ledger.effects();
        let wipe = effects.find(|e| e.effect.action.name() == "recreate");
        let at = Tick(wipe.expect("it was wiped").intended.0 + after_ms);
        drop(effects);
        for run in facts(&mut night, "styx").plugins.values_mut() {
            run.at = at;
        }
        night.policy.finding_fresh_secs = 3_600;
        intends(&night) == ["uncordon"]
    };
    assert!(!goes_on(0) && goes_on(1));
}

/// At the moment at which the wait for a new machine is over a person is told, and it is no longer waited for.
#[test]
fn the_wait_for_a_new_machine_is_over_at_its_own_moment() {
    let mut night = cut();
    night.after.clear();
    let mut night = tell(night, 1_400);
    let waits = |n: &Night| {
        let own = planned(n).nodes[&name("styx")].waiting.clone();
        own.iter().any(|w| matches!(w, Waiting::Patience { .. }))
    };
    let mut effects = night.ledger.effects();
    let wipe = effects.find(|e| e.effect.action.name() == "recreate");
    let done = wipe.and_then(EffectState::done).expect("it was wiped");
    drop(effects);
    let over = (done.0 - crate::night::START) / 1_000 + 1_200;
    night.second = over - 1;
    assert!(waits(&night));
    night.second = over;
    assert!(!waits(&night));
}

fn the_incident(night: &mut Night) -> &mut Incident {
    let mut all = night.ledger.incidents.values_mut();
    all.next().expect("one is open")
}

/// What a parked incident is said to have left behind: by when each thing was done, and when it was taken back.
#[test]
fn what_is_left_behind_was_not_taken_back_since() {
    let mut parks = cut();
    parks
        .replies
        .insert("recreate", vec![failed("template not found")]);
    let parks = tell(parks, 400);
    let parked = |r: &Record| matches!(r, Record::Parked { .. });
    let left = |taken: Action, of: &str, after_ms: i64| {
        let (mut night, _) = before(&parks, parked);
        let incident = the_incident(&mut night);
        incident
            .effects
            .retain(|e| e.effect.action.name() != taken.name());
        let did = incident.last_done(of).cloned().expect("it was done");
        let at = Tick(
            did.done()
                .expect("it was")
                .0
                .saturating_add_signed(after_ms),
        );
        let effect = Effect {
            id: EffectId("styx-1/99".into()),
            action: taken,
            ..did.effect
        };
        incident.effects.push(EffectState {
            effect,
            intended: at,
            latest: Some((at, done())),
        });
        let plan = planned(&night);
        plan.records.iter().find_map(|r| match r {
            Record::Parked { why, .. } => Some(why.clone()),
            _ => None,
        })
    };
    let (cordoned, script) = ("is cordoned by Iaso", "the post-install script and");
    let says = |taken: Action, of: &str, after_ms: i64, words: &str| {
        left(taken, of, after_ms)
            .expect("it is parked")
            .contains(words)
    };
    assert!(says(Action::Uncordon, "cordon", -1, cordoned));
    assert!(!says(Action::Uncordon, "cordon", 0, cordoned));
    assert!(!says(Action::Uncordon, "cordon", 1, cordoned));
    let cleanup = || Action::Cleanup {
        script: "script-1".into(),
        token: "token-1".into(),
    };
    assert!(says(cleanup(), "prepare-script", -1, script));
    assert!(!says(cleanup(), "prepare-script", 0, script));
    assert!(!says(cleanup(), "prepare-script", 1, script));
}
