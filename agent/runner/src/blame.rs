//! Whose doing the end of a runner was: one plugin's, or nobody's that runs in it.
//!
//! **Invariants**
//! - A plugin that was running when a runner ended runs alone from then on, until a run of it ends well: so it is not in the way of others,
//!   and what ends the runner next is its doing or nobody's.
//! - Only a plugin under which runners end again and again while it runs alone is blamed.

use std::sync::atomic::{AtomicU32, Ordering};

/// Runners in a row that end under a plugin that runs alone before it is blamed.
pub(crate) const ALONE_MAX: u32 = 2;

/// The record of one plugin.
#[derive(Debug, Default)]
pub(crate) struct Blame {
    /// Runners that ended under it since it last ended well.
    ends: AtomicU32,
    /// Those of them under it alone.
    alone: AtomicU32,
}

impl Blame {
    /// Whether it must run alone.
    pub(crate) fn is_suspect(&self) -> bool {
        self.ends.load(Ordering::Relaxed) > 0
    }

    /// A run of it ended, and the runner with it lives.
    pub(crate) fn ended_well(&self) {
        self.ends.store(0, Ordering::Relaxed);
        self.alone.store(0, Ordering::Relaxed);
    }

    /// A runner ended under it; true when that is its doing.
    pub(crate) fn runner_ended(&self, was_alone: bool) -> bool {
        self.ends.fetch_add(1, Ordering::Relaxed);
        if was_alone {
            self.alone.fetch_add(1, Ordering::Relaxed);
        }
        self.alone.load(Ordering::Relaxed) >= ALONE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_ends_runners_while_alone_again_and_again_is_blamed() {
        let blame = Blame::default();
        for _ in 0..5 {
            assert!(!blame.runner_ended(false), "others were there too");
        }
        assert!(blame.is_suspect());
        assert!(!blame.runner_ended(true), "once may be chance");
        assert!(blame.runner_ended(true));
        blame.ended_well();
        assert!(!blame.is_suspect());
        assert!(!blame.runner_ended(true), "it begins anew");
    }
}
