//! What can be wrong with the journal.

use iaso_engine::ledger::FoldError;
use iaso_engine::version::ReadError;
use std::path::PathBuf;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made or written.
    #[error("cannot {operation} {}: check its permissions and free space", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Another controller is at work.
    #[error("another controller uses {}: stop it first, or give this one a data_dir of its own", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// `SQLite` refused.
    #[error("cannot {operation} the journal {}", path.display())]
    Sqlite {
        /// What was tried.
        operation: &'static str,
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// It is no journal, or is torn.
    #[error(
        "the journal {} is damaged ({detail}): nothing may be decided on it; move it aside with its -wal and -shm files, restore a copy of all three or start with an empty journal, and look at the providers' own records first",
        path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What the check said.
        detail: String,
    },
    /// Written by a later version.
    #[error("the journal {} has schema {found}, and this program knows {known}: run the newer controller, or restore an older journal", path.display())]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// An entry cannot be read.
    #[error("entry {sequence} of the journal {} cannot be read: nothing may be decided without it", path.display())]
    Record {
        /// Which file.
        path: PathBuf,
        /// Which entry.
        sequence: u64,
        /// The cause, with what to do.
        #[source]
        source: ReadError,
    },
    /// An entry does not follow.
    #[error("the journal {} does not add up: keep it for a look, and restore a copy or start with an empty one", path.display())]
    Fold {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: FoldError,
    },
    /// A snapshot cannot be written.
    #[error("a snapshot of the ledger cannot be written")]
    Snapshot(#[source] iaso_replay::codec::EncodeError),
    /// A record that cannot be written as JSON.
    #[error("a record cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The writer's thread has ended.
    #[error("the journal's writer has ended: restart the controller")]
    WriterGone,
    /// A reader's task has ended.
    #[error("the journal could not be read: the reading task was aborted")]
    ReaderGone,
}
