//! What a run is made of: nodes, policy, faults over time, and how provider, network and operator behave. Plain data: made by the
//! generator from a seed, or read from a file.

use iaso_engine::fact::Role;
use iaso_engine::id::NodeName;
use iaso_engine::policy::{Mode, Policy};

/// Milliseconds since the run began, or a span of them.
pub type Ms = u64;

/// One second.
pub const SECOND: Ms = 1_000;

/// A node's place in [`Scenario::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ix(pub usize);

/// One value for each node.
#[derive(Debug, Clone)]
pub(crate) struct Per<T>(Vec<T>);

impl<T> Per<T> {
    pub(crate) fn new(values: impl IntoIterator<Item = T>) -> Self {
        Self(values.into_iter().collect())
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ix, &T)> {
        self.0.iter().enumerate().map(|(i, value)| (Ix(i), value))
    }
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut()
    }
    pub(crate) fn all(&self) -> impl Iterator<Item = Ix> + use<T> {
        (0..self.0.len()).map(Ix)
    }
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> std::ops::Index<Ix> for Per<T> {
    type Output = T;
    fn index(&self, ix: Ix) -> &T {
        self.0
            .get(ix.0)
            .expect("an Ix is made for a node of this scenario")
    }
}

impl<T> std::ops::IndexMut<Ix> for Per<T> {
    fn index_mut(&mut self, ix: Ix) -> &mut T {
        self.0
            .get_mut(ix.0)
            .expect("an Ix is made for a node of this scenario")
    }
}

/// One node.
#[derive(Debug, Clone)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts of a node, each with its own name"
)]
pub struct NodeSetup {
    /// Its name.
    pub name: NodeName,
    /// Its role.
    pub role: Role,
    /// It has a machine at the provider.
    pub machine: bool,
    /// The failure domain that it is declared to share with others.
    pub zone: Option<u8>,
    /// It carries local volumes or last replicas.
    pub local_data: bool,
    /// A person cordoned it before.
    pub cordoned: bool,
    /// It joined the cluster once. One that never did has no agent, no Node object and does not answer.
    pub joined: bool,
    /// From power on until its system answers.
    pub boot: Ms,
    /// From its system's start until k3s-agent is Ready: over 10 minutes on a small VPS.
    pub ready: Ms,
    /// How far its clock is off, milliseconds.
    pub skew_ms: i64,
}

/// What a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its link is cut outside the machine: nobody reaches it, and it runs.
    Cut,
    /// The guest hangs.
    Hang,
    /// It is powered off.
    PowerOff,
    /// The unit k3s-agent is down, and a check says so.
    K3sDown,
    /// The kubelet renews no lease, and no check says why.
    KubeletSilent,
    /// A check finds something: DNS, disk, certificate.
    Check,
    /// The agent's process is dead, the node is fine.
    AgentDead,
    /// Its kernel answers, and nothing on it lives.
    Stalled,
    /// A plugin is broken: its word says nothing of the node.
    PluginBroken,
    /// Its answers to probes are late or lost, and its heartbeats too: so many in a hundred.
    Sluggish(u8),
    /// Some do not reach it.
    Path {
        /// The controller does not.
        controller: bool,
        /// So many in a hundred of its peers do not.
        peers_percent: u8,
        /// Its own session to the controller is cut too.
        session: bool,
        /// Its kubelet does not reach the API server.
        api: bool,
    },
    /// The nodes reach each other and nobody else.
    ZoneSplit,
    /// Its own probes of others meet silence, whatever is true.
    Blind {
        /// And it thinks itself well.
        fit: bool,
    },
    /// The controller reaches nobody.
    ControllerCut {
        /// Not even the provider.
        provider: bool,
    },
    /// The API server does not answer.
    ApiDown,
    /// The API server takes no lease: all look stale at once.
    ApiOverload,
    /// One node's lease is shown stale though its kubelet is well.
    LeaseFrozen,
    /// One node's Ready condition is latched at false though all is well.
    ReadyLatched,
    /// The provider's API answers nothing useful.
    ProviderTrouble(Trouble),
    /// The provider has suspended the machine.
    Suspended,
    /// The provider has locked the machine.
    Locked,
    /// The provider goes on saying `running`, whatever is true.
    SaysRunning,
    /// The provider says `stopped`, though the machine runs.
    SaysStopped,
    /// The secret store does not answer.
    SecretStore,
    /// The journal cannot be written.
    Journal,
    /// A person holds everything.
    Paused,
    /// The controller dies at the beginning and is started again at the end.
    Crash {
        /// How far its wall clock is off after the restart, milliseconds.
        clock_ms: i64,
    },
}

/// Why a provider's API answers nothing useful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 429.
    RateLimited,
    /// 5xx.
    Server,
    /// No answer: a call may have been taken.
    Silence,
}

impl Trouble {
    /// The engine's word.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::RateLimited => "rate-limited",
            Self::Server => "server",
            Self::Silence => "transport",
        }
    }
}

/// What heals a fault, beside its own end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heal {
    /// This fix of the plugin that found it.
    pub fix: Option<String>,
    /// Powering on.
    pub start: bool,
    /// A reboot.
    pub reboot: bool,
    /// A recreate.
    pub recreate: bool,
}

/// One fault at one time.
#[derive(Debug, Clone)]
pub struct Strike {
    /// When it begins.
    pub at: Ms,
    /// When it ends by itself.
    pub until: Option<Ms>,
    /// What it is.
    pub fault: Fault,
    /// On which nodes; ignored by faults of the controller, the API server and the provider.
    pub nodes: Vec<Ix>,
    /// What heals it.
    pub heal: Heal,
    /// Fixes that the finding names, best first.
    pub remedies: Vec<String>,
    /// Strikes with the same number have one cause.
    pub cause: u32,
}

/// What a provider's reboot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebootManner {
    /// Reboots.
    Works,
    /// Says done, and does nothing.
    DoesNothing,
    /// The operation ends in error, and nothing happened.
    Fails,
}

/// What a provider's recreate does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecreateManner {
    /// Recreates.
    Works,
    /// The operation ends in error, and nothing happened.
    FailsBefore,
    /// The machine is wiped, and the operation ends in error.
    HalfDone,
    /// Done, and the script that joins it never ran.
    ComesUpBare,
    /// The first password is refused.
    RefusesPassword,
}

/// How the provider behaves.
#[derive(Debug, Clone)]
pub struct ProviderManner {
    /// Time to an answer, from and to.
    pub latency: (Ms, Ms),
    /// Of a thousand calls, so many are lost on their way.
    pub lost_calls: u64,
    /// Of a thousand calls, so many are taken and the answer is lost.
    pub lost_answers: u64,
    /// Of a thousand calls, so many are refused for the moment.
    pub refused: u64,
    /// What a reboot does.
    pub reboot: RebootManner,
    /// What a recreate does.
    pub recreate: RecreateManner,
    /// How long a power operation takes, from and to.
    pub power: (Ms, Ms),
    /// How long a recreate takes, from and to.
    pub reinstall: (Ms, Ms),
    /// It has meters that show uptime.
    pub meters: bool,
}

/// How messages travel.
#[derive(Debug, Clone)]
pub struct NetManner {
    /// Of a thousand messages, so many are lost.
    pub loss: u64,
    /// Of a thousand answers, so many come twice.
    pub duplicates: u64,
    /// Longest delay of a probe's answer.
    pub delay: Ms,
    /// Of a thousand sessions and minutes, so many break for nothing.
    pub breaks: u64,
}

/// What a person says when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Nothing.
    Never,
}

/// How the operator behaves.
#[derive(Debug, Clone, Copy)]
pub struct Operator {
    /// To every question.
    pub answer: Answer,
    /// After so long.
    pub delay: Ms,
}

/// The controller dies at one step of one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashOn {
    /// The action's name.
    pub action: &'static str,
    /// It was sent, and the answer is lost; else only the intent was written.
    pub sent: bool,
    /// How long it stays away.
    pub down: Ms,
}

/// Everything a run is made of.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Everything that is drawn while it runs depends on this.
    pub seed: u64,
    /// The nodes, in the order of their names.
    pub nodes: Vec<NodeSetup>,
    /// A Kubernetes API is configured.
    pub has_cluster: bool,
    /// What the operator allows.
    pub policy: Policy,
    /// Faults over time.
    pub strikes: Vec<Strike>,
    /// The provider.
    pub provider: ProviderManner,
    /// The network.
    pub net: NetManner,
    /// The operator.
    pub operator: Operator,
    /// Crashes at steps of actions.
    pub crash_on: Vec<CrashOn>,
    /// The run ends here at the latest.
    pub horizon: Ms,
}

impl Scenario {
    /// A quiet cluster: a server and workers, a provider that does what it says, nothing lost, everything automatic, three hours at most.
    #[must_use]
    pub fn quiet(nodes: impl IntoIterator<Item = NodeSetup>) -> Self {
        let mut nodes: Vec<NodeSetup> = nodes.into_iter().collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            seed: 1,
            nodes,
            has_cluster: true,
            policy: Policy {
                start: Mode::Auto,
                reboot: Mode::Auto,
                recreate: Mode::Auto,
                ..Policy::default()
            },
            strikes: Vec::new(),
            provider: ProviderManner {
                latency: (500, SECOND),
                lost_calls: 0,
                lost_answers: 0,
                refused: 0,
                reboot: RebootManner::Works,
                recreate: RecreateManner::Works,
                power: (10 * SECOND, 20 * SECOND),
                reinstall: (60 * SECOND, 90 * SECOND),
                meters: true,
            },
            net: NetManner {
                loss: 0,
                duplicates: 0,
                delay: 0,
                breaks: 0,
            },
            operator: Operator {
                answer: Answer::Never,
                delay: 60 * SECOND,
            },
            crash_on: Vec::new(),
            horizon: 3 * 3_600 * SECOND,
        }
    }
}

impl NodeSetup {
    /// A healthy node with a machine, that boots in 30 seconds and is Ready a minute later.
    #[must_use]
    pub fn well(name: NodeName, role: Role) -> Self {
        Self {
            name,
            role,
            machine: true,
            zone: None,
            local_data: false,
            cordoned: false,
            joined: true,
            boot: 30 * SECOND,
            ready: 60 * SECOND,
            skew_ms: 0,
        }
    }
}

impl Fault {
    /// It is of the controller, the API server, the provider or the stores, not of nodes.
    #[must_use]
    pub fn is_global(self) -> bool {
        match self {
            Self::ControllerCut { .. }
            | Self::ApiDown
            | Self::ApiOverload
            | Self::ProviderTrouble(_)
            | Self::SecretStore
            | Self::Journal
            | Self::Paused
            | Self::Crash { .. } => true,
            Self::Cut
            | Self::Hang
            | Self::PowerOff
            | Self::K3sDown
            | Self::KubeletSilent
            | Self::Check
            | Self::AgentDead
            | Self::Stalled
            | Self::PluginBroken
            | Self::Sluggish(_)
            | Self::Path { .. }
            | Self::ZoneSplit
            | Self::Blind { .. }
            | Self::LeaseFrozen
            | Self::ReadyLatched
            | Self::Suspended
            | Self::Locked
            | Self::SaysRunning
            | Self::SaysStopped => false,
        }
    }
}

impl Strike {
    /// The class under which its time to recovery is counted: what it is, and the smallest act that heals it.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self.fault {
            Fault::Cut | Fault::Path { .. } | Fault::ZoneSplit if self.heal.reboot => {
                "cut-healed-by-reboot"
            }
            Fault::Cut | Fault::Path { .. } | Fault::ZoneSplit => "cut-healed-by-recreate",
            Fault::Hang if self.heal.reboot => "hang-healed-by-reboot",
            Fault::Hang => "hang-healed-by-recreate",
            Fault::PowerOff => "powered-off",
            Fault::Stalled => "hung-but-answering",
            Fault::K3sDown => "k3s-agent-down",
            Fault::Check => "check-failing",
            Fault::KubeletSilent
            | Fault::AgentDead
            | Fault::PluginBroken
            | Fault::Sluggish(_)
            | Fault::Blind { .. }
            | Fault::ControllerCut { .. }
            | Fault::ApiDown
            | Fault::ApiOverload
            | Fault::LeaseFrozen
            | Fault::ReadyLatched
            | Fault::ProviderTrouble(_)
            | Fault::Suspended
            | Fault::Locked
            | Fault::SaysRunning
            | Fault::SaysStopped
            | Fault::SecretStore
            | Fault::Journal
            | Fault::Paused
            | Fault::Crash { .. } => "other",
        }
    }
}
