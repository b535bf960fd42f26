//! A broken plugin is not a sick node: what went wrong with the plugin itself, in a few classes.

use serde::{Deserialize, Serialize};

/// What kind of trouble a plugin made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultClass {
    /// It crashed: unreachable code, a wild access, too deep a recursion.
    Trap,
    /// It wanted more memory or table entries than it may have.
    OutOfMemory,
    /// It was not done in time, or computed for longer than it may.
    Deadline,
    /// Its answer was larger than allowed or made no sense.
    BadOutput,
    /// The host could not run it; the plugin may be innocent.
    HostError,
    /// The process that runs plugins ended under it; the plugin may be innocent, and is not struck for it.
    RunnerLost,
    /// The host will not run it, or not on: wrong digest, wrong engine, wrong interface, too many host calls.
    Refused,
    /// Not a compiled plugin at all.
    NotWasm,
    /// It imports what it was not granted.
    MissingGrant,
}

impl FaultClass {
    /// The name used on the wire, in metrics and in finding codes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::OutOfMemory => "out-of-memory",
            Self::Deadline => "deadline",
            Self::BadOutput => "bad-output",
            Self::HostError => "host-error",
            Self::RunnerLost => "runner-lost",
            Self::Refused => "refused",
            Self::NotWasm => "not-wasm",
            Self::MissingGrant => "missing-grant",
        }
    }
}

impl std::fmt::Display for FaultClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Trouble with a plugin, for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct PluginFault {
    /// The kind.
    pub class: FaultClass,
    /// What happened, and what to do if a person must.
    pub message: String,
}

impl PluginFault {
    pub(crate) fn new(class: FaultClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
        }
    }
}
