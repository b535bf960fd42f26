//! What the agent owes the controller, on disk until it is acknowledged.
//!
//! **Invariants**
//! - A durable entry (a fix's outcome, an act of our own) is on disk before `append` returns and stays until it is acknowledged.
//! - Samples are bounded: the oldest are dropped, and counted. The next full report after a reconnect repairs what is lost.
//! - A torn tail costs what was torn, never what was there before: the file is read up to the first record that does not check.
//! - Sequences only grow, also over a restart.
//!
//! Left out: what the payload means. The session encodes and decodes it.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::disk::{self, DiskError};

mod record;

pub use record::{Kind, PAYLOAD_BYTES_MAX, Record};

const MAGIC: &[u8] = b"IASOBOX1";
/// A file larger than this was not written by us.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Dead bytes that are not worth a rewrite.
const SLACK_BYTES: u64 = 64 << 10;

/// How much the outbox keeps of what it may drop.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Samples kept.
    pub samples: usize,
    /// Bytes of samples kept.
    pub sample_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            samples: 512,
            sample_bytes: 2 << 20,
        }
    }
}

/// Why an entry was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The disk refused; a durable entry is kept in memory and written with the next one.
    #[error("the outbox is not on disk")]
    Disk(#[from] DiskError),
    /// Larger than a protocol message may be.
    #[error("an entry of {bytes} bytes is larger than a message may be ({PAYLOAD_BYTES_MAX})")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// The queue and its file.
#[derive(Debug)]
pub struct Outbox {
    path: PathBuf,
    file: File,
    limits: Limits,
    pending: VecDeque<Record>,
    /// Records that the disk refused so far: written before anything else.
    unwritten: Vec<Record>,
    next: u64,
    acked: u64,
    dropped: u64,
    sample_count: usize,
    sample_bytes: usize,
    /// Bytes of the file that are known to be whole.
    good: u64,
    live: u64,
}

impl Outbox {
    /// Opens or makes the outbox at `path`. What cannot be read at its end is put beside it as `….torn`.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, DiskError> {
        let bytes = disk::read_bounded(path, FILE_BYTES_MAX)?.unwrap_or_default();
        let body = bytes.strip_prefix(MAGIC);
        let (records, whole) = body.map(read_records).unwrap_or_default();
        let good = if body.is_some() {
            MAGIC.len() + whole
        } else {
            0
        };
        if good < bytes.len() {
            let torn = bytes.get(good..).unwrap_or_default();
            tracing::warn!(path = %path.display(), bytes = torn.len(), "the outbox ends in a torn record; it is put aside");
            let mut aside = path.as_os_str().to_owned();
            aside.push(".torn");
            disk::write_atomic(Path::new(&aside), torn)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|source| DiskError::io("open", path, source))?;
        let mut outbox = Self {
            path: path.to_owned(),
            file,
            limits,
            pending: VecDeque::new(),
            unwritten: Vec::new(),
            next: 1,
            acked: 0,
            dropped: 0,
            sample_count: 0,
            sample_bytes: 0,
            good: good as u64,
            live: 0,
        };
        for record in records {
            outbox.replay(record);
        }
        outbox.settle_start()?;
        Ok(outbox)
    }

    /// Adds an entry; gives its sequence. With `Err(Disk)` the entry is queued for sending all the same.
    ///
    /// `encode` gets the sequence, because it is part of the message.
    pub fn append(
        &mut self,
        kind: Kind,
        encode: impl FnOnce(u64) -> Vec<u8>,
    ) -> Result<u64, OutboxError> {
        let sequence = self.next;
        let payload = encode(sequence);
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(OutboxError::TooLarge {
                bytes: payload.len(),
            });
        }
        self.next += 1;
        let record = Record {
            kind,
            sequence,
            payload,
        };
        self.push(record.clone());
        self.drop_oldest();
        self.unwritten.push(record);
        self.flush(kind == Kind::Durable)?;
        Ok(sequence)
    }

    /// Everything up to `sequence` has arrived.
    pub fn ack(&mut self, sequence: u64) -> Result<(), DiskError> {
        // An acknowledgement of what was never sent must not swallow what comes later.
        let sequence = sequence.min(self.next - 1);
        if sequence <= self.acked {
            return Ok(());
        }
        self.forget_up_to(sequence);
        self.unwritten.push(Record {
            kind: Kind::Acked,
            sequence,
            payload: Vec::new(),
        });
        self.flush(false)?;
        if self.good > self.live.saturating_mul(2) + SLACK_BYTES {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Entries above `sequence`, oldest first, at most `max` of them.
    pub fn after(&self, sequence: u64, max: usize) -> impl Iterator<Item = &Record> {
        self.pending
            .iter()
            .filter(move |record| record.sequence > sequence)
            .take(max)
    }

    /// True while an entry with this sequence waits for its acknowledgement.
    #[must_use]
    pub fn is_pending(&self, sequence: u64) -> bool {
        self.pending
            .iter()
            .any(|record| record.sequence == sequence)
    }

    /// Entries not acknowledged yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// True when nothing is owed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Samples dropped since the agent started.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn push(&mut self, record: Record) {
        self.live += record_bytes(&record);
        if record.kind == Kind::Sample {
            self.sample_count += 1;
            self.sample_bytes += record.payload.len();
        }
        self.pending.push_back(record);
    }

    fn replay(&mut self, record: Record) {
        self.next = self.next.max(record.sequence + 1);
        match record.kind {
            Kind::Sample | Kind::Durable => self.push(record),
            Kind::Acked => self.forget_up_to(record.sequence),
            Kind::Base => {}
        }
    }

    fn forget_up_to(&mut self, sequence: u64) {
        self.acked = self.acked.max(sequence);
        while self
            .pending
            .front()
            .is_some_and(|record| record.sequence <= sequence)
        {
            let gone = self.pending.pop_front();
            self.count_off(gone.as_ref());
        }
    }

    fn count_off(&mut self, record: Option<&Record>) {
        let Some(record) = record else { return };
        self.live = self.live.saturating_sub(record_bytes(record));
        if record.kind == Kind::Sample {
            self.sample_count -= 1;
            self.sample_bytes -= record.payload.len();
        }
    }

    fn drop_oldest(&mut self) {
        while self.sample_count > self.limits.samples
            || self.sample_bytes > self.limits.sample_bytes
        {
            let Some(at) = self
                .pending
                .iter()
                .position(|record| record.kind == Kind::Sample)
            else {
                return;
            };
            let gone = self.pending.remove(at);
            self.count_off(gone.as_ref());
            self.dropped += 1;
        }
    }

    /// Brings the file in order after it was read: header, torn tail, bounds.
    fn settle_start(&mut self) -> Result<(), DiskError> {
        if self.good == 0 {
            return self.rewrite();
        }
        self.drop_oldest();
        self.dropped = 0; // Counted since the agent started, by the protocol.
        if self.good > self.live.saturating_mul(2) + SLACK_BYTES {
            return self.rewrite();
        }
        self.file
            .set_len(self.good)
            .map_err(|source| DiskError::io("truncate", &self.path, source))
    }

    fn flush(&mut self, durable: bool) -> Result<(), DiskError> {
        let bytes: Vec<u8> = self.unwritten.iter().flat_map(Record::encode).collect();
        // Also cuts off what an earlier failed write left behind, so that it can never hide what follows.
        let written = self
            .file
            .set_len(self.good)
            .and_then(|()| self.file.seek(SeekFrom::Start(self.good)))
            .and_then(|_| self.file.write_all(&bytes))
            .and_then(|()| {
                if durable {
                    self.file.sync_data()
                } else {
                    Ok(())
                }
            });
        match written {
            Ok(()) => {
                self.good += bytes.len() as u64;
                self.unwritten.clear();
                self.rewrite_if_grown()
            }
            Err(source) => {
                self.keep_only_durable_unwritten();
                Err(self.failed(source))
            }
        }
    }

    /// A full disk must not become a full memory: what waits to be written is bounded by what `pending` still holds.
    fn keep_only_durable_unwritten(&mut self) {
        let acked = self.acked;
        self.unwritten
            .retain(|record| record.kind == Kind::Durable && record.sequence > acked);
    }

    /// Dropped samples leave dead bytes in the file even when nothing is ever acknowledged.
    fn rewrite_if_grown(&mut self) -> Result<(), DiskError> {
        if self.good > self.live.saturating_mul(2) + (self.limits.sample_bytes as u64) + SLACK_BYTES
        {
            return self.rewrite();
        }
        Ok(())
    }

    fn rewrite(&mut self) -> Result<(), DiskError> {
        let mark = |kind, sequence| Record {
            kind,
            sequence,
            payload: Vec::new(),
        };
        let marks = [
            mark(Kind::Base, self.next - 1),
            mark(Kind::Acked, self.acked),
        ];
        let mut bytes = MAGIC.to_vec();
        bytes.extend(marks.iter().chain(&self.pending).flat_map(Record::encode));
        disk::write_atomic(&self.path, &bytes)?;
        self.file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.path)
            .map_err(|source| DiskError::io("open", &self.path, source))?;
        self.good = bytes.len() as u64;
        self.unwritten.clear();
        Ok(())
    }

    fn failed(&self, source: io::Error) -> DiskError {
        DiskError::io("write", &self.path, source)
    }
}

fn record_bytes(record: &Record) -> u64 {
    (record::HEADER_BYTES + record.payload.len()) as u64
}

fn read_records(mut bytes: &[u8]) -> (Vec<Record>, usize) {
    let mut records = Vec::new();
    let mut whole = 0;
    while let Some((record, taken)) = Record::decode(bytes) {
        records.push(record);
        whole += taken;
        bytes = bytes.get(taken..).unwrap_or_default();
    }
    (records, whole)
}

#[cfg(test)]
mod tests;
