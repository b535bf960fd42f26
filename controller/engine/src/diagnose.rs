//! What the facts, together, say: channel by channel, node by node, then the cluster as a whole.
//!
//! **Invariants**
//! - A channel that is old, silent or young is unknown, and unknown never makes a node healthy nor isolated.
//! - `Isolated` needs a quorum of healthy observers, the controller among them, and nobody whom the machine answered.
//! - When the controller may be the one cut off, or too many nodes are down at once, no node keeps a diagnosis that is acted on.

pub mod channel;
pub(crate) mod evidence;
pub mod reach;

use crate::fact::{MachineState, NodeSpec, Role};
use crate::id::NodeName;
use crate::ledger::Standing;
use crate::plan::Situation;
use crate::record::{Diagnosis, Waiting};
use crate::time::Tick;
use crate::world::NodeFacts;
use channel::{Agent, Fault, Lease, Machine};
use reach::Reach;
use std::collections::{BTreeMap, BTreeSet};

/// An agent that says worse of itself than this is no observer: 0 is healthy, 8 unfit.
const SELF_HEALTH_MAX: u32 = 3;

/// What is known of one node, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// Its role.
    pub role: Role,
    /// The agent's session.
    pub agent: Agent,
    /// The lease.
    pub lease: Lease,
    /// Who reaches it.
    pub reach: Reach,
    /// The provider's word.
    pub machine: Machine,
    /// Critical findings.
    pub faults: Vec<Fault>,
    /// What it is, were this node alone in the world.
    pub alone: Diagnosis,
    /// What it is.
    pub diagnosis: Diagnosis,
    /// The facts, in words.
    pub evidence: Vec<String>,
    /// Since when something is bad; `None`: nothing is.
    pub bad_since: Option<Tick>,
}

impl Assessment {
    /// Worth looking at more closely: probe it, ask its provider.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.bad_since.is_some() || self.agent == Agent::Lapsed
    }

    /// The node is down, or may be: it counts for a storm.
    fn is_down(&self) -> bool {
        self.bad_since.is_some()
            && match self.alone {
                Diagnosis::K3sAgentDown
                | Diagnosis::PartialPartition
                | Diagnosis::Isolated
                | Diagnosis::PoweredOff
                | Diagnosis::ProviderTrouble
                | Diagnosis::ProviderUnknown
                | Diagnosis::GoneNoProvider
                | Diagnosis::Unknown => true,
                Diagnosis::Healthy
                | Diagnosis::CheckFailing
                | Diagnosis::AgentLost
                | Diagnosis::ControllerCutOff
                | Diagnosis::Storm
                | Diagnosis::NeverJoined => false,
            }
    }
}

/// All nodes, and the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assessments {
    /// By name.
    pub nodes: BTreeMap<NodeName, Assessment>,
    /// Nodes whose word about others counts.
    pub healthy_observers: BTreeSet<NodeName>,
    /// The controller may be the one cut off.
    pub cut_off: Option<Waiting>,
    /// Too many nodes are down at once.
    pub storm: Option<Waiting>,
}

/// Assesses every node of the inventory.
#[must_use]
pub fn assess(s: &Situation<'_>) -> Assessments {
    let mut all = Assessments::default();
    for (name, spec) in &s.inventory.nodes {
        all.nodes.insert(name.clone(), listen(s, spec));
    }
    distrust_api(&mut all);
    let observers = all.nodes.iter().filter(|(name, a)| is_observer(s, name, a));
    all.healthy_observers = observers.map(|(name, _)| name.clone()).collect();
    for (name, node) in &mut all.nodes {
        node.reach = reach::reach(s, name, &all.healthy_observers, Tick(0));
        let known = s.ledger.open_incident(name).is_some();
        node.alone = alone(node, s.policy.quorum, known);
        node.diagnosis = node.alone;
        node.bad_since = bad_since(node);
        node.evidence = evidence::words(node);
    }
    brake(s, &mut all);
    all
}

fn listen(s: &Situation<'_>, spec: &NodeSpec) -> Assessment {
    let nothing = NodeFacts::default();
    let facts = s.world.nodes.get(&spec.name).unwrap_or(&nothing);
    let agent = channel::agent(s, facts);
    let faults = match agent {
        Agent::Up { .. } => channel::faults(s, facts),
        Agent::Lapsed | Agent::Gone { .. } | Agent::Unknown => Vec::new(),
    };
    Assessment {
        role: spec.role,
        agent,
        lease: channel::lease(s, facts),
        reach: Reach::default(),
        machine: channel::machine(s, spec, facts),
        faults,
        alone: Diagnosis::Unknown,
        diagnosis: Diagnosis::Unknown,
        evidence: Vec::new(),
        bad_since: None,
    }
}

/// Every lease stale, or every node not Ready, while the agents are up is the API server's trouble, not the nodes'.
fn distrust_api(all: &mut Assessments) {
    let up = |a: &&Assessment| matches!(a.agent, Agent::Up { .. });
    let stale = |a: &Assessment| matches!(a.lease, Lease::Stale { .. } | Lease::NotReady);
    let alive = all.nodes.values().filter(up).count();
    if alive < 2 || !all.nodes.values().filter(up).all(stale) {
        return;
    }
    for node in all.nodes.values_mut() {
        node.lease = Lease::Unknown {
            why: format!(
                "the leases of all {alive} nodes with a live agent went stale at once: the API server's trouble"
            ),
        };
    }
}

fn is_observer(s: &Situation<'_>, name: &NodeName, node: &Assessment) -> bool {
    let fit = s
        .world
        .nodes
        .get(name)
        .is_some_and(|f| f.self_health <= SELF_HEALTH_MAX);
    let lease_good = !matches!(node.lease, Lease::Stale { .. } | Lease::NotReady);
    fit && matches!(node.agent, Agent::Up { .. }) && lease_good && node.faults.is_empty()
}

/// The table of the design, for one node alone. `known`: it has an open incident, so it did join once.
fn alone(node: &Assessment, quorum: u32, known: bool) -> Diagnosis {
    match (&node.agent, &node.lease) {
        (Agent::Unknown | Agent::Lapsed, _) | (Agent::Gone { .. }, Lease::Young) => {
            Diagnosis::Unknown
        }
        (Agent::Up { .. }, lease) => with_agent(node, lease, known),
        (Agent::Gone { .. }, Lease::Fresh | Lease::NotReady) => Diagnosis::AgentLost,
        (Agent::Gone { seen: false, .. }, Lease::Absent) | (Agent::Gone { .. }, Lease::Missing)
            if !known =>
        {
            Diagnosis::NeverJoined
        }
        (Agent::Gone { .. }, lease) => without_agent(node, lease, quorum),
    }
}

fn with_agent(node: &Assessment, lease: &Lease, known: bool) -> Diagnosis {
    match lease {
        Lease::Missing if !known => Diagnosis::NeverJoined,
        Lease::Stale { .. } | Lease::NotReady | Lease::Missing => Diagnosis::K3sAgentDown,
        _ if !node.faults.is_empty() => Diagnosis::CheckFailing,
        Lease::Fresh | Lease::Absent => Diagnosis::Healthy,
        Lease::Young | Lease::Unknown { .. } => Diagnosis::Unknown,
    }
}

fn without_agent(node: &Assessment, lease: &Lease, quorum: u32) -> Diagnosis {
    if node.reach.reached > 0 {
        // The machine's kernel answers. With a stale lease k3s is down too, and whoever meets silence may be right about its path.
        let all_reach_it = node.reach.silent == 0;
        return match lease {
            Lease::Absent | Lease::Unknown { .. } if all_reach_it => Diagnosis::AgentLost,
            Lease::Absent
            | Lease::Unknown { .. }
            | Lease::Stale { .. }
            | Lease::Missing
            | Lease::Fresh
            | Lease::NotReady
            | Lease::Young => Diagnosis::PartialPartition,
        };
    }
    if let Machine::Known { state, busy: None } = &node.machine
        && *state == MachineState::Stopped
    {
        return Diagnosis::PoweredOff;
    }
    if !node.reach.is_silence(quorum) {
        return Diagnosis::Unknown;
    }
    match &node.machine {
        Machine::NoProvider => Diagnosis::GoneNoProvider,
        Machine::Unasked => Diagnosis::Unknown,
        Machine::Unknown { .. } => Diagnosis::ProviderUnknown,
        Machine::Known { state, .. } => match state {
            MachineState::Running => Diagnosis::Isolated,
            MachineState::Stopped | MachineState::Changing(_) => Diagnosis::Unknown,
            MachineState::Blocked(_) | MachineState::Recovery => Diagnosis::ProviderTrouble,
        },
    }
}

fn bad_since(node: &Assessment) -> Option<Tick> {
    match node.alone {
        Diagnosis::Healthy | Diagnosis::NeverJoined => return None,
        Diagnosis::Unknown
        | Diagnosis::K3sAgentDown
        | Diagnosis::CheckFailing
        | Diagnosis::AgentLost
        | Diagnosis::PartialPartition
        | Diagnosis::Isolated
        | Diagnosis::PoweredOff
        | Diagnosis::ProviderTrouble
        | Diagnosis::ProviderUnknown
        | Diagnosis::GoneNoProvider
        | Diagnosis::ControllerCutOff
        | Diagnosis::Storm => {}
    }
    let gone = match (&node.agent, &node.lease) {
        (Agent::Gone { .. }, Lease::Young) => None,
        (Agent::Gone { since, .. }, _)
        | (Agent::Up { since }, Lease::NotReady | Lease::Missing)
        | (Agent::Up { .. }, Lease::Stale { since }) => Some(*since),
        (Agent::Up { .. } | Agent::Lapsed | Agent::Unknown, _) => None,
    };
    gone.into_iter()
        .chain(node.faults.iter().map(|f| f.since))
        .min()
}

/// Looks at the cluster as a whole, and takes away diagnoses that must not be acted on.
fn brake(s: &Situation<'_>, all: &mut Assessments) {
    let joined = |a: &&Assessment| a.alone != Diagnosis::NeverJoined;
    let of = all.nodes.values().filter(joined).count();
    let is_lost =
        |a: &Assessment| matches!(a.agent, Agent::Gone { .. }) && a.alone != Diagnosis::NeverJoined;
    let lost = all.nodes.values().filter(|a| is_lost(a)).count();
    let many = lost >= 1 && (lost == of || (lost >= 2 && lost.saturating_mul(2) > of));
    let reaches_any = all
        .nodes
        .values()
        .any(|a| is_lost(a) && a.reach.controller_reached);
    let down = all
        .nodes
        .iter()
        .filter(|(name, a)| a.is_down() && !is_parked(s, name))
        .count();
    let limit = match usize::try_from(s.policy.storm_limit).unwrap_or(usize::MAX) {
        0 => (s.inventory.nodes.len() / 3).max(1),
        set => set,
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    all.cut_off = (many && !reaches_any).then(|| Waiting::AmICutOff {
        lost: count(lost),
        of: count(of),
    });
    all.storm = (down > limit).then(|| Waiting::Storm {
        down: count(down),
        limit: count(limit),
    });
    for node in all.nodes.values_mut() {
        if all.cut_off.is_some() && is_lost(node) {
            node.diagnosis = Diagnosis::ControllerCutOff;
        } else if all.storm.is_some() && node.is_down() {
            node.diagnosis = Diagnosis::Storm;
        }
    }
}

/// A parked node is known to a person, and no part of a new storm.
fn is_parked(s: &Situation<'_>, node: &NodeName) -> bool {
    s.ledger
        .open_incident(node)
        .is_some_and(|i| i.standing == Standing::Parked)
}
