//! Switches one mutant on after the other, and runs the tests that come by it until one notices.

use super::tree::{Built, Tests};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A mutant may take so many times longer than nothing does, and never less than the floor.
const PATIENCE: u32 = 10;
const PATIENCE_MIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Caught,
    ByTime,
    Survived,
}

/// A program of tests with what is known of it while nothing is broken.
struct Program<'a> {
    tests: &'a Tests,
    took: Duration,
    reaches: BTreeSet<usize>,
}

/// Tries every mutant, and tells each fate as it is known.
pub(super) fn all(
    directory: &Path,
    built: &Built,
    mut tell: impl FnMut(usize, Fate, &str) -> Result<()>,
) -> Result<()> {
    let mut programs = Vec::new();
    for tests in &built.tests {
        programs.push(unbroken(directory, tests)?);
    }
    programs.sort_by_key(|program| program.took);
    for switch in built.woven.keys() {
        let (mut fate, mut by) = (Fate::Survived, "");
        for program in programs.iter().filter(|p| p.reaches.contains(switch)) {
            fate = broken(program, *switch)?;
            if fate != Fate::Survived {
                by = &program.tests.name;
                break;
            }
        }
        tell(*switch, fate, by)?;
    }
    Ok(())
}

fn command(tests: &Tests) -> Command {
    let mut command = Command::new(&tests.program);
    command
        .current_dir(&tests.directory)
        .env("CARGO_MANIFEST_DIR", &tests.directory)
        .env("INSTA_UPDATE", "no")
        // Nobody reads the smallest case of a mutant.
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// The tests with nothing broken: they must succeed, and tell what they come by.
fn unbroken<'a>(directory: &Path, tests: &'a Tests) -> Result<Program<'a>> {
    let list = directory.join(format!("reached-by-{}", tests.name));
    if list.exists() {
        std::fs::remove_file(&list).with_context(|| format!("cannot remove {}", list.display()))?;
    }
    let started = Instant::now();
    let status = command(tests)
        .env("IASO_MUTANT_REACHED", &list)
        .status()
        .with_context(|| format!("cannot start {}", tests.program.display()))?;
    if !status.success() {
        bail!(
            "the tests of {} fail with nothing broken: {}",
            tests.name,
            tests.program.display()
        );
    }
    let reached = std::fs::read_to_string(&list).unwrap_or_default();
    let program = Program {
        tests,
        took: started.elapsed(),
        reaches: reached
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect(),
    };
    eprintln!(
        "    {}: {:.1} s, comes by {} mutants",
        tests.name,
        program.took.as_secs_f64(),
        program.reaches.len()
    );
    Ok(program)
}

fn broken(program: &Program<'_>, switch: usize) -> Result<Fate> {
    let mut child = command(program.tests)
        .env("IASO_MUTANT", switch.to_string())
        .spawn()
        .context("cannot start the tests")?;
    let until = Instant::now() + PATIENCE_MIN.max(program.took * PATIENCE);
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the tests")? {
            return Ok(if status.success() {
                Fate::Survived
            } else {
                Fate::Caught
            });
        }
        if Instant::now() > until {
            child.kill().context("cannot stop the tests")?;
            child.wait().context("cannot wait for the tests")?;
            return Ok(Fate::ByTime);
        }
        std::thread::sleep(POLL);
    }
}

/// How many of each fate.
pub(super) fn count(fates: &BTreeMap<usize, Fate>, which: Fate) -> usize {
    fates.values().filter(|fate| **fate == which).count()
}
