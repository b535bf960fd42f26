//! Benchmarks: each figure with the baseline that was measured beside it, in one table and in `bench/summary.json` of the target directory.

use crate::build;
use crate::process::{cargo, output, target_dir};
use crate::wasm;
use anyhow::{Context, Result};
use clap::Args;
use iaso_measure::Figure;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// Only benchmarks whose name contains this.
    filter: Option<String>,
}

/// A crate and its benchmark.
const BENCHES: [(&str, &str); 4] = [
    ("iaso-engine", "engine"),
    ("iaso-host", "run"),
    ("iaso-runner", "run"),
    ("iaso-agent", "memory"),
];

/// Runs all, one after the other: they would disturb each other.
pub(crate) fn run(arguments: &BenchArguments) -> Result<()> {
    let compiler = build::compiler()?;
    let plugins = wasm::build_all()?;
    let mut figures: Vec<Figure> = Vec::new();
    for (package, bench) in BENCHES {
        let wanted = arguments.filter.as_deref();
        if wanted.is_some_and(|wanted| !format!("{package} {bench}").contains(wanted)) {
            continue;
        }
        eprintln!("==> {package}: {bench}");
        let mut command = cargo();
        command
            .args(["bench", "--locked", "-p", package, "--bench", bench])
            .env("IASO_PLUGINS_DIR", &plugins)
            .env("IASO_COMPILE", &compiler);
        for line in output(&mut command)?.lines() {
            figures.push(
                serde_json::from_str(line)
                    .with_context(|| format!("{bench} printed {line:?}, which is no figure"))?,
            );
        }
    }
    let directory = target_dir().join("bench");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let summary = directory.join("summary.json");
    std::fs::write(&summary, serde_json::to_string_pretty(&figures)?)
        .with_context(|| format!("cannot write {}", summary.display()))?;
    print(&figures);
    println!("\n{}", summary.display());
    Ok(())
}

fn print(figures: &[Figure]) {
    println!(
        "{:<34} {:>14} {:>5} {:>14} {:>12}  baseline",
        "what", "value", "unit", "baseline", "to reach"
    );
    for f in figures {
        let reach = f.reach.map_or_else(|| "-".into(), |r| format!("{r:.0}"));
        println!(
            "{:<34} {:>14.1} {:>5} {:>14.1} {reach:>12}  {}",
            f.name, f.value, f.unit, f.baseline, f.baseline_is
        );
    }
}
