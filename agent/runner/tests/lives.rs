//! Runners that run, die, hang and lie, and what becomes of the runs in them.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use iaso_components::{Hostile, OK_EMPTY, Says, checker, compile};
use iaso_grants::Grants;
use iaso_host::types::ConnectOutcome;
use iaso_host::{
    Broker, CallContext, CapError, Capabilities, Digest, FaultClass, GrantedBroker, Phase, Request,
    Response, RunLimits, SystemResolver,
};
use iaso_runner::{Layer, Limits, Plugin, Runner, Settings, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SOON: Duration = Duration::from_mins(1);
/// Asks to connect to the host whose name lies at 1024, and answers with no findings.
const CONNECT: &str = r#"(import "iaso:plugin/net@0.1.0" "tcp-connect" (func $tcp (param i32 i32 i32 i32 i32)))
(data (i32.const 1024) "10.0.0.7")"#;
const CONNECT_RUN: &str = "(call $tcp (i32.const 1024) (i32.const 8) (i32.const 22) (i32.const 100) (i32.const 512)) (i32.const 16)";

/// Notes who asks; answers, but for a plugin called `waits`.
#[derive(Default)]
struct Notes(std::sync::Mutex<Vec<(String, Phase)>>);

#[async_trait]
impl Broker for Notes {
    async fn call(&self, cx: &CallContext, _: Request) -> Result<Response, CapError> {
        self.0.lock().unwrap().push((cx.plugin.clone(), cx.phase));
        if cx.plugin == "waits" {
            return std::future::pending().await;
        }
        Ok(Response::Connect(ConnectOutcome {
            outcome: "connected".to_owned(),
            address: "10.0.0.7".to_owned(),
            elapsed_us: 1,
            detail: String::new(),
        }))
    }
}

fn settings(arguments: &[&str]) -> Settings {
    let limits = Limits {
        uid: 61_000,
        gid: 61_000,
        memory_bytes: 256 << 20,
    };
    Settings {
        program: env!("CARGO_BIN_EXE_iaso-attacker").into(),
        arguments: arguments.iter().map(Into::into).collect(),
        grace: Duration::from_millis(500),
        ..Settings::of_this_program(limits)
    }
}

fn grants(json: &str) -> Grants {
    serde_json::from_str(json).unwrap()
}

fn connects() -> Grants {
    grants(r#"{"check": {"net": {"tcp": [{"to": "10.0.0.0/8", "ports": [22]}]}}}"#)
}

fn plugin(runner: &Runner, name: &str, component: &[u8], grants: impl Into<Arc<Grants>>) -> Plugin {
    let compiled = compile(component);
    let plugin = runner.plugin(name, &compiled, &Digest::of(&compiled), grants.into());
    plugin.unwrap()
}

fn idle(runner: &Runner, name: &str) -> Plugin {
    plugin(runner, name, &checker("", OK_EMPTY), Grants::default())
}

async fn class(plugin: &Plugin, limits: &RunLimits) -> Option<FaultClass> {
    let report = plugin.check(&Vec::new(), limits).await;
    report.outcome.err().map(|fault| fault.class)
}

/// The process that is ready now.
async fn pid(runner: &Runner) -> Pid {
    runner.ready().await;
    match runner.status().state {
        State::Up { pid } => Pid::from_raw(i32::try_from(pid).unwrap()),
        State::Starting | State::Waiting => panic!("it is ready"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_runs_in_a_process_that_is_locked_in_and_its_calls_are_asked_here() {
    let notes = Arc::new(Notes::default());
    let runner = Runner::start(settings(&["runner"]), Arc::clone(&notes) as Arc<dyn Broker>);
    let calling = plugin(&runner, "calls", &checker(CONNECT, CONNECT_RUN), connects());
    let report = calling.check(&Vec::new(), &RunLimits::default()).await;
    assert_eq!((report.outcome, report.host_calls), (Ok(Vec::new()), 1));
    assert_eq!(
        *notes.0.lock().unwrap(),
        [("calls".to_owned(), Phase::Check)]
    );
    let ungranted = plugin(
        &runner,
        "calls",
        &checker(CONNECT, CONNECT_RUN),
        Grants::default(),
    );
    assert_eq!(
        class(&ungranted, &RunLimits::default()).await,
        Some(FaultClass::MissingGrant)
    );
    let says = Says {
        code: "says.this",
        severity: "warning",
        remedy: "mend",
        applied: "fixed",
    };
    let says = plugin(&runner, "says", &says.fixer(), Grants::default());
    let limits = RunLimits::default();
    assert_eq!(says.fixes(&limits).await.outcome.unwrap()[0].name, "mend");
    assert_eq!(
        says.plan("mend", &Vec::new(), &limits)
            .await
            .outcome
            .unwrap()
            .verdict,
        "apply"
    );
    assert_eq!(
        says.apply("mend", &Vec::new(), &limits)
            .await
            .outcome
            .unwrap()
            .outcome,
        "fixed"
    );
    let status = runner.status();
    assert_eq!(
        (status.starts, status.ends),
        (1, 0),
        "{:?}",
        status.last_end
    );
    let layers = status.layers.unwrap();
    if nix::unistd::geteuid().is_root() {
        for (name, layer) in layers.all() {
            assert_eq!(*layer, Layer::On, "{name}");
        }
    }
    assert_eq!(
        (layers.seccomp, layers.no_new_privs),
        (Layer::On, Layer::On)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_plugins_are_named_as_they_are_in_the_agents_own_process() {
    let runner = Runner::start(settings(&["runner"]), Arc::new(Notes::default()));
    for (hostile, expected) in Hostile::COMPILED {
        let plugin = plugin(&runner, hostile.name(), &hostile.bytes(), Grants::default());
        let limits = RunLimits {
            cpu: Duration::from_millis(300),
            ..RunLimits::default()
        };
        let class = class(&plugin, &limits).await.unwrap();
        assert_eq!(class.as_str(), expected, "{}", hostile.name());
    }
    assert_eq!(
        class(&idle(&runner, "idle"), &RunLimits::default()).await,
        None
    );
    assert_eq!(runner.status().ends, 0, "{:?}", runner.status().last_end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_killed_costs_the_run_in_it_and_is_replaced() {
    let notes = Arc::new(Notes::default());
    let runner = Runner::start(settings(&["runner"]), Arc::clone(&notes) as Arc<dyn Broker>);
    let waits = plugin(&runner, "waits", &checker(CONNECT, CONNECT_RUN), connects());
    let victim = pid(&runner).await;
    let limits = RunLimits::with_timeout(SOON);
    let no_settings = Vec::new();
    let killed = async {
        while notes.0.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill(victim, Signal::SIGKILL).unwrap();
    };
    let (report, ()) = tokio::join!(waits.check(&no_settings, &limits), killed);
    let fault = report.outcome.unwrap_err();
    assert_eq!(fault.class, FaultClass::RunnerLost);
    assert!(fault.message.contains("SIGKILL"), "{fault}");
    assert_eq!(class(&idle(&runner, "idle"), &limits).await, None);
    let status = runner.status();
    assert_eq!((status.starts, status.ends, status.runs_lost), (2, 1, 1));
    assert_ne!(pid(&runner).await, victim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_hangs_is_ended_a_little_after_the_runs_deadline() {
    let runner = Runner::start(settings(&["runner"]), Arc::new(Notes::default()));
    let plugin = idle(&runner, "idle");
    assert_eq!(class(&plugin, &RunLimits::default()).await, None);
    kill(pid(&runner).await, Signal::SIGSTOP).unwrap();
    let started = Instant::now();
    let limits = RunLimits::with_timeout(Duration::from_millis(300));
    assert_eq!(class(&plugin, &limits).await, Some(FaultClass::Deadline));
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    let limits = RunLimits::with_timeout(SOON);
    assert_eq!(class(&plugin, &limits).await, None);
    assert_eq!(runner.status().ends, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_nobody_waits_for_is_ended_in_the_runner_too() {
    let notes = Arc::new(Notes::default());
    let mut settings = settings(&["runner"]);
    settings.runs_max = 1;
    let runner = Runner::start(settings, Arc::clone(&notes) as Arc<dyn Broker>);
    let waits = plugin(&runner, "waits", &checker(CONNECT, CONNECT_RUN), connects());
    let limits = RunLimits::with_timeout(SOON);
    let short = tokio::time::timeout(Duration::from_secs(5), async {
        let no_settings = Vec::new();
        let run = waits.check(&no_settings, &limits);
        tokio::pin!(run);
        loop {
            tokio::select! {
                _ = &mut run => panic!("it waits for ever"),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
            if !notes.0.lock().unwrap().is_empty() {
                return;
            }
        }
    });
    short.await.unwrap();
    let started = Instant::now();
    assert_eq!(
        class(&idle(&runner, "idle"), &limits).await,
        None,
        "its place is free"
    );
    assert!(started.elapsed() < SOON / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_lies_is_ended_for_what_it_did_and_its_answers_are_cut_to_size() {
    for (how, words) in [
        ("asks-twice", "two host calls at once"),
        ("asks-for-another-run", "a run that it was not given"),
        ("ends-another-run", "a run that it was not given"),
        ("answers-another-task", "another task"),
        ("announces-too-much", "4294967295 bytes"),
        ("talks-nonsense", "no message"),
        ("loads-unasked", "what it was not told to"),
        ("never-ends", "did not end a run of `waits` in time"),
    ] {
        let runner = Runner::start(settings(&["liar", how]), Arc::new(Notes::default()));
        runner.ready().await;
        let limits = RunLimits::with_timeout(Duration::from_millis(500));
        // A first call that is never answered: the second comes while it is under way, however fast this agent is.
        let found = class(&idle(&runner, "waits"), &limits).await;
        assert!(
            matches!(found, Some(FaultClass::RunnerLost | FaultClass::Deadline)),
            "{how}: {found:?}"
        );
        let status = tokio::time::timeout(SOON, async {
            loop {
                let status = runner.status();
                if status.last_end.is_some() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let why = status.await.unwrap().last_end.unwrap();
        assert!(why.contains(words), "{how}: {why}");
    }
    let runner = Runner::start(
        settings(&["liar", "says-too-much"]),
        Arc::new(Notes::default()),
    );
    let report = idle(&runner, "idle")
        .check(&Vec::new(), &RunLimits::default())
        .await;
    assert!(report.outcome.unwrap()[0].summary.len() <= iaso_host::TEXT_BYTES_MAX);
    assert_eq!(report.log[0].message, " [2J");
    assert!(report.duration < SOON, "{:?}", report.duration);
}

/// Rights that must not be reached.
struct Untouched;

impl Capabilities for Untouched {}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_was_taken_over_gets_what_the_plugin_was_granted_and_no_more() {
    let broker = Arc::new(GrantedBroker::new(Untouched, SystemResolver::default()));
    let runner = Runner::start(
        settings(&["liar", "asks"]),
        Arc::clone(&broker) as Arc<dyn Broker>,
    );
    let component = checker("", OK_EMPTY);
    let mut said = Vec::new();
    for granted in [false, true] {
        let lent = if granted {
            broker.grant("idle", connects())
        } else {
            Arc::new(connects()) // The same, and nobody lent it.
        };
        let asks = plugin(&runner, "idle", &component, lent);
        let report = asks.check(&Vec::new(), &RunLimits::default()).await;
        said.push(report.outcome.unwrap()[0].summary.clone());
    }
    assert!(said[0].contains("Denied"), "{said:?}");
    assert!(said[1].contains("no network capability"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_ends_runner_after_runner_is_blamed_and_its_neighbour_is_not() {
    let runner = Runner::start(
        settings(&["liar", "dies-of-killer"]),
        Arc::new(Notes::default()),
    );
    let (killer, neighbour) = (idle(&runner, "killer"), idle(&runner, "neighbour"));
    let limits = RunLimits::with_timeout(SOON);
    let mut classes = Vec::new();
    for _ in 0..4 {
        let (its, beside) = tokio::join!(class(&killer, &limits), class(&neighbour, &limits));
        classes.push(its.unwrap());
        assert!(
            matches!(beside, None | Some(FaultClass::RunnerLost)),
            "{beside:?}"
        );
        assert_eq!(class(&neighbour, &limits).await, None);
    }
    assert!(
        classes[..1]
            .iter()
            .all(|class| *class == FaultClass::RunnerLost),
        "{classes:?}"
    );
    assert_eq!(*classes.last().unwrap(), FaultClass::Trap, "{classes:?}");
}
