//! What the facts, together, say: channel by channel, node by node, then the cluster as a whole.
//!
//! **Invariants**
//! - A channel that is old, silent or young is unknown, and unknown never makes a node healthy nor isolated.
//! - `Isolated` needs a quorum of healthy observers, the controller among them, and nobody whom the machine answered.
//! - When the controller may be the one cut off, or too many nodes are down at once, no node keeps a diagnosis that is acted on.

pub mod channel;
pub(crate) mod cluster;
pub(crate) mod evidence;
pub mod reach;

use crate::fact::{MachineState, NodeSpec, Observer, Role};
use crate::id::NodeName;
use crate::ledger::Incident;
use crate::plan::Situation;
use crate::policy::Policy;
use crate::record::{Diagnosis, Waiting};
use crate::time::Tick;
use crate::world::NodeFacts;
use channel::{Agent, Fault, Lease, Machine, secs};
use reach::Reach;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An agent that says worse of itself than this is no observer: 0 is healthy, 8 unfit.
const SELF_HEALTH_MAX: u32 = 3;

/// What is known of one node, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// Its role.
    pub role: Role,
    /// The agent's session.
    pub agent: Agent,
    /// Its word about itself: 0 healthy to 8 unfit.
    pub self_health: u32,
    /// How far its clock is off, seconds, if that is more than the policy takes; `None`: it is not, or nobody knows.
    pub skew_secs: Option<i64>,
    /// The lease.
    pub lease: Lease,
    /// Who reaches it.
    pub reach: Reach,
    /// Since when nobody reaches it although its agent speaks.
    pub unheard_since: Option<Tick>,
    /// The provider's word.
    pub machine: Machine,
    /// Critical findings.
    pub faults: Vec<Fault>,
    /// Nothing shows that it ever joined.
    pub stranger: bool,
    /// Critical findings that are neither repeated nor taken back, in words.
    pub doubts: Vec<String>,
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

    /// Nothing about it needs a second look until a fact comes in or grows old.
    fn is_plainly_well(&self) -> bool {
        self.alone == Diagnosis::Healthy
            && self.bad_since.is_none()
            && matches!(self.agent, Agent::Up { .. })
            && matches!(self.lease, Lease::Fresh | Lease::Absent)
            && !matches!(self.machine, Machine::Unknown { .. })
    }

    /// The node is down, or may be: it counts for a storm.
    fn is_down(&self, quorum: u32) -> bool {
        let agent_speaks = matches!(self.agent, Agent::Up { .. });
        self.bad_since.is_some()
            && match self.alone {
                Diagnosis::K3sAgentDown => true,
                Diagnosis::Hung
                | Diagnosis::PartialPartition
                | Diagnosis::Isolated
                | Diagnosis::PoweredOff
                | Diagnosis::ProviderTrouble
                | Diagnosis::ProviderUnknown
                | Diagnosis::GoneNoProvider
                | Diagnosis::Unknown => !agent_speaks,
                // Kubernetes alone hears it: its network is down.
                Diagnosis::AgentLost => self.reach.is_silence(quorum),
                Diagnosis::Healthy
                | Diagnosis::CheckFailing
                | Diagnosis::NotReady
                | Diagnosis::Flapping
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
    /// Nodes of a failure domain that fails as a whole, and which.
    pub domains: BTreeMap<NodeName, Waiting>,
    /// The node for which a person is told that Kubernetes is silent of every node, and since when.
    pub silent_api: Option<(NodeName, Tick)>,
    /// Providers that say nothing useful of any of their machines.
    pub outages: BTreeMap<String, Waiting>,
    /// The policy of each node for which something is different.
    policies: BTreeMap<NodeName, Policy>,
    /// Every node that is not plainly well: these are assessed anew each time.
    restless: BTreeSet<NodeName>,
}

impl Assessments {
    /// The policy that holds for a node; computed once for each plan.
    #[must_use]
    pub fn policy<'a>(&'a self, s: &Situation<'a>, node: &NodeName) -> &'a Policy {
        self.policies.get(node).unwrap_or(s.policy)
    }
}

/// Assesses every node of the inventory.
#[must_use]
pub fn assess(s: &Situation<'_>) -> Assessments {
    let mut all = Assessments::default();
    all.update(s, s.inventory.nodes.keys().cloned().collect());
    all
}

impl Assessments {
    /// Assesses anew the nodes named and those that were not plainly well; the others have not changed. Answers all that were looked at.
    /// The policy and the inventory must be those of the first time.
    ///
    /// **Invariant**: whatever is left out is plainly well, so that what the cluster as a whole is follows from the others and their number.
    pub(crate) fn update(
        &mut self,
        s: &Situation<'_>,
        touched: BTreeSet<NodeName>,
    ) -> BTreeSet<NodeName> {
        let mut todo = touched;
        todo.extend(self.restless.iter().cloned());
        todo.retain(|name| self.listen(s, name));
        let untouched = self.nodes.len().saturating_sub(todo.len());
        self.silent_api = None;
        if untouched == 0 {
            cluster::distrust_api(self);
            self.silent_api = cluster::silent_api(s, self);
        }
        if self.choose_observers(s, &todo) && untouched > 0 {
            // Who counts has changed: every word about anybody weighs differently.
            todo = self.nodes.keys().cloned().collect();
        }
        for name in &todo {
            self.judge(s, name);
        }
        cluster::brake(s, self);
        todo
    }

    /// False: the inventory does not have it.
    fn listen(&mut self, s: &Situation<'_>, name: &NodeName) -> bool {
        let Some(spec) = s.inventory.nodes.get(name) else {
            return false;
        };
        if !self.nodes.contains_key(name)
            && let Cow::Owned(own) = s.policy.for_node(name, spec.role)
        {
            self.policies.insert(name.clone(), own);
        }
        let heard = listen(s, self.policies.get(name).unwrap_or(s.policy), spec);
        self.nodes.insert(name.clone(), heard);
        true
    }

    /// True: it is another set than before.
    fn choose_observers(&mut self, s: &Situation<'_>, todo: &BTreeSet<NodeName>) -> bool {
        let mut changed = false;
        for name in todo {
            let counts = self
                .nodes
                .get(name)
                .is_some_and(|a| is_observer(s, name, a));
            changed |= if counts {
                self.healthy_observers.insert(name.clone())
            } else {
                self.healthy_observers.remove(name)
            };
        }
        changed
    }

    fn judge(&mut self, s: &Situation<'_>, name: &NodeName) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let policy = self.policies.get(name).unwrap_or(s.policy);
        node.reach = reach::reach(s, name, &self.healthy_observers, Tick(0));
        let open = s.ledger.open_incident(name);
        let known = open.is_some_and(|i| {
            // Without Kubernetes to ask, one that never spoke to anybody is said to have never joined, and nothing else.
            let by_default = !s.inventory.has_cluster;
            i.joined.unwrap_or(by_default) || i.recreate().is_some()
        });
        let facts = s.world.nodes.get(name).and_then(|f| f.kube.as_ref());
        let exists = facts.is_some_and(|kube| kube.value.exists);
        node.stranger = is_stranger(node, known || exists);
        node.unheard_since = unheard_since(s, policy, name, node);
        node.alone = alone(s, policy, node, known);
        if open.is_some_and(|i| speaks_from_rescue(s, policy, node, i)) {
            node.alone = Diagnosis::Isolated;
        }
        node.bad_since = bad_since(s, policy, node);
        if let Some((first, since)) = &self.silent_api
            && first == name
        {
            node.bad_since = node.bad_since.or(Some(*since));
        }
        node.diagnosis = node.alone;
        if node.bad_since.is_some() && is_flapping(s, policy, name, node.alone) {
            node.diagnosis = Diagnosis::Flapping;
        }
        node.evidence = evidence::words(node);
        if open.is_none() && node.is_plainly_well() {
            self.restless.remove(name);
        } else {
            self.restless.insert(name.clone());
        }
    }
}

fn listen(s: &Situation<'_>, policy: &Policy, spec: &NodeSpec) -> Assessment {
    let nothing = NodeFacts::default();
    let facts = s.world.nodes.get(&spec.name).unwrap_or(&nothing);
    let agent = channel::agent(s, facts);
    let faults = match agent {
        Agent::Up { .. } => channel::faults(s, policy, facts),
        Agent::Lapsed | Agent::Gone { .. } | Agent::Unknown => Vec::new(),
    };
    let doubts = match agent {
        Agent::Up { .. } => channel::doubts(policy, facts, &faults),
        Agent::Lapsed | Agent::Gone { .. } | Agent::Unknown => Vec::new(),
    };
    Assessment {
        role: spec.role,
        skew_secs: channel::skew_secs(s, facts),
        self_health: facts.self_health,
        agent,
        lease: channel::lease(s, facts),
        reach: Reach::default(),
        unheard_since: None,
        machine: channel::machine(s, spec, facts),
        faults,
        stranger: false,
        doubts,
        alone: Diagnosis::Unknown,
        diagnosis: Diagnosis::Unknown,
        evidence: Vec::new(),
        bad_since: None,
    }
}

/// A node whose clock is wild, or that calls itself unfit, does not accuse others.
fn is_observer(s: &Situation<'_>, name: &NodeName, node: &Assessment) -> bool {
    let known = s.world.nodes.contains_key(name);
    let fit = known && node.self_health <= SELF_HEALTH_MAX && node.skew_secs.is_none();
    let lease_good = !matches!(node.lease, Lease::Stale { .. } | Lease::NotReady { .. });
    fit && matches!(node.agent, Agent::Up { .. })
        && lease_good
        && node.faults.is_empty()
        && node.doubts.is_empty()
}

/// What answers, or does not, is the rescue image that Iaso booted: it says nothing of the machine's own system, which was isolated.
fn speaks_from_rescue(
    s: &Situation<'_>,
    policy: &Policy,
    node: &Assessment,
    incident: &Incident,
) -> bool {
    let own_agent = matches!(node.agent, Agent::Up { .. });
    !own_agent && incident.is_rescued(s.now, secs(policy.probe_fresh_secs))
}

/// Since when nobody reaches a node whose agent speaks all the while: one way of its network is dead. Only what has lasted, and began
/// after the session did, counts: a host that boots is silent for a moment.
fn unheard_since(
    s: &Situation<'_>,
    policy: &Policy,
    name: &NodeName,
    node: &Assessment,
) -> Option<Tick> {
    let Agent::Up { since: session } = node.agent else {
        return None;
    };
    let facts = s.world.nodes.get(name)?;
    let silent = *facts.silent_since.get(&Observer::Controller)?;
    let lasted = s.now.since(silent) >= secs(policy.probe_fresh_secs);
    (node.reach.is_silence(policy.quorum) && silent > session && lasted).then_some(silent)
}

/// It looked well and was not so often, and so lately, that whatever is wrong comes and goes. A fault that a check names is not: its
/// remedy has attempts of its own.
fn is_flapping(s: &Situation<'_>, policy: &Policy, name: &NodeName, alone: Diagnosis) -> bool {
    let comes_and_goes = !matches!(alone, Diagnosis::NeverJoined | Diagnosis::Unknown);
    let window = Duration::from_secs(policy.flapping_secs);
    comes_and_goes && s.ledger.flaps(name, s.now, window) >= policy.flapping_times
}

/// It may never have joined, and nobody who knows can be asked. That a server once did, its cluster shows.
fn is_stranger(node: &Assessment, known: bool) -> bool {
    !known
        && node.role == Role::Worker
        && matches!(node.agent, Agent::Gone { seen: false, .. })
        && matches!(node.lease, Lease::Unknown { .. })
}

/// The table of the design, for one node alone. `known`: it has an open incident that once knew more of it, so it did join.
fn alone(s: &Situation<'_>, policy: &Policy, node: &Assessment, known: bool) -> Diagnosis {
    match (&node.agent, &node.lease) {
        (Agent::Unknown | Agent::Lapsed, _) | (Agent::Gone { .. }, Lease::Young) => {
            Diagnosis::Unknown
        }
        (Agent::Up { .. }, lease) => with_agent(s, policy, node, lease, known),
        (Agent::Gone { .. }, Lease::Fresh | Lease::NotReady { .. }) => Diagnosis::AgentLost,
        (Agent::Gone { seen: false, .. }, Lease::Absent) | (Agent::Gone { .. }, Lease::Missing)
            if !known =>
        {
            Diagnosis::NeverJoined
        }
        (Agent::Gone { .. }, Lease::Unknown { .. }) if node.stranger => Diagnosis::Unknown,
        (Agent::Gone { .. }, lease) => without_agent(node, lease, policy.quorum),
    }
}

fn with_agent(
    s: &Situation<'_>,
    policy: &Policy,
    node: &Assessment,
    lease: &Lease,
    known: bool,
) -> Diagnosis {
    match lease {
        Lease::Missing if !known => Diagnosis::NeverJoined,
        Lease::Stale { .. } | Lease::Missing => Diagnosis::K3sAgentDown,
        _ if !node.faults.is_empty() => Diagnosis::CheckFailing,
        // A node that boots is not Ready for minutes, and that is no fault.
        Lease::NotReady { since } if s.now.since(*since) >= secs(policy.settle_secs) => {
            Diagnosis::NotReady
        }
        Lease::Fresh | Lease::Absent if node.unheard_since.is_some() => Diagnosis::PartialPartition,
        // A fault that was named and not taken back: unknown is never healthy.
        Lease::Fresh | Lease::Absent if !node.doubts.is_empty() => Diagnosis::Unknown,
        Lease::Fresh | Lease::Absent => Diagnosis::Healthy,
        Lease::NotReady { .. } | Lease::Young | Lease::Unknown { .. } => Diagnosis::Unknown,
    }
}

fn without_agent(node: &Assessment, lease: &Lease, quorum: u32) -> Diagnosis {
    if node.reach.reached > 0 {
        // The machine's kernel answers. With a stale lease k3s is down too: hung where everybody reaches it; else whoever meets
        // silence may be right about its path.
        return match (lease, node.reach.silent == 0, node.reach.is_chorus()) {
            (Lease::Absent | Lease::Unknown { .. } | Lease::Missing, true, _) => {
                Diagnosis::AgentLost
            }
            (Lease::Stale { .. }, _, true) => Diagnosis::Hung,
            (
                Lease::Absent
                | Lease::Unknown { .. }
                | Lease::Stale { .. }
                | Lease::Missing
                | Lease::Fresh
                | Lease::NotReady { .. }
                | Lease::Young,
                _,
                _,
            ) => Diagnosis::PartialPartition,
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

fn bad_since(s: &Situation<'_>, policy: &Policy, node: &Assessment) -> Option<Tick> {
    match node.alone {
        Diagnosis::Healthy => return None,
        // Declared and never seen: a person should know, once it has had time to join.
        Diagnosis::NeverJoined => {
            let since = s.world.since;
            return (s.now.since(since) >= secs(policy.settle_secs)).then_some(since);
        }
        Diagnosis::Unknown
        | Diagnosis::K3sAgentDown
        | Diagnosis::CheckFailing
        | Diagnosis::NotReady
        | Diagnosis::AgentLost
        | Diagnosis::Hung
        | Diagnosis::PartialPartition
        | Diagnosis::Flapping
        | Diagnosis::Isolated
        | Diagnosis::PoweredOff
        | Diagnosis::ProviderTrouble
        | Diagnosis::ProviderUnknown
        | Diagnosis::GoneNoProvider
        | Diagnosis::ControllerCutOff
        | Diagnosis::Storm => {}
    }
    let gone = match (&node.agent, &node.lease) {
        (Agent::Gone { .. }, Lease::Young) | (Agent::Lapsed | Agent::Unknown, _) => None,
        (Agent::Up { .. }, Lease::NotReady { since }) => {
            (node.alone == Diagnosis::NotReady).then_some(*since)
        }
        (Agent::Gone { since, .. }, _)
        | (Agent::Up { since }, Lease::Missing)
        | (Agent::Up { .. }, Lease::Stale { since, .. }) => Some(*since),
        (Agent::Up { .. }, _) => node.unheard_since,
    };
    gone.into_iter()
        .chain(node.faults.iter().map(|f| f.since))
        .min()
}
