//! What is going to happen, in the order in which it does; at the same moment, in the order in which it was arranged.

use crate::scenario::{Ix, Ms};
use iaso_engine::effect::{Effect, Outcome};
use iaso_engine::fact::MachineSeen;
use iaso_engine::id::{EffectId, IncidentId};
use iaso_engine::record::Rung;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vantage {
    Controller,
    Node(Ix),
}

/// What the provider says to a call.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Taken(u64),
    Refused(&'static str),
    Lost,
}

/// One thing that happens. What is told to a controller names its life, and is void in the next one.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    StrikeBegins(usize),
    StrikeEnds(usize),
    /// The machine's system is up, unless it went down since.
    Boots(Ix, u32),
    /// A process on the machine may have become ready.
    Settles(Ix),
    /// The agent tries to open its session.
    Dials(Ix),
    /// The controller notices that a session says nothing.
    SessionDies(Ix, u32),
    Wake(Ms),
    Restart(i64),
    Probed {
        life: u32,
        target: Ix,
        observer: Vantage,
        reached: bool,
    },
    MachineSaid {
        life: u32,
        node: Ix,
        seen: MachineSeen,
    },
    /// A call reaches the provider. It does so whether or not the controller lives.
    CallArrives {
        life: u32,
        effect: Box<Effect>,
        answer_lost: bool,
        timeout: Ms,
    },
    CallAnswered {
        life: u32,
        effect: EffectId,
        reply: Reply,
    },
    OperationEnds(u64),
    /// The controller asks how an operation or an effect in doubt stands.
    Pursue {
        life: u32,
        effect: EffectId,
    },
    /// An effect that takes a moment is carried out.
    Short {
        life: u32,
        effect: Box<Effect>,
    },
    FixArrives {
        node: Ix,
        effect: Box<Effect>,
    },
    FixEnds {
        node: Ix,
        effect: EffectId,
        agent: u32,
    },
    /// An outcome comes to the journal.
    Told {
        life: u32,
        effect: EffectId,
        outcome: Box<Outcome>,
    },
    Operator {
        incident: IncidentId,
        rung: Rung,
        yes: bool,
    },
}

impl Event {
    /// It can change the world or a person's word, so the run is not over before it. Looks and wakes go on for ever.
    pub(crate) fn matters(&self) -> bool {
        match self {
            Self::StrikeBegins(_)
            | Self::StrikeEnds(_)
            | Self::Boots(..)
            | Self::Settles(_)
            | Self::Dials(_)
            | Self::Restart(_)
            | Self::CallArrives { .. }
            | Self::CallAnswered { .. }
            | Self::OperationEnds(_)
            | Self::Short { .. }
            | Self::FixArrives { .. }
            | Self::FixEnds { .. }
            | Self::Told { .. }
            | Self::Operator { .. } => true,
            Self::SessionDies(..)
            | Self::Wake(_)
            | Self::Probed { .. }
            | Self::MachineSaid { .. }
            | Self::Pursue { .. } => false,
        }
    }
}

#[derive(Debug)]
struct Entry {
    at: Ms,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// The heap yields its greatest: the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// The future.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Entry>,
    arranged: u64,
    matters: usize,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Ms, event: Event) {
        self.arranged = self.arranged.saturating_add(1);
        self.matters = self.matters.saturating_add(usize::from(event.matters()));
        self.heap.push(Entry {
            at,
            order: self.arranged,
            event,
        });
    }

    pub(crate) fn pop(&mut self) -> Option<(Ms, Event)> {
        let entry = self.heap.pop()?;
        self.matters = self
            .matters
            .saturating_sub(usize::from(entry.event.matters()));
        Some((entry.at, entry.event))
    }

    pub(crate) fn next_at(&self) -> Option<Ms> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Nothing that matters is going to happen by itself.
    pub(crate) fn is_idle(&self) -> bool {
        self.matters == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_at_the_same_moment_the_one_arranged_first() {
        let mut queue = Queue::default();
        queue.push(20, Event::StrikeBegins(1));
        queue.push(10, Event::StrikeBegins(2));
        queue.push(10, Event::StrikeBegins(3));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop())
            .filter_map(|(at, event)| {
                if let Event::StrikeBegins(n) = event {
                    Some((at, n))
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(order, [(10, 2), (10, 3), (20, 1)]);
        assert!(queue.is_idle());
    }
}
