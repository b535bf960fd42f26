//! What a benchmark needs: time a thing many times, take a quantile, say the figure beside its baseline as one line of JSON.
//!
//! **Invariants**
//! - A figure never goes without the baseline that was measured in the same run.
//!
//! Deliberately absent: any verdict. `cargo xtask bench` collects the lines and a person reads them.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Dotted: `engine.step-p99.10000-nodes`.
    pub name: String,
    /// `us`, `ms`, `1/s`, `MiB`, …
    pub unit: String,
    /// What was measured.
    pub value: f64,
    /// What the baseline is.
    pub baseline_is: String,
    /// The baseline, in the same unit.
    pub baseline: f64,
    /// What the design wants, in the same unit; `None`: nothing.
    pub reach: Option<f64>,
    /// How many times it was done.
    pub runs: usize,
}

impl Figure {
    /// Says it on standard output, one line.
    ///
    /// # Errors
    /// When a number is not finite.
    pub fn tell(&self) -> Result<(), serde_json::Error> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }
}

/// How long each of many runs took, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    sorted: Vec<Duration>,
}

impl Times {
    /// Sorts.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { sorted: times }
    }

    /// Does it `warm` times unmeasured and `runs` times measured.
    pub fn measure(warm: usize, runs: usize, mut work: impl FnMut()) -> Self {
        (0..warm).for_each(|_| work());
        let times = (0..runs).map(|_| {
            let started = Instant::now();
            work();
            started.elapsed()
        });
        Self::of(times.collect())
    }

    /// A quantile by nearest rank, in microseconds; zero of nothing. `per_mille`: 500 is the median, 990 the 99th percentile.
    #[must_use]
    pub fn quantile_us(&self, per_mille: usize) -> f64 {
        let rank = self.sorted.len().saturating_mul(per_mille).div_ceil(1_000);
        let at = rank.saturating_sub(1);
        self.sorted
            .get(at)
            .map_or(0.0, |time| time.as_secs_f64() * 1e6)
    }

    /// How many runs there were.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.sorted.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let times = Times::of((1..=100).rev().map(Duration::from_micros).collect());
        for (per_mille, expect) in [
            (0, 1.0),
            (10, 1.0),
            (500, 50.0),
            (990, 99.0),
            (1_000, 100.0),
        ] {
            assert!(
                (times.quantile_us(per_mille) - expect).abs() < 1e-9,
                "{per_mille}"
            );
        }
        assert!(Times::of(Vec::new()).quantile_us(500).abs() < 1e-9);
    }
}
