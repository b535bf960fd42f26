//! Looks at every state of the action protocol, as far as one asks: further than a test can afford.

use crate::process::{cargo, run as run_command};
use anyhow::Result;
use clap::Args;

/// Arguments of `model`.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments {
    /// Handed on: `--ticks`, `--starts`, `--copies`, `--restarts`, `--flips`, `--failures`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    bounds: Vec<String>,
}

/// Builds it with optimisation, and runs it.
pub(crate) fn run(arguments: &ModelArguments) -> Result<()> {
    let mut command = cargo();
    command
        .args([
            "run",
            "--release",
            "--locked",
            "--quiet",
            "--package",
            "iaso-model",
            "--",
        ])
        .args(&arguments.bounds);
    run_command(&mut command)
}
