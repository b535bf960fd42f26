//! The process that runs plugins dies again and again: the agent, its session and what it owes do not mind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use iaso_components::{Says, compile};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Agent, Controller, Heard, outcomes, reports};

/// How often the scripted controller asks for one.
const HEARTBEAT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(30);

/// Seconds of killing; a minute is `IASO_CHAOS_SECS=60`.
fn chaos() -> Duration {
    let secs = std::env::var("IASO_CHAOS_SECS");
    Duration::from_secs(secs.ok().and_then(|text| text.parse().ok()).unwrap_or(15))
}

#[tokio::test]
async fn a_runner_killed_at_random_costs_no_heartbeat_no_outcome_and_not_the_agent() {
    let controller = Controller::start();
    let says = Says {
        code: "p.bad",
        severity: "critical",
        remedy: "mend",
        applied: "fixed",
    };
    let component = compile(&says.fixer());
    let plugins = ["p", "q", "r"]
        .map(|name| controller.plugin(name, component.clone(), Duration::from_millis(300)));
    controller.assign(|assignment| assignment.plugins = plugins.into());
    let mut agent = Agent::start(&controller);
    controller
        .until("the finding", |heard| reports(heard, "p").pop())
        .await;

    let (started, mut kills, mut orders) = (Instant::now(), 0, 0);
    while started.elapsed() < chaos() {
        tokio::time::sleep(Duration::from_millis(rand::random_range(20..500))).await;
        if let Some(pid) = agent.runner() {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap());
            // It may have gone by itself since it was found.
            kills += u32::from(kill(pid, Signal::SIGKILL).is_ok());
        }
        controller.order(&format!("o-{orders}"), "mend", LONG, 1);
        orders += 1;
    }
    assert!(kills >= 5, "only {kills} kills");
    for order in 0..orders {
        controller.outcomes(&format!("o-{order}"), 1).await;
    }
    let heard = controller.heard();
    let mut said = BTreeMap::new();
    for outcome in outcomes(&heard) {
        *said.entry(outcome.order_id.clone()).or_insert(0) += 1;
        let known = ["fixed", "failed", "busy"].contains(&outcome.result.as_str());
        assert!(known, "{outcome:?}");
    }
    assert_eq!(said.len(), orders);
    assert!(said.values().all(|count| *count == 1), "{said:?}");
    let beats: Vec<Instant> = heard
        .iter()
        .filter(|heard| heard.heartbeat().is_some())
        .map(|heard| heard.at)
        .collect();
    let longest = beats.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(
        longest < Some(HEARTBEAT * 10),
        "the longest wait for a heartbeat was {longest:?}"
    );
    assert!(agent.is_alive());
    assert_eq!(controller.sessions(), 1, "it was never away");
    assert!(agent.says("the process that runs plugins ended") >= 5);
    // Kills that come faster than runs end may be blamed on a plugin that ran alone twice; it must not stay so.
    let well = |heard: &[Heard]| {
        let runs = reports(heard, "p");
        runs.into_iter()
            .next_back()
            .filter(|run| run.fault.is_none())
    };
    controller.until("a run that ends well again", well).await;

    controller.order("last", "mend", LONG, 1);
    let last = controller.outcomes("last", 1).await.remove(0);
    assert_eq!(last.result, "fixed", "{}", last.reason);
}
