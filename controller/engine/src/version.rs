//! Versions of journal records: which one is written, and how each one is read.
//!
//! **Invariants**
//! - Old versions are read for ever: `tests/corpus/` keeps entries of each as they were written then.
//! - An entry of a newer version than this program's is refused in words, never guessed at.
//! - A new record, a new case of an enum inside one or a new field without a default is a new version; the corpus' test says when
//!   one was forgotten.

use crate::record::Record;

/// The version that is written.
pub const RECORD_VERSION: u32 = 1;

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Written by a later program.
    #[error(
        "it has version {found}, and this program knows up to {known}: run the newer program that wrote it"
    )]
    Newer {
        /// The entry's.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// No program ever wrote this version.
    #[error("it has version 0, which does not exist: it is damaged")]
    Impossible,
    /// It is not what its version says.
    #[error("it is not a record of version {version}")]
    Unreadable {
        /// Its version.
        version: u32,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads a record that was written as JSON in a version.
///
/// # Errors
/// When the version is newer than this program's, or the text is not a record of it.
pub fn read(version: u32, json: &str) -> Result<Record, ReadError> {
    match version {
        0 => Err(ReadError::Impossible),
        1..=RECORD_VERSION => {
            serde_json::from_str(json).map_err(|source| ReadError::Unreadable { version, source })
        }
        found => Err(ReadError::Newer {
            found,
            known: RECORD_VERSION,
        }),
    }
}
