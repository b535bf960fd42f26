//! What is known now. Every fact has a time, and an old one is unknown.

use crate::fact::{
    Finding, KubeNode, MachineMetrics, MachineSeen, Observation, Observer, PluginFault,
    ProbeResult, Severity,
};
use crate::id::NodeName;
use crate::time::Tick;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// The host's boot time by its own clock, milliseconds since the Unix epoch.
    pub host_boot_unix_ms: Option<u64>,
    /// By plugin.
    pub plugins: BTreeMap<String, Seen<PluginRun>>,
    /// Kubernetes' word.
    pub kube: Option<Seen<KubeNode>>,
    /// By observer, the latest round.
    #[serde(with = "crate::pairs")]
    pub probes: BTreeMap<Observer, Seen<Vec<ProbeResult>>>,
    /// The provider's word.
    pub machine: Option<Seen<MachineSeen>>,
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
                skew_ms: _,
            } => {
                let facts = self.node(node);
                facts.heartbeat = Some(now);
                facts.self_health = self_health;
            }
            Observation::Report {
                node,
                plugin,
                findings,
                fault,
            } => {
                let plugins = &mut self.node(node).plugins;
                let before = plugins.get(&plugin).and_then(|p| p.value.critical_since);
                let critical = findings.iter().any(|f| f.severity == Severity::Critical);
                let value = PluginRun {
                    findings,
                    fault,
                    critical_since: critical.then(|| before.unwrap_or(now)),
                };
                plugins.insert(plugin, Seen { at: now, value });
            }
            Observation::Kube { node, seen } => {
                self.node(node).kube = Some(Seen {
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
                self.node(target).probes.insert(
                    observer,
                    Seen {
                        at: now,
                        value: results,
                    },
                );
            }
            Observation::Machine { node, seen } => {
                self.node(node).machine = Some(Seen {
                    at: now,
                    value: seen,
                });
            }
            Observation::Metrics { node, metrics } => {
                self.node(node).metrics = Some(Seen {
                    at: now,
                    value: metrics,
                });
            }
            Observation::Store { trouble } => self.store = trouble,
            Observation::SecretStore { trouble } => self.secret_store = trouble,
        }
    }

    fn node(&mut self, name: NodeName) -> &mut NodeFacts {
        self.nodes.entry(name).or_default()
    }
}
