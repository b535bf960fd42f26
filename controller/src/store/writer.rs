//! The one thread that writes the journal.

use super::{StoreError, lock, snapshot, sqlite};
use iaso_engine::record::{Entry, Record};
use iaso_engine::time::Tick;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot};

/// One transaction.
#[derive(Debug)]
pub(super) enum Job {
    /// Records to be appended.
    Append {
        at: Tick,
        records: Vec<Record>,
        reply: oneshot::Sender<Result<Vec<Entry>, StoreError>>,
    },
    /// A snapshot to be kept.
    Snapshot {
        sequence: u64,
        body: Vec<u8>,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
}

pub(super) struct Writer {
    pub(super) connection: rusqlite::Connection,
    pub(super) path: PathBuf,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) stream: broadcast::Sender<Arc<Entry>>,
    pub(super) next: u64,
    pub(super) _lock: Arc<lock::Lock>,
}

pub(super) fn spawn(writer: Writer) -> Result<(), StoreError> {
    let path = writer.path.clone();
    std::thread::Builder::new()
        .name("journal".into())
        .spawn(move || writer.run())
        .map(drop)
        .map_err(|source| StoreError::File {
            operation: "start the writer of",
            path,
            source,
        })
}

impl Writer {
    fn run(mut self) {
        while let Some(job) = self.jobs.blocking_recv() {
            let (at, records, reply) = match job {
                Job::Append { at, records, reply } => (at, records, reply),
                Job::Snapshot {
                    sequence,
                    body,
                    reply,
                } => {
                    let kept = snapshot::keep(&mut self.connection, &self.path, sequence, &body);
                    // Nobody waits any more: the next one comes.
                    let _ = reply.send(kept);
                    continue;
                }
            };
            let result = self.append(at, records);
            if let Ok(entries) = &result {
                for entry in entries {
                    // Nobody listening is no error: the journal itself is the record.
                    let _ = self.stream.send(Arc::new(entry.clone()));
                }
            }
            // The driver has gone: it will read the journal when it comes back.
            let _ = reply.send(result);
        }
    }

    fn append(&mut self, at: Tick, records: Vec<Record>) -> Result<Vec<Entry>, StoreError> {
        let entries: Vec<Entry> = (self.next..)
            .zip(records)
            .map(|(sequence, record)| Entry {
                sequence,
                at,
                record,
            })
            .collect();
        let Some(last) = entries.last().map(|entry| entry.sequence) else {
            return Ok(entries);
        };
        if let Err(error) = sqlite::insert(&mut self.connection, &self.path, &entries) {
            // A failed COMMIT may have reached the disk; only the disk knows.
            match sqlite::last_sequence(&self.connection, &self.path) {
                Ok(found) if found == last => {}
                Ok(_) | Err(_) => return Err(error),
            }
        }
        self.next = last + 1;
        Ok(entries)
    }
}
