//! The journal's table: one row for each entry, its record as JSON.

use super::{Scope, StoreError};
use iaso_engine::record::Entry;
use iaso_engine::time::Tick;
use iaso_engine::version::{self, RECORD_VERSION};
use rusqlite::{Connection, OpenFlags, Row, params};
use std::path::Path;
use std::time::Duration;

/// Version of the tables; a greater one is refused.
const SCHEMA: i64 = 2;
/// Schema 1. An empty file gets it first, and then every change after it: so there is one way to today's tables.
const CREATE: &str = "
    CREATE TABLE entries (
        sequence INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        incident TEXT,
        node TEXT,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX entries_incident ON entries (incident, sequence) WHERE incident IS NOT NULL;
    PRAGMA user_version = 1;
";
/// From 1 to 2: every record has a version, and the ledger is kept now and then.
const VERSIONS: &str = "
    ALTER TABLE entries ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
    CREATE TABLE snapshots (sequence INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, body BLOB NOT NULL) STRICT;
    PRAGMA user_version = 2;
";

pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let fail = |operation| {
        move |source| StoreError::Sqlite {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    let connection = Connection::open(path).map_err(fail("open"))?;
    connection
        .busy_timeout(Duration::from_secs(5))
        .map_err(fail("set up"))?;
    integrity(&connection, path)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(fail("set up"))?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(fail("set up"))?;
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(fail("read the version of"))?;
    match found {
        0 => connection
            .execute_batch(&format!("BEGIN IMMEDIATE; {CREATE} {VERSIONS} COMMIT;"))
            .map_err(fail("create"))?,
        1 => {
            connection
                .execute_batch(&format!("BEGIN IMMEDIATE; {VERSIONS} COMMIT;"))
                .map_err(fail("bring to schema 2"))?;
            tracing::info!(journal = %path.display(), "brought from schema 1 to 2");
        }
        SCHEMA => {}
        found if found > SCHEMA => {
            return Err(StoreError::Newer {
                path: path.to_owned(),
                found,
                known: SCHEMA,
            });
        }
        found => {
            return Err(StoreError::Damaged {
                path: path.to_owned(),
                detail: format!("impossible schema {found}"),
            });
        }
    }
    restrict(path)?;
    Ok(connection)
}

pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let fail = |source| StoreError::Sqlite {
        operation: "open for reading",
        path: path.to_owned(),
        source,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    connection
        .busy_timeout(Duration::from_secs(5))
        .map_err(fail)?;
    Ok(connection)
}

fn integrity(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let damaged = |detail: String| StoreError::Damaged {
        path: path.to_owned(),
        detail,
    };
    let verdict: String = connection
        .pragma_query_value(None, "quick_check", |row| row.get(0))
        .map_err(|error| damaged(error.to_string()))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(damaged(verdict))
    }
}

fn restrict(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(|source| {
        StoreError::File {
            operation: "make private",
            path: path.to_owned(),
            source,
        }
    })
}

/// Calls `take` with every entry after `after`, in order.
pub(super) fn each(
    connection: &Connection,
    path: &Path,
    after: u64,
    mut take: impl FnMut(Entry) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let fail = |source| StoreError::Sqlite {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let mut statement = connection
        .prepare("SELECT sequence, at, record, version FROM entries WHERE sequence > ?1 ORDER BY sequence")
        .map_err(fail)?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = statement.query([after]).map_err(fail)?;
    while let Some(row) = rows.next().map_err(fail)? {
        take(entry(row, path)?)?;
    }
    Ok(())
}

pub(super) fn read(
    connection: &Connection,
    path: &Path,
    after: u64,
    limit: usize,
    incident: Option<&str>,
) -> Result<Vec<Entry>, StoreError> {
    let fail = |source| StoreError::Sqlite {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let sql = match incident {
        Some(_) => {
            "SELECT sequence, at, record, version FROM entries WHERE incident = ?3 AND sequence > ?1 ORDER BY sequence LIMIT ?2"
        }
        None => {
            "SELECT sequence, at, record, version FROM entries WHERE ?3 IS NULL AND sequence > ?1 ORDER BY sequence LIMIT ?2"
        }
    };
    let mut statement = connection.prepare_cached(sql).map_err(fail)?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement
        .query(params![after, limit, incident])
        .map_err(fail)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(fail)? {
        entries.push(entry(row, path)?);
    }
    Ok(entries)
}

fn entry(row: &Row<'_>, path: &Path) -> Result<Entry, StoreError> {
    let fail = |source| StoreError::Sqlite {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let sequence: i64 = row.get(0).map_err(fail)?;
    let at: i64 = row.get(1).map_err(fail)?;
    let text: String = row.get(2).map_err(fail)?;
    let version: i64 = row.get(3).map_err(fail)?;
    let version = u32::try_from(version).unwrap_or(0);
    let record = version::read(version, &text).map_err(|source| StoreError::Record {
        path: path.to_owned(),
        sequence: sequence.unsigned_abs(),
        source,
    })?;
    Ok(Entry {
        sequence: sequence.unsigned_abs(),
        at: Tick(at.unsigned_abs()),
        record,
    })
}

/// Writes entries in one transaction.
pub(super) fn insert(
    connection: &mut Connection,
    path: &Path,
    entries: &[Entry],
) -> Result<(), StoreError> {
    let fail = |source| StoreError::Sqlite {
        operation: "write",
        path: path.to_owned(),
        source,
    };
    let transaction = connection.transaction().map_err(fail)?;
    {
        let mut statement = transaction
            .prepare_cached("INSERT INTO entries (sequence, at, incident, node, record, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .map_err(fail)?;
        for entry in entries {
            let scope = Scope::of(&entry.record);
            let record = serde_json::to_string(&entry.record).map_err(StoreError::Encode)?;
            let sequence = i64::try_from(entry.sequence).unwrap_or(i64::MAX);
            let at = i64::try_from(entry.at.0).unwrap_or(i64::MAX);
            statement
                .execute(params![
                    sequence,
                    at,
                    scope.incident,
                    scope.node,
                    record,
                    RECORD_VERSION
                ])
                .map_err(fail)?;
        }
    }
    transaction.commit().map_err(fail)
}

/// The last sequence on the disk: after a failed commit, the only way to know whether it failed.
pub(super) fn last_sequence(connection: &Connection, path: &Path) -> Result<u64, StoreError> {
    let fail = |source| StoreError::Sqlite {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let last: i64 = connection
        .query_row(
            "SELECT coalesce(max(sequence), 0) FROM entries",
            [],
            |row| row.get(0),
        )
        .map_err(fail)?;
    Ok(last.unsigned_abs())
}
