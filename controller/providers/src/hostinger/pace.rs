//! One limiter for all calls of a client: a smallest interval, pauses that the provider asks for, and a slower pace
//! after each 429 that only successes bring back.
//!
//! Callers go in the order in which they came, and wait for a bounded time.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout_at};

/// The pause after a 429 without `Retry-After`; doubled for each further one in a row.
const PAUSE_DEFAULT: Duration = Duration::from_secs(30);
/// Longest pause that is believed.
const PAUSE_MAX: Duration = Duration::from_mins(15);
/// How many times the smallest interval the pace may grow to.
const SLOWDOWN_MAX: u32 = 16;

/// When the next call may go. Pure: it is told the time.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    slowdown: u32,
    refusals: u32,
    next: Option<Instant>,
}

impl Pace {
    /// Takes the turn, or says when it comes.
    fn try_take(&mut self, now: Instant) -> Result<(), Instant> {
        match self.next {
            Some(next) if next > now => Err(next),
            Some(_) | None => {
                self.next = Some(now + self.interval * self.slowdown);
                Ok(())
            }
        }
    }

    /// The provider had enough of us. Returns the pause.
    fn refused(&mut self, now: Instant, retry_after: Option<Duration>) -> Duration {
        let doubled = PAUSE_DEFAULT.saturating_mul(2_u32.saturating_pow(self.refusals.min(8)));
        let pause = retry_after.unwrap_or(doubled).min(PAUSE_MAX);
        self.refusals = self.refusals.saturating_add(1);
        self.slowdown = self.slowdown.saturating_mul(2).min(SLOWDOWN_MAX);
        let until = now + pause;
        self.next = Some(self.next.map_or(until, |next| next.max(until)));
        pause
    }

    /// A call went well: the pace comes back in small steps.
    fn taken(&mut self) {
        self.refusals = 0;
        self.slowdown = self.slowdown.saturating_sub(1).max(1);
    }
}

/// The limiter.
#[derive(Debug)]
pub(super) struct Limiter {
    wait_max: Duration,
    queue: tokio::sync::Mutex<()>,
    pace: Mutex<Pace>,
}

impl Limiter {
    pub(super) fn new(interval: Duration, wait_max: Duration) -> Self {
        let pace = Pace {
            interval,
            slowdown: 1,
            refusals: 0,
            next: None,
        };
        Self {
            wait_max,
            queue: tokio::sync::Mutex::default(),
            pace: Mutex::new(pace),
        }
    }

    /// How long a caller waits at most.
    pub(super) fn wait_max(&self) -> Duration {
        self.wait_max
    }

    /// Waits for a turn; when it would come too late, says how long it takes until then.
    pub(super) async fn turn(&self) -> Result<(), Duration> {
        let deadline = Instant::now() + self.wait_max;
        let waiting = timeout_at(deadline, self.queue.lock()).await;
        let _first_in_queue = waiting.map_err(|_| self.next_in())?;
        loop {
            let next = self.pace().try_take(Instant::now());
            match next {
                Ok(()) => return Ok(()),
                Err(at) if at > deadline => return Err(at - Instant::now()),
                // A 429 meanwhile moves the turn, so it is asked for again after the wait.
                Err(at) => sleep_until(at).await,
            }
        }
    }

    /// Tells the limiter about a 429. Returns the pause.
    pub(super) fn refused(&self, retry_after: Option<Duration>) -> Duration {
        self.pace().refused(Instant::now(), retry_after)
    }

    /// Tells the limiter that the provider took a call.
    pub(super) fn taken(&self) {
        self.pace().taken();
    }

    fn next_in(&self) -> Duration {
        self.pace().next.map_or(Duration::ZERO, |next| {
            next.saturating_duration_since(Instant::now())
        })
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn calls_from_many_tasks_keep_the_interval() {
        let limiter = Arc::new(Limiter::new(SECOND, 60 * SECOND));
        let start = Instant::now();
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                let limiter = Arc::clone(&limiter);
                tokio::spawn(async move { limiter.turn().await.map(|()| Instant::now()) })
            })
            .collect();
        for (nth, task) in (0_u32..).zip(tasks) {
            assert_eq!(task.await.expect("the task ends"), Ok(start + SECOND * nth));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_those_who_already_wait() {
        let limiter = Arc::new(Limiter::new(SECOND, 60 * SECOND));
        let start = Instant::now();
        limiter.turn().await.expect("the first goes at once");
        let waiting = tokio::spawn({
            let limiter = Arc::clone(&limiter);
            async move { limiter.turn().await.map(|()| Instant::now()) }
        });
        tokio::task::yield_now().await;
        assert_eq!(limiter.refused(Some(10 * SECOND)), 10 * SECOND);
        assert_eq!(
            waiting.await.expect("the task ends"),
            Ok(start + 10 * SECOND)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_too_long_is_given_up_at_once() {
        let limiter = Limiter::new(SECOND, 5 * SECOND);
        let start = Instant::now();
        limiter.refused(Some(100 * SECOND));
        assert_eq!(limiter.turn().await, Err(100 * SECOND));
        assert_eq!(Instant::now(), start);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_slow_the_pace_and_successes_bring_it_back() {
        let limiter = Limiter::new(SECOND, 3600 * SECOND);
        assert_eq!(limiter.refused(None), PAUSE_DEFAULT);
        assert_eq!(limiter.refused(None), 2 * PAUSE_DEFAULT);
        limiter.turn().await.expect("after the pause");
        let start = Instant::now();
        limiter.turn().await.expect("after four intervals");
        assert_eq!(Instant::now() - start, 4 * SECOND);
        for _ in 0..10 {
            limiter.taken();
        }
        limiter
            .turn()
            .await
            .expect("the slow one that was already reserved");
        let start = Instant::now();
        limiter.turn().await.expect("the normal pace");
        assert_eq!(Instant::now() - start, SECOND);
    }

    #[test]
    fn no_provider_can_stop_us_for_a_day() {
        let mut pace = Pace {
            interval: SECOND,
            slowdown: 1,
            refusals: u32::MAX,
            next: None,
        };
        assert_eq!(pace.refused(Instant::now(), Some(Duration::MAX)), PAUSE_MAX);
        assert_eq!(pace.refused(Instant::now(), None), PAUSE_MAX);
    }
}
