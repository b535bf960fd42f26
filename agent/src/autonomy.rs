//! Decides what a cut-off agent may do by itself. No I/O: times and findings in, at most one rung out.
//!
//! **Invariants**
//! - Nothing happens while the controller is there, nor before it has been away for longer than the delegation says.
//! - Only a delegated rung, only if that plugin's own latest finding names it as a remedy, only one at a time.
//! - At most `attempts` in one absence, the wait doubling after each; only a session with the controller gives new ones.
//!
//! Left out: reboots and recreations. There is no word for them here, so a cut-off agent cannot do them.

use std::time::Duration;

/// Wait before the second attempt; doubles after each.
pub const BACKOFF_FIRST: Duration = Duration::from_mins(1);
/// Longest wait between two attempts.
pub const BACKOFF_MAX: Duration = Duration::from_mins(30);

/// What the controller allows while it is away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delegation {
    /// Away for longer than this; `None`: never.
    pub after: Option<Duration>,
    /// In order of preference.
    pub rungs: Vec<Rung>,
    /// How often in all, until the controller is back.
    pub attempts: u32,
}

/// One fix of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// The plugin.
    pub plugin: String,
    /// Its fix.
    pub fix: String,
}

impl Rung {
    /// Reads `plugin/fix`; `None` if it is not of that form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (plugin, fix) = text.split_once('/')?;
        let named = !plugin.is_empty() && !fix.is_empty() && !fix.contains('/');
        named.then(|| Self {
            plugin: plugin.into(),
            fix: fix.into(),
        })
    }
}

/// Why nothing is done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The controller is there: it decides.
    Connected,
    /// Nothing was delegated.
    NotDelegated,
    /// Not away for long enough.
    Away {
        /// How much longer.
        left: Duration,
    },
    /// An act of our own is running.
    Busy,
    /// All attempts are used up.
    Spent,
    /// The last attempt was too recent.
    Backoff {
        /// How much longer.
        left: Duration,
    },
    /// No finding names a delegated fix as its remedy.
    NoRemedy,
}

/// What is known of the absence and of our own acts in it. `T` is the time since some fixed start.
#[derive(Debug, Clone, Default)]
pub struct Autonomy {
    delegation: Delegation,
    away_since: Option<Duration>,
    used: u32,
    last: Option<Duration>,
    busy: bool,
}

impl Autonomy {
    /// An agent that starts at `now` without a session, having used `used` attempts before its own restart.
    #[must_use]
    pub fn new(now: Duration, delegation: Delegation, used: u32) -> Self {
        // The wait after an attempt is kept over a restart by taking the start for the time of the last one.
        let last = (used > 0).then_some(now);
        Self {
            delegation,
            away_since: Some(now),
            used,
            last,
            busy: false,
        }
    }

    /// The controller is there and has said what it delegates.
    pub fn connected(&mut self, delegation: Delegation) {
        self.delegation = delegation;
        self.away_since = None;
        self.used = 0;
        self.last = None;
    }

    /// The session ended.
    pub fn disconnected(&mut self, now: Duration) {
        self.away_since.get_or_insert(now);
    }

    /// Attempts used in this absence.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.used
    }

    /// The next rung to try, or why there is none. `is_remedy` says whether the plugin's latest finding names the fix.
    pub fn next(&self, now: Duration, is_remedy: impl Fn(&Rung) -> bool) -> Result<&Rung, Waiting> {
        let since = self.away_since.ok_or(Waiting::Connected)?;
        let after = self.delegation.after.ok_or(Waiting::NotDelegated)?;
        if self.delegation.rungs.is_empty() || self.delegation.attempts == 0 {
            return Err(Waiting::NotDelegated);
        }
        if self.busy {
            return Err(Waiting::Busy);
        }
        let away = now.saturating_sub(since);
        if away <= after {
            return Err(Waiting::Away {
                left: after.saturating_sub(away),
            });
        }
        if self.used >= self.delegation.attempts {
            return Err(Waiting::Spent);
        }
        if let Some(left) = self.backoff_left(now) {
            return Err(Waiting::Backoff { left });
        }
        self.delegation
            .rungs
            .iter()
            .find(|rung| is_remedy(rung))
            .ok_or(Waiting::NoRemedy)
    }

    /// An attempt begins. To be recorded on disk before anything is done.
    pub fn begin(&mut self) {
        self.used += 1;
        self.busy = true;
    }

    /// The attempt ended, whatever came of it.
    pub fn end(&mut self, now: Duration) {
        self.busy = false;
        self.last = Some(now);
    }

    fn backoff_left(&self, now: Duration) -> Option<Duration> {
        let last = self.last?;
        let doublings = self.used.saturating_sub(1).min(16);
        let wait = BACKOFF_FIRST
            .saturating_mul(1 << doublings)
            .min(BACKOFF_MAX);
        let left = wait.saturating_sub(now.saturating_sub(last));
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AFTER: Duration = Duration::from_mins(5);

    fn delegation() -> Delegation {
        let rungs = vec![Rung::parse("k3s-agent/restart").expect("a rung")];
        Delegation {
            after: Some(AFTER),
            rungs,
            attempts: 2,
        }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_delegated_remedy_is_tried_twice_with_a_wait_between_and_never_again() {
        let mut agent = Autonomy::new(secs(0), delegation(), 0);
        assert_eq!(
            agent.next(secs(300), |_| true),
            Err(Waiting::Away {
                left: Duration::ZERO
            })
        );
        assert_eq!(
            agent.next(secs(301), |_| true).map(|rung| rung.fix.clone()),
            Ok("restart".into())
        );
        agent.begin();
        assert_eq!(agent.next(secs(302), |_| true), Err(Waiting::Busy));
        agent.end(secs(310));
        assert_eq!(
            agent.next(secs(311), |_| true),
            Err(Waiting::Backoff { left: secs(59) })
        );
        assert!(agent.next(secs(370), |_| true).is_ok());
        agent.begin();
        agent.end(secs(380));
        assert_eq!(agent.next(secs(90_000), |_| true), Err(Waiting::Spent));
    }

    #[test]
    fn a_session_stops_it_and_gives_new_attempts() {
        let mut agent = Autonomy::new(secs(0), delegation(), 2);
        assert_eq!(agent.next(secs(9_000), |_| true), Err(Waiting::Spent));
        agent.connected(delegation());
        assert_eq!(agent.next(secs(9_001), |_| true), Err(Waiting::Connected));
        agent.disconnected(secs(10_000));
        agent.disconnected(secs(10_200));
        assert_eq!(
            agent
                .next(secs(10_301), |_| true)
                .map(|rung| rung.plugin.clone()),
            Ok("k3s-agent".into())
        );
    }

    #[test]
    fn without_a_finding_that_names_the_fix_nothing_is_done() {
        let agent = Autonomy::new(secs(0), delegation(), 0);
        assert_eq!(agent.next(secs(9_000), |_| false), Err(Waiting::NoRemedy));
    }

    #[test]
    fn without_a_delegation_nothing_is_ever_done() {
        let agent = Autonomy::new(secs(0), Delegation::default(), 0);
        assert_eq!(
            agent.next(secs(90_000), |_| true),
            Err(Waiting::NotDelegated)
        );
    }

    #[test]
    fn only_plugin_slash_fix_is_a_rung() {
        for text in ["", "k3s-agent", "/restart", "k3s-agent/", "a/b/c"] {
            assert_eq!(Rung::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        /// Planted bugs it catches: attempts reset on disconnect; backoff forgotten after a restart of the agent.
        #[test]
        fn never_more_attempts_than_delegated_between_two_sessions(events in prop::collection::vec((0u8..4, 0u64..4_000), 1..80)) {
            let mut agent = Autonomy::new(secs(0), delegation(), 0);
            let (mut now, mut tries) = (secs(0), 0);
            for (event, wait) in events {
                now += secs(wait);
                match event {
                    0 => agent.disconnected(now),
                    1 => agent = Autonomy::new(now, delegation(), agent.used()),
                    2 if wait % 7 == 0 => { agent.connected(delegation()); tries = 0; }
                    _ => if agent.next(now, |_| true).is_ok() {
                        tries += 1;
                        agent.begin();
                        agent.end(now);
                    },
                }
                prop_assert!(tries <= 2);
            }
        }
    }
}
