//! What is known now. Every fact has a time, and an old one is unknown.

use crate::fact::{
    Finding, KubeNode, MachineMetrics, MachineSeen, MachineState, Observation, Observer,
    PluginFault, ProbeOutcome, ProbeResult, Ready, Severity,
};
use crate::id::NodeName;
use crate::time::Tick;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A value and when it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen<T> {
    /// When.
    pub at: Tick,
    /// What.
    pub value: T,
}

/// An agent's connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentLink {
    /// Its session is open.
    Up {
        /// The agent process' random id.
        boot: String,
    },
    /// Its session ended.
    Lost {
        /// Why.
        reason: String,
    },
}

/// The latest run of one plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginRun {
    /// Its findings.
    pub findings: Vec<Finding>,
    /// Why it is broken.
    pub fault: Option<PluginFault>,
    /// Since when every run found something critical; `None`: the latest did not.
    pub critical_since: Option<Tick>,
    /// Codes of which its last plain word was "critical": a run that breaks, or cannot tell, takes none of them back.
    #[serde(default)]
    pub accuses: BTreeSet<String>,
}

/// What is known of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeFacts {
    /// The agent's session; `None`: never seen by this controller process.
    pub agent: Option<Seen<AgentLink>>,
    /// Latest heartbeat.
    pub heartbeat: Option<Tick>,
    /// The agent's word about itself: 0 healthy to 8 unfit.
    pub self_health: u32,
    /// The agent's clock minus the controller's at its latest heartbeat, milliseconds.
    #[serde(default)]
    pub skew_ms: i64,
    /// The host's boot time by its own clock, milliseconds since the Unix epoch.
    pub host_boot_unix_ms: Option<u64>,
    /// By plugin.
    pub plugins: BTreeMap<String, Seen<PluginRun>>,
    /// Kubernetes' word.
    pub kube: Option<Seen<KubeNode>>,
    /// Since when every word of Kubernetes was "not Ready".
    #[serde(default)]
    pub not_ready_since: Option<Tick>,
    /// By observer, the latest round.
    #[serde(with = "crate::pairs")]
    pub probes: BTreeMap<Observer, Seen<Vec<ProbeResult>>>,
    /// By observer, since when every round met silence.
    #[serde(default, with = "crate::pairs")]
    pub silent_since: BTreeMap<Observer, Tick>,
    /// When it last answered a probe, whoever asked.
    #[serde(default)]
    pub answered: Option<Tick>,
    /// The provider's word.
    pub machine: Option<Seen<MachineSeen>>,
    /// Since when every plain word of the provider was "stopped".
    #[serde(default)]
    pub stopped_since: Option<Tick>,
    /// The provider's meters.
    pub metrics: Option<Seen<MachineMetrics>>,
}

/// What is known now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct World {
    /// When this controller process began to look: before that, absence means nothing.
    pub since: Tick,
    /// By node.
    pub nodes: BTreeMap<NodeName, NodeFacts>,
    /// Trouble with the API server; `Some(None)`: it answers.
    pub kube_api: Option<Seen<Option<String>>>,
    /// Trouble with the journal.
    pub store: Option<String>,
    /// Since when there is trouble with the journal.
    #[serde(default)]
    pub store_since: Option<Tick>,
    /// Trouble with the secret store.
    pub secret_store: Option<String>,
}

impl World {
    /// An empty world that begins now.
    #[must_use]
    pub fn new(since: Tick) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }

    /// For how long nothing could be written to the journal, in seconds.
    #[must_use]
    pub fn unwritten_secs(&self, now: Tick) -> u64 {
        self.store_since
            .map_or(0, |since| now.since(since).as_secs())
    }

    /// Takes in one observation.
    pub fn observe(&mut self, now: Tick, observation: Observation) {
        match observation {
            Observation::AgentConnected {
                node,
                boot,
                host_boot_unix_ms,
            } => {
                let facts = self.node(node);
                facts.agent = Some(Seen {
                    at: now,
                    value: AgentLink::Up { boot },
                });
                facts.heartbeat = Some(now);
                facts.host_boot_unix_ms = Some(host_boot_unix_ms);
            }
            Observation::AgentLost { node, reason } => {
                self.node(node).agent = Some(Seen {
                    at: now,
                    value: AgentLink::Lost { reason },
                });
            }
            Observation::AgentHeartbeat {
                node,
                self_health,
                skew_ms,
            } => {
                let facts = self.node(node);
                facts.heartbeat = Some(now);
                facts.self_health = self_health;
                facts.skew_ms = skew_ms;
            }
            Observation::Report {
                node,
                plugin,
                findings,
                fault,
            } => {
                let plugins = &mut self.node(node).plugins;
                let before = plugins.get(&plugin).map(|p| &p.value);
                let value = PluginRun::after(before, now, findings, fault);
                plugins.insert(plugin, Seen { at: now, value });
            }
            Observation::Kube { node, seen } => {
                let facts = self.node(node);
                facts.not_ready_since = match seen.ready {
                    Ready::True => None,
                    Ready::False | Ready::Unknown => facts.not_ready_since.or(Some(now)),
                };
                facts.kube = Some(Seen {
                    at: now,
                    value: seen,
                });
            }
            Observation::KubeApi { trouble } => {
                self.kube_api = Some(Seen {
                    at: now,
                    value: trouble,
                });
            }
            Observation::Probed {
                target,
                observer,
                round: _,
                results,
            } => {
                self.node(target).hear(now, observer, results);
            }
            Observation::Machine { node, seen } => {
                self.node(node).provider_says(now, seen);
            }
            Observation::Metrics { node, metrics } => {
                self.node(node).metrics = Some(Seen {
                    at: now,
                    value: metrics,
                });
            }
            Observation::Store { trouble } => {
                let since = self.store_since.unwrap_or(now);
                self.store_since = trouble.as_ref().map(|_| since);
                self.store = trouble;
            }
            Observation::SecretStore { trouble } => self.secret_store = trouble,
        }
    }

    fn node(&mut self, name: NodeName) -> &mut NodeFacts {
        self.nodes.entry(name).or_default()
    }
}

impl PluginRun {
    fn after(
        before: Option<&Self>,
        now: Tick,
        findings: Vec<Finding>,
        fault: Option<PluginFault>,
    ) -> Self {
        let codes = |wanted: Severity| {
            let found = findings.iter().filter(move |f| f.severity == wanted);
            found.map(|f| f.code.clone())
        };
        let critical = codes(Severity::Critical).next().is_some();
        let told: BTreeSet<String> = codes(Severity::Unknown).collect();
        let open = |code: &&String| fault.is_some() || told.contains(*code);
        let old = before.into_iter().flat_map(|run| &run.accuses);
        let accuses = old.filter(open).cloned();
        let accuses = accuses.chain(codes(Severity::Critical)).collect();
        Self {
            critical_since: critical
                .then(|| before.and_then(|run| run.critical_since).unwrap_or(now)),
            accuses,
            findings,
            fault,
        }
    }
}

impl NodeFacts {
    fn provider_says(&mut self, now: Tick, seen: MachineSeen) {
        self.stopped_since = match &seen {
            MachineSeen::Known {
                state: MachineState::Stopped,
                ..
            } => self.stopped_since.or(Some(now)),
            MachineSeen::Known { .. } | MachineSeen::NoProvider => None,
            MachineSeen::Unknown { .. } => self.stopped_since,
        };
        self.machine = Some(Seen {
            at: now,
            value: seen,
        });
    }

    fn hear(&mut self, now: Tick, observer: Observer, results: Vec<ProbeResult>) {
        if heard(&results) == Some(true) {
            self.answered = Some(now);
        }
        match heard(&results) {
            Some(false) => {
                self.silent_since.entry(observer.clone()).or_insert(now);
            }
            Some(true) => {
                self.silent_since.remove(&observer);
            }
            None => {}
        }
        self.probes.insert(
            observer,
            Seen {
                at: now,
                value: results,
            },
        );
    }
}

/// What one probe round says: `Some(true)` the machine answered, `Some(false)` silence, `None` nothing.
pub(crate) fn heard(results: &[ProbeResult]) -> Option<bool> {
    let met = |wanted: &[ProbeOutcome]| results.iter().any(|r| wanted.contains(&r.outcome));
    if met(&[ProbeOutcome::Reached, ProbeOutcome::Refused]) {
        return Some(true);
    }
    met(&[ProbeOutcome::Timeout, ProbeOutcome::Unreachable]).then_some(false)
}
