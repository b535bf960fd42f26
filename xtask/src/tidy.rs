//! What a compiler does not check: purity, sizes, and documents that name what exists. Then format and lints.

mod documents;
mod purity;
mod sizes;

use crate::process::{cargo, has_program, root, step, target_dir};
use crate::reference;
use anyhow::{Result, bail};
use clap::Args;
use std::process::Command;

/// Arguments of `tidy`.
#[derive(Debug, Args)]
pub(crate) struct TidyArguments {
    /// Only what takes a second: no format, no lints.
    #[arg(long)]
    quick: bool,
    /// Write the reference of the plugin interface anew, and nothing else.
    #[arg(long)]
    reference: bool,
    /// Write today's sizes into the ratchet (only smaller ones are taken).
    #[arg(long)]
    tighten: bool,
}

/// Runs every check, and tells all that is wrong at once.
pub(crate) fn run(arguments: &TidyArguments) -> Result<()> {
    if arguments.reference {
        return reference::write();
    }
    let mut troubles = purity::check()?;
    troubles.extend(reference::check()?);
    troubles.extend(sizes::check(arguments.tighten)?);
    troubles.extend(documents::check()?);
    for trouble in &troubles {
        eprintln!("tidy: {trouble}");
    }
    if !troubles.is_empty() {
        bail!("{} to mend", troubles.len());
    }
    if arguments.quick {
        return Ok(());
    }
    optional("typos", "spelling", &mut Command::new("typos"))?;
    optional(
        "cargo-deny",
        "licences, sources and bans",
        cargo().args(["deny", "check", "licenses", "bans", "sources"]),
    )?;
    step("format", cargo().args(["fmt", "--all", "--check"]))?;
    step(
        "format of the plugins",
        cargo().args([
            "fmt",
            "--all",
            "--check",
            "--manifest-path",
            "plugins/Cargo.toml",
        ]),
    )?;
    lints()
}

/// Every crate, with warnings as errors.
fn lints() -> Result<()> {
    step(
        "lints",
        cargo().args([
            "clippy",
            "--locked",
            "--workspace",
            "--exclude",
            "iaso-compile",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    step(
        "lints of the plugin compiler",
        cargo().args([
            "clippy",
            "--locked",
            "-p",
            "iaso-compile",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    step(
        "lints of the plugins",
        cargo()
            .args([
                "clippy",
                "--locked",
                "--manifest-path",
                "plugins/Cargo.toml",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ])
            .env("CARGO_TARGET_DIR", target_dir().join("plugins-native")),
    )
}

/// Runs a check whose tool a machine may not have. That it did not run is said, and is not taken for a pass.
fn optional(program: &str, what: &str, command: &mut Command) -> Result<()> {
    if has_program(program) {
        return step(what, command.current_dir(root()));
    }
    eprintln!("==> NOT CHECKED: {what}: {program} is not installed");
    Ok(())
}
