//! Where the programs under test are.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The directory of the built programs: `IASO_BIN_DIR`, else beside the running one.
pub fn directory() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("IASO_BIN_DIR") {
        return Ok(PathBuf::from(directory));
    }
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let beside = own.parent().context("this program has no directory")?;
    // A test lies in `deps/`, one below the programs.
    Ok(match beside.parent() {
        Some(parent) if beside.ends_with("deps") => parent.to_path_buf(),
        _ => beside.to_path_buf(),
    })
}

/// One program by its name.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = directory()?.join(name);
    if !path.is_file() {
        bail!(
            "{} is not built: run `cargo xtask test` or `cargo xtask demo`, or set IASO_BIN_DIR",
            path.display()
        );
    }
    Ok(path)
}

/// One plugin's component: in `IASO_PLUGINS_DIR`, else in the target directory's `plugins/`.
pub fn plugin(name: &str) -> Result<PathBuf> {
    let directory = if let Some(directory) = std::env::var_os("IASO_PLUGINS_DIR") {
        PathBuf::from(directory)
    } else {
        let programs = directory()?;
        programs.parent().unwrap_or(&programs).join("plugins")
    };
    let path = directory.join(format!("{name}.wasm"));
    if !path.is_file() {
        bail!(
            "{} is not built: run `cargo xtask plugins`, or set IASO_PLUGINS_DIR",
            path.display()
        );
    }
    Ok(path)
}

/// A system program: in PATH, or where administrators' programs lie.
#[must_use]
pub fn system(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| Path::is_file(candidate))
}
