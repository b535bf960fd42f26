//! What happened while no controller watched, or while a storm held everything, is not taken for a proof that a reboot does not help.

mod night;

use iaso_engine::record::Record;
use night::*;

/// Goes on until this is intended.
fn until(mut night: Night, action: &str) -> Night {
    while night.intended(action) == 0 {
        assert!(night.second < 8_000, "no {action}: {}", night.trace());
        let next = night.second + 1;
        night = night.run(next);
    }
    night
}

/// The controller dies, and another one begins to lead later.
fn away(mut night: Night, secs: u64) -> Night {
    night.second += secs;
    night.crash();
    let term = night.ledger.term + 1;
    night.journal(Record::ControllerStarted {
        version: "night".into(),
        term,
    });
    night
}

/// Styx is cut off, and rebooted a moment ago.
fn styx_rebooted() -> Night {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("styx")));
    let night = until(night, "reboot");
    let then = night.second + 5;
    night.run(then)
}

/// What comes of the reboot nobody sees.
fn styx_rebooted_unseen(away_secs: u64) -> Night {
    away(styx_rebooted(), away_secs)
}

#[test]
fn a_reboot_that_no_controller_watched_is_done_again_before_anything_larger() {
    let night = until(styx_rebooted_unseen(300), "recreate");
    assert_eq!(night.intended("reboot"), 2, "{}", night.trace());
    assert!(
        night.trace().contains("no controller watched for a while"),
        "{}",
        night.trace()
    );
}

#[test]
fn a_controller_that_is_back_at_once_goes_on_where_it_was() {
    let night = until(styx_rebooted_unseen(5), "recreate");
    assert_eq!(night.intended("reboot"), 1, "{}", night.trace());
}

/// Catches an engine that takes a time in which it could write nothing for one in which it watched.
#[test]
fn a_reboot_after_which_nothing_could_be_written_is_done_again_before_anything_larger() {
    for (unwritten_secs, reboots) in [(300, 2), (5, 1)] {
        let mut night = styx_rebooted();
        night.second += unwritten_secs;
        night.journal(Record::Noted {
            node: None,
            incident: None,
            text: "the journal can be written again".into(),
            unwritten_secs,
        });
        let night = until(night, "recreate");
        assert_eq!(night.intended("reboot"), reboots, "{}", night.trace());
    }
}

/// A recreate that was decided on before an absence rests on what was before it.
#[test]
fn a_recreate_that_was_begun_before_an_absence_is_undone_and_a_reboot_comes_first() {
    let mut night = Night::new();
    night
        .replies
        .insert("reboot", vec![failed("the action ended in error")]);
    night.at.push((60, |n| n.cut("styx")));
    let night = until(night, "cordon");
    let then = night.second + 2;
    let night = until(away(night.run(then), 300), "recreate");
    let trace = night.trace();
    assert_eq!(night.intended("reboot"), 2, "{trace}");
    assert_eq!(night.intended("uncordon"), 1, "{trace}");
}

/// Catches an engine that forgets, while a storm holds everything, that the machine came back after its reboot.
#[test]
fn a_machine_that_came_back_and_went_away_again_under_a_storm_is_not_wiped() {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("styx")));
    night.after.insert("reboot", (5, |n| n.cut("calypso")));
    // Long enough for everything to be a storm: it answers, and nothing on it speaks yet.
    night.at.push((240, |n| n.host("styx").reach = Reach::All));
    night.at.push((400, |n| n.cut("styx")));
    night.at.push((2_400, |n| n.heal("calypso")));
    let night = night.run(4_000);
    assert_eq!(night.intended("recreate"), 0, "{}", night.trace());
    assert!(night.intended("reboot") > 0, "{}", night.trace());
}
