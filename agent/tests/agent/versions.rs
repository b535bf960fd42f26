//! One version of a plugin takes another's place: never an unusable one, never while the other acts, and never late.

use std::sync::Arc;
use std::time::Duration;

use iaso_agent::agent::Agent as Inside;
use iaso_agent::config::{Config, Overrides};
use iaso_agent::plugins::Spec;
use iaso_agent::schedule;
use iaso_components::{OK_EMPTY, Says, checker, compile};
use iaso_grants::Grants;
use iaso_host::Digest;
use iaso_proto::v1;
use tokio_util::sync::CancellationToken;

use crate::support::{Agent, Controller, Heard, reports};

const EVERY: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(30);

fn says(code: &'static str, applied: &'static str) -> Vec<u8> {
    let says = Says {
        code,
        severity: "critical",
        remedy: "mend",
        applied,
    };
    compile(&says.fixer())
}

fn assign(controller: &Controller, plugin: &v1::PluginAssignment) {
    let plugin = plugin.clone();
    controller.assign(|assignment| assignment.plugins = vec![plugin]);
}

/// Waits for a result of that version of `p`.
async fn result_of(controller: &Controller, plugin: &v1::PluginAssignment) -> v1::PluginReport {
    let find = |heard: &[Heard]| {
        let mut found = reports(heard, "p").into_iter();
        found.find(|report| report.digest == plugin.digest)
    };
    controller.until("a result of that version", find).await
}

#[tokio::test]
async fn a_version_that_cannot_be_loaded_is_refused_by_name_and_the_one_that_works_goes_on() {
    let controller = Controller::start();
    let works = controller.plugin("p", says("p.bad", "fixed"), EVERY);
    assign(&controller, &works);
    let _agent = Agent::start(&controller);
    assert_eq!(result_of(&controller, &works).await.refused, None);

    // Its digest is right: it comes over whole, and is no plugin.
    let broken = v1::PluginAssignment {
        version: "2.0.0".into(),
        ..controller.plugin("p", b"not a plugin".to_vec(), EVERY)
    };
    assign(&controller, &broken);
    let find = |heard: &[Heard]| {
        reports(heard, "p")
            .into_iter()
            .find_map(|r| Some((r.refused.clone()?, r)))
    };
    let (refused, report) = controller.until("the refusal", find).await;
    assert_eq!(
        (refused.version, refused.digest),
        ("2.0.0".into(), broken.digest)
    );
    let fault = refused.fault.unwrap();
    assert_eq!(fault.class, "not-wasm", "{}", fault.message);
    assert_eq!((report.digest, report.fault), (works.digest.clone(), None));
    assert_eq!(report.findings[0].code, "p.bad");

    let before = reports(&controller.heard(), "p").len();
    let goes_on = |heard: &[Heard]| reports(heard, "p").get(before + 1).cloned();
    let later = controller.until("another run", goes_on).await;
    assert_eq!((later.digest, later.fault), (works.digest.clone(), None));
    controller.order("o-1", "mend", LONG, 1);
    assert_eq!(controller.outcomes("o-1", 1).await[0].result, "fixed");

    // Told to run what runs, it takes the refusal back without waiting for anything.
    assign(&controller, &works);
    let taken_back = |heard: &[Heard]| {
        let last = reports(heard, "p").pop()?;
        (last.refused.is_none() && last.digest == works.digest).then_some(())
    };
    controller.until("nothing refused", taken_back).await;
    let mended = controller.plugin("p", says("p.mended", "fixed"), EVERY);
    assign(&controller, &mended);
    let report = result_of(&controller, &mended).await;
    assert_eq!((report.refused, report.fault), (None, None));
    assert_eq!(report.findings[0].code, "p.mended");
}

#[tokio::test]
async fn nothing_runs_where_there_was_nothing_and_the_only_version_cannot_be_loaded() {
    let controller = Controller::start();
    let broken = controller.plugin("p", b"not a plugin".to_vec(), EVERY);
    assign(&controller, &broken);
    let _agent = Agent::start(&controller);
    let report = result_of(&controller, &broken).await;
    assert_eq!(
        report.fault.map(|fault| fault.class),
        Some("not-wasm".to_owned())
    );
    assert_eq!(report.refused, None, "nothing else runs in its place");
}

#[tokio::test]
async fn a_new_version_does_not_look_while_the_old_one_acts_even_if_the_plugin_was_away_between() {
    for is_away_between in [false, true] {
        let controller = Controller::start();
        let old = controller.plugin("p", says("p.old", "loop"), EVERY);
        assign(&controller, &old);
        let agent = Agent::start(&controller);
        result_of(&controller, &old).await;
        // It computes until it is stopped, two seconds later.
        controller.order("o-1", "mend", LONG, 1);
        agent.until_says("fix ordered", 1).await;
        if is_away_between {
            controller.assign(|assignment| assignment.plugins.clear());
        }
        let new = controller.plugin("p", says("p.new", "fixed"), EVERY);
        assign(&controller, &new);
        let first = result_of(&controller, &new).await;
        let fix = controller.outcomes("o-1", 1).await.remove(0);
        let fix_ended_ms = fix.started_unix_ms + i64::try_from(fix.duration_us / 1_000).unwrap();
        assert!(fix.duration_us > 1_000_000, "{} µs", fix.duration_us);
        assert!(
            first.started_unix_ms >= fix_ended_ms,
            "the new version looked {} ms before the fix ended",
            fix_ended_ms - first.started_unix_ms
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_version_runs_at_once_and_does_not_wait_for_the_next_tick() {
    let root = tempfile::tempdir().unwrap();
    let text = format!(
        "node = \"styx\"\nstate_dir = \"{}\"\n[runner]\nmode = \"in-process\"\n",
        root.path().join("state").display()
    );
    let file = root.path().join("agent.toml");
    let config = Config::parse(&text, &file, &Overrides::default()).unwrap();
    let agent = Inside::open(config).unwrap();
    let compiled = compile(&checker("", OK_EMPTY));
    let spec = |version: &str| Spec {
        name: "p".into(),
        version: version.into(),
        digest: version.into(),
        compiled: Some(Digest::of(&compiled)),
        interval: Duration::from_hours(1),
        timeout: Duration::from_secs(5),
        config: Vec::new(),
        grants: Grants::default(),
    };
    let ran = || {
        let reports = agent.reports();
        let latest = reports.iter().next();
        latest.map(|(_, latest)| latest.run.version.clone())
    };
    let stop = CancellationToken::new();
    tokio::spawn(schedule::run(Arc::clone(&agent), stop.clone()));
    for version in ["1", "2", "3"] {
        agent.plugins.install(spec(version), &compiled).await;
        agent.plugins_changed.notify_one();
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(ran().as_deref(), Some(version));
    }
    stop.cancel();
}
