//! The journal on disk: appended to by one writer, read by anybody, streamed to whoever keeps up.
//!
//! **Invariants**
//! - One transaction for each plan, durable when [`Store::append`] returns. Sequences have no gaps.
//! - A snapshot is a shortcut and never the truth: one that does not fit this program or the journal is passed over.
//! - A second controller on the same directory, a newer schema, a damaged file or an entry that does not follow: refused in words.
//! - The stream of [`Store::subscribe`] is bounded: a slow reader is told that it lags, and reads on from the journal.

mod error;
mod lock;
pub mod reports;
mod scope;
mod snapshot;
mod sqlite;
mod writer;

pub use error::StoreError;
pub use scope::Scope;
pub use snapshot::{SNAPSHOT_EVERY, Snapshot};

use iaso_engine::effect::Outcome;
use iaso_engine::id::EffectId;
use iaso_engine::ledger::Ledger;
use iaso_engine::record::{Entry, Record};
use iaso_engine::time::Tick;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::{broadcast, mpsc, oneshot};

/// Entries that a slow reader of the stream may be behind.
const STREAM_LAG_MAX: usize = 4_096;
/// Transactions that may wait for the writer.
const WRITES_QUEUED_MAX: usize = 64;
/// Most entries of one read.
pub const READ_MAX: usize = 1_000;

/// Providers' operations and the effects that own them, over all of the journal: an old one is never taken for a new effect's.
pub type Operations = BTreeMap<String, EffectId>;

/// Remembers the operation that a record names.
pub fn note_operation(operations: &mut Operations, record: &Record) {
    if let Record::Resolved {
        effect,
        outcome: Outcome::Started {
            operation: Some(operation),
        },
    } = record
    {
        operations.insert(operation.id.0.clone(), effect.clone());
    }
}

/// A journal that was opened and folded.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub store: Arc<Store>,
    /// What it says.
    pub ledger: Ledger,
    /// Operations of providers that it names.
    pub operations: Operations,
    /// Time of its last entry.
    pub last_at: Tick,
    /// Sequence of the snapshot that the ledger was read from; 0: every entry was folded.
    pub snapshot: u64,
}

/// The journal.
#[derive(Debug)]
pub struct Store {
    writer: mpsc::Sender<writer::Job>,
    reader: Arc<Mutex<rusqlite::Connection>>,
    stream: broadcast::Sender<Arc<Entry>>,
    data_dir: PathBuf,
    // Held as long as the store lives; the writer thread holds another handle, so that no second controller can come in between.
    _lock: Arc<lock::Lock>,
}

impl Store {
    /// Opens the journal in `data_dir`, checks it, and folds it.
    ///
    /// # Errors
    /// When another controller uses it, it is damaged, of a newer version, or the disk refuses.
    pub fn open(data_dir: &Path) -> Result<Opened, StoreError> {
        let lock = Arc::new(lock::Lock::take(data_dir)?);
        let path = data_dir.join("journal.sqlite");
        let connection = sqlite::open(&path)?;
        let Snapshot {
            mut ledger,
            mut operations,
            mut last_at,
        } = snapshot::latest(&connection, &path)?;
        let snapshot = ledger.sequence;
        sqlite::each(&connection, &path, snapshot, |entry| {
            ledger.fold(&entry).map_err(|source| StoreError::Fold {
                path: path.clone(),
                source,
            })?;
            note_operation(&mut operations, &entry.record);
            last_at = last_at.max(entry.at);
            Ok(())
        })?;
        let reader = Arc::new(Mutex::new(sqlite::open_reader(&path)?));
        let (stream, _) = broadcast::channel(STREAM_LAG_MAX);
        let (writer, jobs) = mpsc::channel(WRITES_QUEUED_MAX);
        writer::spawn(writer::Writer {
            connection,
            path,
            jobs,
            stream: stream.clone(),
            next: ledger.sequence + 1,
            _lock: Arc::clone(&lock),
        })?;
        let store = Arc::new(Self {
            writer,
            reader,
            stream,
            data_dir: data_dir.to_owned(),
            _lock: lock,
        });
        Ok(Opened {
            store,
            ledger,
            operations,
            last_at,
            snapshot,
        })
    }

    /// Keeps a snapshot, so that the next opening need not fold what came before it.
    ///
    /// # Errors
    /// When the disk refuses: then nothing but time is lost.
    pub async fn keep(&self, snapshot: Snapshot) -> Result<(), StoreError> {
        let sequence = snapshot.ledger.sequence;
        let body = tokio::task::spawn_blocking(move || snapshot.encode())
            .await
            .map_err(|_| StoreError::ReaderGone)??;
        let (reply, answer) = oneshot::channel();
        self.writer
            .send(writer::Job::Snapshot {
                sequence,
                body,
                reply,
            })
            .await
            .map_err(|_| StoreError::WriterGone)?;
        answer.await.map_err(|_| StoreError::WriterGone)?
    }

    /// Appends records in one transaction, and returns them as entries when they are on the disk.
    ///
    /// # Errors
    /// When they are not: then none of them is.
    pub async fn append(&self, at: Tick, records: Vec<Record>) -> Result<Vec<Entry>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = writer::Job::Append { at, records, reply };
        self.writer
            .send(job)
            .await
            .map_err(|_| StoreError::WriterGone)?;
        answer.await.map_err(|_| StoreError::WriterGone)?
    }

    /// At most `limit` entries after `after`, in order; of one incident, when it is named.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn read(
        &self,
        after: u64,
        limit: usize,
        incident: Option<String>,
    ) -> Result<Vec<Entry>, StoreError> {
        let reader = Arc::clone(&self.reader);
        let path = self.data_dir.join("journal.sqlite");
        let limit = limit.min(READ_MAX);
        let task = tokio::task::spawn_blocking(move || {
            let connection = reader
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            sqlite::read(&connection, &path, after, limit, incident.as_deref())
        });
        task.await.map_err(|_| StoreError::ReaderGone)?
    }

    /// All entries of one incident, up to a bound of 100,000.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn incident(&self, incident: &str) -> Result<Vec<Entry>, StoreError> {
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..100 {
            let after = entries.last().map_or(0, |entry| entry.sequence);
            let page = self
                .read(after, READ_MAX, Some(incident.to_owned()))
                .await?;
            let last_page = page.len() < READ_MAX;
            entries.extend(page);
            if last_page {
                break;
            }
        }
        Ok(entries)
    }

    /// Entries as they are written from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Entry>> {
        self.stream.subscribe()
    }

    /// Where the controller keeps its data.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
}

#[cfg(test)]
mod tests;
