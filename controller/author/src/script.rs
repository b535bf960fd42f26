//! JavaScript and Python: the language's own tool makes a component that carries the language's engine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tool::{BuildError, find, run};

/// Everything in the engine that would want WASI.
const FEATURES: [&str; 5] = ["stdio", "random", "clocks", "http", "fetch-event"];

/// componentize-js: in the project's `node_modules`, else in PATH.
pub(crate) fn javascript(directory: &Path) -> Result<PathBuf, BuildError> {
    let near = [directory.join("node_modules/.bin")];
    let Some(tool) = find(&near, &["componentize-js".to_owned()]) else {
        return Err(BuildError::Missing {
            program: "componentize-js",
            remedy: "install Node.js 20 or later, and run `npm install` in the plugin's directory",
        });
    };
    let component = component(directory)?;
    let mut command = Command::new(tool);
    command
        .current_dir(directory)
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
    let near = [directory.join(".venv/bin")];
    let Some(tool) = find(&near, &["componentize-py".to_owned()]) else {
        return Err(BuildError::Missing {
            program: "componentize-py",
            remedy: "run `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt` in the plugin's directory",
        });
    };
    let component = component(directory)?;
    let mut command = Command::new(tool);
    command
        .current_dir(directory)
        .args(["--quiet", "--wit-path", "wit", "--world", "plugin"])
        .args(["componentize", "--stub-wasi", "check"])
        .args(["--python-path", "src", "--python-path", "vendor"])
        .arg("--output")
        .arg(&component);
    run("componentize-py", &mut command)?;
    Ok(component)
}

/// Where the component goes before the manifest is packed into it.
fn component(directory: &Path) -> Result<PathBuf, BuildError> {
    let unwritable = |path: &Path, source| BuildError::File {
        what: "make",
        path: path.to_owned(),
        source,
    };
    let build = directory.join("build");
    std::fs::create_dir_all(&build).map_err(|source| unwritable(&build, source))?;
    let component = build.join("unpacked.wasm");
    std::path::absolute(&component).map_err(|source| unwritable(&component, source))
}
