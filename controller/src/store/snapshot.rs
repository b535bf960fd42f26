//! Snapshots of the ledger: a shortcut to the state after an entry, kept in the journal's file.
//!
//! **Invariants**
//! - Only what this program's fold would give: a snapshot carries a fingerprint of the fold that made it, and another program's is passed
//!   over. So is one that is damaged, or ahead of the journal. What is passed over costs time, and nothing else.
//! - One transaction: there is a whole snapshot or none.

use super::{Operations, StoreError};
use crate::text::short_digest;
use iaso_engine::ledger::Ledger;
use iaso_engine::time::Tick;
use iaso_engine::version;
use iaso_replay::codec::{pack, unpack};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A snapshot is kept after so many entries.
pub const SNAPSHOT_EVERY: u64 = 10_000;
/// So many are kept: the one before the last is for when the last is damaged.
const KEPT: u32 = 2;

/// State after an entry: what a fold of the journal up to it gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What had happened.
    pub ledger: Ledger,
    /// Operations of providers that were named.
    pub operations: Operations,
    /// Time of the entry.
    pub last_at: Tick,
}

impl Snapshot {
    pub(super) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        pack(self).map_err(StoreError::Snapshot)
    }
}

/// What this program makes of a sample of every kind of entry: it changes when a snapshot would mean something else.
fn fingerprint() -> String {
    let sample = Snapshot {
        ledger: version::sample_ledger(),
        ..Snapshot::default()
    };
    let json = serde_json::to_vec(&sample).unwrap_or_default();
    short_digest(json)
}

/// The latest snapshot that fits; an empty one when none does.
pub(super) fn latest(connection: &Connection, path: &Path) -> Result<Snapshot, StoreError> {
    let fail = |source| StoreError::Sqlite {
        operation: "read the snapshots of",
        path: path.to_owned(),
        source,
    };
    let mut statement = connection
        .prepare(
            "SELECT sequence, body FROM snapshots WHERE fingerprint = ?1
             AND sequence <= (SELECT coalesce(max(sequence), 0) FROM entries) ORDER BY sequence DESC",
        )
        .map_err(fail)?;
    let mut rows = statement.query([fingerprint()]).map_err(fail)?;
    while let Some(row) = rows.next().map_err(fail)? {
        let sequence: i64 = row.get(0).map_err(fail)?;
        let body: Vec<u8> = row.get(1).map_err(fail)?;
        match unpack::<Snapshot>(&body) {
            Ok(snapshot) if snapshot.ledger.sequence == sequence.unsigned_abs() => {
                return Ok(snapshot);
            }
            Ok(_) => tracing::warn!(
                sequence,
                "a snapshot is of another entry than it says: passed over"
            ),
            Err(error) => {
                tracing::warn!(sequence, %error, "a snapshot is damaged: passed over");
            }
        }
    }
    Ok(Snapshot::default())
}

/// Writes one, and deletes those that are not needed any more.
pub(super) fn keep(
    connection: &mut Connection,
    path: &Path,
    sequence: u64,
    body: &[u8],
) -> Result<(), StoreError> {
    let fail = |source| StoreError::Sqlite {
        operation: "keep a snapshot in",
        path: path.to_owned(),
        source,
    };
    let transaction = connection.transaction().map_err(fail)?;
    transaction
        .execute(
            "INSERT OR REPLACE INTO snapshots (sequence, fingerprint, body) VALUES (?1, ?2, ?3)",
            params![
                i64::try_from(sequence).unwrap_or(i64::MAX),
                fingerprint(),
                body
            ],
        )
        .map_err(fail)?;
    transaction
        .execute(
            "DELETE FROM snapshots WHERE sequence NOT IN (SELECT sequence FROM snapshots ORDER BY sequence DESC LIMIT ?1)",
            [KEPT],
        )
        .map_err(fail)?;
    transaction.commit().map_err(fail)
}
