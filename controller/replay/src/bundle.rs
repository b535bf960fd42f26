//! A bundle of recordings, read step by step: what it is about first, then each recording from its base to its end.
//!
//! **Invariants**
//! - Nothing is held but what the step needs: a recording may be larger than memory.
//! - A bundle that ends before its `end`, a part that is missing and a recording that nothing can be known of are named as gaps.

use crate::codec::{CodecError, Lines};
use crate::line::{Decided, Ending, FORMAT, Header, Line, Setup, Stop};
use iaso_engine::fact::{Inventory, Observation};
use iaso_engine::ledger::Ledger;
use iaso_engine::policy::Policy;
use iaso_engine::record::Entry;
use iaso_engine::time::Tick;
use iaso_engine::version::ReadError;
use iaso_engine::world::World;
use std::collections::{BTreeMap, VecDeque};
use std::io::BufRead;
use std::sync::Arc;

/// Most entries of the incidents that a bundle is about.
const ENTRIES_MAX: usize = 2_000_000;
/// Most policies and inventories in one bundle.
const SETUPS_MAX: usize = 1_000;

/// Why a bundle cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Its lines cannot be read.
    #[error("the recording cannot be read")]
    Codec(#[from] CodecError),
    /// It does not begin as one.
    #[error("this is no recording of Iaso's: it has no header")]
    NoHeader,
    /// Of a newer format.
    #[error(
        "the recording has format {found}, and this program knows {FORMAT}: use the newer `iaso` that goes with its controller"
    )]
    Newer {
        /// Its format.
        found: u32,
    },
    /// An entry cannot be read.
    #[error("journal entry {sequence} cannot be read")]
    Entry {
        /// Which.
        sequence: u64,
        /// The cause.
        #[source]
        source: ReadError,
    },
    /// A policy or inventory cannot be read.
    #[error(
        "the recorded {what} {digest} is not one that this program knows: use the `iaso` that goes with its controller"
    )]
    Setup {
        /// Policy or inventory.
        what: &'static str,
        /// Its digest.
        digest: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// More than anything real.
    #[error("the recording holds more than {most} {what}: export one incident, or a shorter time")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
}

/// A policy and inventory, and where today's program reads more into them than was written.
#[derive(Debug, Clone)]
pub struct Understood {
    /// The policy.
    pub policy: Policy,
    /// The inventory.
    pub inventory: Inventory,
    /// Keys that the recording does not have, with what is assumed for them.
    pub assumed: Vec<String>,
}

impl Understood {
    fn of(setup: &Setup) -> Result<Self, BundleError> {
        let fail = |what| {
            let digest = setup.digest.clone();
            move |source| BundleError::Setup {
                what,
                digest,
                source,
            }
        };
        let policy: Policy =
            serde_json::from_value(setup.policy.clone()).map_err(fail("policy"))?;
        let inventory: Inventory =
            serde_json::from_value(setup.inventory.clone()).map_err(fail("inventory"))?;
        let today = serde_json::to_value(&policy).map_err(fail("policy"))?;
        let mut assumed = Vec::new();
        if let (Some(today), Some(then)) = (today.as_object(), setup.policy.as_object()) {
            let new = today.iter().filter(|(key, _)| !then.contains_key(*key));
            assumed.extend(new.map(|(key, value)| {
                format!("policy.{key} was not recorded: this program's default {value} is used")
            }));
        }
        Ok(Self {
            policy,
            inventory,
            assumed,
        })
    }
}

/// One step of a recording.
#[derive(Debug)]
pub enum Step {
    /// A recording begins, or goes on after a loss: world and ledger are what they were then.
    Base,
    /// The world was told something.
    Seen {
        /// When.
        at: Tick,
        /// How many facts.
        facts: usize,
    },
    /// The engine was asked: [`Bundle::stage`] holds what it was asked with.
    Decided(Scene),
    /// A recording has ended.
    Stop(Stop),
}

/// One decision of the recording.
#[derive(Debug)]
pub struct Scene {
    /// What was recorded of it.
    pub decided: Decided,
    /// Entries since the decision before it that no decision made.
    pub outside: Vec<Entry>,
    /// The entries it made.
    pub made: Vec<Entry>,
}

/// World and ledger at the latest step.
#[derive(Debug)]
pub struct Stage {
    /// Which recording.
    pub recording: i64,
    /// The policy and inventory in force.
    pub setup: Arc<Understood>,
    /// What was known.
    pub world: World,
    /// What had happened.
    pub ledger: Ledger,
    /// What goes into the ledger before the next step.
    made: Vec<Entry>,
}

/// A bundle, being read.
#[derive(Debug)]
pub struct Bundle<R> {
    lines: Lines<R>,
    /// What it is about.
    pub header: Header,
    /// All entries of those incidents that the journal has.
    pub entries: Vec<Entry>,
    /// Why it is not complete; empty: it is.
    pub gaps: Vec<String>,
    setups: BTreeMap<String, Arc<Understood>>,
    waiting: Option<Line>,
    stage: Option<Stage>,
    pending: VecDeque<Entry>,
    chunks: u64,
    recordings: u64,
    over: bool,
}

/// Most gaps that are told one by one.
const GAPS_MAX: usize = 50;

impl<R: BufRead> Bundle<R> {
    /// Reads the head of a bundle: what it is about.
    ///
    /// # Errors
    /// When it is no bundle, or of a newer program.
    pub fn open(compressed: R) -> Result<Self, BundleError> {
        let mut lines = Lines::new(compressed);
        let header = match lines.next() {
            Some(Ok(Line::Header(header))) if header.format <= FORMAT => header,
            Some(Ok(Line::Header(header))) => {
                return Err(BundleError::Newer {
                    found: header.format,
                });
            }
            Some(Ok(_)) | None => return Err(BundleError::NoHeader),
            Some(Err(error)) => return Err(error.into()),
        };
        let mut bundle = Self {
            lines,
            header,
            entries: Vec::new(),
            gaps: Vec::new(),
            setups: BTreeMap::new(),
            waiting: None,
            stage: None,
            pending: VecDeque::new(),
            chunks: 0,
            recordings: 0,
            over: false,
        };
        bundle.read_head()?;
        Ok(bundle)
    }

    fn read_head(&mut self) -> Result<(), BundleError> {
        loop {
            match self.line() {
                Some(Line::Setup(setup)) => {
                    if self.setups.len() >= SETUPS_MAX {
                        return Err(too_many("policies", SETUPS_MAX));
                    }
                    let understood = Arc::new(Understood::of(&setup)?);
                    self.setups.insert(setup.digest, understood);
                }
                Some(Line::Entry(written)) => {
                    if self.entries.len() >= ENTRIES_MAX {
                        return Err(too_many("entries", ENTRIES_MAX));
                    }
                    self.entries.push(entry(&written)?);
                }
                other => {
                    self.waiting = other;
                    return Ok(());
                }
            }
        }
    }

    /// World and ledger as the latest step left them.
    #[must_use]
    pub fn stage(&self) -> Option<&Stage> {
        self.stage.as_ref()
    }

    /// How many recordings were begun.
    #[must_use]
    pub fn recordings(&self) -> u64 {
        self.recordings
    }

    /// What was assumed for every policy of the bundle.
    pub fn assumed(&self) -> impl Iterator<Item = &String> {
        self.setups.values().flat_map(|setup| &setup.assumed)
    }

    /// The next step; `None`: there is no more, and [`Bundle::gaps`] says whether that is the end.
    ///
    /// # Errors
    /// When an entry is of a newer program.
    pub fn step(&mut self) -> Result<Option<Step>, BundleError> {
        if let Some(stage) = &mut self.stage {
            for made in std::mem::take(&mut stage.made) {
                if let Err(error) = stage.ledger.fold(&made) {
                    let why = format!("the journal does not add up: {error}");
                    self.lose(&why);
                    break;
                }
            }
        }
        loop {
            let Some(line) = self.waiting.take().or_else(|| self.line()) else {
                return Ok(None);
            };
            if let Some(step) = self.take(line)? {
                return Ok(Some(step));
            }
        }
    }

    fn line(&mut self) -> Option<Line> {
        if self.over {
            return None;
        }
        match self.lines.next() {
            Some(Ok(line)) => Some(line),
            Some(Err(error)) => {
                self.over = true;
                let source = std::error::Error::source(&error);
                let cause = source.map_or_else(String::new, |source| format!(": {source}"));
                self.gap(format!("{error}{cause}"));
                None
            }
            None => {
                self.over = true;
                self.gap("it has no end: it was cut, and what came after is missing".into());
                None
            }
        }
    }

    fn take(&mut self, line: Line) -> Result<Option<Step>, BundleError> {
        match line {
            Line::Header(_) | Line::Setup(_) => {
                self.gap("a line stands where it does not belong".into());
                Ok(None)
            }
            Line::Entry(written) => {
                if self.pending.len() >= ENTRIES_MAX {
                    return Err(too_many("entries", ENTRIES_MAX));
                }
                self.pending.push_back(entry(&written)?);
                Ok(None)
            }
            Line::Begin { .. } => {
                self.recordings = self.recordings.saturating_add(1);
                self.pending.clear();
                self.chunks = 0;
                self.stage = None;
                Ok(None)
            }
            Line::Base(base) => Ok(self.begin(*base)),
            Line::Chunk { number, .. } => {
                if number != self.chunks {
                    let missing = format!(
                        "parts {} to {} are missing",
                        self.chunks,
                        number.saturating_sub(1)
                    );
                    self.lose(&missing);
                }
                self.chunks = number.saturating_add(1);
                Ok(None)
            }
            Line::Seen { at, facts } => Ok(self.see(at, facts)),
            Line::Decided(decided) => Ok(self.decide(decided)),
            Line::Lost { messages } => {
                self.lose(&format!(
                    "{messages} messages were lost: the controller was too busy to record them"
                ));
                Ok(None)
            }
            Line::Stop(stop) => Ok(Some(self.stop(stop))),
            Line::End { recordings, .. } => {
                self.over = true;
                if recordings != self.recordings {
                    self.gap(format!(
                        "it has {} of {recordings} recordings",
                        self.recordings
                    ));
                }
                Ok(None)
            }
        }
    }

    fn begin(&mut self, base: crate::line::Base) -> Option<Step> {
        let Some(setup) = self.setups.get(&base.setup).map(Arc::clone) else {
            self.gap(format!(
                "the policy {} of recording {} is missing",
                base.setup, base.recording
            ));
            self.stage = None;
            return None;
        };
        self.pending
            .retain(|entry| entry.sequence > base.ledger.sequence);
        self.stage = Some(Stage {
            recording: base.recording,
            setup,
            world: base.world,
            ledger: base.ledger,
            made: Vec::new(),
        });
        Some(Step::Base)
    }

    fn see(&mut self, at: Tick, facts: Vec<Observation>) -> Option<Step> {
        let stage = self.stage.as_mut()?;
        let count = facts.len();
        for fact in facts {
            stage.world.observe(at, fact);
        }
        Some(Step::Seen { at, facts: count })
    }

    fn decide(&mut self, decided: Decided) -> Option<Step> {
        let mut outside = Vec::new();
        let stage = self.stage.as_mut()?;
        while let Some(entry) = self
            .pending
            .pop_front_if(|entry| entry.sequence <= decided.before)
        {
            if let Err(error) = stage.ledger.fold(&entry) {
                self.lose(&format!("the journal does not add up: {error}"));
                return None;
            }
            outside.push(entry);
        }
        if stage.ledger.sequence != decided.before {
            let (from, to) = (stage.ledger.sequence, decided.before);
            self.lose(&format!(
                "journal entries {} to {to} are missing",
                from.saturating_add(1)
            ));
            return None;
        }
        let made: Vec<Entry> = (0..decided.journaled)
            .map_while(|_| self.pending.pop_front())
            .collect();
        if made.len() as u64 != decided.journaled {
            let wanted = decided.before.saturating_add(decided.journaled);
            self.lose(&format!(
                "journal entries up to {wanted} belong to a decision and are missing"
            ));
            return None;
        }
        stage.made.clone_from(&made);
        Some(Step::Decided(Scene {
            decided,
            outside,
            made,
        }))
    }

    fn stop(&mut self, stop: Stop) -> Step {
        if self.chunks < stop.chunks {
            let missing = stop.chunks.saturating_sub(self.chunks);
            self.gap(format!(
                "the last {missing} parts of recording {} are missing",
                stop.recording
            ));
        }
        if stop.how == Ending::Full {
            self.gap(format!(
                "recording {} stopped early: its store was full or could not be written",
                stop.recording
            ));
        }
        self.stage = None;
        Step::Stop(stop)
    }

    /// From here on the world is not known, until the next base.
    fn lose(&mut self, why: &str) {
        let place = self.stage.take().map_or_else(String::new, |stage| {
            format!("recording {}: ", stage.recording)
        });
        self.gap(format!("{place}{why}"));
    }

    fn gap(&mut self, why: String) {
        if self.gaps.len() < GAPS_MAX {
            self.gaps.push(why);
        }
    }
}

fn entry(written: &crate::line::WrittenEntry) -> Result<Entry, BundleError> {
    written.read().map_err(|source| BundleError::Entry {
        sequence: written.sequence,
        source,
    })
}

fn too_many(what: &'static str, most: usize) -> BundleError {
    BundleError::TooMany { what, most }
}
