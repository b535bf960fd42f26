//! Many runs added up: the counts that must be zero, the explanations of what was missed, and how long recovery took.

use crate::scenario::SECOND;
use crate::sim::Run;
use serde::Serialize;
use std::collections::BTreeMap;

/// Most failing runs that are kept in words.
const FAILURES_MAX: usize = 200;

/// One run that was not clean.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// Its number.
    pub number: u64,
    /// What went wrong, in one line.
    pub line: String,
}

/// The sum.
#[derive(Debug, Clone, Default)]
pub struct Score {
    /// Runs.
    pub scenarios: u64,
    /// By kind of what must never happen, how often it did.
    pub wrongs: BTreeMap<&'static str, u64>,
    /// By explanation, what was missed.
    pub missed: BTreeMap<&'static str, u64>,
    /// Recreated, and the fault would have passed by itself later.
    pub unforeseeable: u64,
    /// Runs in which the journal could not be folded or the planner did not settle.
    pub broken: u64,
    /// Recreates that providers took.
    pub recreates: u64,
    /// Reboots that providers took.
    pub reboots: u64,
    /// Fixes that agents ran.
    pub fixes: u64,
    /// Plans made.
    pub steps: u64,
    /// Simulated milliseconds.
    pub simulated: u64,
    /// Seconds to recovery by fault class.
    pub recovered: BTreeMap<&'static str, Vec<u32>>,
    /// Runs that were not clean; the first ones.
    pub failures: Vec<Failure>,
}

/// Time to recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// Half of all took no longer, seconds.
    pub p50: u32,
    /// 99 of 100 took no longer, seconds.
    pub p99: u32,
}

/// The result as it is printed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Runs.
    pub scenarios: u64,
    /// Recreates that were not justified.
    pub false_recreates: u64,
    /// Reboots and starts that were not justified.
    pub false_reboots: u64,
    /// Recoverable by the allowed rungs and down at the end, explained or not.
    pub missed: u64,
    /// Two disruptive acts at once on a node, or two recreates for one incident.
    pub double_actions: u64,
    /// Nodes left cordoned and forgotten.
    pub left_cordoned: u64,
    /// Incidents open at the end without a reason that is true.
    pub stuck: u64,
    /// Of those that were missed, the ones without an explanation.
    pub unexplained: u64,
    /// Steps of the engine that its checker vetoed: they disagree, and one of them is wrong.
    pub vetoes: u64,
    /// Disruptive acts on two nodes at once.
    pub overlaps: u64,
    /// Workloads released while the old machine might run.
    pub unfenced: u64,
    /// Runs in which the journal could not be folded, the planner did not settle, or there was no end.
    pub broken: u64,
    /// Time to recovery by fault class.
    pub mttr_s: BTreeMap<&'static str, Spread>,
    /// Plans in a second of real time, all cores together.
    pub steps_per_s: u64,
}

impl Score {
    /// Adds one run.
    pub fn add(&mut self, number: u64, run: &Run) {
        let verdict = &run.verdict;
        self.scenarios += 1;
        for (kind, wrong) in verdict.wrongs() {
            *self.wrongs.entry(kind).or_default() += 1;
            if self.failures.len() < FAILURES_MAX {
                let line = format!(
                    "{kind} {} at {} s: {}",
                    wrong.node,
                    wrong.at / SECOND,
                    wrong.what
                );
                self.failures.push(Failure { number, line });
            }
        }
        if verdict.broken > 0 && self.failures.len() < FAILURES_MAX {
            let line = format!("broken {} times: journal or planner", verdict.broken);
            self.failures.push(Failure { number, line });
        }
        for (_, why) in &verdict.missed {
            *self.missed.entry(why).or_default() += 1;
        }
        for (class, span) in &verdict.recovered {
            let secs = u32::try_from(span / SECOND).unwrap_or(u32::MAX);
            self.recovered.entry(class).or_default().push(secs);
        }
        self.unforeseeable += verdict.unforeseeable;
        self.broken += verdict.broken;
        self.recreates += verdict.recreates;
        self.reboots += verdict.reboots;
        self.fixes += verdict.fixes;
        self.steps += run.steps;
        self.simulated += run.ended;
    }

    /// Adds what another thread has counted.
    pub fn merge(&mut self, other: Self) {
        self.scenarios += other.scenarios;
        for (kind, count) in other.wrongs {
            *self.wrongs.entry(kind).or_default() += count;
        }
        for (why, count) in other.missed {
            *self.missed.entry(why).or_default() += count;
        }
        for (class, spans) in other.recovered {
            self.recovered.entry(class).or_default().extend(spans);
        }
        self.unforeseeable += other.unforeseeable;
        self.broken += other.broken;
        self.recreates += other.recreates;
        self.reboots += other.reboots;
        self.fixes += other.fixes;
        self.steps += other.steps;
        self.simulated += other.simulated;
        self.failures.extend(other.failures);
        self.failures.sort();
        self.failures.truncate(FAILURES_MAX);
    }

    /// Nothing that must never happen did.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.wrongs.is_empty() && self.broken == 0
    }

    /// How often something that must never happen did.
    #[must_use]
    pub fn count(&self, kind: &str) -> u64 {
        self.wrongs.get(kind).copied().unwrap_or(0)
    }

    /// The result, for runs that took so many seconds of real time.
    #[must_use]
    pub fn summary(&self, took_s: f64) -> Summary {
        Summary {
            scenarios: self.scenarios,
            false_recreates: self.count("false-recreate"),
            false_reboots: self.count("false-reboot"),
            missed: self.missed.values().sum(),
            double_actions: self.count("double-action"),
            left_cordoned: self.count("left-cordoned"),
            stuck: self.count("stuck"),
            unexplained: self.count("missed"),
            vetoes: self.count("veto"),
            overlaps: self.count("overlap"),
            unfenced: self.count("unfenced"),
            broken: self.broken,
            mttr_s: self
                .recovered
                .iter()
                .map(|(class, spans)| (*class, spread(spans)))
                .collect(),
            steps_per_s: per_second(self.steps, took_s),
        }
    }
}

fn spread(spans: &[u32]) -> Spread {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
        sorted.get(rank).copied().unwrap_or(0)
    };
    Spread {
        p50: at(50),
        p99: at(99),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rate for people, positive and far below 2^52"
)]
fn per_second(count: u64, took_s: f64) -> u64 {
    (count as f64 / took_s.max(1e-6)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred: Vec<u32> = (1..=100).collect();
        assert_eq!(spread(&hundred), Spread { p50: 50, p99: 99 });
        assert_eq!(spread(&[7]), Spread { p50: 7, p99: 7 });
        assert_eq!(spread(&[]), Spread { p50: 0, p99: 0 });
    }
}
