//! The template of every language, as a new user has it: begun, built, tested, measured, and without WASI.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value that is not there is null, which fails the test"
)]

use anyhow::{Context, Result, bail, ensure};
use iaso_tests::{programs, story};
use std::path::Path;
use std::process::{Command, Output};

fn iaso(home: &Path, project: &Path, arguments: &[&str]) -> Result<Output> {
    Command::new(programs::program("iaso")?)
        .arg("plugin")
        .args(arguments)
        .current_dir(project)
        .env("IASO_COMPILE", programs::program("iaso-compile")?)
        .env("HOME", home)
        .env("XDG_CACHE_HOME", home.join("cache"))
        .output()
        .with_context(|| format!("cannot run iaso plugin {}", arguments.join(" ")))
}

fn good(home: &Path, project: &Path, arguments: &[&str]) -> Result<String> {
    let output = iaso(home, project, arguments)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && said.is_empty(),
        "iaso plugin {}: {}\n{}{said}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn lacks_tools(said: &str) -> bool {
    said.contains("there is no ") && said.contains(" here: ")
}

/// From nothing to a tested component; without the language's tools the test says that it did not run.
fn author(name: &str, language: &str) -> Result<()> {
    let home = tempfile::tempdir()?;
    let home = home.path();
    good(home, home, &["new", "low-memory", "--lang", language])?;
    let project = home.join("low-memory");
    let built = iaso(home, &project, &["build"])?;
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    if !built.status.success() {
        if lacks_tools(&said) {
            story::skipped(name, Some(said))?;
            return Ok(());
        }
        bail!("iaso plugin build: {said}");
    }
    let component = "build/low-memory.wasm";
    let shown = good(home, &project, &["inspect", component, "--output", "json"])?;
    let shown: serde_json::Value = serde_json::from_str(&shown)?;
    let uses: Vec<&str> = shown["uses"]
        .as_array()
        .context("no list of uses")?
        .iter()
        .filter_map(|used| used["import"].as_str())
        .collect();
    ensure!(uses == ["iaso:plugin/host@0.1.0"], "it imports {uses:?}");
    let tested = good(home, &project, &["test", "--output", "json"])?;
    let tested: serde_json::Value = serde_json::from_str(&tested)?;
    ensure!(
        tested["passed"] == true && tested["fixtures"].as_array().map(Vec::len) == Some(3),
        "{tested}"
    );
    // Against the budget of the template.
    good(home, &project, &["bench", "--runs", "10"])?;
    Ok(())
}

#[test]
fn the_template_in_c_is_built_tested_and_within_its_budget() -> Result<()> {
    author("the template in C", "c")
}

#[test]
fn the_template_in_javascript_is_built_tested_and_within_its_budget() -> Result<()> {
    author("the template in JavaScript", "js")
}

#[test]
fn the_template_in_python_is_built_tested_and_within_its_budget() -> Result<()> {
    author("the template in Python", "python")
}

#[test]
fn without_its_tools_a_language_says_what_to_install() -> Result<()> {
    for (language, says) in [
        ("c", "there is no clang here: install clang and lld"),
        ("js", "there is no componentize-js here: install Node.js"),
        (
            "python",
            "there is no componentize-py here: run `python3 -m venv",
        ),
    ] {
        let home = tempfile::tempdir()?;
        good(home.path(), home.path(), &["new", "x", "--lang", language])?;
        let built = Command::new(programs::program("iaso")?)
            .args(["plugin", "build"])
            .current_dir(home.path().join("x"))
            .env("HOME", home.path())
            .env("PATH", home.path())
            .output()?;
        let said = String::from_utf8_lossy(&built.stderr);
        ensure!(
            built.status.code() == Some(1) && said.contains(says),
            "{said}"
        );
    }
    Ok(())
}

#[test]
fn what_c_calls_and_nothing_defines_is_named_without_a_linkers_words() -> Result<()> {
    let home = tempfile::tempdir()?;
    let home = home.path();
    good(home, home, &["new", "x", "--lang", "c"])?;
    let project = home.join("x");
    let more = "#include \"iaso.h\"\nextern int strtol_(const char *);\n\
        __attribute__((export_name(\"more\"))) int more(void) { return strtol_(\"1\"); }\n";
    std::fs::write(project.join("src/more.c"), more)?;
    let built = iaso(home, &project, &["build"])?;
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    if lacks_tools(&said) {
        story::skipped("an undefined symbol in C", Some(said))?;
        return Ok(());
    }
    ensure!(
        !built.status.success()
            && said.contains("`strtol_`, which nothing defines")
            && !said.contains("wasm-ld"),
        "{said}"
    );
    Ok(())
}
