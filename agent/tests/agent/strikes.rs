//! A plugin that keeps breaking is run less and less often, and at once again when it is mended. In paused time.

use std::sync::Arc;
use std::time::Duration;

use iaso_agent::agent::Agent;
use iaso_agent::config::{Config, Overrides};
use iaso_agent::plugins::{CheckRun, Slot, Spec};
use iaso_agent::schedule;
use iaso_components::{Hostile, OK_EMPTY, checker, compile};
use iaso_grants::Grants;
use iaso_host::{Digest, FaultClass, PluginFault};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(10);
const SECS: u64 = 5_000;

fn spec(name: &str, compiled: &[u8]) -> Spec {
    Spec {
        name: name.into(),
        version: String::new(),
        digest: String::new(),
        compiled: Some(Digest::of(compiled)),
        interval: EVERY,
        timeout: Duration::from_secs(5),
        config: Vec::new(),
        grants: Grants::default(),
    }
}

/// Runs of a plugin so far, as `/metrics` counts them.
fn runs(agent: &Agent, plugin: &str) -> u64 {
    let text = agent.metrics.render(agent);
    let line = text
        .lines()
        .find(|line| line.starts_with("iaso_agent_plugin_runs_total") && line.contains(plugin));
    let count = line.and_then(|line| line.rsplit(' ').next());
    count.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_keeps_breaking_is_run_less_and_less_often_and_its_neighbour_on_every_tick() {
    let root = tempfile::tempdir().unwrap();
    let text = format!(
        "node = \"styx\"\nstate_dir = \"{}\"\n[runner]\nmode = \"in-process\"\n",
        root.path().join("state").display()
    );
    let config = Config::parse(
        &text,
        &root.path().join("agent.toml"),
        &Overrides::default(),
    );
    let agent = Agent::open(config.unwrap()).unwrap();
    for (name, component) in [
        ("traps", Hostile::Traps.bytes()),
        ("neighbour", checker("", OK_EMPTY)),
    ] {
        let compiled = compile(&component);
        let slot = agent
            .plugins
            .install(spec(name, &compiled), &compiled)
            .await;
        assert!(slot.loaded.is_ok());
    }
    let stop = CancellationToken::new();
    tokio::spawn(schedule::run(Arc::clone(&agent), stop.clone()));
    let (mut began, mut before) = (Vec::new(), 0);
    for second in 0..SECS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = runs(&agent, "traps");
        if now > before {
            began.push(second);
        }
        before = now;
    }
    stop.cancel();
    let gaps: Vec<u64> = began.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (struck, backed_off) = gaps.split_at(2);
    assert!(
        struck.iter().all(|gap| *gap <= 12),
        "three strikes on schedule: {gaps:?}"
    );
    // From 30 s on twice as long each time, to half an hour; a probe begins with the first tick after its wait.
    let waits = (0..).map(|n| (30_u64 << n).min(1_800));
    for (gap, wait) in backed_off.iter().zip(waits) {
        assert!(
            (wait..=wait + 12).contains(gap),
            "{gap} s after a wait of {wait} s: {gaps:?}"
        );
    }
    assert!(backed_off.len() >= 6, "{gaps:?}");
    assert!(
        runs(&agent, "neighbour") >= SECS / 12,
        "{}",
        runs(&agent, "neighbour")
    );
}

#[test]
fn one_probe_decides_whether_a_broken_plugin_is_back_on_schedule() {
    let fault = PluginFault {
        class: FaultClass::Trap,
        message: "it crashed".into(),
    };
    let slot = Slot::broken(spec("p", b""), fault.clone());
    let run = |outcome| CheckRun {
        outcome,
        ..CheckRun::begun(&slot.spec)
    };
    let secs = Duration::from_secs;
    for at in [0, 10, 20] {
        assert!(slot.admits(secs(at)));
        slot.judge(secs(at), &run(Err(fault.clone())));
    }
    assert!(!slot.admits(secs(49)));
    assert!(slot.admits(secs(50)), "the probe");
    assert!(!slot.admits(secs(51)), "no second one beside it");
    slot.judge(secs(52), &run(Err(fault)));
    assert!(!slot.admits(secs(111)), "it failed: twice as long");
    assert!(slot.admits(secs(112)));
    slot.judge(secs(113), &run(Ok(Vec::new())));
    for at in 113..120 {
        assert!(slot.admits(secs(at)), "all is forgiven");
    }
}
