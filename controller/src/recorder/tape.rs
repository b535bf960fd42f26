//! The recorder's thread: the last minutes as a ring over a base that follows behind, and the recording that is being written.
//!
//! **Invariants**
//! - What leaves the ring goes into the base: base and ring together are always all that is known, without ever copying the world.
//! - While a recording is written the ring is empty: what is noted goes to the disk and into the base, and no moment is in two
//!   recordings.

use super::archive::Writer;
use super::{ArchiveError, RecordingConfig};
use crate::text::chain;
use iaso_engine::fact::Observation;
use iaso_engine::ledger::{Ledger, Standing};
use iaso_engine::record::{Entry, Record};
use iaso_engine::time::Tick;
use iaso_engine::world::World;
use iaso_replay::codec::Member;
use iaso_replay::line::{Base, Decided, Ending, Line, Setup};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A part is written when it has so many bytes,
const PART_BYTES: usize = 256 << 10;
/// or is so old,
const PART_AGE: Duration = Duration::from_secs(2);
/// or, when it holds a decision that did something, so old.
const PART_AGE_DECIDED: Duration = Duration::from_millis(200);
/// A recording goes on for so long after the last word about an incident.
const QUIET: Duration = Duration::from_mins(1);

/// Where the recording stands: for whoever reads it while it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The recording that is being written.
    pub running: Option<i64>,
}

/// What the driver and readers say to the thread.
#[derive(Debug)]
pub(super) enum Note {
    /// A new base: at the beginning, and after a loss.
    Base {
        lost: u64,
        world: Box<World>,
        ledger: Box<Ledger>,
    },
    Seen {
        at: Tick,
        facts: Vec<Observation>,
        weight: usize,
    },
    /// Comes before the entries it made.
    Decided {
        decided: Decided,
        active: bool,
    },
    Entries {
        entries: Vec<Entry>,
        weight: usize,
    },
    /// Write what there is, and say where it stands.
    Flush(oneshot::Sender<Mark>),
    /// The driver ends in order.
    End,
}

enum Frame {
    Seen(Tick, Vec<Observation>),
    Decided(Decided),
    Entries(Vec<Entry>),
}

struct Writing {
    recording: i64,
    part: Member,
    number: u64,
    due: Option<Instant>,
    last_sequence: u64,
    at: Tick,
    incidents: BTreeSet<String>,
}

pub(super) struct Tape {
    writer: Writer,
    setup: Setup,
    before: Duration,
    ring_bytes_max: usize,
    queued: Arc<AtomicUsize>,
    base: Option<(World, Ledger)>,
    ring: VecDeque<(Tick, usize, Frame)>,
    ring_bytes: usize,
    writing: Option<Writing>,
    /// The archive is full or broken: nothing is written until all is quiet again.
    halted: bool,
    now: Tick,
    touched: Tick,
}

impl Tape {
    pub(super) fn new(
        writer: Writer,
        setup: Setup,
        config: RecordingConfig,
        queued: Arc<AtomicUsize>,
    ) -> Self {
        let bytes = |mib: u64| usize::try_from(mib.saturating_mul(1 << 20)).unwrap_or(usize::MAX);
        let mut writer = writer;
        writer.limit(config.max_mib.saturating_mul(1 << 20), config.keep_days);
        Self {
            writer,
            setup,
            before: Duration::from_secs(config.before_secs),
            ring_bytes_max: bytes(config.memory_mib),
            queued,
            base: None,
            ring: VecDeque::new(),
            ring_bytes: 0,
            writing: None,
            halted: false,
            now: Tick::default(),
            touched: Tick::default(),
        }
    }

    pub(super) fn run(mut self, inbox: &Receiver<Note>) {
        loop {
            let due = self.writing.as_ref().and_then(|writing| writing.due);
            let wait = due.map_or(Duration::from_mins(1), |due| {
                due.saturating_duration_since(Instant::now())
            });
            match inbox.recv_timeout(wait) {
                Ok(Note::End) => return self.stop(Ending::Closed),
                Ok(note) => self.take(note),
                Err(RecvTimeoutError::Timeout) => self.flush(),
                // The driver is gone without a word: as after kill -9, the recording is cut.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let full = self
                .writing
                .as_ref()
                .is_some_and(|writing| writing.part.raw_bytes() >= PART_BYTES);
            if full || due.is_some_and(|due| due <= Instant::now()) {
                self.flush();
            }
        }
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Base {
                lost,
                world,
                ledger,
            } => self.rebase(lost, *world, *ledger),
            Note::Seen { at, facts, weight } => {
                self.queued.fetch_sub(weight, Ordering::Relaxed);
                self.now = self.now.max(at);
                self.frame(at, weight, Frame::Seen(at, facts));
            }
            Note::Decided { decided, active } => {
                self.queued.fetch_sub(64, Ordering::Relaxed);
                self.now = self.now.max(decided.now);
                self.frame(decided.now, 64, Frame::Decided(decided));
                self.pace(active, decided.journaled > 0);
            }
            Note::Entries { entries, weight } => {
                self.queued.fetch_sub(weight, Ordering::Relaxed);
                self.hear(&entries);
                let at = entries.last().map_or(self.now, |entry| entry.at);
                self.frame(at, weight, Frame::Entries(entries));
            }
            Note::Flush(reply) => {
                self.flush();
                let running = self.writing.as_ref().map(|writing| writing.recording);
                // Nobody waits any more.
                let _ = reply.send(Mark { running });
            }
            Note::End => {}
        }
    }

    /// What is said of incidents begins a recording and keeps it going.
    fn hear(&mut self, entries: &[Entry]) {
        let ids: BTreeSet<String> = entries
            .iter()
            .filter_map(|entry| crate::store::Scope::of(&entry.record).incident)
            .collect();
        for entry in entries {
            if let Record::Closed { incident, .. } = &entry.record
                && let Err(error) = self.writer.closed(incident.as_str(), entry.at)
            {
                self.trouble(&error);
            }
        }
        let Some(last) = entries.last().filter(|_| !ids.is_empty()) else {
            return;
        };
        self.touched = last.at;
        if self.writing.is_none() && !self.halted {
            self.begin();
        }
        if let Some(writing) = &mut self.writing {
            writing.incidents.extend(ids);
        }
    }

    fn pace(&mut self, active: bool, did_something: bool) {
        if active && self.writing.is_none() && !self.halted {
            self.touched = self.now;
            self.begin();
        }
        if active {
            self.touched = self.touched.max(self.now);
        }
        if let Some(writing) = self.writing.as_mut().filter(|_| did_something) {
            let soon = Instant::now() + PART_AGE_DECIDED;
            writing.due = Some(writing.due.map_or(soon, |due| due.min(soon)));
        }
        if !active && self.now.since(self.touched) >= QUIET {
            self.halted = false;
            if self.writing.is_some() {
                self.stop(Ending::Closed);
            }
        }
    }

    fn frame(&mut self, at: Tick, weight: usize, frame: Frame) {
        if self.writing.is_some() {
            return self.write(frame);
        }
        self.ring_bytes = self.ring_bytes.saturating_add(weight);
        self.ring.push_back((at, weight, frame));
        while let Some((at, weight, frame)) = self.ring.pop_front_if(|(at, _, _)| {
            self.now.since(*at) > self.before || self.ring_bytes > self.ring_bytes_max
        }) {
            let _: Tick = at;
            self.ring_bytes = self.ring_bytes.saturating_sub(weight);
            self.absorb(frame);
        }
    }

    /// Puts a frame into the base.
    fn absorb(&mut self, frame: Frame) {
        let Some((world, ledger)) = &mut self.base else {
            return;
        };
        match frame {
            Frame::Seen(at, facts) => facts.into_iter().for_each(|fact| world.observe(at, fact)),
            Frame::Decided(_) => {}
            Frame::Entries(entries) => {
                for entry in entries {
                    if let Err(error) = ledger.fold(&entry) {
                        tracing::error!(
                            error = chain(&error),
                            "the recorder's ledger does not add up: it waits for a new base"
                        );
                        self.base = None;
                        return;
                    }
                }
            }
        }
    }

    fn rebase(&mut self, lost: u64, world: World, ledger: Ledger) {
        self.ring.clear();
        self.ring_bytes = 0;
        self.base = Some((world, ledger));
        if lost == 0 || self.writing.is_none() {
            return;
        }
        if let Err(error) = self.write_base(Some(lost)) {
            self.trouble(&error);
        }
    }

    fn begin(&mut self) {
        let Some((_, ledger)) = &self.base else {
            return;
        };
        let open = ledger
            .incidents
            .values()
            .filter(|i| matches!(i.standing, Standing::Open | Standing::Verifying(_)));
        let incidents = open.map(|incident| incident.id.0.clone()).collect();
        let began = self.ring.front().map_or(self.now, |(at, _, _)| *at);
        match self.writer.begin(&self.setup, began, ledger.sequence) {
            Ok(recording) => {
                self.writing = Some(Writing {
                    recording,
                    part: Member::default(),
                    number: 0,
                    due: None,
                    last_sequence: ledger.sequence,
                    at: self.now,
                    incidents,
                });
            }
            Err(error) => return self.trouble(&error),
        }
        if let Err(error) = self.write_base(None) {
            return self.trouble(&error);
        }
        for (_, _, frame) in std::mem::take(&mut self.ring) {
            self.write(frame);
        }
        self.ring_bytes = 0;
    }

    fn write_base(&mut self, lost: Option<u64>) -> Result<(), ArchiveError> {
        let (Some(writing), Some((world, ledger))) = (&mut self.writing, &self.base) else {
            return Ok(());
        };
        if let Some(messages) = lost {
            self.writer.lost(writing.recording, messages)?;
            writing.push(&Line::Lost { messages })?;
        }
        // The ledger in it is the one that the ring's decisions follow: they are written behind it.
        writing.push(&Line::Base(Box::new(Base {
            recording: writing.recording,
            setup: self.setup.digest.clone(),
            world: world.clone(),
            ledger: ledger.clone(),
        })))
    }

    fn write(&mut self, frame: Frame) {
        let written = match (&mut self.writing, frame) {
            (None, frame) => {
                self.absorb(frame);
                Ok(())
            }
            (Some(writing), Frame::Seen(at, facts)) => {
                let line = Line::Seen { at, facts };
                let written = writing.push(&line);
                if let Line::Seen { at, facts } = line {
                    self.absorb(Frame::Seen(at, facts));
                }
                written
            }
            (Some(writing), Frame::Decided(decided)) => {
                writing.last_sequence = decided.before.saturating_add(decided.journaled);
                writing.at = decided.now;
                writing.push(&Line::Decided(decided))
            }
            (Some(writing), Frame::Entries(entries)) => {
                if let Some(last) = entries.last() {
                    writing.last_sequence = writing.last_sequence.max(last.sequence);
                }
                self.absorb(Frame::Entries(entries));
                Ok(())
            }
        };
        if let Err(error) = written {
            self.trouble(&error);
        }
    }

    /// Writes the part that there is.
    fn flush(&mut self) {
        let Some(writing) = &mut self.writing else {
            return;
        };
        writing.due = None;
        if writing.part.raw_bytes() == 0 {
            return;
        }
        let part = std::mem::take(&mut writing.part);
        let written = part.finish().map_err(ArchiveError::Part).and_then(|body| {
            self.writer.append(
                (writing.recording, writing.number),
                &body,
                (writing.at, writing.last_sequence),
                &writing.incidents,
            )
        });
        writing.number = writing.number.saturating_add(1);
        match written {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(
                    recording = writing.recording,
                    "recording.max_mib is used up by incidents that are not closed: this recording ends here"
                );
                self.halt();
            }
            Err(error) => self.trouble(&error),
        }
    }

    fn stop(&mut self, how: Ending) {
        self.flush();
        if let Some(writing) = self.writing.take()
            && let Err(error) = self.writer.end(writing.recording, how)
        {
            tracing::warn!(
                error = chain(&error),
                "a recording could not be ended in order"
            );
        }
    }

    fn halt(&mut self) {
        self.halted = true;
        if let Some(writing) = self.writing.take() {
            // It may be the disk that is full: then the next start calls the recording cut.
            let _ = self.writer.end(writing.recording, Ending::Full);
        }
    }

    fn trouble(&mut self, error: &ArchiveError) {
        tracing::error!(error = chain(error), "nothing more of this is recorded");
        self.halt();
    }
}

impl Writing {
    fn push(&mut self, line: &Line) -> Result<(), ArchiveError> {
        if self.part.raw_bytes() == 0 {
            let chunk = Line::Chunk {
                recording: self.recording,
                number: self.number,
            };
            self.part.push(&chunk).map_err(ArchiveError::Part)?;
        }
        self.part.push(line).map_err(ArchiveError::Part)?;
        self.due.get_or_insert_with(|| Instant::now() + PART_AGE);
        Ok(())
    }
}
