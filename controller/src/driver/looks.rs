//! Looks that the planner asks for: reading only, bounded in rate, one of a kind at a time.

use super::effects::Pursuits;
use super::{Handle, Hands};
use crate::probe::Rounds;
use iaso_engine::plan::Look;
use iaso_engine::policy::Policy;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Shortest time between two looks at the same machine.
const MACHINE_GAP: Duration = Duration::from_secs(1);
/// Most kinds of look that are remembered: one or two for each node.
const REMEMBERED_MAX: usize = 20_000;

struct Running {
    begun: Instant,
    task: JoinHandle<()>,
}

pub(super) struct Looks {
    hands: Hands,
    rounds: Arc<Rounds>,
    handle: Handle,
    probe_gap: Duration,
    running: BTreeMap<Look, Running>,
}

impl Looks {
    pub(super) fn new(hands: Hands, rounds: Arc<Rounds>, handle: Handle, policy: &Policy) -> Self {
        let half_round = Duration::from_secs(policy.probe_round_secs) / 2;
        let probe_gap = half_round.clamp(Duration::from_millis(200), Duration::from_secs(30));
        Self {
            hands,
            rounds,
            handle,
            probe_gap,
            running: BTreeMap::new(),
        }
    }

    pub(super) fn take(&mut self, looks: &[Look], pursuits: &mut Pursuits) {
        if self.running.len() > REMEMBERED_MAX {
            self.running
                .retain(|_, running| !running.task.is_finished());
        }
        for look in looks {
            match look {
                Look::Effect(effect) => pursuits.nudge(effect),
                Look::Probe(node) if self.may(look, self.probe_gap) => {
                    let (rounds, handle, node) =
                        (Arc::clone(&self.rounds), self.handle.clone(), node.clone());
                    self.begin(look, async move { rounds.round(&[node], &handle).await });
                }
                Look::Machine(node) if self.may(look, MACHINE_GAP) => {
                    let (machines, handle, node) = (
                        Arc::clone(&self.hands.machines),
                        self.handle.clone(),
                        node.clone(),
                    );
                    self.begin(look, async move {
                        let facts = machines.look(&node, true).await;
                        handle.tell(facts).await;
                    });
                }
                Look::Probe(_) | Look::Machine(_) => {}
            }
        }
    }

    fn may(&self, look: &Look, gap: Duration) -> bool {
        self.running
            .get(look)
            .is_none_or(|running| running.task.is_finished() && running.begun.elapsed() >= gap)
    }

    fn begin(&mut self, look: &Look, task: impl Future<Output = ()> + Send + 'static) {
        let running = Running {
            begun: Instant::now(),
            task: tokio::spawn(task),
        };
        self.running.insert(look.clone(), running);
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        self.running
            .values()
            .for_each(|running| running.task.abort());
    }
}
