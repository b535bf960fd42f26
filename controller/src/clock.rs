//! The controller's clock: begins at the wall clock and runs monotonically from there.
//!
//! A wall clock that somebody sets would make facts jump in age; decisions rest on this one instead. It never begins before
//! the journal's last entry, so that time in the journal never runs backwards. In tests, tokio's paused time drives it.

use iaso_engine::time::Tick;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Hands out the time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Tick,
    started: Instant,
}

impl Clock {
    /// Begins now, or at `not_before` if the wall clock lies before it.
    #[must_use]
    pub fn start(not_before: Tick) -> Self {
        Self {
            base: wall().max(not_before),
            started: Instant::now(),
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.base.after(self.started.elapsed())
    }

    /// The moment of tokio's clock at which this clock shows `tick`; now, if that has passed.
    #[must_use]
    pub fn instant(&self, tick: Tick) -> Instant {
        self.started
            .checked_add(tick.since(self.base))
            .unwrap_or_else(Instant::now)
    }
}

/// The wall clock.
#[must_use]
pub fn wall() -> Tick {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Tick(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
