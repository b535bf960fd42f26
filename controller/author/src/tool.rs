//! Programs of other toolchains: found, or their absence answered with what to install.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Language;

/// Why a project makes no module and no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The directory is no project.
    #[error(
        "there is no Cargo.toml and none of {} in {directory}: `iaso plugin new` begins a project in Rust, C, JavaScript or Python; what other tools built becomes a plugin with `iaso plugin pack FILE.wasm`",
        [Language::C, Language::Js, Language::Python].map(Language::mark).join(", ")
    )]
    NoProject {
        /// Where was looked.
        directory: PathBuf,
    },
    /// A toolchain is missing.
    #[error("there is no {program} here: {remedy}")]
    Missing {
        /// The program.
        program: &'static str,
        /// What to install, as a command.
        remedy: String,
    },
    /// The toolchain refused the source.
    #[error("the plugin does not compile: the words of {0} stand above")]
    Refused(&'static str),
    /// The parts do not fit together.
    #[error("the parts of the plugin do not fit together: {0}")]
    Link(String),
    /// `wit/` does not say what the plugin may ask.
    #[error(
        "wit/ does not describe the plugin: {0}; it must have a world `plugin` that exports `iaso:plugin/check@0.1.0`, as `iaso plugin new` writes it"
    )]
    Interface(String),
    /// A file that cannot be read or written.
    #[error("cannot {what} {path}")]
    File {
        /// Read, write, start.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A program under the first of these names that is there: in `near`, else in PATH. Else what to install.
pub(crate) fn find(
    program: &'static str,
    names: &[String],
    near: Option<&Path>,
    remedy: impl FnOnce() -> String,
) -> Result<PathBuf, BuildError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let near = near.map(Path::to_owned).into_iter();
    let places: Vec<PathBuf> = near.chain(std::env::split_paths(&path)).collect();
    let mut all = names
        .iter()
        .flat_map(|name| places.iter().map(move |place| place.join(name)));
    all.find(|file| file.is_file())
        .ok_or_else(|| BuildError::Missing {
            program,
            remedy: remedy(),
        })
}

/// Runs a tool; what it says goes to standard error.
pub(crate) fn run(name: &'static str, command: &mut Command) -> Result<(), BuildError> {
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(|source| started(command, source))?;
    if status.success() {
        Ok(())
    } else {
        Err(BuildError::Refused(name))
    }
}

pub(crate) fn started(command: &Command, source: std::io::Error) -> BuildError {
    BuildError::File {
        what: "start",
        path: command.get_program().into(),
        source,
    }
}

pub(crate) fn written(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    std::fs::write(path, bytes).map_err(|source| BuildError::File {
        what: "write",
        path: path.to_owned(),
        source,
    })
}

/// Makes a directory, and those above it.
pub(crate) fn made(path: &Path) -> Result<(), BuildError> {
    std::fs::create_dir_all(path).map_err(|source| BuildError::File {
        what: "make",
        path: path.to_owned(),
        source,
    })
}
