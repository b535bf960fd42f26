//! Counts what was asked and what was taken.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The calls of the API, by what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// The list of machines.
    ListMachines,
    /// One machine.
    GetMachine,
    /// Start a machine.
    Start,
    /// Stop a machine.
    Stop,
    /// Stop and start a machine.
    Restart,
    /// Install a machine anew.
    Recreate,
    /// Change the root password.
    RootPassword,
    /// Boot the rescue image.
    RecoveryStart,
    /// Leave the rescue image.
    RecoveryStop,
    /// A machine's actions.
    ListActions,
    /// One action.
    GetAction,
    /// Uptime and traffic.
    Metrics,
    /// The stored scripts.
    ListScripts,
    /// Store a script.
    CreateScript,
    /// One script.
    GetScript,
    /// Replace a script.
    UpdateScript,
    /// Delete a script.
    DeleteScript,
    /// The images.
    Templates,
    /// A path that is not emulated.
    Other,
}

/// How often each call came, and how often it was taken. A refused call was not taken; one whose answer was dropped was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Everything that came with a readable request line, refused or not.
    pub received: BTreeMap<CallKind, u64>,
    /// What was done, or will be.
    pub taken: BTreeMap<CallKind, u64>,
}

impl Calls {
    /// How often a call came.
    #[must_use]
    pub fn received(&self, kind: CallKind) -> u64 {
        self.received.get(&kind).copied().unwrap_or_default()
    }

    /// How often a call was taken.
    #[must_use]
    pub fn taken(&self, kind: CallKind) -> u64 {
        self.taken.get(&kind).copied().unwrap_or_default()
    }

    pub(super) fn count_received(&mut self, kind: CallKind) {
        *self.received.entry(kind).or_default() += 1;
    }

    pub(super) fn count_taken(&mut self, kind: CallKind) {
        *self.taken.entry(kind).or_default() += 1;
    }
}
