//! When a plugin that keeps breaking may run again. No clock and no I/O: times come in as durations since any fixed moment.
//!
//! **Invariants**
//! - Between two admitted runs of a backed-off plugin lies at least its backoff, which never shrinks until a run succeeds.
//! - When the backoff is over exactly one run, the probe, is admitted; the next only after its outcome.
//! - A new digest is a new plugin: it starts without strikes.
//! - Findings of a plugin that has not succeeded for [`StrikePolicy::findings_ttl`] are `unknown`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::digest::Digest;
use crate::fault::{FaultClass, PluginFault};

/// How patient the agent is with broken plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrikePolicy {
    /// Faults in a row that are borne before the plugin is backed off.
    pub strikes_max: u32,
    /// The first backoff; each failed probe doubles it.
    pub backoff_first: Duration,
    /// The longest backoff.
    pub backoff_max: Duration,
    /// How long the last findings hold without a successful run.
    pub findings_ttl: Duration,
}

impl Default for StrikePolicy {
    fn default() -> Self {
        Self {
            strikes_max: 3,
            backoff_first: Duration::from_secs(30),
            backoff_max: Duration::from_mins(30),
            findings_ttl: Duration::from_mins(5),
        }
    }
}

/// Where a plugin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its last run succeeded, or it has not run yet.
    Good,
    /// It broke this many times in a row and is still run on schedule.
    Struck(u32),
    /// It is not run before this moment.
    BackedOff {
        /// When the probe is due.
        until: Duration,
    },
    /// One run is under way that decides.
    Probing,
}

/// Whether a run may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Run it.
    Run,
    /// Run it once and say how it went.
    Probe,
    /// Not before then.
    Wait {
        /// When to ask again.
        until: Duration,
    },
    /// The probe is under way; ask again after its outcome.
    ProbeUnderWay,
}

/// The record of one plugin in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strikes {
    standing: Standing,
    backoff: Duration,
    last_success: Option<Duration>,
    last_fault: Option<FaultClass>,
}

impl Default for Strikes {
    fn default() -> Self {
        Self {
            standing: Standing::Good,
            backoff: Duration::ZERO,
            last_success: None,
            last_fault: None,
        }
    }
}

impl Strikes {
    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// What it did last, if its last run broke.
    #[must_use]
    pub fn last_fault(&self) -> Option<FaultClass> {
        self.last_fault
    }

    /// Asks for a run. After [`Admission::Run`] and [`Admission::Probe`], report the outcome; a run that was given up unreported
    /// is reported as a fault of class [`FaultClass::HostError`].
    pub fn admit(&mut self, now: Duration) -> Admission {
        match self.standing {
            Standing::Good | Standing::Struck(_) => Admission::Run,
            Standing::BackedOff { until } if now < until => Admission::Wait { until },
            Standing::BackedOff { .. } => {
                self.standing = Standing::Probing;
                Admission::Probe
            }
            Standing::Probing => Admission::ProbeUnderWay,
        }
    }

    /// A run succeeded: all is forgiven.
    pub fn succeeded(&mut self, now: Duration) {
        *self = Self {
            last_success: Some(now),
            ..Self::default()
        };
    }

    /// A run broke.
    pub fn failed(&mut self, now: Duration, fault: &PluginFault, policy: &StrikePolicy) {
        self.last_fault = Some(fault.class);
        self.standing = match self.standing {
            // A late outcome of a run that began before the backoff changes nothing.
            Standing::BackedOff { until } => Standing::BackedOff { until },
            Standing::Probing => self.back_off(now, policy),
            Standing::Good => self.strike(1, now, policy),
            Standing::Struck(count) => self.strike(count.saturating_add(1), now, policy),
        };
    }

    fn strike(&mut self, count: u32, now: Duration, policy: &StrikePolicy) -> Standing {
        if count >= policy.strikes_max {
            self.back_off(now, policy)
        } else {
            Standing::Struck(count)
        }
    }

    fn back_off(&mut self, now: Duration, policy: &StrikePolicy) -> Standing {
        let next = self.backoff.saturating_mul(2).max(policy.backoff_first);
        // Never shorter than before, even when the policy was changed meanwhile.
        self.backoff = next.min(policy.backoff_max).max(self.backoff);
        Standing::BackedOff {
            until: now.saturating_add(self.backoff),
        }
    }

    /// Whether what it last found may still be believed.
    #[must_use]
    pub fn findings_hold(&self, now: Duration, policy: &StrikePolicy) -> bool {
        self.last_success
            .is_some_and(|at| now.saturating_sub(at) <= policy.findings_ttl)
    }
}

/// The records of all plugins: one for each, for the version it has now.
#[derive(Debug, Default, Clone)]
pub struct StrikeBook {
    records: BTreeMap<String, (Digest, Strikes)>,
}

impl StrikeBook {
    /// The record of this plugin in this version; another version's is forgotten.
    pub fn of(&mut self, plugin: &str, digest: Digest) -> &mut Strikes {
        let record = self
            .records
            .entry(plugin.to_owned())
            .or_insert_with(|| (digest, Strikes::default()));
        if record.0 != digest {
            *record = (digest, Strikes::default());
        }
        &mut record.1
    }

    /// Forgets a plugin that is no longer assigned.
    pub fn forget(&mut self, plugin: &str) {
        self.records.remove(plugin);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault() -> PluginFault {
        PluginFault::new(FaultClass::Trap, "it crashed")
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn three_strikes_back_off_and_one_probe_decides() {
        let policy = StrikePolicy::default();
        let mut strikes = Strikes::default();
        for at in 0..3 {
            assert_eq!(strikes.admit(secs(at)), Admission::Run);
            strikes.failed(secs(at), &fault(), &policy);
        }
        assert_eq!(strikes.admit(secs(31)), Admission::Wait { until: secs(32) });
        assert_eq!(strikes.admit(secs(32)), Admission::Probe);
        assert_eq!(strikes.admit(secs(33)), Admission::ProbeUnderWay);
        strikes.failed(secs(34), &fault(), &policy);
        assert_eq!(strikes.standing(), Standing::BackedOff { until: secs(94) });
        assert_eq!(strikes.admit(secs(94)), Admission::Probe);
        strikes.succeeded(secs(95));
        assert_eq!(
            (strikes.standing(), strikes.last_fault()),
            (Standing::Good, None)
        );
    }

    #[test]
    fn findings_decay_to_unknown_while_the_plugin_is_broken() {
        let policy = StrikePolicy::default();
        let mut strikes = Strikes::default();
        assert!(
            !strikes.findings_hold(secs(0), &policy),
            "it has found nothing yet"
        );
        strikes.succeeded(secs(10));
        strikes.failed(secs(20), &fault(), &policy);
        assert!(strikes.findings_hold(secs(310), &policy));
        assert!(!strikes.findings_hold(secs(311), &policy));
    }

    #[test]
    fn a_new_digest_starts_without_strikes() {
        let mut book = StrikeBook::default();
        let policy = StrikePolicy {
            strikes_max: 1,
            ..StrikePolicy::default()
        };
        book.of("p", Digest::of(b"1"))
            .failed(secs(0), &fault(), &policy);
        assert!(matches!(
            book.of("p", Digest::of(b"1")).standing(),
            Standing::BackedOff { .. }
        ));
        assert_eq!(book.of("p", Digest::of(b"2")).standing(), Standing::Good);
    }

    proptest! {
        /// Catches: a backoff that wraps or shrinks, a second probe admitted beside the first, a wait that is not kept.
        #[test]
        fn probes_of_a_plugin_that_never_recovers_come_one_at_a_time_and_never_faster(
            steps in prop::collection::vec(0u64..4000, 1..200)
        ) {
            let policy = StrikePolicy::default();
            let (mut strikes, mut now) = (Strikes::default(), Duration::ZERO);
            let (mut probes, mut gap) = (None::<Duration>, Duration::ZERO);
            for step in steps {
                now += secs(step);
                match strikes.admit(now) {
                    Admission::Run => strikes.failed(now, &fault(), &policy),
                    Admission::Wait { until } => {
                        prop_assert!(until > now && until.saturating_sub(now) <= policy.backoff_max);
                    }
                    Admission::Probe => {
                        prop_assert_eq!(strikes.admit(now), Admission::ProbeUnderWay);
                        if let Some(last) = probes {
                            prop_assert!(now.saturating_sub(last) >= gap);
                        }
                        probes = Some(now);
                        strikes.failed(now, &fault(), &policy);
                        let Standing::BackedOff { until } = strikes.standing() else {
                            return Err(TestCaseError::fail("a failed probe backs off"));
                        };
                        prop_assert!(until.saturating_sub(now) >= gap);
                        gap = until.saturating_sub(now);
                    }
                    Admission::ProbeUnderWay => return Err(TestCaseError::fail("every probe was reported")),
                }
            }
        }
    }
}
