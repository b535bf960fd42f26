//! Breaks the engine and its checker on purpose, one line at a time, and tells which breaks no test notices. Each survivor must be argued in
//! `docs/mutants.md`; one that is not is an error, and so is an argument for one that is caught.
//!
//! The mutants are the ones that cargo-mutants lists. They are compiled all at once, each behind a switch, and the tests run once for each.

mod tree;
mod trial;
mod weave;

use crate::process::{cache_dir, cargo, output, root, step, target_dir};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use trial::Fate;
use weave::Mutant;

/// The version that the list of survivors was made with: another one makes other mutants.
const VERSION: &str = "27.1.0";
const SURVIVORS: &str = "docs/mutants.md";

/// Arguments of `mutants`.
#[derive(Debug, Args)]
pub(crate) struct MutantsArguments {
    /// Only files that match this glob, such as `controller/engine/src/gate.rs` or `**/saga.rs`; may be repeated.
    #[arg(long)]
    file: Vec<String>,
    /// Only of this crate.
    #[arg(long)]
    package: Option<String>,
    /// Only the ones named in this file, one a line, as survivors are printed: to try them again after a test was written.
    #[arg(long)]
    names: Option<PathBuf>,
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
    ("iaso-engine-check", &["iaso-engine", "iaso-engine-check"]),
];

/// Installs cargo-mutants if it must, tries every mutant, and compares the survivors with the argued ones.
pub(crate) fn run(arguments: &MutantsArguments) -> Result<()> {
    let program = program()?;
    let mut all = Results::default();
    for (package, tests) in CRATES {
        if arguments.package.as_ref().is_some_and(|p| p != package) {
            continue;
        }
        let mutants = list(&program, package, arguments)?;
        if arguments.list {
            for mutant in &mutants {
                println!("{}", mutant.name);
            }
            continue;
        }
        let names = names(&mutants);
        let mut mutants = part(mutants, arguments.shard.as_deref())?;
        if let Some(path) = &arguments.names {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let wanted: BTreeSet<&str> = text.lines().collect();
            let is_wanted = |m: &Mutant| {
                names
                    .get(&m.name)
                    .is_some_and(|n| wanted.contains(n.as_str()))
            };
            mutants.retain(is_wanted);
        }
        if !mutants.is_empty() {
            one(package, tests, mutants, &names, &mut all)?;
        }
    }
    if arguments.list { Ok(()) } else { all.tell() }
}

/// Every k-th of n, so that each part has something of every file.
fn part(mutants: Vec<Mutant>, shard: Option<&str>) -> Result<Vec<Mutant>> {
    let Some(shard) = shard else {
        return Ok(mutants);
    };
    let parts = shard.split_once('/');
    let parts = parts.and_then(|(k, n)| Some((k.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
    let Some((k, n)) = parts.filter(|(k, n)| k < n) else {
        bail!("--shard {shard} is not k/n with k below n, such as 0/8");
    };
    Ok(mutants.into_iter().skip(k).step_by(n).collect())
}

fn list(program: &Path, package: &str, arguments: &MutantsArguments) -> Result<Vec<Mutant>> {
    let mut command = cargo();
    command.arg("mutants").env("PATH", with(program)?);
    command.args([
        "--list",
        "--json",
        "--colors",
        "never",
        "--package",
        package,
    ]);
    for file in &arguments.file {
        command.args(["--file", file]);
    }
    serde_json::from_str(&output(&mut command)?).context("cargo mutants lists them in another form")
}

/// Tries the mutants of one crate.
fn one(
    package: &str,
    tests: &[&str],
    mutants: Vec<Mutant>,
    names: &BTreeMap<String, String>,
    all: &mut Results,
) -> Result<()> {
    let directory = target_dir().join("mutants").join(package);
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let built = tree::build(&directory, package, mutants, tests)?;
    let name = |mutant: &Mutant| names.get(&mutant.name).cloned().unwrap_or_default();
    all.left_out.extend(built.left_out.iter().map(name));
    let mut fates = BTreeMap::new();
    let many = built.woven.len();
    trial::all(&directory, &built, |switch, fate, by| {
        fates.insert(switch, fate);
        let mutant = built.woven.get(&switch).map(name).unwrap_or_default();
        let word = match fate {
            Fate::Caught => "caught",
            Fate::ByTime => "caught by time",
            Fate::Survived => "SURVIVED",
        };
        eprintln!("{}/{many} {word} {by}: {mutant}", fates.len());
        match fate {
            Fate::Caught | Fate::ByTime => all.noticed.push(mutant),
            Fate::Survived => all.survived.push(mutant),
        }
        Ok(())
    })?;
    println!(
        "{package}: {} caught, {} caught by time, {} survived; {} not tried: in no form that compiles",
        trial::count(&fates, Fate::Caught),
        trial::count(&fates, Fate::ByTime),
        trial::count(&fates, Fate::Survived),
        built.left_out.len()
    );
    Ok(())
}

/// cargo-mutants, from the cache; else it is built into the cache, which takes minutes, once.
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
    noticed: Vec<String>,
    survived: Vec<String>,
    left_out: Vec<String>,
}

impl Results {
    /// The survivors that nobody argued, and the arguments that nothing needs.
    fn tell(&self) -> Result<()> {
        for name in &self.left_out {
            println!("not tried: {name}");
        }
        let text = std::fs::read_to_string(root().join(SURVIVORS)).unwrap_or_default();
        let argued = argued(&text);
        let new: Vec<&String> = self
            .survived
            .iter()
            .filter(|name| !argued.contains(&name.as_str()))
            .collect();
        let idle: Vec<&String> = self
            .noticed
            .iter()
            .filter(|name| argued.contains(&name.as_str()))
            .collect();
        for name in &new {
            println!("survived: {name}");
        }
        for name in &idle {
            println!("argued in {SURVIVORS}, and caught: {name}");
        }
        if !new.is_empty() || !idle.is_empty() {
            bail!(
                "{} survivors are not in {SURVIVORS}: write a test that notices each, or argue there why none can; {} are there and are caught: \
                 take them out",
                new.len(),
                idle.len()
            );
        }
        Ok(())
    }
}

/// The mutants that the document argues: list items in code quotes, `- ``path: what`` `.
fn argued(text: &str) -> Vec<&str> {
    let items = text.lines().filter_map(|line| line.strip_prefix("- `"));
    items
        .filter_map(|item| item.split_once('`').map(|(name, _)| name))
        .collect()
}

/// Names without line and column, which move: `path: what`, and ` #2` for the second of that name in a file.
fn names(mutants: &[Mutant]) -> BTreeMap<String, String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for mutant in mutants {
        let name = name_of(&mutant.name);
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        let name = match *count {
            1 => name,
            again => format!("{name} #{again}"),
        };
        names.insert(mutant.name.clone(), name);
    }
    names
}

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

    #[test]
    fn an_argument_is_a_list_item_that_begins_with_the_mutant() {
        let text = "# Survivors\n\nSee `a: b`.\n\n- `gate.rs: replace < with <=`: both say the same.\n- nothing\n";
        assert_eq!(argued(text), ["gate.rs: replace < with <="]);
    }

    #[test]
    fn results_that_are_argued_or_noticed_are_well_and_others_are_not() {
        let results = |noticed: &str, survived: &str| Results {
            noticed: vec![noticed.into()],
            survived: vec![survived.into()],
            left_out: Vec::new(),
        };
        assert!(results("a", "no such mutant anywhere").tell().is_err());
    }
}
