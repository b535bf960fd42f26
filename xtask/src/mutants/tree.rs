//! A copy of the workspace with every mutant woven in, and the tests built from it.

use super::weave::{self, Mutant, Woven};
use crate::process::{cargo, output, root};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How often what does not compile is taken out before that is called an error.
const ROUNDS_MAX: usize = 40;

/// A program of tests.
#[derive(Debug, Clone)]
pub(super) struct Tests {
    pub(super) name: String,
    pub(super) program: PathBuf,
    /// Where cargo would run it.
    pub(super) directory: PathBuf,
}

/// What was built.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) tests: Vec<Tests>,
    /// The switches that are in it: number and mutant.
    pub(super) woven: BTreeMap<usize, Mutant>,
    /// In no form that compiles.
    pub(super) left_out: Vec<Mutant>,
}

/// Copies, weaves and builds; what does not compile is taken out, and the build tried again.
pub(super) fn build(
    directory: &Path,
    package: &str,
    mutants: Vec<Mutant>,
    tests: &[&str],
) -> Result<Built> {
    let tree = directory.join("tree");
    copy(&tree)?;
    let sources = sources(package, &mutants)?;
    let mut woven: BTreeMap<usize, Mutant> = (1..).zip(mutants).collect();
    let mut left_out = Vec::new();
    for round in 1..=ROUNDS_MAX {
        let files = weave_all(&tree, package, &sources, &woven)?;
        let placed: BTreeSet<usize> = files
            .values()
            .flat_map(|file| {
                file.pieces
                    .iter()
                    .flat_map(|(_, switches)| switches.clone())
            })
            .collect();
        let unplaced: Vec<usize> = woven
            .keys()
            .filter(|n| !placed.contains(n))
            .copied()
            .collect();
        take_out(&mut woven, &mut left_out, &unplaced);
        eprintln!(
            "==> building {} mutants of {package}, round {round}",
            woven.len()
        );
        match compile(directory, &tree, tests)? {
            Compiled::Well(tests) => {
                return Ok(Built {
                    tests,
                    woven,
                    left_out,
                });
            }
            Compiled::Not(errors) => {
                let broken = blamed(&files, &errors);
                if broken.is_empty() {
                    bail!(
                        "the woven tree does not compile, and no mutant is to blame: {errors:#?}"
                    );
                }
                take_out(&mut woven, &mut left_out, &broken);
            }
        }
    }
    bail!("{ROUNDS_MAX} rounds, and the woven tree does not compile")
}

fn take_out(woven: &mut BTreeMap<usize, Mutant>, out: &mut Vec<Mutant>, which: &[usize]) {
    out.extend(which.iter().filter_map(|switch| woven.remove(switch)));
}

/// What git knows of the workspace, as it is now.
fn copy(tree: &Path) -> Result<()> {
    let files = output(
        Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(root()),
    )?;
    for file in files.lines() {
        let (from, to) = (root().join(file), tree.join(file));
        let Ok(new) = std::fs::read(&from) else {
            continue; // A link to a directory, or a file that was just removed.
        };
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot create {}", parent.display()))?;
        }
        write(&to, &new)?;
    }
    Ok(())
}

/// Only what changed: cargo builds again what has a new date.
fn write(path: &Path, new: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == new) {
        return Ok(());
    }
    std::fs::write(path, new).with_context(|| format!("cannot write {}", path.display()))
}

/// The files as they are now, with the library's root: whoever edits them meanwhile disturbs nothing.
fn sources(package: &str, mutants: &[Mutant]) -> Result<BTreeMap<String, String>> {
    let files = mutants.iter().map(|mutant| mutant.file.clone());
    let all: BTreeSet<String> = files.chain([library(package)?]).collect();
    let read = |file: String| {
        let text = std::fs::read_to_string(root().join(&file))
            .with_context(|| format!("cannot read {file}"))?;
        Ok((file, text))
    };
    all.into_iter().map(read).collect()
}

fn weave_all(
    tree: &Path,
    package: &str,
    sources: &BTreeMap<String, String>,
    woven: &BTreeMap<usize, Mutant>,
) -> Result<BTreeMap<String, Woven>> {
    let library = library(package)?;
    let mut files = BTreeMap::new();
    for (file, source) in sources {
        let own = woven.iter().filter(|(_, mutant)| &mutant.file == file);
        let own: Vec<(usize, &Mutant)> = own.map(|(switch, mutant)| (*switch, mutant)).collect();
        let mut woven = weave::weave(source, &own).with_context(|| format!("in {file}"))?;
        if *file == library {
            woven.text.push_str(weave::SWITCHES);
        }
        write(&tree.join(file), woven.text.as_bytes())?;
        files.insert(file.clone(), woven);
    }
    Ok(files)
}

/// The root of a package's library, as seen from the workspace.
fn library(package: &str) -> Result<String> {
    let directory = package
        .strip_prefix("iaso-")
        .context("every crate's name begins with iaso-")?;
    Ok(format!("controller/{directory}/src/lib.rs"))
}

enum Compiled {
    Well(Vec<Tests>),
    Not(Vec<Fault>),
}

#[derive(Debug, Clone)]
struct Fault {
    file: String,
    bytes: std::ops::Range<usize>,
    /// For whoever reads that no mutant is to blame.
    #[allow(dead_code, reason = "it is printed")]
    message: String,
}

#[derive(Deserialize)]
#[serde(tag = "reason")]
enum Message {
    #[serde(rename = "compiler-message")]
    Said { message: Diagnostic },
    #[serde(rename = "compiler-artifact")]
    Made {
        target: Target,
        manifest_path: PathBuf,
        profile: Profile,
        executable: Option<PathBuf>,
    },
    #[serde(other)]
    Else,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    message: String,
    spans: Vec<DiagnosticSpan>,
}

#[derive(Deserialize)]
struct DiagnosticSpan {
    file_name: String,
    byte_start: usize,
    byte_end: usize,
    is_primary: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

fn compile(directory: &Path, tree: &Path, tests: &[&str]) -> Result<Compiled> {
    let mut command = cargo();
    command
        .args(["test", "--offline", "--no-run", "--lib", "--tests"])
        .arg("--message-format=json")
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", directory.join("build"))
        // Tests run hundreds of times; each mutant brings a warning or two.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("RUSTFLAGS", "--cap-lints=allow")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    for test in tests {
        command.args(["--package", test]);
    }
    let done = command.output().context("cannot start cargo")?;
    let (mut faults, mut programs) = (Vec::new(), Vec::new());
    for line in String::from_utf8_lossy(&done.stdout).lines() {
        match serde_json::from_str(line) {
            Ok(Message::Said { message }) if message.level == "error" => {
                let text = message.message;
                let own = message.spans.into_iter().filter(|span| span.is_primary);
                faults.extend(own.map(|span| Fault {
                    file: span.file_name,
                    bytes: span.byte_start..span.byte_end,
                    message: text.clone(),
                }));
            }
            Ok(Message::Made {
                target,
                manifest_path,
                profile,
                executable: Some(program),
            }) if profile.test => programs.push(Tests {
                name: target.name,
                program,
                directory: manifest_path.parent().unwrap_or(tree).to_owned(),
            }),
            Ok(_) | Err(_) => {}
        }
    }
    if done.status.success() {
        return Ok(Compiled::Well(programs));
    }
    if faults.is_empty() {
        bail!(
            "cargo cannot build the woven tree in {}: try it there",
            tree.display()
        );
    }
    Ok(Compiled::Not(faults))
}

/// The switches in what the compiler points at; where it points beside them, the ones on the same line.
fn blamed(files: &BTreeMap<String, Woven>, faults: &[Fault]) -> Vec<usize> {
    let mut all = BTreeSet::new();
    for fault in faults {
        let Some(woven) = files.get(&fault.file) else {
            continue;
        };
        let within = |bytes: &std::ops::Range<usize>| -> Vec<usize> {
            let touched = woven
                .pieces
                .iter()
                .filter(|(piece, _)| piece.start < bytes.end && bytes.start < piece.end);
            touched.flat_map(|(_, switches)| switches.clone()).collect()
        };
        let mut found = within(&fault.bytes);
        if found.is_empty() {
            let before = woven.text.get(..fault.bytes.start).unwrap_or_default();
            let behind = woven.text.get(fault.bytes.end..).unwrap_or_default();
            let start = before.rfind('\n').unwrap_or(0);
            let end = fault.bytes.end + behind.find('\n').unwrap_or(behind.len());
            found = within(&(start..end));
        }
        all.extend(found);
    }
    all.into_iter().collect()
}
