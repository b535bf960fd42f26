//! The lines of a recording: what they are, in which order they come.
//!
//! A bundle is: `header`, then `setup` for every policy and inventory, then `entry` for every entry of the incidents it is about; then
//! for each recording `begin`, the journal's `entry` lines of its time, its chunks (the first with a `base`, all with `seen` and
//! `decided`), and `stop`; last `end`.

use iaso_engine::fact::{Inventory, Observation};
use iaso_engine::ledger::Ledger;
use iaso_engine::policy::Policy;
use iaso_engine::record::{Entry, Record};
use iaso_engine::time::Tick;
use iaso_engine::version::{self, RECORD_VERSION, ReadError};
use iaso_engine::world::World;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Version of the format; a newer one is refused in words.
pub const FORMAT: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// What the bundle is. First.
    Header(Header),
    /// A policy and an inventory, by their digest.
    Setup(Setup),
    /// A journal entry.
    Entry(WrittenEntry),
    /// A recording begins.
    Begin {
        /// Which recording.
        recording: i64,
    },
    /// What was known and had happened when it began, or began anew after a loss.
    Base(Box<Base>),
    /// A part of a recording follows; parts have no gaps.
    Chunk {
        /// Which recording.
        recording: i64,
        /// 0, 1, 2, …
        number: u64,
    },
    /// What the world was told.
    Seen {
        /// When.
        at: Tick,
        /// What.
        facts: Vec<Observation>,
    },
    /// The engine was asked.
    Decided(Decided),
    /// Something was lost here: what follows is worth nothing until the next base.
    Lost {
        /// How much.
        messages: u64,
    },
    /// A recording ends.
    Stop(Stop),
    /// The bundle ends. Without it, it was cut.
    End {
        /// How many recordings it has.
        recordings: u64,
        /// How many entries, each counted as often as it stands in it.
        entries: u64,
    },
}

/// What a bundle is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the controller that wrote it.
    pub controller: String,
    /// When it was written.
    pub at: Tick,
    /// The incidents it is about.
    pub incidents: Vec<String>,
}

/// A policy and an inventory as they were, kept as JSON: what today's program would add to them must be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Digest of both.
    pub digest: String,
    /// The policy.
    pub policy: Value,
    /// The inventory.
    pub inventory: Value,
}

impl Setup {
    /// Of a policy and an inventory.
    ///
    /// # Errors
    /// When they cannot be written as JSON.
    pub fn of(policy: &Policy, inventory: &Inventory) -> Result<Self, serde_json::Error> {
        let policy = serde_json::to_value(policy)?;
        let inventory = serde_json::to_value(inventory)?;
        let mut hash = Sha256::new();
        // serde_json keeps maps sorted: the same values give the same text.
        hash.update(policy.to_string());
        hash.update([0]);
        hash.update(inventory.to_string());
        let mut digest = String::new();
        for byte in hash.finalize().iter().take(16) {
            // Writing to a String cannot fail.
            let _ = write!(digest, "{byte:02x}");
        }
        Ok(Self {
            digest,
            policy,
            inventory,
        })
    }
}

/// A journal entry with the version its record was written in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenEntry {
    /// Version of the record.
    pub version: u32,
    /// Its place in the journal.
    pub sequence: u64,
    /// When.
    pub at: Tick,
    /// The record, as JSON.
    pub record: Value,
}

impl WrittenEntry {
    /// Of an entry, in today's version.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn of(entry: &Entry) -> Result<Self, serde_json::Error> {
        Ok(Self {
            version: RECORD_VERSION,
            sequence: entry.sequence,
            at: entry.at,
            record: serde_json::to_value(&entry.record)?,
        })
    }

    /// Reads it.
    ///
    /// # Errors
    /// When its version is newer, or it is not what its version says.
    pub fn read(&self) -> Result<Entry, ReadError> {
        let record: Record = version::read(self.version, &self.record.to_string())?;
        Ok(Entry {
            sequence: self.sequence,
            at: self.at,
            record,
        })
    }
}

/// Where a recording begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Which recording.
    pub recording: i64,
    /// Digest of the policy and inventory in force.
    pub setup: String,
    /// What was known.
    pub world: World,
    /// What had happened.
    pub ledger: Ledger,
}

/// One decision: what it rested on beside world and ledger, and what came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The time that was handed to the engine.
    pub now: Tick,
    /// Sequence of the last entry before it.
    pub before: u64,
    /// How many entries it made: the ones right behind `before`.
    pub journaled: u64,
    /// How many records the journal did not take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// How a recording ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Which recording.
    pub recording: i64,
    /// How.
    pub how: Ending,
    /// How many chunks it has.
    pub chunks: u64,
    /// How many messages were lost on the way to it.
    pub lost: u64,
}

/// How a recording ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// In order.
    Closed,
    /// It has not ended yet.
    Running,
    /// The controller ended while it was written.
    Cut,
    /// The store was full, or refused to be written.
    Full,
}
