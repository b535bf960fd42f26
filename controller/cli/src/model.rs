//! What is shown, as JSON and as tables: the stable shape that scripts read.
//!
//! Names are those of the protocol. Times are RFC 3339 and lose their `_unix_ms`; what is not there is `null`.

use crate::text::Text;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// `iaso nodes`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Nodes {
    /// Every node that the controller was told of.
    pub(crate) nodes: Vec<Node>,
    /// The controller's word about itself.
    pub(crate) controller_state: Text,
}

/// One node.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Node {
    pub(crate) name: Text,
    pub(crate) role: Text,
    pub(crate) address: Text,
    pub(crate) provider: Text,
    pub(crate) machine: Text,
    pub(crate) agent: Text,
    pub(crate) lease: Text,
    pub(crate) reach: Text,
    pub(crate) machine_state: Text,
    pub(crate) diagnosis: Text,
    pub(crate) incident: Text,
    pub(crate) waiting: Vec<Text>,
    pub(crate) paused: bool,
    pub(crate) worst: Text,
}

/// `iaso node NAME`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct NodeDetail {
    pub(crate) node: Node,
    pub(crate) findings: Vec<Finding>,
    pub(crate) facts: Vec<Fact>,
}

/// One finding of a plugin, or why the plugin is broken.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Finding {
    pub(crate) plugin: Text,
    pub(crate) code: Text,
    pub(crate) severity: Text,
    pub(crate) subject: Text,
    pub(crate) summary: Text,
    pub(crate) remedies: Vec<Text>,
    pub(crate) at: Option<Timestamp>,
    /// Not empty: the plugin is broken, and nothing is known of what it looks at.
    pub(crate) fault: Text,
}

/// One signal.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Fact {
    pub(crate) channel: Text,
    pub(crate) vantage: Text,
    pub(crate) value: Text,
    /// `None`: never seen.
    pub(crate) age_ms: Option<u64>,
    pub(crate) fresh: bool,
}

/// `iaso incidents`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Incidents {
    pub(crate) incidents: Vec<Incident>,
}

/// One incident.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Incident {
    pub(crate) id: Text,
    pub(crate) node: Text,
    pub(crate) diagnosis: Text,
    pub(crate) state: Text,
    pub(crate) phase: Text,
    pub(crate) opened: Option<Timestamp>,
    pub(crate) closed: Option<Timestamp>,
    pub(crate) rungs: Vec<Text>,
    pub(crate) recreates: u32,
    pub(crate) waiting: Vec<Text>,
    pub(crate) awaits_approval: Text,
}

/// `iaso incident ID`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct IncidentDetail {
    pub(crate) incident: Incident,
    pub(crate) timeline: Vec<TimelineEntry>,
}

impl IncidentDetail {
    /// The sequence of the latest entry; 0 when there is none.
    pub(crate) fn tail(&self) -> u64 {
        self.timeline
            .iter()
            .map(|entry| entry.sequence)
            .max()
            .unwrap_or(0)
    }
}

/// One line of an incident's timeline.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct TimelineEntry {
    pub(crate) sequence: u64,
    pub(crate) at: Option<Timestamp>,
    pub(crate) kind: Text,
    pub(crate) text: Text,
}

/// One line of `iaso incident ID --follow --output json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Followed<'a> {
    /// First, and whenever it changed.
    Incident(&'a Incident),
    /// A new line of its timeline.
    Entry(&'a TimelineEntry),
}

/// `iaso report ID`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) format: Text,
    pub(crate) body: Text,
    pub(crate) path: Text,
}

/// `iaso explain NODE`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Explanation {
    pub(crate) node: Text,
    pub(crate) diagnosis: Text,
    /// What the diagnosis rests on.
    pub(crate) evidence: Vec<Text>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) rungs: Vec<Reason>,
    pub(crate) gates: Vec<Reason>,
    /// Milliseconds from now; `None`: when something changes.
    pub(crate) next_look_ms: Option<u64>,
    pub(crate) waiting: Vec<Text>,
    /// What observing alone would have done, judged.
    pub(crate) would_have: Vec<Text>,
}

/// One rung or gate, and why.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Reason {
    pub(crate) name: Text,
    pub(crate) yes: bool,
    pub(crate) why: Text,
}

/// The controller's answer to `approve`, `deny`, `pause` and `resume`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Answer {
    pub(crate) message: Text,
}

/// A join token, shown once.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JoinToken {
    pub(crate) token: Text,
    pub(crate) expires: Option<Timestamp>,
}

/// What was taken back from a node.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Revoked {
    pub(crate) node: Text,
    pub(crate) certificates: u32,
    pub(crate) join_tokens: u32,
}

/// One journal entry.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Event {
    pub(crate) sequence: u64,
    pub(crate) at: Option<Timestamp>,
    pub(crate) kind: Text,
    pub(crate) node: Text,
    pub(crate) incident: Text,
    pub(crate) text: Text,
    /// The journal's own record; its shape is the journal's, not this command's. A string where it is not JSON.
    pub(crate) json: Value,
}
