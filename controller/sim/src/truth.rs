//! What is really so: machines, systems, processes, paths. Nobody in the model but the judge may look here.
//!
//! **Invariants**
//! - What a host is follows from its power, its boot and the faults that are on it: faults are never undone by hand.
//! - A machine is dark when its own side keeps everybody outside its own failure domain from reaching it. That nobody is left to look at it
//!   does not make it dark.

use crate::queue::Vantage;
use crate::rng::hash;
use crate::scenario::{Fault, Ix, Ms, NodeSetup, Per, Scenario, Strike};
use iaso_engine::fact::Role;
use iaso_engine::id::EffectId;

/// What follows from everything that is on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts of a host, each with its own name"
)]
pub(crate) struct Shape {
    /// Its system runs.
    pub(crate) system: bool,
    /// Its system runs and its link is not cut.
    pub(crate) linked: bool,
    /// Its agent's process runs.
    pub(crate) agent: bool,
    /// Its kubelet runs.
    pub(crate) kubelet: bool,
    /// Its kubelet's renewals reach the API server.
    pub(crate) renews: bool,
    /// The strike that a check finds.
    pub(crate) finding: Option<usize>,
    /// Nobody could reach it.
    pub(crate) dark: bool,
    /// Its agent's session can be open.
    pub(crate) session: bool,
    /// Its agent could say what it sees of others, and sees what is so.
    pub(crate) tells: bool,
}

impl Shape {
    /// As a person would have it.
    pub(crate) fn is_well(&self) -> bool {
        self.linked && self.agent && self.kubelet && self.finding.is_none() && !self.dark
    }
}

/// An agent's session to the controller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) number: u32,
    pub(crate) since: Ms,
    pub(crate) heartbeat: Ms,
    pub(crate) reported: Option<Ms>,
}

/// An order as the agent remembers it.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) effect: EffectId,
    /// By which process of the agent.
    pub(crate) agent: u32,
    pub(crate) result: Option<&'static str>,
    pub(crate) until: Ms,
}

#[derive(Debug, Clone)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts of a host, each with its own name"
)]
pub(crate) struct Host {
    pub(crate) power: bool,
    /// Its boot is over.
    pub(crate) booted: bool,
    pub(crate) boots: u32,
    pub(crate) agent_from: Ms,
    pub(crate) kubelet_from: Ms,
    /// Agent and k3s are installed.
    pub(crate) installed: bool,
    /// It has a Node object.
    pub(crate) object: bool,
    pub(crate) cordoned: bool,
    /// Local data lies on it.
    pub(crate) data: bool,
    pub(crate) active: Vec<usize>,
    pub(crate) shape: Shape,
    pub(crate) session: Option<Session>,
    pub(crate) sessions: u32,
    /// The controller's life that it last opened a session to.
    pub(crate) spoke_to: Option<u32>,
    pub(crate) agents: u32,
    pub(crate) orders: Vec<Order>,
    pub(crate) lease: Option<Ms>,
    /// Dark since; and until when it last was.
    pub(crate) dark_since: Option<Ms>,
    pub(crate) dark_until: Option<Ms>,
    /// Since when it was dark the last time.
    pub(crate) dark_from: Option<Ms>,
    /// Not well since, and by which strike.
    pub(crate) ill: Option<(Ms, &'static str)>,
    /// Iaso acted since.
    pub(crate) touched: bool,
    /// Neither agent nor kubelet speaks since.
    pub(crate) mute_since: Option<Ms>,
    /// The last time that it was mute: from when until when.
    pub(crate) mute_before: Option<(Ms, Ms)>,
    /// How often it fell ill.
    pub(crate) falls: u32,
}

impl Host {
    fn new(setup: &NodeSetup) -> Self {
        Self {
            power: setup.joined,
            booted: setup.joined,
            boots: 0,
            agent_from: 0,
            kubelet_from: 0,
            installed: setup.joined,
            object: setup.joined,
            cordoned: setup.cordoned,
            data: setup.local_data,
            active: Vec::new(),
            shape: Shape::default(),
            session: None,
            sessions: 0,
            spoke_to: None,
            agents: 1,
            orders: Vec::new(),
            lease: None,
            dark_since: None,
            dark_until: None,
            dark_from: None,
            ill: None,
            touched: false,
            mute_since: None,
            mute_before: None,
            falls: 0,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Truth<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) hosts: Per<Host>,
    /// Faults of no node that are on.
    pub(crate) globals: Vec<usize>,
}

impl<'a> Truth<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Self {
        let mut truth = Self {
            scenario,
            hosts: Per::new(scenario.nodes.iter().map(Host::new)),
            globals: Vec::new(),
        };
        for ix in truth.hosts.all() {
            let shape = truth.shape(ix, 0);
            let host = &mut truth.hosts[ix];
            host.shape = shape;
            if shape.dark {
                host.dark_since = Some(0);
            }
        }
        truth
    }

    pub(crate) fn setup(&self, ix: Ix) -> &'a NodeSetup {
        self.scenario
            .nodes
            .get(ix.0)
            .expect("an Ix is made for a node of this scenario")
    }

    pub(crate) fn strike(&self, index: usize) -> &'a Strike {
        self.scenario
            .strikes
            .get(index)
            .expect("indices of strikes are made from the scenario")
    }

    pub(crate) fn on(&self, ix: Ix) -> impl Iterator<Item = (usize, &'a Strike)> + '_ {
        self.hosts[ix].active.iter().map(|i| (*i, self.strike(*i)))
    }

    pub(crate) fn has(&self, ix: Ix, wanted: impl Fn(Fault) -> bool) -> bool {
        self.on(ix).any(|(_, strike)| wanted(strike.fault))
    }

    /// A fault of no node, that is on.
    pub(crate) fn global(&self, wanted: impl Fn(Fault) -> bool) -> Option<Fault> {
        self.globals
            .iter()
            .map(|i| self.strike(*i).fault)
            .find(|fault| wanted(*fault))
    }

    pub(crate) fn controller_cut(&self) -> bool {
        self.global(|f| matches!(f, Fault::ControllerCut { .. }))
            .is_some()
    }

    /// What a host is now.
    pub(crate) fn shape(&self, ix: Ix, now: Ms) -> Shape {
        let host = &self.hosts[ix];
        let mut shape = Shape {
            system: host.power && host.booted,
            ..Shape::default()
        };
        let (mut agent, mut kubelet, mut shown) = (true, true, true);
        let (mut cut, mut blocked, mut session, mut sees) = (false, false, true, true);
        for (index, strike) in self.on(ix) {
            match strike.fault {
                Fault::Cut => cut = true,
                Fault::Hang => shape.system = false,
                Fault::K3sDown => {
                    kubelet = false;
                    shape.finding = shape.finding.or(Some(index));
                }
                Fault::Check => shape.finding = shape.finding.or(Some(index)),
                Fault::KubeletSilent => kubelet = false,
                Fault::AgentDead => agent = false,
                Fault::Stalled => (agent, kubelet) = (false, false),
                Fault::LeaseFrozen => shown = false,
                Fault::Path {
                    controller,
                    peers_percent,
                    session: cuts,
                    api,
                } => {
                    blocked |= controller && self.no_peer_left(ix, index, strike, peers_percent);
                    session &= !cuts;
                    shown &= !api;
                }
                Fault::ZoneSplit => {
                    blocked = true;
                    session = false;
                    shown &= self.zone_has_server(strike);
                }
                Fault::Blind { .. } => sees = false,
                Fault::PowerOff
                | Fault::PluginBroken
                | Fault::Sluggish(_)
                | Fault::ControllerCut { .. }
                | Fault::ApiDown
                | Fault::ApiOverload
                | Fault::ReadyLatched
                | Fault::ProviderTrouble(_)
                | Fault::Suspended
                | Fault::Locked
                | Fault::SaysRunning
                | Fault::SaysStopped
                | Fault::SecretStore
                | Fault::Journal
                | Fault::Paused
                | Fault::Crash { .. } => {}
            }
        }
        shape.linked = shape.system && !cut;
        shape.agent = shape.system && host.installed && agent && now >= host.agent_from;
        shape.kubelet = shape.system && host.installed && kubelet && now >= host.kubelet_from;
        shape.renews = shape.kubelet && shape.linked && shown;
        shape.dark = !shape.linked || blocked;
        let speaks = shape.agent && shape.linked && session;
        shape.session = speaks && !self.controller_cut();
        shape.tells = speaks && sees;
        shape
    }

    /// A path fault that keeps away, beside the controller, every other node that could tell: one behind the same fault, one without an
    /// agent and a blind one cannot. Nobody can tell it from a cut.
    fn no_peer_left(&self, ix: Ix, index: usize, strike: &Strike, percent: u8) -> bool {
        let others = || self.hosts.iter().filter(|(peer, _)| *peer != ix);
        percent >= 100
            || others().all(|(peer, host)| {
                !host.shape.tells || self.blocks(index, strike, Vantage::Node(peer))
            })
    }

    fn zone_has_server(&self, strike: &Strike) -> bool {
        let server = |ix: &Ix| self.setup(*ix).role == Role::Server;
        strike.nodes.iter().any(server)
            || !self.scenario.nodes.iter().any(|n| n.role == Role::Server)
    }

    /// Whether a probe would be answered, were nothing lost.
    pub(crate) fn reaches(&self, from: Vantage, to: Ix) -> bool {
        if !self.hosts[to].shape.linked {
            return false;
        }
        let outward = match from {
            Vantage::Controller => !self.controller_cut(),
            Vantage::Node(peer) => {
                self.hosts[peer].shape.linked
                    && self.on(peer).all(|(_, strike)| {
                        let apart = strike.fault == Fault::ZoneSplit && !strike.nodes.contains(&to);
                        !apart && !matches!(strike.fault, Fault::Blind { .. })
                    })
            }
        };
        outward
            && self
                .on(to)
                .all(|(index, strike)| !self.blocks(index, strike, from))
    }

    fn blocks(&self, index: usize, strike: &Strike, from: Vantage) -> bool {
        match (strike.fault, from) {
            (Fault::Path { controller, .. }, Vantage::Controller) => controller,
            (Fault::Path { peers_percent, .. }, Vantage::Node(peer)) => {
                let drawn = hash(self.scenario.seed, [index as u64, peer.0 as u64, 1]);
                drawn.checked_rem(100).unwrap_or(0) < u64::from(peers_percent)
            }
            (Fault::ZoneSplit, Vantage::Controller) => true,
            (Fault::ZoneSplit, Vantage::Node(peer)) => !strike.nodes.contains(&peer),
            _ => false,
        }
    }

    /// The API server would answer the controller.
    pub(crate) fn api_answers(&self) -> bool {
        if self.controller_cut() || self.global(|f| f == Fault::ApiDown).is_some() {
            return false;
        }
        let mut servers = 0_usize;
        for (ix, host) in self.hosts.iter() {
            if self.setup(ix).role == Role::Server {
                servers = servers.saturating_add(1);
                if host.shape.kubelet && self.reaches(Vantage::Controller, ix) {
                    return true;
                }
            }
        }
        servers == 0
    }

    /// Why the provider's API says nothing useful to the controller, if it does not.
    pub(crate) fn provider_trouble(&self) -> Option<&'static str> {
        self.globals.iter().find_map(|i| {
            let fault = self.strike(*i).fault;
            if let Fault::ProviderTrouble(trouble) = fault {
                return Some(trouble.class());
            }
            (fault == Fault::ControllerCut { provider: true }).then_some("transport")
        })
    }

    /// As many nodes may be down at once by the operator's will.
    pub(crate) fn storm_limit(&self) -> usize {
        match usize::try_from(self.scenario.policy.storm_limit).unwrap_or(usize::MAX) {
            0 => (self.hosts.len() / 3).max(1),
            set => set,
        }
    }

    /// All nodes whose cause is that of this strike and that were struck by `now`.
    ///
    /// `known`: the controller can know that such a node is there.
    pub(crate) fn sharers(&self, cause: u32, now: Ms, known: impl Fn(Ix) -> bool) -> usize {
        let mut nodes: Vec<Ix> = self
            .scenario
            .strikes
            .iter()
            .filter(|s| s.cause == cause && s.at <= now)
            .flat_map(|s| s.nodes.iter().copied())
            // One that never joined is down to nobody.
            .filter(|ix| self.setup(*ix).joined && known(*ix))
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.len()
    }
}
