//! The simulator judges: kept seeds stay clean, planted bugs are caught, and a run repeats bit for bit.

use iaso_sim::batch::{self, Batch};
use iaso_sim::plant::Plant;
use iaso_sim::score::Score;

/// Enough for most kinds of trouble, and few enough for a build that is not optimised.
const SCENARIOS: u64 = 900;

fn score(scenarios: u64, threads: usize, plant: Plant) -> Score {
    batch::run(
        &Batch {
            scenarios,
            seed: 2,
            threads,
            plant,
        },
        |_| {},
    )
}

#[test]
fn what_must_never_happen_does_not() {
    let score = score(SCENARIOS, 2, Plant::None);
    let never = [
        "double-action",
        "overlap",
        "unfenced",
        "left-cordoned",
        "veto",
    ];
    for kind in never {
        assert_eq!(score.count(kind), 0, "{kind}: {:#?}", score.failures);
    }
    assert_eq!(score.broken, 0, "{:#?}", score.failures);
    assert!(score.recreates > 50 && score.reboots > 100 && score.fixes > 50);
}

#[test]
fn kept_seeds_stay_clean() {
    for line in include_str!("../regressions.txt").lines() {
        let mut words = line.split(' ').map(str::parse::<u64>);
        let (Some(Ok(seed)), Some(Ok(number))) = (words.next(), words.next()) else {
            assert!(
                line.starts_with('#'),
                "{line:?} is neither a seed nor a comment"
            );
            continue;
        };
        let verdict = batch::one(seed, number, Plant::None).verdict;
        let wrongs: Vec<_> = verdict.wrongs().collect();
        assert!(verdict.is_clean(), "{line}: {wrongs:#?}");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let one = score(200, 1, Plant::None);
    let three = score(200, 3, Plant::None);
    assert_eq!(one.summary(1.0), three.summary(1.0));
    assert_eq!(one.steps, three.steps);
}

#[test]
fn a_run_repeats_to_the_letter() {
    let tell = || iaso_sim::trace::text(&batch::one(2, 17, Plant::None));
    assert_eq!(tell(), tell());
}

/// A planted bug shows as more of one kind than the engine as it is.
#[track_caller]
fn caught(plant: Plant, scenarios: u64, kinds: &[&str]) {
    let (with, without) = (
        score(scenarios, 2, plant),
        score(scenarios, 2, Plant::NoChecker),
    );
    let sum = |score: &Score| kinds.iter().map(|kind| score.count(kind)).sum::<u64>();
    assert!(
        sum(&with) > sum(&without),
        "{plant:?} is not caught: {:?} and {:?}",
        with.wrongs,
        without.wrongs
    );
}

#[test]
fn a_quorum_that_is_ignored_is_caught() {
    caught(
        Plant::QuorumIgnored,
        700,
        &["false-recreate", "false-reboot"],
    );
}

#[test]
fn unknown_that_is_taken_for_failed_is_caught() {
    caught(Plant::UnknownIsFailed, 700, &["false-recreate"]);
}

#[test]
fn recreates_that_count_only_when_done_are_caught() {
    caught(Plant::OnlyDoneRecreatesCount, 700, &["double-action"]);
}

#[test]
fn a_cordon_that_is_never_undone_is_caught() {
    caught(Plant::CordonNeverUndone, 300, &["left-cordoned"]);
}

#[test]
fn forgotten_local_data_is_caught() {
    caught(Plant::LocalDataForgotten, 400, &["false-recreate"]);
}

#[test]
fn a_forgotten_approval_is_caught() {
    caught(
        Plant::ApprovalForgotten,
        300,
        &["false-recreate", "false-reboot"],
    );
}

#[test]
fn a_storm_that_is_ignored_is_caught() {
    caught(
        Plant::StormIgnored,
        400,
        &["false-recreate", "false-reboot"],
    );
}

#[test]
fn orders_that_are_repeated_after_a_crash_are_caught() {
    caught(Plant::RepeatsAfterCrash, 400, &["double-action"]);
}

#[test]
fn missing_patience_is_caught() {
    caught(Plant::NoPatience, 400, &["false-recreate", "false-reboot"]);
}
