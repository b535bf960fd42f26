//! Many scenarios on many cores. Which core runs which does not matter: sums do not depend on their order.

use crate::generate::scenario;
use crate::plant::Plant;
use crate::score::Score;
use crate::sim;
use std::sync::atomic::{AtomicU64, Ordering};

/// Scenarios that a thread takes at once.
const CHUNK: u64 = 64;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// How many scenarios.
    pub scenarios: u64,
    /// Their seed.
    pub seed: u64,
    /// On how many threads.
    pub threads: usize,
    /// What is wrong with the engine.
    pub plant: Plant,
}

/// Runs them all; `progress` is called with the number that is done, from time to time.
pub fn run(batch: &Batch, progress: impl Fn(u64) + Sync) -> Score {
    let next = AtomicU64::new(0);
    let work = || {
        let mut score = Score::default();
        loop {
            let first = next.fetch_add(CHUNK, Ordering::Relaxed);
            if first >= batch.scenarios {
                return score;
            }
            for number in first..batch.scenarios.min(first + CHUNK) {
                let scenario = scenario(batch.seed, number);
                score.add(number, &sim::run(&scenario, batch.plant));
            }
            progress(first);
        }
    };
    let mut sum = Score::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..batch.threads.max(1))
            .map(|_| scope.spawn(work))
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(score) => sum.merge(score),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    sum
}

/// One scenario alone.
#[must_use]
pub fn one(seed: u64, number: u64, plant: Plant) -> sim::Run {
    sim::run_told(&scenario(seed, number), plant)
}
