//! Journal entries: what happened, what was decided, what was intended and how it ended. All durable state is a fold of these.

use crate::effect::{Effect, Outcome};
use crate::id::{EffectId, IncidentId, NodeName};
use crate::time::Tick;
use serde::{Deserialize, Serialize};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// 1, 2, 3, … without gaps.
    pub sequence: u64,
    /// When, on the controller's clock.
    pub at: Tick,
    /// What.
    pub record: Record,
}

/// What the signals, together, say of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Diagnosis {
    /// All is well.
    Healthy,
    /// Too little is known to say anything.
    Unknown,
    /// The agent is up, the lease is stale: kubelet or k3s-agent is down.
    K3sAgentDown,
    /// The node is up, and a check found a fault (DNS, disk, time, certificate, …).
    CheckFailing,
    /// The kubelet renews its lease and says that the node is not Ready, for longer than settling takes.
    NotReady,
    /// The agent is gone, the node is fine.
    AgentLost,
    /// Agent gone and lease stale, and everybody reaches the machine's kernel: what runs on it is hung or dead, the network is not.
    Hung,
    /// Some reach it and some do not, or nobody does although its agent speaks.
    PartialPartition,
    /// It looked well and was not, again and again.
    Flapping,
    /// Nobody reaches it, and the provider says that it runs: cut off outside the machine, or hung.
    Isolated,
    /// The provider says that it is powered off.
    PoweredOff,
    /// The provider has blocked it, or is itself in trouble.
    ProviderTrouble,
    /// Nobody reaches it, and the provider's word is unknown (401, 404, 429, 5xx, no answer).
    ProviderUnknown,
    /// Gone, and there is no provider to ask.
    GoneNoProvider,
    /// Many nodes at once, or the controller reaches nobody: perhaps the controller is the one cut off.
    ControllerCutOff,
    /// Many nodes at once while the controller reaches some: a storm.
    Storm,
    /// Declared, and never seen.
    NeverJoined,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for this shape"
)]
fn is_zero(secs: &u64) -> bool {
    *secs == 0
}

impl Diagnosis {
    /// It is made only of a machine that answers somebody.
    #[must_use]
    pub fn is_answered(self) -> bool {
        match self {
            Self::Healthy
            | Self::K3sAgentDown
            | Self::CheckFailing
            | Self::NotReady
            | Self::Hung
            | Self::PartialPartition => true,
            // Of an agent that is lost nobody may have been asked yet.
            Self::AgentLost
            | Self::Unknown
            | Self::Flapping
            | Self::Isolated
            | Self::PoweredOff
            | Self::ProviderTrouble
            | Self::ProviderUnknown
            | Self::GoneNoProvider
            | Self::ControllerCutOff
            | Self::Storm
            | Self::NeverJoined => false,
        }
    }
}

impl Diagnosis {
    /// Whether it shows that a node joined once, or never did. What is held, or unknown, says nothing of that.
    #[must_use]
    pub(crate) fn shows_joined(self) -> Option<bool> {
        match self {
            Self::Unknown | Self::ControllerCutOff | Self::Storm => None,
            Self::NeverJoined => Some(false),
            Self::Healthy
            | Self::K3sAgentDown
            | Self::CheckFailing
            | Self::NotReady
            | Self::AgentLost
            | Self::Hung
            | Self::PartialPartition
            | Self::Flapping
            | Self::Isolated
            | Self::PoweredOff
            | Self::ProviderTrouble
            | Self::ProviderUnknown
            | Self::GoneNoProvider => Some(true),
        }
    }
}

/// A rung of the ladder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// A fix plugin: `plugin/fix`.
    Fix(String),
    /// Power on.
    Start,
    /// Reboot through the provider.
    Reboot,
    /// Boot the provider's rescue image: whether it answers tells a fault of the machine's own system from one outside it.
    Rescue,
    /// Recreate the machine and rejoin it.
    Recreate,
    /// Tell a person, and stop.
    Page,
}

/// How a rung ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RungResult {
    /// The node is well again.
    Recovered,
    /// It was done and did not help.
    NoHelp,
    /// It could not be done.
    Failed,
    /// It was not needed after all.
    Moot,
}

/// How an incident ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closing {
    /// Verified well after Iaso acted.
    Recovered,
    /// Verified well without a disruptive act of Iaso's.
    RecoveredByItself,
}

/// A reason why something does not happen now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waiting {
    /// Too few healthy observers say the same.
    Quorum {
        /// How many do.
        have: u32,
        /// How many must.
        need: u32,
    },
    /// The fact is too old, or was never seen.
    FreshFacts {
        /// Which channel.
        channel: String,
    },
    /// It must last longer before it counts.
    Patience {
        /// Until then.
        until: Tick,
        /// For what.
        of: String,
    },
    /// The controller reaches too few nodes to trust itself.
    AmICutOff {
        /// Nodes it has lost.
        lost: u32,
        /// Of so many.
        of: u32,
    },
    /// Too many nodes are down at once.
    Storm {
        /// Down.
        down: u32,
        /// Most that Iaso acts on.
        limit: u32,
    },
    /// All nodes of one failure domain are down: look there, not at the nodes.
    Domain {
        /// Which, `key=value`.
        domain: String,
        /// Down.
        down: u32,
        /// Of so many.
        of: u32,
    },
    /// A storm is over, and another node of it is repaired and watched first.
    Canary {
        /// Whose incident.
        incident: IncidentId,
    },
    /// So many others are away that this node, which still answers, must stay.
    Disruption {
        /// Away, or cordoned.
        away: u32,
        /// Most that may be away, this node among them.
        limit: u32,
    },
    /// Too few healthy servers would be left to agree.
    EtcdQuorum {
        /// Other servers that are well.
        have: u32,
        /// How many must be.
        need: u32,
    },
    /// The same was done to this node not long ago.
    Cooldown {
        /// Which rung.
        rung: Rung,
        /// Until then.
        until: Tick,
    },
    /// The repair window of the rung is closed.
    Window {
        /// Which rung.
        rung: Rung,
        /// It opens then.
        until: Tick,
    },
    /// The node's owner opted out, by label or annotation.
    OptOut {
        /// In their words.
        reason: String,
    },
    /// Something else is in flight.
    InFlight {
        /// What.
        effect: EffectId,
    },
    /// The provider's word is unknown.
    ProviderUnknown {
        /// The class of the trouble.
        class: String,
        /// With what to do.
        message: String,
    },
    /// The provider says nothing useful of any of its machines: it is the one in trouble.
    ProviderOutage {
        /// Its name.
        provider: String,
        /// Of so many machines.
        machines: u32,
    },
    /// The provider is busy with the machine, or has locked it.
    ProviderBusy {
        /// In its words.
        what: String,
    },
    /// The API server does not answer.
    KubeUnknown {
        /// In words.
        why: String,
    },
    /// A recreate would destroy data.
    LocalData {
        /// What.
        volumes: Vec<String>,
    },
    /// The policy wants a person's yes.
    Approval {
        /// For which rung.
        rung: Rung,
    },
    /// The policy only observes this rung.
    ObserveOnly {
        /// Which.
        rung: Rung,
    },
    /// A person said no.
    Denied {
        /// To which rung.
        rung: Rung,
    },
    /// Paused by a person.
    Paused {
        /// Why.
        reason: String,
    },
    /// Attempts of the day or of the incident are used up.
    Budget {
        /// Of what.
        what: String,
    },
    /// A server node never goes past a reboot by itself.
    ControlPlane,
    /// The secret store does not answer: no recreate.
    SecretStore {
        /// Why.
        why: String,
    },
    /// The journal cannot be written.
    Journal {
        /// Why.
        why: String,
    },
    /// The independent checker vetoed the step.
    Vetoed {
        /// Which invariant.
        why: String,
    },
    /// The node is being verified.
    Verifying {
        /// Until then, if it stays well.
        until: Tick,
    },
    /// Nothing is left that Iaso may do: a person was paged.
    Person {
        /// What they should look at.
        why: String,
    },
}

/// What is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Record {
    /// A controller began to lead.
    ControllerStarted {
        /// Its version.
        version: String,
        /// Its term: greater than every one before.
        term: u64,
    },
    /// A fact that mattered: something changed.
    Noted {
        /// Whose, if anybody's.
        node: Option<NodeName>,
        /// For which incident, if one is open.
        incident: Option<IncidentId>,
        /// In words.
        text: String,
        /// For so long before it nothing could be written, in seconds.
        #[serde(default, skip_serializing_if = "is_zero")]
        unwritten_secs: u64,
    },
    /// The first bad facts about a node.
    IncidentOpened {
        /// The id.
        incident: IncidentId,
        /// Which node.
        node: NodeName,
        /// When the first bad fact was seen.
        since: Tick,
        /// What it looks like.
        diagnosis: Diagnosis,
        /// The facts, in words.
        evidence: Vec<String>,
    },
    /// The diagnosis changed.
    Diagnosed {
        /// Of which incident.
        incident: IncidentId,
        /// What it is now.
        diagnosis: Diagnosis,
        /// The facts, in words.
        evidence: Vec<String>,
    },
    /// What it waits for changed. Empty: for nothing.
    WaitingChanged {
        /// Of which incident.
        incident: IncidentId,
        /// All reasons.
        waiting: Vec<Waiting>,
    },
    /// A rung begins.
    RungStarted {
        /// Of which incident.
        incident: IncidentId,
        /// Which.
        rung: Rung,
        /// 1, 2, …
        attempt: u32,
        /// Why this one now.
        why: String,
    },
    /// A rung ended.
    RungEnded {
        /// Of which incident.
        incident: IncidentId,
        /// Which.
        rung: Rung,
        /// How.
        result: RungResult,
        /// Why we think so.
        why: String,
    },
    /// An effect is about to be executed.
    Intended {
        /// Which.
        effect: Effect,
    },
    /// What became of it; several may follow each other (`Started`, then `Done`).
    Resolved {
        /// Which.
        effect: EffectId,
        /// How.
        outcome: Outcome,
    },
    /// A rung in mode `observe` would have been taken.
    WouldHave {
        /// Of which incident.
        incident: IncidentId,
        /// Which.
        rung: Rung,
        /// Why.
        why: String,
    },
    /// A person said yes.
    Approved {
        /// To which incident.
        incident: IncidentId,
        /// To which rung.
        rung: Rung,
        /// Who.
        who: String,
        /// Why.
        reason: String,
    },
    /// A person said no.
    Denied {
        /// To which incident.
        incident: IncidentId,
        /// To which rung.
        rung: Rung,
        /// Who.
        who: String,
        /// Why.
        reason: String,
    },
    /// Disruptive effects are held: for one node or all.
    Paused {
        /// `None`: all.
        node: Option<NodeName>,
        /// Who.
        who: String,
        /// Why.
        reason: String,
    },
    /// No longer held.
    Resumed {
        /// `None`: all.
        node: Option<NodeName>,
        /// Who.
        who: String,
        /// Why.
        reason: String,
    },
    /// The node looks well again: verification begins.
    Verifying {
        /// Of which incident.
        incident: IncidentId,
        /// What is being watched.
        why: String,
    },
    /// It looked well and is not.
    VerifyFailed {
        /// Of which incident.
        incident: IncidentId,
        /// What went wrong.
        why: String,
    },
    /// A person must decide.
    Parked {
        /// Which incident.
        incident: IncidentId,
        /// Why, with what to do.
        why: String,
    },
    /// Verified recovery.
    Closed {
        /// Which incident.
        incident: IncidentId,
        /// How.
        closing: Closing,
        /// What was seen when it was closed: every channel, the checks, the cluster. Journals of before have none.
        #[serde(default)]
        verified: Vec<String>,
    },
}
