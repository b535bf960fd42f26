//! The file of recordings, beside the journal and apart from it: `recordings.sqlite`.
//!
//! A file of its own, because `SQLite` lets one writer in at a time: a recording must never make the journal wait, nor a damaged one
//! keep the controller from starting.

use super::tape::{Mark, Note};
use iaso_engine::ledger::Ledger;
use iaso_engine::time::Tick;
use iaso_replay::codec::EncodeError;
use iaso_replay::line::{Ending, Line, Setup};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Version of the tables; a greater one is refused.
const SCHEMA: i64 = 1;
const CREATE: &str = "
    CREATE TABLE setups (digest TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE recordings (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        setup TEXT NOT NULL REFERENCES setups (digest),
        began INTEGER NOT NULL,
        until INTEGER NOT NULL,
        first_sequence INTEGER NOT NULL,
        last_sequence INTEGER NOT NULL,
        chunks INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        lost INTEGER NOT NULL DEFAULT 0,
        ending TEXT
    ) STRICT;
    CREATE TABLE covers (recording INTEGER NOT NULL, incident TEXT NOT NULL, PRIMARY KEY (recording, incident)) STRICT, WITHOUT ROWID;
    CREATE INDEX covers_incident ON covers (incident);
    CREATE TABLE closed (incident TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE chunks (recording INTEGER NOT NULL, number INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (recording, number)) STRICT;
    PRAGMA user_version = 1;
";

/// Why the recordings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// `SQLite` refused.
    #[error("cannot {operation} the recordings {}", path.display())]
    Sqlite {
        /// What was tried.
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// A file refused.
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
    /// Written by a later version.
    #[error("the recordings {} have schema {found}, and this program knows {SCHEMA}: run the newer controller, or move the file aside", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// Policy or inventory is not JSON.
    #[error("the policy cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// A part cannot be written.
    #[error("a part of a recording cannot be written")]
    Part(#[source] EncodeError),
    /// The reading task was aborted.
    #[error("the recordings could not be read: the reading task was aborted")]
    ReaderGone,
}

/// One recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its number.
    pub id: i64,
    /// Digest of its policy and inventory.
    pub setup: String,
    /// First moment.
    pub began: Tick,
    /// Sequence of the journal's last entry before it.
    pub first_sequence: u64,
    /// Of the last one in it.
    pub last_sequence: u64,
    /// How many parts it has.
    pub chunks: u64,
    /// How many notes were lost.
    pub lost: u64,
    /// How it ended; `None`: it runs, or its controller was killed.
    pub ending: Option<Ending>,
    /// Incidents that it is about.
    pub incidents: Vec<String>,
}

/// The reading side.
#[derive(Debug)]
pub struct Archive {
    reader: Mutex<Connection>,
    path: PathBuf,
    notes: OnceLock<SyncSender<Note>>,
}

/// The writing side: of the recorder's thread.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) bytes_max: u64,
    pub(super) keep: Duration,
    pub(super) bytes: u64,
    pub(super) now: Tick,
}

fn fail(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(rusqlite::Error) -> ArchiveError + use<> {
    let path = path.to_owned();
    move |source| ArchiveError::Sqlite {
        operation,
        path,
        source,
    }
}

/// `SQLite` has signed numbers only; ours never come near the difference.
pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Archive {
    /// Opens the file in `data_dir`, makes or mends what is missing, and ends what a killed controller left.
    ///
    /// # Errors
    /// When it is of a newer version, or the disk refuses. A damaged one is moved aside.
    pub(super) fn open(
        data_dir: &Path,
        ledger: &Ledger,
    ) -> Result<(Writer, Arc<Self>), ArchiveError> {
        let path = data_dir.join("recordings.sqlite");
        let connection = match connect(&path) {
            Err(ArchiveError::Sqlite { source, .. }) if is_damage(&source) => {
                set_aside(&path)?;
                connect(&path)?
            }
            other => other?,
        };
        let mut writer = Writer {
            connection,
            path: path.clone(),
            bytes_max: u64::MAX,
            keep: Duration::MAX,
            bytes: 0,
            now: Tick::default(),
        };
        writer.take_up(ledger)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader =
            Connection::open_with_flags(&path, flags).map_err(fail("open for reading", &path))?;
        reader
            .busy_timeout(Duration::from_secs(5))
            .map_err(fail("set up", &path))?;
        let archive = Self {
            reader: Mutex::new(reader),
            path,
            notes: OnceLock::new(),
        };
        Ok((writer, Arc::new(archive)))
    }

    pub(super) fn connect(&self, notes: SyncSender<Note>) {
        // Set once, right after opening.
        let _ = self.notes.set(notes);
    }

    /// Has everything written that the recorder holds, and says where it stands.
    pub async fn flush(&self) -> Mark {
        let (reply, answer) = oneshot::channel();
        let asked = self
            .notes
            .get()
            .is_some_and(|notes| notes.try_send(Note::Flush(reply)).is_ok());
        if !asked {
            return Mark { running: None };
        }
        answer.await.unwrap_or(Mark { running: None })
    }

    /// Recordings of one incident, or all that reach into the time since `since`; in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn list(
        self: &Arc<Self>,
        incident: Option<String>,
        since: Tick,
    ) -> Result<Vec<Recorded>, ArchiveError> {
        self.read("list", move |connection| {
            list(connection, incident.as_deref(), since)
        })
        .await
    }

    /// The body of one part; `None`: it was pruned meanwhile.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn chunk(
        self: &Arc<Self>,
        recording: i64,
        number: u64,
    ) -> Result<Option<Vec<u8>>, ArchiveError> {
        self.read("read", move |connection| {
            connection
                .prepare_cached("SELECT body FROM chunks WHERE recording = ?1 AND number = ?2")?
                .query_row(params![recording, signed(number)], |row| row.get(0))
                .optional()
        })
        .await
    }

    /// The member that holds a policy and an inventory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn setup(self: &Arc<Self>, digest: String) -> Result<Option<Vec<u8>>, ArchiveError> {
        self.read("read", move |connection| {
            connection
                .query_row(
                    "SELECT body FROM setups WHERE digest = ?1",
                    params![digest],
                    |row| row.get(0),
                )
                .optional()
        })
        .await
    }

    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let archive = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let connection = archive
                .reader
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            query(&connection).map_err(fail(operation, &archive.path))
        });
        task.await.map_err(|_| ArchiveError::ReaderGone)?
    }
}

fn connect(path: &Path) -> Result<Connection, ArchiveError> {
    let connection = Connection::open(path).map_err(fail("open", path))?;
    let set = |name, value: &str| {
        connection
            .pragma_update(None, name, value)
            .map_err(fail("set up", path))
    };
    connection
        .busy_timeout(Duration::from_secs(5))
        .map_err(fail("set up", path))?;
    // Before the first table, or it has no effect.
    set("auto_vacuum", "INCREMENTAL")?;
    set("journal_mode", "WAL")?;
    // A recording may lose its last moments when the power fails; the journal may not.
    set("synchronous", "NORMAL")?;
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(fail("read the version of", path))?;
    match found {
        0 => connection
            .execute_batch(&format!("BEGIN IMMEDIATE; {CREATE} COMMIT;"))
            .map_err(fail("create", path))?,
        SCHEMA => {}
        found => {
            let path = path.to_owned();
            return Err(ArchiveError::Newer { path, found });
        }
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(|source| {
        ArchiveError::File {
            operation: "make private",
            path: path.to_owned(),
            source,
        }
    })?;
    Ok(connection)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    )
}

/// A damaged file is kept for a look, under another name; one such file at most.
fn set_aside(path: &Path) -> Result<(), ArchiveError> {
    let aside = path.with_extension("sqlite.damaged");
    tracing::error!(file = %path.display(), aside = %aside.display(), "the recordings are damaged: moved aside, and begun anew");
    std::fs::rename(path, &aside).map_err(|source| ArchiveError::File {
        operation: "move aside",
        path: path.to_owned(),
        source,
    })?;
    for suffix in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        // They belong to the damaged file, and may not be there.
        let _ = std::fs::remove_file(PathBuf::from(name));
    }
    Ok(())
}

fn list(
    connection: &Connection,
    incident: Option<&str>,
    since: Tick,
) -> rusqlite::Result<Vec<Recorded>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, setup, began, first_sequence, last_sequence, chunks, lost, ending FROM recordings
         WHERE until >= ?2 AND (?1 IS NULL OR id IN (SELECT recording FROM covers WHERE incident = ?1)) ORDER BY id",
    )?;
    let rows = statement.query_map(params![incident, signed(since.0)], |row| {
        let number = |index| row.get(index).map(i64::unsigned_abs);
        let ending: Option<String> = row.get(7)?;
        Ok(Recorded {
            id: row.get(0)?,
            setup: row.get(1)?,
            began: Tick(number(2)?),
            first_sequence: number(3)?,
            last_sequence: number(4)?,
            chunks: number(5)?,
            lost: number(6)?,
            ending: ending.and_then(|word| serde_json::from_value(word.into()).ok()),
            incidents: Vec::new(),
        })
    })?;
    let mut found: Vec<Recorded> = rows.collect::<rusqlite::Result<_>>()?;
    let mut covers = connection
        .prepare_cached("SELECT incident FROM covers WHERE recording = ?1 ORDER BY incident")?;
    for recorded in &mut found {
        let incidents = covers.query_map(params![recorded.id], |row| row.get(0))?;
        recorded.incidents = incidents.collect::<rusqlite::Result<_>>()?;
    }
    Ok(found)
}

impl Writer {
    pub(super) fn limit(&mut self, bytes_max: u64, keep_days: u64) {
        self.bytes_max = bytes_max;
        self.keep = Duration::from_secs(keep_days.saturating_mul(86_400));
    }

    pub(super) fn fail(
        &self,
        operation: &'static str,
    ) -> impl FnOnce(rusqlite::Error) -> ArchiveError + use<> {
        fail(operation, &self.path)
    }

    /// Begins a recording.
    pub(super) fn begin(
        &mut self,
        setup: &Setup,
        began: Tick,
        sequence: u64,
    ) -> Result<i64, ArchiveError> {
        self.now = self.now.max(began);
        self.prune()?;
        let body = iaso_replay::codec::member([&Line::Setup(setup.clone())])
            .map_err(ArchiveError::Part)?;
        let transaction = self
            .connection
            .transaction()
            .map_err(fail("write", &self.path))?;
        let written = (|| {
            transaction.execute(
                "INSERT OR IGNORE INTO setups (digest, body) VALUES (?1, ?2)",
                params![setup.digest, body],
            )?;
            transaction.execute(
                "INSERT INTO recordings (setup, began, until, first_sequence, last_sequence) VALUES (?1, ?2, ?2, ?3, ?3)",
                params![setup.digest, signed(began.0), signed(sequence)],
            )?;
            let id = transaction.last_insert_rowid();
            transaction.commit()?;
            Ok(id)
        })();
        written.map_err(fail("write", &self.path))
    }

    /// Writes one part. `false`: there is no room, and nothing that may be given up for it.
    pub(super) fn append(
        &mut self,
        (recording, number): (i64, u64),
        body: &[u8],
        (at, last_sequence): (Tick, u64),
        incidents: &BTreeSet<String>,
    ) -> Result<bool, ArchiveError> {
        self.now = self.now.max(at);
        let size = body.len() as u64;
        if self.bytes.saturating_add(size) > self.bytes_max {
            self.prune()?;
            if self.bytes.saturating_add(size) > self.bytes_max {
                return Ok(false);
            }
        }
        let transaction = self
            .connection
            .transaction()
            .map_err(fail("write", &self.path))?;
        let written = (|| {
            transaction.execute(
                "INSERT INTO chunks (recording, number, body) VALUES (?1, ?2, ?3)",
                params![recording, signed(number), body],
            )?;
            transaction.execute(
                "UPDATE recordings SET chunks = ?2 + 1, bytes = bytes + ?3, until = max(until, ?4), last_sequence = max(last_sequence, ?5) WHERE id = ?1",
                params![recording, signed(number), signed(size), signed(at.0), signed(last_sequence)],
            )?;
            let mut cover = transaction.prepare_cached(
                "INSERT OR IGNORE INTO covers (recording, incident) VALUES (?1, ?2)",
            )?;
            for incident in incidents {
                cover.execute(params![recording, incident])?;
            }
            drop(cover);
            transaction.commit()
        })();
        written.map_err(fail("write", &self.path))?;
        self.bytes = self.bytes.saturating_add(size);
        Ok(true)
    }

    pub(super) fn lost(&mut self, recording: i64, messages: u64) -> Result<(), ArchiveError> {
        self.connection
            .execute(
                "UPDATE recordings SET lost = lost + ?2 WHERE id = ?1",
                params![recording, signed(messages)],
            )
            .map(drop)
            .map_err(self.fail("write"))
    }

    pub(super) fn end(&mut self, recording: i64, how: Ending) -> Result<(), ArchiveError> {
        let word = serde_json::to_value(how).map_err(ArchiveError::Encode)?;
        self.connection
            .execute(
                "UPDATE recordings SET ending = ?2 WHERE id = ?1",
                params![recording, word.as_str()],
            )
            .map(drop)
            .map_err(self.fail("write"))
    }

    pub(super) fn closed(&mut self, incident: &str, at: Tick) -> Result<(), ArchiveError> {
        self.connection
            .execute(
                "INSERT OR IGNORE INTO closed (incident, at) VALUES (?1, ?2)",
                params![incident, signed(at.0)],
            )
            .map(drop)
            .map_err(self.fail("write"))
    }
}
