//! Reads a policy from TOML: one loader, with the same refusals, for the controller, `iaso policy check`, `iaso backtest` and scenarios of the
//! simulator.
//!
//! **Invariants**
//! - An unknown key is an error that names the line; a file that is too large is not read.
//! - What comes from [`load`] has passed [`Policy::check`].
//!
//! Deliberately absent: the rest of a controller's configuration. Of that, only what a policy is judged by is looked at: nodes and cluster.

mod configuration;

use iaso_engine::fact::Inventory;
use iaso_engine::policy::Policy;
use iaso_engine::policy::check::PolicyError;
use serde::Deserialize as _;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Largest file, in bytes.
pub const BYTES_MAX: u64 = 1 << 20;

/// Why a policy is refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// The file cannot be read.
    #[error("cannot read the policy {}: check the path and its permissions", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is too large to be one.
    #[error("the policy {} has {bytes} bytes, more than 1 MiB: is this the right file?", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It is no TOML, or has a key or value that is not known.
    #[error("the policy {} is not valid: {detail}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Line, column, and what was expected.
        detail: String,
    },
    /// A key stands in two places.
    #[error(
        "the policy {}: {key} stands here and in [policy] of the configuration: remove it from one of them",
        path.display()
    )]
    Twice {
        /// The policy's file.
        path: PathBuf,
        /// Which key.
        key: String,
    },
    /// It can be read and cannot be meant.
    #[error("{}: {why}", path.display())]
    Refused {
        /// Which.
        path: PathBuf,
        /// The key, what is wrong with it, and what to do.
        why: PolicyError,
    },
}

/// A policy, and what else the file says that it is judged by.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The policy.
    pub policy: Policy,
    /// The nodes, where the file is a controller's configuration.
    pub inventory: Option<Inventory>,
}

/// Reads a policy file, or the `[policy]` of a controller's configuration, and checks it.
///
/// # Errors
/// With the file, the line or the key, and what to do.
pub fn load(path: &Path) -> Result<Loaded, PolicyFileError> {
    let text = read(path)?;
    let loaded = if configuration::is_one(&table(&text, path)?) {
        configuration::read(&text, path)?
    } else {
        Loaded {
            policy: parse(&text, path)?,
            inventory: None,
        }
    };
    let refused = |why| PolicyFileError::Refused {
        path: path.to_owned(),
        why,
    };
    loaded.policy.check().map_err(refused)?;
    if let Some(inventory) = &loaded.inventory {
        loaded.policy.check_nodes(inventory).map_err(refused)?;
    }
    Ok(loaded)
}

/// The policy of `[policy]` in the text of a configuration and of the file together. A key that stands in both is an error, never a guess.
///
/// # Errors
/// With the file, the line or the key, and what to do. Whether what is said can be meant is not asked here: see [`Policy::check`].
pub fn join(configuration: &str, file: &Path) -> Result<Policy, PolicyFileError> {
    let own = read(file)?;
    // By itself first: so that an error names a line of this file.
    parse(&own, file)?;
    let mut joined = table(&own, file)?;
    if let Some(Value::Table(inline)) = table(configuration, file)?.get("policy") {
        for (key, value) in inline {
            if joined.insert(key.clone(), value.clone()).is_some() {
                return Err(PolicyFileError::Twice {
                    path: file.to_owned(),
                    key: key.clone(),
                });
            }
        }
    }
    Policy::deserialize(Value::Table(joined)).map_err(|error| bad(file, &error))
}

/// The detail of a refusal by the TOML reader, and what to do about an unknown key.
#[must_use]
pub fn detail(error: &toml::de::Error) -> String {
    let shown = error.to_string();
    if error.message().starts_with("unknown field") {
        format!(
            "{shown}remove the key, or correct its spelling: the keys that are known stand above"
        )
    } else {
        shown
    }
}

fn read(path: &Path) -> Result<String, PolicyFileError> {
    let unreadable = |source| PolicyFileError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > BYTES_MAX {
        return Err(PolicyFileError::TooLarge {
            path: path.to_owned(),
            bytes,
        });
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

fn bad(path: &Path, error: &toml::de::Error) -> PolicyFileError {
    PolicyFileError::Parse {
        path: path.to_owned(),
        detail: detail(error),
    }
}

fn table(text: &str, path: &Path) -> Result<Table, PolicyFileError> {
    toml::from_str(text).map_err(|error| bad(path, &error))
}

fn parse(text: &str, path: &Path) -> Result<Policy, PolicyFileError> {
    toml::from_str(text).map_err(|error| bad(path, &error))
}

#[cfg(test)]
mod tests;
