//! What the agent and the process that runs plugins say to each other.
//!
//! **Invariants**
//! - The runner gets no grants, no paths, no environment: a plugin's bytes, its settings, and answers to what was allowed.
//! - The runner names runs by the number that the agent gave them, and says nothing else about who asks.

use iaso_host::types::{Attributes, Finding, FixDescription, FixOutcome, FixPlan};
use iaso_host::{
    CapError, ImportedFunctions, PluginFault, Request, Response, RunLimits, RunReport,
};
use serde::{Deserialize, Serialize};

use crate::sandbox::{Layers, Limits};

/// Raised when a message changes: agent and runner are the same program, and a mismatch means that they are not.
pub const PROTOCOL: u32 = 1;

/// The first message of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`]
    pub protocol: u32,
    /// How the runner is to be locked in.
    pub limits: Limits,
    /// Runs at once.
    pub runs_max: u32,
    /// Host calls at once.
    pub host_calls_max: u32,
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToRunner {
    /// First of all.
    Hello(Hello),
    /// Load this plugin. A file that holds its compiled bytes comes with the message.
    Load {
        /// The agent's number for it.
        plugin: u64,
        /// Its configured name.
        name: String,
        /// Of the bytes.
        sha256: [u8; 32],
        /// How many bytes.
        bytes: u64,
    },
    /// It is not needed any more.
    Unload {
        /// Which.
        plugin: u64,
    },
    /// Run it.
    Run {
        /// The agent's number for this run.
        run: u64,
        /// Which plugin.
        plugin: u64,
        /// What it shall do.
        task: Task,
        /// What it may use.
        limits: RunLimits,
    },
    /// Nobody waits for that run any more.
    Cancel {
        /// Which.
        run: u64,
    },
    /// To [`FromRunner::Ask`].
    Answer {
        /// Whose call.
        run: u64,
        /// The answer.
        answer: Result<Response, CapError>,
    },
}

/// What a plugin is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Look.
    Check {
        /// Its settings.
        config: Attributes,
    },
    /// Name its fixes.
    Fixes,
    /// Say what a fix would do.
    Plan {
        /// The fix.
        fix: String,
        /// Its settings.
        config: Attributes,
    },
    /// Fix.
    Apply {
        /// The fix.
        fix: String,
        /// Its settings.
        config: Attributes,
    },
}

/// Which of the four a task or a report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the tasks")]
pub enum Kind {
    Check,
    Fixes,
    Plan,
    Apply,
}

impl Task {
    /// Which it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Check { .. } => Kind::Check,
            Self::Fixes => Kind::Fixes,
            Self::Plan { .. } => Kind::Plan,
            Self::Apply { .. } => Kind::Apply,
        }
    }
}

/// From the runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromRunner {
    /// It is locked in and takes plugins.
    Ready(Ready),
    /// It cannot go on; its last word.
    Failed(String),
    /// To [`ToRunner::Load`].
    Loaded {
        /// Which.
        plugin: u64,
        /// What it imports, or why it cannot be used.
        result: Result<Vec<ImportedFunctions>, PluginFault>,
    },
    /// A plugin's host call.
    Ask {
        /// In which run.
        run: u64,
        /// As the plugin made it.
        request: Request,
    },
    /// A run ended.
    Done {
        /// Which.
        run: u64,
        /// How.
        report: Report,
    },
}

/// The runner's first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// [`PROTOCOL`]
    pub protocol: u32,
    /// How it is locked in.
    pub layers: Layers,
    /// Plugins get their memory from a pool.
    pub is_pooled: bool,
}

/// What a run came to, by its task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Of [`Task::Check`].
    Findings(RunReport<Vec<Finding>>),
    /// Of [`Task::Fixes`].
    Fixes(RunReport<Vec<FixDescription>>),
    /// Of [`Task::Plan`].
    Plan(RunReport<FixPlan>),
    /// Of [`Task::Apply`].
    Applied(RunReport<FixOutcome>),
}

impl Report {
    /// Of which task it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Findings(_) => Kind::Check,
            Self::Fixes(_) => Kind::Fixes,
            Self::Plan(_) => Kind::Plan,
            Self::Applied(_) => Kind::Apply,
        }
    }

    /// One without an answer.
    #[must_use]
    pub fn broken(kind: Kind, fault: PluginFault) -> Self {
        match kind {
            Kind::Check => Self::Findings(RunReport::unrun(Err(fault))),
            Kind::Fixes => Self::Fixes(RunReport::unrun(Err(fault))),
            Kind::Plan => Self::Plan(RunReport::unrun(Err(fault))),
            Kind::Apply => Self::Applied(RunReport::unrun(Err(fault))),
        }
    }
}
