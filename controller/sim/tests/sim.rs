//! Generated nights: what must never happen does not, kept seeds stay clean, and a run repeats to the letter.

use iaso_sim::batch::{self, Batch};
use iaso_sim::plant::Plant;
use iaso_sim::score::Score;

/// Enough for most kinds of trouble, and few enough for a build that is not optimised.
const SCENARIOS: u64 = 700;

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
    assert!(score.is_clean(), "{:#?}", score.failures);
    assert!(score.recreates > 40 && score.reboots > 100 && score.fixes > 50);
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
