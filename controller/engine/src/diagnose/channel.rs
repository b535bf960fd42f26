//! What each independent channel says of a node. An old word is unknown, and absence is a value of its own.

use crate::fact::{MachineSeen, MachineState, NodeSpec, Ready, Severity};
use crate::plan::Situation;
use crate::policy::Policy;
use crate::time::Tick;
use crate::world::{AgentLink, NodeFacts};
use std::time::Duration;

/// The agent's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agent {
    /// Open, with heartbeats.
    Up {
        /// When this session opened.
        since: Tick,
    },
    /// The session ended a moment ago: it may be back at once.
    Lapsed,
    /// Gone for longer than the policy allows.
    Gone {
        /// Last sign of life, or when the controller began to look.
        since: Tick,
        /// It was seen by this controller process.
        seen: bool,
    },
    /// The controller has not looked for long enough.
    Unknown,
}

/// The kubelet's lease, with the Ready condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    /// No cluster is configured: the channel does not exist.
    Absent,
    /// Renewed, and Ready.
    Fresh,
    /// Renewed, and not Ready.
    NotReady {
        /// Since when.
        since: Tick,
    },
    /// Not renewed.
    Stale {
        /// Since when.
        since: Tick,
        /// The node controller has not noticed: Ready still says True. A latched word, and no sign of life.
        ready: bool,
    },
    /// There is no such Node object.
    Missing,
    /// The controller has not looked for long enough.
    Young,
    /// The API server says nothing that counts.
    Unknown {
        /// Why.
        why: String,
    },
}

/// The provider's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Machine {
    /// There is no provider.
    NoProvider,
    /// Never asked, or too long ago.
    Unasked,
    /// It did not answer usefully.
    Unknown {
        /// The class.
        class: String,
        /// With what to do.
        message: String,
    },
    /// It answered.
    Known {
        /// The state.
        state: MachineState,
        /// It is locked, or an operation is pending: in the provider's words.
        busy: Option<String>,
    },
}

/// A critical finding that the policy acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which plugin.
    pub plugin: String,
    /// Which finding.
    pub code: String,
    /// In a sentence.
    pub summary: String,
    /// Fixes of the same plugin, best first.
    pub remedies: Vec<String>,
    /// Since when it is so.
    pub since: Tick,
}

pub(super) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn is_young(s: &Situation<'_>, window: u64) -> bool {
    s.now.since(s.world.since) < secs(window)
}

pub(super) fn agent(s: &Situation<'_>, facts: &NodeFacts) -> Agent {
    let window = s.policy.agent_gone_secs;
    let Some(link) = &facts.agent else {
        return if is_young(s, window) {
            Agent::Unknown
        } else {
            Agent::Gone {
                since: s.world.since,
                seen: false,
            }
        };
    };
    let alive = facts.heartbeat.unwrap_or(link.at);
    let silent = s.now.since(alive) >= secs(window);
    match (&link.value, silent) {
        (_, true) => Agent::Gone {
            since: alive,
            seen: true,
        },
        (AgentLink::Up { .. }, false) => Agent::Up { since: link.at },
        (AgentLink::Lost { .. }, false) => Agent::Lapsed,
    }
}

pub(super) fn lease(s: &Situation<'_>, facts: &NodeFacts) -> Lease {
    if !s.inventory.has_cluster {
        return Lease::Absent;
    }
    let window = secs(s.policy.lease_stale_secs);
    let unknown = |why: &str| Lease::Unknown { why: why.into() };
    match &s.world.kube_api {
        None => return unknown("the API server was not asked yet"),
        Some(api) if s.now.since(api.at) >= window => {
            return unknown("the API server was not asked lately");
        }
        Some(api) => {
            if let Some(trouble) = &api.value {
                return unknown(trouble);
            }
        }
    }
    let Some(kube) = &facts.kube else {
        return unknown("the API server said nothing of this node yet");
    };
    if s.now.since(kube.at) >= window {
        return unknown("the API server said nothing of this node lately");
    }
    if !kube.value.exists {
        return Lease::Missing;
    }
    match kube.value.lease_changed {
        Some(at) if s.now.since(at) < window => match kube.value.ready {
            Ready::True => Lease::Fresh,
            Ready::False | Ready::Unknown => Lease::NotReady {
                since: facts.not_ready_since.unwrap_or(kube.at),
            },
        },
        None if is_young(s, s.policy.lease_stale_secs) => Lease::Young,
        changed => Lease::Stale {
            since: changed.unwrap_or(s.world.since),
            ready: kube.value.ready == Ready::True,
        },
    }
}

pub(super) fn machine(s: &Situation<'_>, spec: &NodeSpec, facts: &NodeFacts) -> Machine {
    if spec.machine.is_none() {
        return Machine::NoProvider;
    }
    let window = secs(s.policy.machine_fresh_secs);
    let Some(seen) = facts
        .machine
        .as_ref()
        .filter(|m| s.now.since(m.at) < window)
    else {
        return Machine::Unasked;
    };
    match &seen.value {
        MachineSeen::NoProvider => Machine::NoProvider,
        MachineSeen::Unknown { class, message } => Machine::Unknown {
            class: class.clone(),
            message: message.clone(),
        },
        MachineSeen::Known {
            state: MachineState::Stopped,
            ..
        } if is_refuted(s, facts) => Machine::Unknown {
            class: "contradicted".into(),
            message: "it says stopped of a machine that answered since: look at it in the provider's panel, and at whether the inventory names the right one".into(),
        },
        MachineSeen::Known {
            state,
            locked,
            pending,
        } => Machine::Known {
            state: state.clone(),
            busy: match (state, pending, locked) {
                (MachineState::Changing(what), _, _) | (_, Some(what), _) => Some(what.clone()),
                (_, None, true) => Some("it is locked".into()),
                (_, None, false) => None,
            },
        },
    }
}

/// A machine that answered long after the provider first called it stopped was not stopped: this word of the provider says nothing
/// until it says another one, or until nobody has heard the machine for as long as silence must last.
fn is_refuted(s: &Situation<'_>, facts: &NodeFacts) -> bool {
    let grace = secs(s.policy.probe_fresh_secs);
    match (facts.stopped_since, facts.answered) {
        (Some(stopped), Some(answered)) => {
            answered.since(stopped) >= grace && s.now.since(answered) < secs(s.policy.silence_secs)
        }
        (None, _) | (_, None) => false,
    }
}

/// Critical findings that are fresh and that the policy acts on. A broken plugin says nothing about the node.
pub(super) fn faults(s: &Situation<'_>, policy: &Policy, facts: &NodeFacts) -> Vec<Fault> {
    let window = secs(s.policy.finding_fresh_secs);
    let mut all = Vec::new();
    for (plugin, run) in &facts.plugins {
        if s.now.since(run.at) >= window || run.value.fault.is_some() {
            continue;
        }
        for finding in &run.value.findings {
            if finding.severity == Severity::Critical && policy.acts_on(&finding.code) {
                all.push(Fault {
                    plugin: plugin.clone(),
                    code: finding.code.clone(),
                    summary: finding.summary.clone(),
                    remedies: finding.remedies.clone(),
                    since: run.value.critical_since.unwrap_or(run.at),
                });
            }
        }
    }
    all
}

/// Findings whose last plain word was "critical", and that no fresh word repeats or takes back: nobody knows whether they still hold.
pub(super) fn doubts(policy: &Policy, facts: &NodeFacts, faults: &[Fault]) -> Vec<String> {
    let named =
        |plugin: &str, code: &str| faults.iter().any(|f| f.plugin == plugin && f.code == code);
    let mut all = Vec::new();
    for (plugin, run) in &facts.plugins {
        let open = run.value.accuses.iter();
        let open = open.filter(|code| policy.acts_on(code) && !named(plugin, code));
        all.extend(
            open.map(|code| {
                format!("{plugin} said {code}, and has not said lately that it is over")
            }),
        );
    }
    all
}

/// How far the agent's clock is off, seconds, if that is more than the policy takes.
pub(super) fn skew_secs(s: &Situation<'_>, facts: &NodeFacts) -> Option<i64> {
    facts.heartbeat?;
    let off = secs(s.policy.clock_skew_secs);
    let is_wild = Duration::from_millis(facts.skew_ms.unsigned_abs()) > off;
    is_wild.then_some(facts.skew_ms / 1_000)
}
