//! JavaScript and Python: the language's own tool makes a component that carries the language's engine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Language;
use crate::tool::{BuildError, find, made, run};

/// Everything in the engine that would want WASI.
const FEATURES: [&str; 5] = ["stdio", "random", "clocks", "http", "fetch-event"];

/// componentize-js: in the project's `node_modules`, else in PATH.
pub(crate) fn javascript(directory: &Path) -> Result<PathBuf, BuildError> {
    let remedy = || prepare(Language::Js, "install Node.js 20 or later, and ");
    let near = directory.join("node_modules/.bin");
    let (mut command, component) = tool(directory, "componentize-js", &near, remedy)?;
    command
        .args(["src/check.js", "--wit", "wit", "--world-name", "plugin"])
        .arg("--out")
        .arg(&component)
        .arg("--disable")
        .args(FEATURES);
    run("componentize-js", &mut command)?;
    Ok(component)
}

/// componentize-py: in the project's `.venv`, else in PATH.
pub(crate) fn python(directory: &Path) -> Result<PathBuf, BuildError> {
    let remedy = || prepare(Language::Python, "");
    let near = directory.join(".venv/bin");
    let (mut command, component) = tool(directory, "componentize-py", &near, remedy)?;
    command
        .args(["--quiet", "--wit-path", "wit", "--world", "plugin"])
        .args(["componentize", "--stub-wasi", "check"])
        .args(["--python-path", "src", "--python-path", "vendor"])
        .arg("--output")
        .arg(&component);
    run("componentize-py", &mut command)?;
    Ok(component)
}

fn prepare(language: Language, before: &str) -> String {
    let once = language.preparation().unwrap_or_default();
    format!("{before}run `{once}` in the plugin's directory")
}

/// A language's tool, to be run in the project, and where its component goes before the manifest is packed into it.
fn tool(
    directory: &Path,
    program: &'static str,
    near: &Path,
    remedy: impl FnOnce() -> String,
) -> Result<(Command, PathBuf), BuildError> {
    let mut command = Command::new(find(program, &[program.to_owned()], Some(near), remedy)?);
    command.current_dir(directory);
    let build = directory.join("build");
    made(&build)?;
    let component = build.join("unpacked.wasm");
    let component = std::path::absolute(&component).map_err(|source| BuildError::File {
        what: "make",
        path: component,
        source,
    })?;
    Ok((command, component))
}
