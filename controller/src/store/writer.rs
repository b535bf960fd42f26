//! The one thread that writes the journal.

use super::{StoreError, lock, sqlite};
use iaso_engine::record::{Entry, Record};
use iaso_engine::time::Tick;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Records to be appended in one transaction.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) at: Tick,
    pub(super) records: Vec<Record>,
    pub(super) reply: oneshot::Sender<Result<Vec<Entry>, StoreError>>,
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
            let result = self.append(job.at, job.records);
            if let Ok(entries) = &result {
                for entry in entries {
                    // Nobody listening is no error: the journal itself is the record.
                    let _ = self.stream.send(Arc::new(entry.clone()));
                }
            }
            // The driver has gone: it will read the journal when it comes back.
            let _ = job.reply.send(result);
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
