//! In what a plugin is written, and how each makes a module or a component.

use std::path::{Path, PathBuf};

use crate::tool::BuildError;
use crate::{c, script};

/// In what a plugin is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// With the SDK.
    Rust,
    /// Freestanding, with a few functions in place of a C library.
    C,
    /// On `SpiderMonkey`, by componentize-js.
    Js,
    /// On `CPython`, by componentize-py.
    Python,
}

impl Language {
    /// The language of the project in this directory.
    pub fn of(directory: &Path) -> Result<Self, BuildError> {
        [
            ("Cargo.toml", Self::Rust),
            ("src/check.c", Self::C),
            ("src/check.js", Self::Js),
            ("src/check.py", Self::Python),
        ]
        .into_iter()
        .find(|(file, _)| directory.join(file).is_file())
        .map(|(_, language)| language)
        .ok_or_else(|| BuildError::NoProject {
            directory: directory.to_owned(),
        })
    }
}

/// Builds a project in another language than Rust; where its module or component is. None: it is in Rust, which cargo builds.
pub fn build_other(directory: &Path) -> Result<Option<PathBuf>, BuildError> {
    match Language::of(directory)? {
        Language::Rust => Ok(None),
        Language::C => c::build(directory).map(Some),
        Language::Js => script::javascript(directory).map(Some),
        Language::Python => script::python(directory).map(Some),
    }
}
