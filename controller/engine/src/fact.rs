//! Observations: what one source saw, from where. They go into the [`World`](crate::world::World), which knows when.

use crate::id::{MachineId, NodeName, OperationId};
use crate::time::Tick;
use serde::{Deserialize, Serialize};

/// How bad a finding is. Ordered: the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Looked at, and well.
    Ok,
    /// Worth knowing.
    Info,
    /// The check could not tell.
    Unknown,
    /// Will become a failure.
    Warning,
    /// Is a failure.
    Critical,
}

/// One finding of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable and dotted: `k3s-agent.node-password-rejected`.
    pub code: String,
    /// How bad.
    pub severity: Severity,
    /// What was looked at.
    pub subject: String,
    /// One sentence for a person.
    pub summary: String,
    /// Fixes of the same plugin that may help, best first.
    pub remedies: Vec<String>,
    /// What else the plugin said.
    pub attributes: Vec<(String, String)>,
}

/// A plugin that is itself broken. Says nothing about the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginFault {
    /// `trap`, `out-of-memory`, `deadline`, `bad-output`, `host-error`, `runner-lost`, `refused`, `not-wasm` or `missing-grant`.
    pub class: String,
    /// For a person.
    pub message: String,
}

/// Who looked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observer {
    /// The controller, from where it stands.
    Controller,
    /// Another node's agent.
    Node(NodeName),
}

/// What a probe met. Only `Reached` and `Refused` prove that the machine's kernel answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeOutcome {
    /// Answered.
    Reached,
    /// The port is closed, the machine answers.
    Refused,
    /// Silence.
    Timeout,
    /// The network says that there is no way.
    Unreachable,
    /// The observer could not probe: nothing is known.
    Error,
}

/// One probe of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// `icmp` or `tcp/<port>`.
    pub kind: String,
    /// What it met.
    pub outcome: ProbeOutcome,
    /// Round trip in microseconds, when reached.
    pub rtt_us: Option<u64>,
}

/// Kubernetes' Ready condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ready {
    /// The kubelet says so.
    True,
    /// The kubelet says no.
    False,
    /// The node controller has not heard from the kubelet.
    Unknown,
}

/// A node as Kubernetes knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubeNode {
    /// The Node object exists.
    pub exists: bool,
    /// Its Ready condition.
    pub ready: Ready,
    /// When the controller last saw the lease's `renewTime` *change*, on the controller's own clock: no skew can fake it.
    pub lease_changed: Option<Tick>,
    /// Cordoned.
    pub unschedulable: bool,
    /// `spec.podCIDR`-independent identity: the Node object's uid.
    pub uid: String,
    /// `status.nodeInfo.kubeletVersion`, such as `v1.33.4+k3s1`.
    pub kubelet_version: String,
    /// Pods bound to the node that have been Terminating for longer than their grace.
    pub stuck_pods: u32,
    /// Local volumes and last replicas that a recreate would destroy, each in words; empty: none.
    pub local_data: Vec<String>,
    /// Its owner opted out of repairs by the label or annotation `iaso.dev/opt-out`, and why; `None`: did not.
    #[serde(default)]
    pub opt_out: Option<String>,
}

/// A machine's state in the words that all providers share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineState {
    /// The provider says it runs. It may lie.
    Running,
    /// Powered off.
    Stopped,
    /// On its way: starting, stopping, creating, recreating, restoring.
    Changing(String),
    /// Suspended, destroyed, or in the provider's own error state: nothing that Iaso may mend.
    Blocked(String),
    /// In the provider's rescue image.
    Recovery,
}

/// What the provider says of a machine, or why it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineSeen {
    /// It answered.
    Known {
        /// The state.
        state: MachineState,
        /// The provider holds a lock on it.
        locked: bool,
        /// An operation that somebody started is under way, in the provider's words.
        pending: Option<String>,
    },
    /// It did not answer usefully: never taken for a failure of the machine.
    Unknown {
        /// `unauthorized`, `forbidden`, `not-found`, `conflict`, `invalid`, `rate-limited`, `server`, `unexpected` or `transport`.
        class: String,
        /// For the operator, with what to do.
        message: String,
    },
    /// This node has no provider.
    NoProvider,
}

/// What the provider's meters say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineMetrics {
    /// Latest uptime sample.
    pub uptime_ms: Option<u64>,
    /// Bytes that came in during the latest sample; zero while running is evidence of isolation.
    pub incoming_bytes: Option<u64>,
}

/// One thing seen, as the driver hands it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observation {
    /// An agent's session opened. A new `boot` means that the agent, not only the connection, is new.
    AgentConnected {
        /// Whose.
        node: NodeName,
        /// The agent process' random id.
        boot: String,
        /// The host's boot time by its own clock, milliseconds since the Unix epoch.
        host_boot_unix_ms: u64,
    },
    /// The session ended, or its heartbeats stopped.
    AgentLost {
        /// Whose.
        node: NodeName,
        /// In words.
        reason: String,
    },
    /// A heartbeat.
    AgentHeartbeat {
        /// Whose.
        node: NodeName,
        /// 0 healthy to 8 unfit: the weight of its word about others.
        self_health: u32,
        /// The agent's clock minus the controller's, milliseconds.
        skew_ms: i64,
    },
    /// One run of a check.
    Report {
        /// Where.
        node: NodeName,
        /// Which plugin.
        plugin: String,
        /// Its findings; empty when it is broken.
        findings: Vec<Finding>,
        /// Why it is broken.
        fault: Option<PluginFault>,
    },
    /// Kubernetes answered about a node.
    Kube {
        /// Which.
        node: NodeName,
        /// What it knows.
        seen: KubeNode,
    },
    /// The API server answers, or why it does not.
    KubeApi {
        /// `None`: it answers.
        trouble: Option<String>,
    },
    /// One observer's word about one node.
    Probed {
        /// Looked at.
        target: NodeName,
        /// Who looked.
        observer: Observer,
        /// The round it belongs to.
        round: u64,
        /// What each probe met.
        results: Vec<ProbeResult>,
    },
    /// The provider's word.
    Machine {
        /// Which node's.
        node: NodeName,
        /// What it said.
        seen: MachineSeen,
    },
    /// The provider's meters.
    Metrics {
        /// Which node's.
        node: NodeName,
        /// What they say.
        metrics: MachineMetrics,
    },
    /// The journal or its disk has trouble: nothing disruptive may start. `None`: well again.
    Store {
        /// In words.
        trouble: Option<String>,
    },
    /// The secret store has trouble: no recreate. `None`: well again.
    SecretStore {
        /// In words.
        trouble: Option<String>,
    },
}

impl Observation {
    /// The node that it is about; `None`: it is about all of them, or none.
    #[must_use]
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::AgentConnected { node, .. }
            | Self::AgentLost { node, .. }
            | Self::AgentHeartbeat { node, .. }
            | Self::Report { node, .. }
            | Self::Kube { node, .. }
            | Self::Machine { node, .. }
            | Self::Metrics { node, .. } => Some(node),
            Self::Probed { target, .. } => Some(target),
            Self::KubeApi { .. } | Self::Store { .. } | Self::SecretStore { .. } => None,
        }
    }
}

/// A node's role in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the control plane; never goes past a reboot by itself.
    Server,
    /// Runs workloads only.
    Worker,
}

/// A node as the operator declared it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Its name.
    pub name: NodeName,
    /// Its role.
    pub role: Role,
    /// The provider's name and the machine's id; `None`: no provider, its ladder ends at a page.
    pub machine: Option<(String, MachineId)>,
    /// What it shares with others and may fall with: `zone`, `image`, …
    #[serde(default)]
    pub domains: std::collections::BTreeMap<String, String>,
}

/// The operator's nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inventory {
    /// By name.
    pub nodes: std::collections::BTreeMap<NodeName, NodeSpec>,
    /// A Kubernetes API is configured; else the lease channel is absent, not unknown.
    pub has_cluster: bool,
}

/// A provider's operation, as far as the engine cares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRef {
    /// The provider's id.
    pub id: OperationId,
    /// The provider's word for it.
    pub name: String,
}
