//! What one run of a plugin may use, and what it used.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::{MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX};
use crate::fault::PluginFault;

/// What one run may use. More than the engine can give is cut to what it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLimits {
    /// Wall clock for the whole run; then it is dropped.
    pub timeout: Duration,
    /// Time spent computing, host calls not counted.
    pub cpu: Duration,
    /// Bytes of all memories together.
    pub memory_bytes: usize,
    /// Entries of all tables together.
    pub table_elements: usize,
    /// Host calls, `log` included.
    pub host_calls: u32,
    /// Bytes of log kept; lines beyond are dropped and counted.
    pub log_bytes: usize,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            cpu: Duration::from_secs(2),
            memory_bytes: MEMORY_BYTES_MAX,
            table_elements: TABLE_ELEMENTS_MAX,
            host_calls: 10_000,
            log_bytes: 16 << 10,
        }
    }
}

impl RunLimits {
    /// The usual limits, with another wall clock.
    #[must_use]
    pub fn with_timeout(timeout: Duration) -> Self {
        Self {
            timeout,
            ..Self::default()
        }
    }
}

/// How much a plugin's log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// A line that a plugin logged, control characters replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// The text.
    pub message: String,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport<T> {
    /// The plugin's answer, or what was wrong with the plugin.
    pub outcome: Result<T, PluginFault>,
    /// Wall clock.
    pub duration: Duration,
    /// Host calls made, refused ones included.
    pub host_calls: u32,
    /// The most memory it held, all memories together.
    pub memory_peak_bytes: usize,
    /// What it logged.
    pub log: Vec<LogLine>,
    /// Lines that did not fit.
    pub log_lines_dropped: u32,
}

impl<T> RunReport<T> {
    /// A report of something that needed no run, or never got one.
    #[must_use]
    pub fn unrun(outcome: Result<T, PluginFault>) -> Self {
        Self {
            outcome,
            duration: Duration::ZERO,
            host_calls: 0,
            memory_peak_bytes: 0,
            log: Vec::new(),
            log_lines_dropped: 0,
        }
    }

    /// Goes on with the plugin's answer.
    pub(crate) fn and_then<U>(
        self,
        then: impl FnOnce(T) -> Result<U, PluginFault>,
    ) -> RunReport<U> {
        RunReport {
            outcome: self.outcome.and_then(then),
            duration: self.duration,
            host_calls: self.host_calls,
            memory_peak_bytes: self.memory_peak_bytes,
            log: self.log,
            log_lines_dropped: self.log_lines_dropped,
        }
    }
}
