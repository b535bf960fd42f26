//! What one run of a check costs: fresh store, instantiate, call, drop; alone, and with one host call. Beside it, what a check costs that is a
//! program of its own.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{OK_EMPTY, checker, grants, host, load};
use iaso_grants::Grants;
use iaso_host::{LoadedPlugin, RunLimits};
use iaso_measure::{Figure, Times};
use std::process::{Command, Stdio};
use std::time::Instant;

const RUNS: usize = 20_000;
const FORKS: usize = 500;
/// Asks to connect to the host whose name lies at 1024, and answers with no findings.
const CONNECT: &str = r#"(import "iaso:plugin/net@0.1.0" "tcp-connect" (func $tcp (param i32 i32 i32 i32 i32)))
(data (i32.const 1024) "gateway")"#;
/// A page of memory written to: the price of giving it back comes with it.
const TOUCH_RUN: &str =
    "(memory.fill (i32.const 65536) (i32.const 1) (i32.const 65536)) (i32.const 16)";
const CONNECT_RUN: &str = "(call $tcp (i32.const 1024) (i32.const 7) (i32.const 22) (i32.const 100) (i32.const 512)) (i32.const 16)";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let host = host();
        let idle = load(&host, &checker("", OK_EMPTY), &Grants::default())
            .map_err(|fault| fault.message)?;
        let may = grants(r#"{"check": {"net": {"tcp": [{"to": "*"}]}}}"#);
        let calling =
            load(&host, &checker(CONNECT, CONNECT_RUN), &may).map_err(|fault| fault.message)?;
        let shell = fork(Command::new("sh").args(["-c", "exit 0"]))?;
        let bare = fork(&mut Command::new("true"))?;
        let touching = load(&host, &checker("", TOUCH_RUN), &Grants::default())
            .map_err(|fault| fault.message)?;
        tell(
            "plugin.run",
            35.0,
            &checks(&idle).await?,
            "sh -c 'exit 0'",
            &shell,
        )?;
        tell(
            "plugin.run-touching-64-KiB",
            35.0,
            &checks(&touching).await?,
            "true",
            &bare,
        )?;
        tell(
            "plugin.run-one-host-call",
            90.0,
            &checks(&calling).await?,
            "sh -c 'exit 0'",
            &shell,
        )?;
        Ok(())
    })
}

async fn checks(plugin: &LoadedPlugin) -> Result<Times, Box<dyn std::error::Error>> {
    let (config, limits) = (Vec::new(), RunLimits::default());
    let mut times = Vec::with_capacity(RUNS);
    for run in 0..RUNS + RUNS / 10 {
        let started = Instant::now();
        let report = plugin.check(&config, &limits).await;
        if run >= RUNS / 10 {
            times.push(started.elapsed());
        }
        report.outcome.map_err(|fault| fault.message)?;
    }
    Ok(Times::of(times))
}

fn fork(command: &mut Command) -> Result<Times, Box<dyn std::error::Error>> {
    let mut times = Vec::with_capacity(FORKS);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for _ in 0..FORKS {
        let started = Instant::now();
        if !command.status()?.success() {
            return Err("the baseline failed".into());
        }
        times.push(started.elapsed());
    }
    Ok(Times::of(times))
}

fn tell(
    name: &str,
    reach: f64,
    runs: &Times,
    baseline_is: &str,
    baseline: &Times,
) -> Result<(), Box<dyn std::error::Error>> {
    for (what, per_mille, reach) in [("p50", 500, Some(reach)), ("p99", 990, None)] {
        Figure {
            name: format!("{name}-{what}"),
            unit: "us".into(),
            value: runs.quantile_us(per_mille),
            baseline_is: baseline_is.into(),
            baseline: baseline.quantile_us(per_mille),
            reach,
            runs: runs.runs(),
        }
        .tell()?;
    }
    Ok(())
}
