//! How long to wait before the next attempt: exponential, full jitter, capped.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);

/// Attempts since the last success.
#[derive(Debug)]
pub struct Backoff {
    max: Duration,
    attempts: u32,
}

impl Backoff {
    /// Never longer than `max`.
    #[must_use]
    pub fn new(max: Duration) -> Self {
        Self { max, attempts: 0 }
    }

    /// A session was open.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Anything between nothing and the present limit, so that agents do not come back all at once.
    pub fn quick(&mut self) -> Duration {
        let limit = FIRST
            .saturating_mul(1 << self.attempts.min(16))
            .min(self.max);
        self.attempts = self.attempts.saturating_add(1);
        limit.mul_f64(rand::random())
    }

    /// For what a person must put right: between half the cap and the cap.
    pub fn slow(&mut self) -> Duration {
        self.max.mul_f64(0.5 + 0.5 * rand::random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wait_is_longer_than_the_cap_however_many_attempts() {
        let cap = Duration::from_secs(30);
        let mut backoff = Backoff::new(cap);
        for attempt in 0..200 {
            let (quick, slow) = (backoff.quick(), backoff.slow());
            assert!(
                quick <= cap && slow <= cap && slow >= cap / 2,
                "attempt {attempt}: {quick:?} {slow:?}"
            );
        }
    }
}
