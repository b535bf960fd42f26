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
    /// All of them; where a directory has the marks of several, the first counts.
    pub const ALL: [Self; 4] = [Self::Rust, Self::C, Self::Js, Self::Python];

    /// The file by which a project is known.
    #[must_use]
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::C => "src/check.c",
            Self::Js => "src/check.js",
            Self::Python => "src/check.py",
        }
    }

    /// What fetches the language's own tool into a project, once; `None`: there is nothing to fetch.
    #[must_use]
    pub const fn preparation(self) -> Option<&'static str> {
        match self {
            Self::Rust | Self::C => None,
            Self::Js => Some("npm install"),
            Self::Python => {
                Some("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt")
            }
        }
    }

    /// The language of the project in this directory.
    pub fn of(directory: &Path) -> Result<Self, BuildError> {
        Self::ALL
            .into_iter()
            .find(|language| directory.join(language.mark()).is_file())
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
