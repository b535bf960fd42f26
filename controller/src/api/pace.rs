//! A bound on how fast one session may speak: beyond it the controller reads slower, and nothing is lost.

use std::time::Duration;
use tokio::time::Instant;

/// Messages in one burst.
const BURST: f64 = 512.0;
/// Messages each second after it.
const RATE: f64 = 128.0;

#[derive(Debug)]
pub(super) struct Pace {
    tokens: f64,
    at: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            tokens: BURST,
            at: Instant::now(),
        }
    }

    /// Takes one message in; says how long to wait before the next is read.
    pub(super) fn take(&mut self) -> Duration {
        let now = Instant::now();
        let refill = now.duration_since(self.at).as_secs_f64() * RATE;
        self.at = now;
        self.tokens = (self.tokens + refill).min(BURST) - 1.0;
        if self.tokens >= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(-self.tokens / RATE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_a_flood_is_slowed_to_the_rate() {
        let mut pace = Pace::new();
        for _ in 0..512 {
            assert_eq!(pace.take(), Duration::ZERO);
        }
        assert!(pace.take() > Duration::ZERO);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(pace.take(), Duration::ZERO);
    }
}
