//! Who reaches a node: the words of the observers, weighed by their own health.

use crate::diagnose::channel::secs;
use crate::fact::Observer;
use crate::id::NodeName;
use crate::plan::Situation;
use crate::time::Tick;
use crate::world::heard;
use std::collections::BTreeSet;

/// The latest words that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// Observers, healthy or not, whom the machine answered.
    pub reached: u32,
    /// Healthy observers who met silence.
    pub silent: u32,
    /// The controller is one of the silent.
    pub controller_silent: bool,
    /// The controller is one of those whom it answered.
    pub controller_reached: bool,
}

impl Reach {
    /// Enough healthy observers met silence, the controller among them, and the machine answered nobody.
    #[must_use]
    pub fn is_silence(&self, quorum: u32) -> bool {
        self.reached == 0 && self.controller_silent && self.silent >= quorum.max(1)
    }

    /// The machine's kernel answers everybody who counts, the controller among them: the network is not the fault.
    #[must_use]
    pub fn is_chorus(&self) -> bool {
        self.controller_reached && self.silent == 0
    }
}

/// Counts the words about a node that are fresh and not older than `after`.
pub(crate) fn reach(
    s: &Situation<'_>,
    node: &NodeName,
    healthy: &BTreeSet<NodeName>,
    after: Tick,
) -> Reach {
    let mut sum = Reach::default();
    let Some(facts) = s.world.nodes.get(node) else {
        return sum;
    };
    for (observer, seen) in &facts.probes {
        if seen.at < after || s.now.since(seen.at) >= secs(s.policy.probe_fresh_secs) {
            continue;
        }
        let counts = match observer {
            Observer::Controller => true,
            Observer::Node(name) => name != node && healthy.contains(name),
        };
        match (heard(&seen.value), observer) {
            (Some(true), _) => {
                sum.reached = sum.reached.saturating_add(1);
                sum.controller_reached |= *observer == Observer::Controller;
            }
            (Some(false), _) if counts => {
                sum.silent = sum.silent.saturating_add(1);
                sum.controller_silent |= *observer == Observer::Controller;
            }
            (Some(false) | None, _) => {}
        }
    }
    sum
}
