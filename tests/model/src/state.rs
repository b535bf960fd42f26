//! Everything that can differ between two moments, and how it begins.

use crate::Protocol;
use crate::sight;
use iaso_engine::fact::{Inventory, NodeSpec, Role};
use iaso_engine::id::{EffectId, MachineId, NodeName};
use iaso_engine::ledger::Ledger;
use iaso_engine::policy::{Mode, Policy};
use iaso_engine::time::Tick;
use iaso_engine::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

/// How far the protocol is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Ticks of ten seconds.
    pub ticks: u64,
    /// Controllers that start after the first one: each has a term of its own.
    pub starts: u8,
    /// Orders that are delivered twice. Lost or late they are without a bound: a message that nobody delivers is gone a tick later.
    pub copies: u8,
    /// Restarts of the agent.
    pub restarts: u8,
    /// Changes of who reaches whom, and of a sick node to a dark one.
    pub flips: u8,
    /// Operations of the provider that fail.
    pub failures: u8,
}

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Nothing.
    None,
    /// A controller that comes back gives the provider its order again instead of asking.
    ResendsAfterCrash,
    /// It asks once, at once, and takes absence for "never began".
    NoPatienceInDoubt,
    /// A controller that was frozen sends what it journaled long ago.
    SendsLate,
    /// The agent takes orders of any term.
    NoTermCheck,
    /// The agent keeps no record of what it began over a restart.
    AgentForgets,
    /// The agent refuses an order, and begins it when it comes again.
    RefusalForgotten,
    /// A controller that comes back takes "not connected" for "never sent".
    ResumedFixNeverSent,
    /// The journal takes entries of a term that is over.
    NoFence,
    /// The controller's own silence is enough.
    NoQuorum,
}

/// What ails the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Mended.
    Gone,
    /// A check names two fixes, neither of which helps.
    Sick,
    /// Cut off: nobody is answered.
    Dark,
}

/// What the peer says of a dark worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// It meets silence too.
    Silent,
    /// It is answered.
    Reaches,
    /// Nothing: it did not look, or its word is lost.
    Mute,
}

/// How a provider's operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Pending,
    Done,
    Failed,
}

/// The kinds of a provider's operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A reboot.
    Reboot,
    /// A recreation.
    Recreate,
}

/// One operation in the provider's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    /// Which effect asked for it: the provider does not know, the properties do.
    pub(crate) owner: EffectId,
    pub(crate) kind: Kind,
    pub(crate) at: u64,
    pub(crate) stage: Stage,
}

/// What travels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Message {
    /// To the provider.
    Call {
        /// Of which effect: the provider does not see it.
        effect: EffectId,
        /// What.
        kind: Kind,
        /// Which controller waits for the answer.
        term: u64,
        /// In which tick.
        sent: u64,
    },
    /// From the provider: it took the call.
    Answer {
        /// Of which effect.
        effect: EffectId,
        /// Its operation.
        operation: usize,
        /// Whom.
        term: u64,
    },
    /// To the agent.
    Order {
        /// The order's id.
        effect: EffectId,
        /// Of which leader.
        term: u64,
        /// In which tick.
        sent: u64,
    },
}

/// What the agent keeps on disk of one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    Running,
    /// With its result.
    Over(&'static str),
}

/// The agent of the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) boot: u64,
    pub(crate) term: u64,
    pub(crate) orders: BTreeMap<EffectId, Record>,
    /// What runs, and until when it may.
    pub(crate) running: Option<(EffectId, u64)>,
    /// Outcomes that the controller has not acknowledged.
    pub(crate) outbox: BTreeMap<EffectId, &'static str>,
}

/// What a controller does about one effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pursuit {
    /// To be done by itself: passwords, scripts, pages.
    ToDo,
    /// To be sent. `again`: a controller before this one may have sent it.
    ToSend { again: bool },
    /// Sent to the provider, in that tick.
    Waiting { sent: u64 },
    /// Its answer was lost: the provider's list is asked, since that tick.
    Asking { since: u64 },
    /// The provider took it.
    Following { operation: usize },
    /// Sent to the agent, in the session of that boot.
    Ordered { boot: u64 },
}

/// A controller's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Controller {
    pub(crate) term: u64,
    pub(crate) world: World,
    pub(crate) pursuits: BTreeMap<EffectId, Pursuit>,
}

/// What is left of the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) starts: u8,
    pub(crate) copies: u8,
    pub(crate) restarts: u8,
    pub(crate) flips: u8,
    pub(crate) failures: u8,
}

/// What the properties need to know of the past.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one property's memory of the past"
)]
pub(crate) struct Ghost {
    /// How often each order was begun by an agent.
    pub(crate) begun: BTreeMap<EffectId, u8>,
    /// An order was begun whose term was over.
    pub(crate) stale_begun: bool,
    /// An order was refused because its term was over.
    pub(crate) stale_refused: bool,
    /// A leader whose term was over wrote.
    pub(crate) stale_write: bool,
    /// A recreate was intended while somebody reached the machine, or too few looked.
    pub(crate) quorumless: bool,
    /// The checker vetoed the engine, or the journal refused its records.
    pub(crate) vetoed: Option<String>,
    /// Two disruptive actions were under way at once.
    pub(crate) overlap: bool,
}

/// One moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(crate) tick: u64,
    pub(crate) left: Left,
    pub(crate) fault: Fault,
    pub(crate) peer: Peer,
    pub(crate) journal: Ledger,
    pub(crate) controllers: Vec<Controller>,
    pub(crate) agent: Agent,
    pub(crate) operations: Vec<Operation>,
    pub(crate) net: BTreeSet<Message>,
    pub(crate) ghost: Ghost,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        /// What is printed goes into the hash: every part of a state prints itself.
        struct Print<'a, H>(&'a mut H);
        impl<H: Hasher> std::fmt::Write for Print<'_, H> {
            fn write_str(&mut self, text: &str) -> std::fmt::Result {
                self.0.write(text.as_bytes());
                Ok(())
            }
        }
        let printed = write!(Print(state), "{self:?}");
        debug_assert!(printed.is_ok(), "a hash takes everything");
    }
}

/// A tick, in seconds.
pub(crate) const TICK_SECS: u64 = 10;
/// Patience in doubt, in ticks: longer than an order takes to be sent and to arrive.
pub(crate) const DOUBT_TICKS: u64 = 3;
/// A fix's own deadline, in ticks.
pub(crate) const FIX_TICKS: u64 = 1;

pub(crate) fn at(tick: u64) -> Tick {
    Tick(1_760_226_300_000 + tick * TICK_SECS * 1_000)
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("the names of the model are valid")
}

pub(crate) fn worker() -> NodeName {
    name("styx")
}

pub(crate) fn peer() -> NodeName {
    name("tethys")
}

impl Protocol {
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            start: Mode::Auto,
            reboot: Mode::Auto,
            recreate: Mode::Auto,
            agent_gone_secs: TICK_SECS,
            lease_stale_secs: TICK_SECS,
            probe_fresh_secs: TICK_SECS,
            silence_secs: TICK_SECS,
            machine_fresh_secs: TICK_SECS,
            finding_fresh_secs: 2 * TICK_SECS,
            confirm_secs: 0,
            quorum: if self.bug == Bug::NoQuorum { 1 } else { 2 },
            probe_round_secs: TICK_SECS,
            fix_wait_secs: FIX_TICKS * TICK_SECS,
            fix_attempts: 1,
            reboot_wait_secs: TICK_SECS,
            verify_secs: TICK_SECS,
            recreates_per_day: 9,
            reboots_per_day: 9,
            doubt_secs: DOUBT_TICKS * TICK_SECS,
            // Without Kubernetes nobody knows what lies on the machine, and a person would be asked.
            local_data_expendable: true,
            ..Policy::default()
        }
    }

    pub(crate) fn inventory() -> Inventory {
        let machine = |node: &NodeName| Some(("hostinger".to_owned(), MachineId(node.to_string())));
        let spec = |node: NodeName, role| {
            let machine = machine(&node);
            let spec = NodeSpec {
                name: node.clone(),
                role,
                machine,
                domains: BTreeMap::new(),
            };
            (node, spec)
        };
        Inventory {
            nodes: BTreeMap::from([spec(peer(), Role::Server), spec(worker(), Role::Worker)]),
            has_cluster: false,
        }
    }
}

impl State {
    /// All is well in the eyes of the first controller, and then the worker falls sick, or dark.
    pub(crate) fn initial(protocol: &Protocol) -> Vec<Self> {
        let bounds = protocol.bounds;
        let begin = |fault: Fault| {
            let mut state = Self {
                tick: 0,
                left: Left {
                    starts: bounds.starts,
                    copies: bounds.copies,
                    restarts: bounds.restarts,
                    flips: bounds.flips,
                    failures: bounds.failures,
                },
                fault: Fault::Gone,
                peer: Peer::Silent,
                journal: Ledger::default(),
                controllers: Vec::new(),
                agent: Agent {
                    boot: 1,
                    term: 0,
                    orders: BTreeMap::new(),
                    running: None,
                    outbox: BTreeMap::new(),
                },
                operations: Vec::new(),
                net: BTreeSet::new(),
                ghost: Ghost::default(),
            };
            crate::controller::start(protocol, &mut state);
            sight::look(protocol, &mut state);
            state.fault = fault;
            state
        };
        vec![begin(Fault::Sick), begin(Fault::Dark)]
    }

    /// The leader: the latest controller that started, if it lives.
    pub(crate) fn leads(&self, term: u64) -> bool {
        self.journal.term == term
    }

    /// Whether the agent's session can be open.
    pub(crate) fn connected(&self) -> bool {
        self.fault != Fault::Dark
    }
}
