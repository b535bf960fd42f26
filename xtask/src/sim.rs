//! The simulator: built for speed, then run on all cores.

use crate::process::{cargo, root, step, target_dir};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::process::Command;

/// Arguments of `sim`.
#[derive(Debug, Args)]
pub(crate) struct SimArguments {
    /// Of the simulator: --scenarios N, --seed S, --seed-only K, --format text|json, --threads T, --plant BUG.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds it, runs it, and fails if something happened that must never happen.
pub(crate) fn run(arguments: &SimArguments) -> Result<()> {
    let build = ["build", "--locked", "--profile", "sim", "-p", "iaso-sim"];
    step("the simulator", cargo().args(build))?;
    let program = target_dir().join("sim/iaso-sim");
    let status = Command::new(&program)
        .current_dir(root())
        .args(&arguments.arguments)
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !status.success() {
        bail!(
            "the simulator ended with {status}: what went wrong is said above, each with its seed and number"
        );
    }
    Ok(())
}
