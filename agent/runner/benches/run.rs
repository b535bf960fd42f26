//! What one run of a check costs in the runner, and through it: seen from inside and from the agent, without and with one host call. Beside it,
//! the same check as a program of its own.

use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use iaso_components::{OK_EMPTY, checker, compile};
use iaso_grants::Grants;
use iaso_host::types::ConnectOutcome;
use iaso_host::{Broker, CallContext, CapError, Digest, Request, Response, RunLimits};
use iaso_measure::{Figure, Times};
use iaso_runner::{Limits, Plugin, Runner, Settings};

const RUNS: usize = 20_000;
const FORKS: usize = 500;
/// Asks to connect to the host whose name lies at 1024, and answers with no findings.
const CONNECT: &str = r#"(import "iaso:plugin/net@0.1.0" "tcp-connect" (func $tcp (param i32 i32 i32 i32 i32)))
(data (i32.const 1024) "10.0.0.7")"#;
const CONNECT_RUN: &str = "(call $tcp (i32.const 1024) (i32.const 8) (i32.const 22) (i32.const 100) (i32.const 512)) (i32.const 16)";

type Failure = Box<dyn std::error::Error>;

/// Answers at once.
struct Connected;

#[async_trait]
impl Broker for Connected {
    async fn call(&self, _: &CallContext, _: Request) -> Result<Response, CapError> {
        Ok(Response::Connect(ConnectOutcome {
            outcome: "connected".to_owned(),
            address: "10.0.0.7".to_owned(),
            elapsed_us: 1,
            detail: String::new(),
        }))
    }
}

fn main() -> Result<ExitCode, Failure> {
    if std::env::args().nth(1).as_deref() == Some("runner") {
        return Ok(iaso_runner::child::main());
    }
    // As the agent's own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async { tokio::spawn(measure()).await })??;
    Ok(ExitCode::SUCCESS)
}

async fn measure() -> Result<(), io::Error> {
    let limits = Limits {
        uid: 61_000,
        gid: 61_000,
        memory_bytes: 256 << 20,
    };
    let runner = Runner::start(Settings::of_this_program(limits), Arc::new(Connected));
    let may = r#"{"check": {"net": {"tcp": [{"to": "10.0.0.0/8", "ports": [22]}]}}}"#;
    let may: Grants = serde_json::from_str(may)?;
    let idle = plugin(&runner, &checker("", OK_EMPTY), Grants::default())?;
    let calling = plugin(&runner, &checker(CONNECT, CONNECT_RUN), may)?;
    let shell = fork(Command::new("sh").args(["-c", "exit 0"]))?;
    let (inside, outside) = checks(&idle).await?;
    tell("runner.check-inside", Some(35.0), &inside, &shell)?;
    tell("runner.check", None, &outside, &shell)?;
    let (inside, outside) = checks(&calling).await?;
    tell("runner.one-host-call-inside", Some(90.0), &inside, &shell)?;
    tell("runner.one-host-call", Some(90.0), &outside, &shell)?;
    if let Some(layers) = runner.status().layers {
        eprintln!("locked in by: {}", layers.words());
    }
    Ok(())
}

fn plugin(runner: &Runner, component: &[u8], grants: Grants) -> Result<Plugin, io::Error> {
    let compiled = compile(component);
    runner
        .plugin("p", &compiled, &Digest::of(&compiled), Arc::new(grants))
        .map_err(io::Error::other)
}

/// As the runner measured each run, and as it took from here.
async fn checks(plugin: &Plugin) -> Result<(Times, Times), io::Error> {
    let (config, limits) = (Vec::new(), RunLimits::default());
    let (mut inside, mut outside) = (Vec::with_capacity(RUNS), Vec::with_capacity(RUNS));
    for run in 0..RUNS + RUNS / 10 {
        let started = Instant::now();
        let report = plugin.check(&config, &limits).await;
        let took = started.elapsed();
        report.outcome.map_err(io::Error::other)?;
        if run >= RUNS / 10 {
            inside.push(report.duration);
            outside.push(took);
        }
    }
    Ok((Times::of(inside), Times::of(outside)))
}

fn fork(command: &mut Command) -> Result<Times, io::Error> {
    let mut times: Vec<Duration> = Vec::with_capacity(FORKS);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for _ in 0..FORKS {
        let started = Instant::now();
        if !command.status()?.success() {
            return Err(io::Error::other("the baseline failed"));
        }
        times.push(started.elapsed());
    }
    Ok(Times::of(times))
}

fn tell(name: &str, reach: Option<f64>, runs: &Times, shell: &Times) -> Result<(), io::Error> {
    for (what, per_mille, reach) in [("p50", 500, reach), ("p99", 990, None)] {
        Figure {
            name: format!("{name}-{what}"),
            unit: "us".into(),
            value: runs.quantile_us(per_mille),
            baseline_is: "sh -c 'exit 0'".into(),
            baseline: shell.quantile_us(per_mille),
            reach,
            runs: runs.runs(),
        }
        .tell()?;
    }
    Ok(())
}
