//! Where a new root password is kept before it is used, so that a crash never locks everybody out.
//!
//! The order is: draw → [`SecretStore::store_pending`] → [`SecretStore::read_back`] → use → log in →
//! [`SecretStore::promote`], which keeps the previous one. A store that is down means that nothing is recreated.
//!
//! The trait asks only for what a directory, a Kubernetes Secret, 1Password Connect and Pulumi ESC can all do: named
//! values with versions, read and written over a network, with no transaction over two of them.

mod file;

use std::{fmt, path::PathBuf, str::FromStr};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{RandomnessError, Secret};

pub use file::FileStore;

/// Longest key, in bytes: what a Kubernetes label or Secret name of one part takes.
const KEY_BYTES_MAX: usize = 63;

/// Under what name a secret is kept: `styx.root-password`. Lower-case letters, digits, `.` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretKey(String);

/// One stored value of a key. Later versions sort after earlier ones in a [`FileStore`]; others promise no order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(String);

/// A key or a version that no store would take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} cannot name a secret: use 1 to {KEY_BYTES_MAX} of a-z 0-9 . -, with a letter or digit at both ends"
)]
pub struct NameError {
    text: String,
}

fn checked(text: &str) -> Result<String, NameError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = text.len() <= KEY_BYTES_MAX
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || c == '.' || c == '-')
        && !text.contains("..");
    if valid {
        Ok(text.to_owned())
    } else {
        Err(NameError {
            text: text.chars().take(KEY_BYTES_MAX).collect(),
        })
    }
}

macro_rules! name_type {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                checked(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(SecretKey);
name_type!(Version);

/// Why a store did not do what was asked. After any of these the secret must not be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The place itself is not safe to keep secrets in.
    #[error("{} is not a safe place for secrets: {what}", path.display())]
    Unsafe {
        /// The place.
        path: PathBuf,
        /// What is wrong, and what to do about it.
        what: String,
    },
    /// There is no such version.
    #[error("no version {version} of secret {key} is stored")]
    Missing {
        /// The key.
        key: SecretKey,
        /// The version.
        version: Version,
    },
    /// What is stored is not what was written: half written, or damaged.
    #[error(
        "{what} of secret {key} is half written or damaged: do not use it; restore it from a backup, or discard it and draw a new one"
    )]
    Damaged {
        /// The key.
        key: SecretKey,
        /// Which part.
        what: String,
    },
    /// It cannot be done in this state.
    #[error("secret {key}: {what}")]
    Refused {
        /// The key.
        key: SecretKey,
        /// Why, and what to do.
        what: String,
    },
    /// The store did not answer, or could not write.
    #[error("the secret store cannot {operation} {}", path.display())]
    Storage {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A store behind a network is away.
    #[error("the secret store {store} is away: {what}")]
    Unavailable {
        /// Which store.
        store: &'static str,
        /// What it said.
        what: String,
    },
    /// No name for a version could be drawn.
    #[error("cannot name a new version of the secret")]
    Randomness(#[source] RandomnessError),
}

/// Which versions of a key there are. Never their content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// The one in use.
    pub current: Option<Version>,
    /// The one before it.
    pub previous: Option<Version>,
    /// Stored and never promoted: after a crash, one of these may be what the machine was given.
    pub pending: Vec<Version>,
}

/// A place for secrets that outlives the controller.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// Keeps a secret that is about to be used, under a name that the store chooses. Durable when it returns. Touches no other version.
    async fn store_pending(
        &self,
        key: &SecretKey,
        secret: &Secret,
    ) -> Result<Version, SecretError> {
        let version = new_version()?;
        self.store_pending_as(key, &version, secret).await?;
        Ok(version)
    }

    /// The same under a name that the caller chooses: whoever starts again finds by it what was stored before the crash. A version that is
    /// there is never overwritten: that is [`SecretError::Refused`].
    async fn store_pending_as(
        &self,
        key: &SecretKey,
        version: &Version,
        secret: &Secret,
    ) -> Result<(), SecretError>;

    /// Reads a version from where it is kept, not from memory.
    async fn read_back(&self, key: &SecretKey, version: &Version) -> Result<Secret, SecretError>;

    /// Makes a version the current one and keeps the one before it. The same call again changes nothing.
    async fn promote(&self, key: &SecretKey, version: &Version) -> Result<(), SecretError>;

    /// Forgets a pending version that was certainly never used. The same call again changes nothing.
    async fn discard(&self, key: &SecretKey, version: &Version) -> Result<(), SecretError>;

    /// Which versions there are, for a controller that starts again and for an operator who needs the password.
    async fn versions(&self, key: &SecretKey) -> Result<Versions, SecretError>;

    /// Whether a secret could be stored and read back now. Asked before a recreate is even considered.
    async fn health(&self) -> Result<(), SecretError>;
}

/// Milliseconds first, so that versions sort by age; random after, so that a clock that was set back cannot repeat one.
fn new_version() -> Result<Version, SecretError> {
    let random = getrandom::u64().map_err(|source| {
        SecretError::Randomness(RandomnessError {
            source: Some(source),
        })
    })?;
    Ok(Version(format!(
        "{:013}-{random:016x}",
        Timestamp::now().as_millisecond().max(0)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_leave_its_directory() {
        for bad in [
            "",
            "..",
            "../x",
            "a/b",
            ".hidden",
            "-a",
            "a..b",
            "A",
            "a\0",
            "a-",
            &"a".repeat(64),
        ] {
            assert!(bad.parse::<SecretKey>().is_err(), "{bad:?} was taken");
        }
        for good in ["styx.root-password", "a", "9", &"a".repeat(63)] {
            assert!(good.parse::<SecretKey>().is_ok(), "{good:?} was refused");
        }
    }
}
