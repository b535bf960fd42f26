//! Durable state: a fold of the journal, and nothing else. The fold itself is in [`fold`](crate::fold), questions to it in
//! [`query`](crate::query).

use crate::effect::{Effect, Outcome};
use crate::id::{EffectId, IncidentId, NodeName};
use crate::record::{Closing, Diagnosis, Rung, RungResult, Waiting};
use crate::time::Tick;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One rung that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungState {
    /// Which.
    pub rung: Rung,
    /// 1, 2, …
    pub attempt: u32,
    /// When it began.
    pub started: Tick,
    /// How many effects its incident had before: the ones after are the rung's.
    pub effects_before: usize,
    /// When and how it ended.
    pub ended: Option<(Tick, RungResult)>,
}

/// An effect and the latest that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectState {
    /// As it was intended.
    pub effect: Effect,
    /// When.
    pub intended: Tick,
    /// When and what; `None`: nothing is known: in doubt after a restart.
    pub latest: Option<(Tick, Outcome)>,
}

impl EffectState {
    /// Whether it has ended, well or not.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match &self.latest {
            Some((
                _,
                Outcome::Done { .. } | Outcome::Failed { .. } | Outcome::NotStarted { .. },
            )) => true,
            None | Some((_, Outcome::InDoubt { .. } | Outcome::Started { .. })) => false,
        }
    }
}

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Being worked on.
    Open,
    /// It looks well; watched since.
    Verifying(Tick),
    /// A person must decide.
    Parked,
    /// Ended.
    Closed(Tick, Closing),
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// Whose.
    pub node: NodeName,
    /// When the first bad fact was seen.
    pub since: Tick,
    /// When it was opened.
    pub opened: Tick,
    /// The latest diagnosis.
    pub diagnosis: Diagnosis,
    /// When it was made.
    pub diagnosed: Tick,
    /// When a diagnosis was last made that somebody whom the machine answered speaks for.
    #[serde(default)]
    pub answered: Option<Tick>,
    /// Whether its node joined the cluster once, by the latest diagnosis that shows it.
    #[serde(default)]
    pub joined: Option<bool>,
    /// When it was last found to be powered off.
    #[serde(default)]
    pub off: Option<Tick>,
    /// When it was first found to run after that.
    #[serde(default)]
    pub on: Option<Tick>,
    /// Where it stands.
    pub standing: Standing,
    /// In the order they were begun.
    pub rungs: Vec<RungState>,
    /// In the order they were intended.
    pub effects: Vec<EffectState>,
    /// What it waits for.
    pub waiting: Vec<Waiting>,
    /// Rungs that a person approved or denied (`false`), with when.
    pub decisions: Vec<(Tick, Rung, bool)>,
    /// Rungs recorded as "would have".
    pub would_have: Vec<Rung>,
    /// When it was parked, unless a person opened it again: a failed verification then goes back to parked, not to the ladder.
    pub parked: Option<Tick>,
    /// How often it looked well and was not.
    pub verify_failures: u32,
    /// When it last was found not to be well after all.
    #[serde(default)]
    pub verify_failed: Option<Tick>,
    /// When a storm, or a controller that was cut off, last held it: it is repaired one by one with the others of that storm.
    #[serde(default)]
    pub held: Option<Tick>,
    /// When a controller took over after one that may have been away for long: what the machine did meanwhile nobody saw.
    #[serde(default)]
    pub unwatched: Option<Tick>,
}

/// All durable state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Sequence of the last entry folded.
    pub sequence: u64,
    /// When it was written.
    #[serde(default)]
    pub last: Option<Tick>,
    /// The leader's term.
    pub term: u64,
    /// Every incident that retention has kept.
    pub incidents: BTreeMap<IncidentId, Incident>,
    /// Held nodes; `None` is all of them.
    #[serde(with = "crate::pairs")]
    pub paused: BTreeMap<Option<NodeName>, String>,
}

/// Why an entry does not fit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FoldError {
    /// A gap or a repetition.
    #[error(
        "journal entry {found} follows {expected_after}: the journal has a gap or was written by two controllers"
    )]
    Sequence {
        /// Last one folded.
        expected_after: u64,
        /// The one that came.
        found: u64,
    },
    /// It speaks of an incident that was never opened.
    #[error("journal entry {sequence} speaks of incident {incident}, which no entry opened")]
    UnknownIncident {
        /// Which entry.
        sequence: u64,
        /// Which incident.
        incident: IncidentId,
    },
    /// It resolves an effect that was never intended.
    #[error("journal entry {sequence} resolves effect {effect}, which no entry intended")]
    UnknownEffect {
        /// Which entry.
        sequence: u64,
        /// Which effect.
        effect: EffectId,
    },
    /// It opens an incident or intends an effect whose id was used before, or opens a second incident for a node.
    #[error("journal entry {sequence} uses {id} a second time: ids are never used twice")]
    Repeated {
        /// Which entry.
        sequence: u64,
        /// Which id.
        id: String,
    },
    /// It speaks of an incident that has ended.
    #[error("journal entry {sequence} speaks of incident {incident}, which was closed before")]
    Closed {
        /// Which entry.
        sequence: u64,
        /// Which incident.
        incident: IncidentId,
    },
}
