//! Breaks the engine and its checker on purpose, one line at a time, and tells which breaks no test notices. Each survivor must be argued in
//! `docs/mutants.md`; one that is not is an error.

use crate::process::{cache_dir, cargo, has_program, root, step, target_dir};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that the list of survivors was made with: another one makes other mutants.
const VERSION: &str = "27.1.0";
const SURVIVORS: &str = "docs/mutants.md";
/// Exit codes of cargo-mutants that mean that it ran to its end: none missed, some missed, some timed out.
const RAN: [i32; 3] = [0, 2, 3];

/// Arguments of `mutants`.
#[derive(Debug, Args)]
pub(crate) struct MutantsArguments {
    /// Only files that match this glob, such as `controller/engine/src/gate.rs` or `**/saga.rs`; may be repeated.
    #[arg(long)]
    file: Vec<String>,
    /// Only the k-th of n parts, such as `0/8`.
    #[arg(long)]
    shard: Option<String>,
    /// Only say which mutants there are.
    #[arg(long)]
    list: bool,
}

/// A crate, and the crates whose tests must notice that it is broken.
const CRATES: [(&str, &[&str]); 2] = [
    ("iaso-engine", &["iaso-engine", "iaso-engine-check"]),
    ("iaso-engine-check", &["iaso-engine-check"]),
];

/// Installs cargo-mutants if it must, runs it, and compares its survivors with the argued ones.
pub(crate) fn run(arguments: &MutantsArguments) -> Result<()> {
    let program = program()?;
    let mut all = Results::default();
    for (package, tests) in CRATES {
        let mut command = cargo();
        command.arg("mutants").env("PATH", with(&program)?);
        command.args(["--no-times", "--colors", "never", "--package", package]);
        for file in &arguments.file {
            command.args(["--file", file]);
        }
        if let Some(shard) = &arguments.shard {
            command.args(["--shard", shard]);
        }
        if arguments.list {
            let status = command.arg("--list").status();
            if !status.context("cannot start cargo mutants")?.success() {
                bail!("cargo mutants cannot list them");
            }
            continue;
        }
        for test in tests {
            command.args(["--test-package", test]);
        }
        all.add(&one(package, &mut command)?);
    }
    if arguments.list { Ok(()) } else { all.tell() }
}

/// Runs the mutants of one crate, and answers where their results are.
fn one(package: &str, command: &mut Command) -> Result<PathBuf> {
    let output = target_dir().join("mutants").join(package);
    std::fs::create_dir_all(&output)
        .with_context(|| format!("cannot create {}", output.display()))?;
    command.arg("--output").arg(&output);
    if has_program("cargo-nextest") {
        command.args(["--test-tool", "nextest"]);
    }
    // Its builds must not throw out ours, and stay for the next part.
    command.env(
        "CARGO_TARGET_DIR",
        target_dir().join("mutants").join("build"),
    );
    eprintln!("==> mutants of {package}: for each one build and one run of the tests");
    let status = command.status().context("cannot start cargo mutants")?;
    if !status.code().is_some_and(|code| RAN.contains(&code)) {
        bail!("cargo mutants did not run to its end: {status}");
    }
    Ok(output.join("mutants.out"))
}

/// cargo-mutants, from the path or the cache; else it is built into the cache, which takes minutes, once.
fn program() -> Result<PathBuf> {
    let tools = cache_dir()?.join("tools");
    let program = tools.join("bin").join("cargo-mutants");
    if program.is_file() {
        return Ok(program);
    }
    step(
        &format!("building cargo-mutants {VERSION} into {}", tools.display()),
        cargo()
            .args(["install", "--locked", "cargo-mutants", "--version", VERSION])
            .arg("--root")
            .arg(&tools),
    )?;
    Ok(program)
}

/// The path with the program's directory first.
fn with(program: &Path) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = program.parent().map(Path::to_path_buf);
    std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path)))
        .context("the path has a directory whose name holds a colon")
}

/// What became of them.
#[derive(Default)]
struct Results {
    caught: usize,
    by_time: usize,
    broken: usize,
    survived: Vec<String>,
}

impl Results {
    fn add(&mut self, directory: &Path) {
        let lines = |name: &str| -> Vec<String> {
            let text = std::fs::read_to_string(directory.join(name)).unwrap_or_default();
            text.lines().map(name_of).collect()
        };
        self.caught += lines("caught.txt").len();
        self.by_time += lines("timeout.txt").len();
        self.broken += lines("unviable.txt").len();
        self.survived.extend(lines("missed.txt"));
    }

    /// Counts, and the survivors that nobody argued.
    fn tell(&self) -> Result<()> {
        println!(
            "{} caught, {} caught by time, {} survived, {} do not compile",
            self.caught,
            self.by_time,
            self.survived.len(),
            self.broken
        );
        let argued = std::fs::read_to_string(root().join(SURVIVORS)).unwrap_or_default();
        let new: Vec<&String> = self
            .survived
            .iter()
            .filter(|name| !argued.contains(*name))
            .collect();
        for name in &new {
            println!("survived: {name}");
        }
        if !new.is_empty() {
            bail!(
                "{} survivors are not in {SURVIVORS}: write a test that notices each, or argue there why none can",
                new.len()
            );
        }
        Ok(())
    }
}

/// A mutant without its line and column, which move: `path: what`.
fn name_of(line: &str) -> String {
    let mut parts = line.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(path), Some(_), Some(_), Some(what)) => format!("{path}:{what}"),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_s_name_has_no_line() {
        assert_eq!(
            name_of("controller/engine/src/gate.rs:12:5: replace paused -> bool with true"),
            "controller/engine/src/gate.rs: replace paused -> bool with true"
        );
    }
}
