//! The flight recorder: the last minutes of what the driver was told, kept in memory, and on the disk while an incident is open.
//!
//! **Invariants**
//! - The driver never waits for it: a note that finds the queue full is dropped and counted, the recording says that it has a gap, and
//!   a new base mends it.
//! - Bounded: the queue by notes and bytes, the memory by minutes and bytes, the disk by bytes and days.
//! - Its file is its own: what goes wrong with it stops recording, never deciding.
//!
//! Deliberately absent: journal entries (the journal has them) and secrets (no observation holds one).

mod archive;
mod prune;
mod tape;
mod weight;

pub use archive::{Archive, ArchiveError, Recorded};
pub use tape::Mark;

use crate::config::Config;
use crate::status::Metrics;
use crate::text::chain;
use iaso_engine::fact::Observation;
use iaso_engine::ledger::{Ledger, Standing};
use iaso_engine::record::Entry;
use iaso_engine::time::Tick;
use iaso_engine::world::World;
use iaso_replay::line::{Decided, Setup};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use tape::{Note, Tape};

/// Notes that may wait.
const NOTES_QUEUED_MAX: usize = 8_192;
/// And their bytes, estimated.
const BYTES_QUEUED_MAX: usize = 32 << 20;
/// After a loss, the world and the ledger are copied for a new base at most this often.
const BASE_GAP: Duration = Duration::from_secs(10);

/// How much is kept.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordingConfig {
    /// How much of the time before an incident is kept.
    pub before_secs: u64,
    /// Most memory for it, in MiB.
    pub memory_mib: u64,
    /// Most disk, in MiB; 0: nothing is recorded.
    pub max_mib: u64,
    /// Recordings of closed incidents are kept so long.
    pub keep_days: u64,
}

impl Default for RecordingConfig {
    fn default() -> Self {
        Self {
            before_secs: 300,
            memory_mib: 32,
            max_mib: 256,
            keep_days: 30,
        }
    }
}

/// The driver's side.
#[derive(Debug)]
pub struct Recorder {
    notes: Option<SyncSender<Note>>,
    queued: Arc<AtomicUsize>,
    metrics: Metrics,
    deciding: Option<Tick>,
    lost: u64,
    based: Option<tokio::time::Instant>,
}

impl Recorder {
    /// One that records nothing.
    #[must_use]
    pub fn off(metrics: Metrics) -> Self {
        Self {
            notes: None,
            queued: Arc::default(),
            metrics,
            deciding: None,
            lost: 0,
            based: None,
        }
    }

    /// Opens the archive and starts the thread that writes it. What cannot be opened is said, and nothing is recorded.
    pub fn start(
        config: &Config,
        ledger: &Ledger,
        metrics: Metrics,
    ) -> (Self, Option<Arc<Archive>>) {
        if config.recording.max_mib == 0 {
            return (Self::off(metrics), None);
        }
        let opened = Setup::of(&config.policy, &config.inventory())
            .map_err(ArchiveError::Encode)
            .and_then(|setup| {
                Archive::open(&config.data_dir, ledger).map(|archive| (setup, archive))
            });
        let (setup, (writer, archive)) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "nothing is recorded: incidents cannot be replayed"
                );
                return (Self::off(metrics), None);
            }
        };
        let (notes, inbox) = sync_channel(NOTES_QUEUED_MAX);
        let queued = Arc::new(AtomicUsize::new(0));
        let tape = Tape::new(writer, setup, config.recording, Arc::clone(&queued));
        let spawned = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || tape.run(&inbox));
        if let Err(error) = spawned {
            tracing::error!(%error, "nothing is recorded: no thread can be started");
            return (Self::off(metrics), None);
        }
        archive.connect(notes.clone());
        let recorder = Self {
            notes: Some(notes),
            queued,
            ..Self::off(metrics)
        };
        (recorder, Some(archive))
    }

    /// What the driver was told.
    pub fn seen(&mut self, at: Tick, facts: &[Observation]) {
        if self.notes.is_none() || facts.is_empty() {
            return;
        }
        if self.lost > 0 {
            return self.lose();
        }
        let weight = facts.iter().map(weight::of).sum();
        let facts = facts.to_vec();
        self.send(weight, Note::Seen { at, facts, weight });
    }

    /// The engine is being asked, and the journal with it: what it says next is this decision's.
    pub fn deciding(&mut self, now: Tick) {
        self.deciding = Some(now);
    }

    /// What the journal took, by a decision or from outside.
    pub fn entries(&mut self, entries: &[Entry]) {
        let decided = self.deciding.take();
        let Some(first) = entries.first().filter(|_| self.notes.is_some()) else {
            return;
        };
        if let Some(now) = decided {
            let decided = Decided {
                now,
                before: first.sequence.saturating_sub(1),
                journaled: entries.len() as u64,
                refused: 0,
            };
            self.send(
                64,
                Note::Decided {
                    decided,
                    active: true,
                },
            );
        }
        let weight = entries.len().saturating_mul(500);
        let entries = entries.to_vec();
        self.send(weight, Note::Entries { entries, weight });
    }

    /// A decision that the journal did not take.
    pub fn refused(&mut self, ledger: &Ledger, records: usize) {
        if let Some(now) = self.deciding.take() {
            let refused = records as u64;
            self.decision(now, ledger, refused);
        }
    }

    /// A decision to do nothing.
    pub fn nothing(&mut self, now: Tick, ledger: &Ledger) {
        self.decision(now, ledger, 0);
    }

    fn decision(&mut self, now: Tick, ledger: &Ledger, refused: u64) {
        if self.notes.is_none() {
            return;
        }
        let decided = Decided {
            now,
            before: ledger.sequence,
            journaled: 0,
            refused,
        };
        let active = ledger
            .incidents
            .values()
            .any(|incident| matches!(incident.standing, Standing::Open | Standing::Verifying(_)));
        self.send(64, Note::Decided { decided, active });
    }

    /// At the beginning, and between two turns: after a loss the recording begins anew here.
    pub fn settle(&mut self, world: &World, ledger: &Ledger) {
        let due = match self.based {
            None => true,
            Some(at) => self.lost > 0 && at.elapsed() >= BASE_GAP,
        };
        let room = self.queued.load(Ordering::Relaxed) <= BYTES_QUEUED_MAX / 2;
        let (true, Some(notes)) = (due && room, &self.notes) else {
            return;
        };
        let note = Note::Base {
            lost: self.lost,
            world: Box::new(world.clone()),
            ledger: Box::new(ledger.clone()),
        };
        self.based = Some(tokio::time::Instant::now());
        if notes.try_send(note).is_ok() {
            if self.lost > 0 {
                tracing::warn!(
                    lost = self.lost,
                    "the recorder had no room: the recording has a gap, and goes on"
                );
            }
            self.lost = 0;
        }
    }

    /// Ends the recording in order. Without it, it is as if the process had been killed.
    pub fn end(&mut self) {
        if let Some(notes) = self.notes.take() {
            // Full: then it ends as a cut one, which is what it is.
            let _ = notes.try_send(Note::End);
        }
    }

    fn lose(&mut self) {
        self.lost = self.lost.saturating_add(1);
        self.metrics.dropped("recording");
    }

    fn send(&mut self, weight: usize, note: Note) {
        let Some(notes) = &self.notes else { return };
        let full = self.queued.load(Ordering::Relaxed) > BYTES_QUEUED_MAX;
        // After a loss nothing makes sense until the next base.
        if self.lost > 0 || full {
            return self.lose();
        }
        self.queued.fetch_add(weight, Ordering::Relaxed);
        match notes.try_send(note) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.queued.fetch_sub(weight, Ordering::Relaxed);
                self.lose();
            }
            Err(TrySendError::Disconnected(_)) => self.notes = None,
        }
    }
}
