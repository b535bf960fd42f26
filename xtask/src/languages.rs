//! The toolchains of plugins in C, JavaScript and Python, as the templates pin them: installed into the system or the cache where they can
//! be. What cannot be had is said, and the tests that need it say so by name.

use crate::process::{cache_dir, has_program, step};
use crate::setup;
use anyhow::{Context, Result, bail};
use iaso_author::{Clang, Language, project};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// In a directory whose tools are whole.
const READY: &str = "ready";

/// PATH with what there is of them. Only what is there already when `install` is false: fetching takes a minute.
pub(crate) fn path(install: bool) -> Result<OsString> {
    if install && Clang::find().is_err() {
        told("C", c());
    }
    let mut places: Vec<PathBuf> = Vec::new();
    for (name, language, pinned, bin, fetch) in [
        (
            "JavaScript",
            Language::Js,
            "package.json",
            "node_modules/.bin",
            npm as fn(&Path) -> Result<()>,
        ),
        (
            "Python",
            Language::Python,
            "requirements.txt",
            ".venv/bin",
            pip,
        ),
    ] {
        let directory = cache_dir()?.join("plugin-languages").join(name);
        if install {
            told(name, tools(&directory, language, pinned, fetch));
        }
        if directory.join(READY).is_file() {
            places.push(directory.join(bin));
        }
    }
    let given = std::env::var_os("PATH").unwrap_or_default();
    places.extend(std::env::split_paths(&given));
    std::env::join_paths(places).context("a directory of PATH has a colon in its name")
}

fn told(language: &str, result: Result<()>) {
    if let Err(error) = result {
        eprintln!(
            "==> plugins in {language} cannot be built here, and their tests will say so by name: {error:#}"
        );
    }
}

fn c() -> Result<()> {
    if !setup::can_install() {
        bail!("there is no root or no apt-get to install clang and lld");
    }
    setup::install(&["clang", "lld"])
}

/// The tools that the language's template pins, once for each pinned version.
fn tools(
    directory: &Path,
    language: Language,
    pinned: &str,
    fetch: fn(&Path) -> Result<()>,
) -> Result<()> {
    let files = project("tools", language)?;
    let (_, text) = files
        .iter()
        .find(|(path, _)| path == Path::new(pinned))
        .with_context(|| format!("the template has no {pinned}"))?;
    let (ready, file) = (directory.join(READY), directory.join(pinned));
    if ready.is_file() && std::fs::read_to_string(&file).is_ok_and(|had| had == *text) {
        return Ok(());
    }
    if directory.exists() {
        std::fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&file, text))
        .with_context(|| format!("cannot write {}", file.display()))?;
    fetch(directory)?;
    std::fs::write(&ready, "").with_context(|| format!("cannot write {}", ready.display()))
}

fn npm(directory: &Path) -> Result<()> {
    if !has_program("npm") {
        bail!("there is no npm: install Node.js 20 or later");
    }
    step(
        "installing componentize-js",
        Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--silent"])
            .current_dir(directory),
    )
}

fn pip(directory: &Path) -> Result<()> {
    if !has_program("python3") {
        bail!("there is no python3");
    }
    step(
        "making a place for componentize-py",
        Command::new("python3")
            .args(["-m", "venv", ".venv"])
            .current_dir(directory),
    )?;
    step(
        "installing componentize-py",
        Command::new(directory.join(".venv/bin/pip"))
            .args(["install", "--quiet", "-r", "requirements.txt"])
            .current_dir(directory),
    )
}
