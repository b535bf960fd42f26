//! Runs each plugin at its interval.
//!
//! **Invariants**
//! - At most [`RUNS_MAX`] plugins at once, and a plugin never beside itself.
//! - A new version takes over the ticks of the one before it: what runs is not cut short, and the new one is run at once.
//! - Missed ticks are skipped, never made up for in a burst. Ticks of different agents drift apart (jitter of a tenth).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;

/// Plugins that run at once.
pub const RUNS_MAX: usize = 4;
/// Longest wait of a new plugin for its first run.
const FIRST_RUN_MAX: Duration = Duration::from_secs(3);

/// Runs the plugins of `agent` until `stop`.
pub async fn run(agent: Arc<Agent>, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(RUNS_MAX));
    let mut loops: BTreeMap<String, JoinHandle<()>> = BTreeMap::new();
    loop {
        let wanted = agent.plugins.all();
        loops.retain(|name, task| {
            let stays = wanted.iter().any(|slot| slot.spec.name == *name) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        for slot in wanted {
            let (agent, slots) = (Arc::clone(&agent), Arc::clone(&slots));
            let name = slot.spec.name.clone();
            loops
                .entry(name.clone())
                .or_insert_with(|| tokio::spawn(repeat(agent, name, slots)));
        }
        tokio::select! {
            () = agent.plugins_changed.notified() => {}
            () = stop.cancelled() => break,
        }
    }
    for task in loops.into_values() {
        task.abort();
    }
}

async fn repeat(agent: Arc<Agent>, name: String, slots: Arc<Semaphore>) {
    let Some(first) = agent.plugins.get(&name) else {
        return;
    };
    let (seat, mut interval) = (Arc::clone(&first.seat), first.spec.interval);
    drop(first);
    let mut wait = FIRST_RUN_MAX.min(interval).mul_f64(rand::random());
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = seat.poke.notified() => {}
        }
        let Ok(_one_of_few) = slots.acquire().await else {
            return;
        };
        agent.check(&name).await;
        // Gone just now: this ends as soon as that is noticed.
        if let Some(slot) = agent.plugins.get(&name) {
            interval = slot.spec.interval;
        }
        wait = jittered(interval, rand::random());
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
