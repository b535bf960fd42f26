//! What a check found, built step by step.

use crate::bindings::capabilities::iaso::plugin::types::Finding as Raw;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Looked at and well.
    Ok,
    /// Worth knowing, nothing to do.
    Info,
    /// Not looked at, or not to be told: never the same as well.
    Unknown,
    /// Will hurt, or hurts a little.
    Warning,
    /// The node does not do its work.
    Critical,
}

impl Severity {
    /// The word of the interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable and dotted, beginning with the plugin's name: `k3s-agent.node-password-rejected`.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at: a unit, an address, a name.
    pub subject: String,
    /// One sentence for a person, with what to do if a person must.
    pub summary: String,
    /// Fixes of this plugin that may help, best first. Empty: none would.
    pub remedies: Vec<String>,
    /// Evidence for machines, sorted by nothing but the author.
    pub attributes: Vec<(String, String)>,
}

impl Finding {
    /// A finding without remedies and attributes.
    #[must_use]
    pub fn new(
        code: impl Into<String>,
        severity: Severity,
        subject: impl Into<String>,
        summary: impl Into<String>,
    ) -> Self {
        Self {
            code: code.into(),
            severity,
            subject: subject.into(),
            summary: summary.into(),
            remedies: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// [`Severity::Ok`].
    #[must_use]
    pub fn ok(
        code: impl Into<String>,
        subject: impl Into<String>,
        summary: impl Into<String>,
    ) -> Self {
        Self::new(code, Severity::Ok, subject, summary)
    }

    /// [`Severity::Info`].
    #[must_use]
    pub fn info(
        code: impl Into<String>,
        subject: impl Into<String>,
        summary: impl Into<String>,
    ) -> Self {
        Self::new(code, Severity::Info, subject, summary)
    }

    /// [`Severity::Warning`].
    #[must_use]
    pub fn warning(
        code: impl Into<String>,
        subject: impl Into<String>,
        summary: impl Into<String>,
    ) -> Self {
        Self::new(code, Severity::Warning, subject, summary)
    }

    /// [`Severity::Critical`].
    #[must_use]
    pub fn critical(
        code: impl Into<String>,
        subject: impl Into<String>,
        summary: impl Into<String>,
    ) -> Self {
        Self::new(code, Severity::Critical, subject, summary)
    }

    /// [`Severity::Unknown`].
    #[must_use]
    pub fn unknown(
        code: impl Into<String>,
        subject: impl Into<String>,
        summary: impl Into<String>,
    ) -> Self {
        Self::new(code, Severity::Unknown, subject, summary)
    }

    /// Adds a fix that may help, after those already named.
    #[must_use]
    pub fn remedy(mut self, fix: impl Into<String>) -> Self {
        self.remedies.push(fix.into());
        self
    }

    /// Adds several fixes, best first.
    #[must_use]
    pub fn remedies(mut self, fixes: &[&str]) -> Self {
        self.remedies
            .extend(fixes.iter().map(|fix| (*fix).to_owned()));
        self
    }

    /// Adds one piece of evidence.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }
}

impl From<Finding> for Raw {
    fn from(finding: Finding) -> Self {
        Self {
            code: finding.code,
            severity: finding.severity.as_str().to_owned(),
            subject: finding.subject,
            summary: finding.summary,
            remedies: finding.remedies,
            attributes: finding.attributes,
        }
    }
}
