//! The rescue image as a witness: who is at fault, what may be saved, and that no machine is left in it.

#![allow(
    clippy::indexing_slicing,
    reason = "a test may say where it expects what"
)]

mod night;

use iaso_engine::effect::Action;
use iaso_engine::fact::MachineState;
use iaso_engine::ledger::Standing;
use iaso_engine::policy::step::{Step, StepKind};
use iaso_engine::record::{Diagnosis, Rung};
use night::*;

const DATA: &str = "volume models (local-path) of claim ml/models";

/// styx is cut off, a reboot does not help, and its policy has the rescue image before a recreate.
fn dark() -> Night {
    let mut night = Night::new();
    let ladder = [StepKind::Reboot, StepKind::Rescue, StepKind::Recreate];
    let steps = ladder.into_iter().map(Step::new).collect();
    night.policy.ladder.insert(Diagnosis::Isolated, steps);
    night.policy.rescue = iaso_engine::policy::Mode::Auto;
    night.delays.extend([("rescue", 30), ("leave-rescue", 30)]);
    night.host("styx").local_data = vec![DATA.into()];
    night.after.insert("recreate", (120, |n| n.heal("styx")));
    night.at.push((60, |n| n.cut("styx")));
    night
}

/// The fault is in its own system: the image answers, and its own disk does not.
fn of_the_guest() -> Night {
    let mut night = dark();
    night.after.insert("rescue", (20, |n| show(n, true)));
    night.after.insert("leave-rescue", (1, |n| show(n, false)));
    night
}

fn show(night: &mut Night, rescued: bool) {
    let host = night.host("styx");
    host.machine = if rescued {
        in_state(MachineState::Recovery)
    } else {
        running()
    };
    host.reach = if rescued { Reach::All } else { Reach::Nobody };
}

fn decide(night: &mut Night, yes: bool) {
    night.person_says(Rung::Recreate, yes, "ops", "the models are saved");
}

fn pages(night: &Night) -> Vec<&str> {
    let effects = night.ledger.effects();
    let pages = effects.filter_map(|e| {
        if let Action::Page { message } = &e.effect.action {
            Some(message.as_str())
        } else {
            None
        }
    });
    pages.collect()
}

fn counts(night: &Night) -> [usize; 3] {
    ["rescue", "leave-rescue", "recreate"].map(|action| night.intended(action))
}

#[test]
fn a_rescue_image_that_comes_up_means_local_data_first() {
    let mut night = of_the_guest().run(1_500);
    assert_eq!(counts(&night), [1, 0, 0], "{}", night.trace());
    let asked = pages(&night);
    let page = asked.iter().find(|p| p.contains("log in as root"));
    let page = page.expect("a person is told how to save the data");
    assert!(
        page.contains(DATA) && page.contains("iaso approve"),
        "{page}"
    );
    decide(&mut night, true);
    let night = night.until_closed(4_000);
    insta::assert_snapshot!("guest_fault", night.trace());
    assert!(night.closed(), "{}", night.trace());
    assert_eq!(counts(&night), [1, 1, 1]);
}

#[test]
fn a_rescue_image_that_nobody_reaches_means_a_fault_outside() {
    let mut night = dark();
    night.policy.local_data_expendable = true;
    night.after.insert(
        "rescue",
        (1, |n| {
            n.host("styx").machine = in_state(MachineState::Recovery);
        }),
    );
    night.after.insert(
        "leave-rescue",
        (1, |n| {
            n.host("styx").machine = running();
        }),
    );
    let night = night.until_closed(4_000);
    insta::assert_snapshot!("outside_fault", night.trace());
    assert!(night.closed(), "{}", night.trace());
    assert_eq!(counts(&night), [1, 1, 1]);
}

#[test]
fn a_no_leaves_the_image_and_the_disk() {
    let mut night = of_the_guest().run(1_500);
    decide(&mut night, false);
    let night = night.run(2_500);
    assert_eq!(counts(&night), [1, 1, 0], "{}", night.trace());
    let incident = night.ledger.incidents.values().next();
    let incident = incident.expect("an incident is open");
    assert_eq!(incident.standing, Standing::Parked, "{}", night.trace());
    assert_eq!(
        night.intended("store-password"),
        night.intended("discard-password")
    );
}

#[test]
fn a_machine_whose_own_disk_answers_after_all_is_not_wiped() {
    let mut night = of_the_guest();
    night.after.insert("leave-rescue", (10, |n| n.heal("styx")));
    let mut night = night.run(1_500);
    decide(&mut night, true);
    let night = night.until_closed(4_000);
    assert!(night.closed(), "{}", night.trace());
    assert_eq!(counts(&night), [1, 1, 0], "{}", night.trace());
}

#[test]
fn a_provider_without_a_rescue_image_is_the_next_rung() {
    let mut night = dark();
    night
        .replies
        .insert("rescue", vec![failed("this provider has no rescue image")]);
    night.policy.local_data_expendable = true;
    let night = night.until_closed(4_000);
    assert!(night.closed(), "{}", night.trace());
    assert_eq!(counts(&night), [1, 0, 1], "{}", night.trace());
}

#[test]
fn a_leaked_password_is_drawn_anew_and_a_call_that_did_not_begin_is_made_again() {
    let mut night = of_the_guest();
    let replies = vec![not_started("invalid"), not_started("rate-limited"), done()];
    night.replies.insert("rescue", replies);
    let night = night.run(1_500);
    assert_eq!(night.intended("rescue"), 3, "{}", night.trace());
    assert_eq!(night.intended("store-password"), 2, "{}", night.trace());
}

#[test]
fn whenever_the_controller_dies_the_image_is_left_and_the_machine_is_wiped_once() {
    let mut first = of_the_guest();
    first.policy.local_data_expendable = true;
    first.snapshots = Some(Vec::new());
    let all = first.until_closed(4_000).snapshots.unwrap_or_default();
    // Before the image and after the wipe, the recreate's own test says the same.
    let around = |n: &Night| n.intended("rescue") > 0 && n.intended("recreate") == 0;
    let all: Vec<Night> = all.into_iter().filter(around).collect();
    assert!(all.len() > 10, "{} moments", all.len());
    for mut night in all {
        let moment = night.second;
        night.snapshots = None;
        night.crash();
        let night = night.until_closed(6_000);
        assert!(night.closed(), "died at {moment} s:\n{}", night.trace());
        assert!(
            night.recreated <= 1,
            "died at {moment} s:\n{}",
            night.trace()
        );
    }
}
