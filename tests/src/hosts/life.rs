//! What is counted of a host's life, whatever it is made of.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Since when it runs, how often it was powered on, how often its disk was laid.
#[derive(Debug, Default)]
pub struct Life {
    since: Mutex<Option<Instant>>,
    boots: AtomicU32,
    installs: AtomicU32,
}

impl Life {
    /// It was powered on, then.
    pub(crate) fn booted(&self, at: Instant) {
        self.boots.fetch_add(1, Ordering::Relaxed);
        self.set(Some(at));
    }

    /// It has no power.
    pub(crate) fn off(&self) {
        self.set(None);
    }

    /// Its disk was laid anew.
    pub(crate) fn installed(&self) {
        self.installs.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is powered on.
    #[must_use]
    pub fn running(&self) -> bool {
        self.since().is_some()
    }

    /// Since it was powered on; zero when off.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.since().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// How often it was powered on.
    #[must_use]
    pub fn boots(&self) -> u32 {
        self.boots.load(Ordering::Relaxed)
    }

    /// How often its disk was replaced after the first installation.
    #[must_use]
    pub fn recreates(&self) -> u32 {
        self.installs.load(Ordering::Relaxed).saturating_sub(1)
    }

    fn set(&self, since: Option<Instant>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
