//! Runs each plugin at its interval.
//!
//! **Invariants**
//! - At most [`RUNS_MAX`] plugins at once, and a plugin never beside itself.
//! - Missed ticks are skipped, never made up for in a burst. Ticks of different agents drift apart (jitter of a tenth).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{agent::Agent, plugins::Slot};

/// Plugins that run at once.
pub const RUNS_MAX: usize = 4;
/// Longest wait of a new plugin for its first run.
const FIRST_RUN_MAX: Duration = Duration::from_secs(3);

/// Runs the plugins of `agent` until `stop`.
pub async fn run(agent: Arc<Agent>, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(RUNS_MAX));
    let mut loops: BTreeMap<String, (Arc<Slot>, JoinHandle<()>)> = BTreeMap::new();
    loop {
        let wanted = agent.plugins.all();
        loops.retain(|_, (slot, task)| {
            let stays = wanted.iter().any(|other| Arc::ptr_eq(other, slot));
            if !stays {
                task.abort();
            }
            stays
        });
        for slot in wanted {
            let (agent, slots) = (Arc::clone(&agent), Arc::clone(&slots));
            loops.entry(slot.spec.name.clone()).or_insert_with(|| {
                let task = tokio::spawn(repeat(agent, Arc::clone(&slot), slots));
                (slot, task)
            });
        }
        tokio::select! {
            () = agent.plugins_changed.notified() => {}
            () = stop.cancelled() => break,
        }
    }
    for (_, task) in loops.into_values() {
        task.abort();
    }
}

async fn repeat(agent: Arc<Agent>, slot: Arc<Slot>, slots: Arc<Semaphore>) {
    let mut wait = FIRST_RUN_MAX
        .min(slot.spec.interval)
        .mul_f64(rand::random());
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = slot.poke.notified() => {}
        }
        let Ok(_one_of_few) = slots.acquire().await else {
            return;
        };
        agent.check(&slot).await;
        wait = jittered(slot.spec.interval, rand::random());
    }
}

/// Within a tenth of the interval; `random` is in [0, 1).
fn jittered(interval: Duration, random: f64) -> Duration {
    interval.mul_f64(0.9 + 0.2 * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_stay_within_a_tenth_of_the_interval() {
        let interval = Duration::from_secs(30);
        assert_eq!(jittered(interval, 0.0), Duration::from_secs(27));
        assert_eq!(jittered(interval, 0.5), Duration::from_secs(30));
        assert!(jittered(interval, 0.999) < Duration::from_secs(33));
    }
}
