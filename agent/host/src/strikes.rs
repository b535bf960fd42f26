//! When a plugin that keeps breaking may run again. No clock and no I/O: times come in as durations since any fixed moment.
//!
//! **Invariants**
//! - Between two admitted runs of a backed-off plugin lies at least its backoff, which never shrinks until a run succeeds.
//! - When the backoff is over exactly one run, the probe, is admitted; the next only after its outcome.
//!
//! Left out: what it last found. A fault takes the place of a plugin's findings, and nothing is believed of it until it succeeds.

use std::time::Duration;

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
}

impl Default for StrikePolicy {
    fn default() -> Self {
        Self {
            strikes_max: 3,
            backoff_first: Duration::from_secs(30),
            backoff_max: Duration::from_mins(30),
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
    last_fault: Option<FaultClass>,
}

impl Default for Strikes {
    fn default() -> Self {
        Self {
            standing: Standing::Good,
            backoff: Duration::ZERO,
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
    pub fn succeeded(&mut self) {
        *self = Self::default();
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

    /// A run was lost with the process that ran it, which says nothing about the plugin: a probe is due again at once.
    pub fn lost(&mut self, now: Duration) {
        if self.standing == Standing::Probing {
            self.standing = Standing::BackedOff { until: now };
        }
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
        strikes.succeeded();
        assert_eq!(
            (strikes.standing(), strikes.last_fault()),
            (Standing::Good, None)
        );
    }

    #[test]
    fn a_lost_run_is_no_strike_and_a_lost_probe_is_due_again() {
        let policy = StrikePolicy::default();
        let mut strikes = Strikes::default();
        for at in 0..9 {
            assert_eq!(strikes.admit(secs(at)), Admission::Run);
            strikes.lost(secs(at));
        }
        for at in 10..13 {
            strikes.failed(secs(at), &fault(), &policy);
        }
        assert_eq!(strikes.admit(secs(42)), Admission::Probe);
        strikes.lost(secs(43));
        assert_eq!(strikes.admit(secs(43)), Admission::Probe);
        strikes.failed(secs(44), &fault(), &policy);
        assert_eq!(strikes.standing(), Standing::BackedOff { until: secs(104) });
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
