//! A scripted night: a world of a few hosts, a provider and Kubernetes, second by second, with the real planner in the middle.
//!
//! Every plan is vetted by the checker, planned twice (the second time must add nothing), and every record goes through JSON and back.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::new_without_default,
    clippy::wildcard_enum_match_arm,
    clippy::wildcard_imports,
    clippy::indexing_slicing,
    clippy::struct_excessive_bools,
    clippy::too_many_lines,
    reason = "shared by several test binaries, none of which uses all of it"
)]

mod both_ways;
pub mod moment;
mod person;
mod words;
mod wrongly;

pub use words::*;

use iaso_engine::effect::{Action, Effect, Outcome, Remembered, Yield};
use iaso_engine::fact::*;
use iaso_engine::id::{EffectId, MachineId, NodeName};
use iaso_engine::ledger::{Ledger, Standing};
use iaso_engine::plan::{Look, Plan, Situation, plan};
use iaso_engine::policy::{Mode, Policy};
use iaso_engine::record::{Entry, Record};
use iaso_engine::time::Tick;
use iaso_engine::timeline::describe;
use iaso_engine::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// 23:45 UTC on 11 October 2025: the last heartbeat of styx.
pub const START: u64 = 1_760_226_300_000;

type Event = fn(&mut Night);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    All,
    Nobody,
    PeersOnly,
}

#[derive(Debug, Clone)]
pub struct Host {
    pub agent: bool,
    pub boot: u64,
    pub lease: bool,
    pub reach: Reach,
    pub machine: MachineSeen,
    pub findings: Vec<Finding>,
    /// Its checks run and say what they find.
    pub reports: bool,
    pub local_data: Vec<String>,
    pub cordoned: bool,
    pub not_ready: bool,
    pub latched: bool,
    pub opt_out: Option<String>,
    pub unknown_to_kube: bool,
    pub skew_ms: i64,
    pub heartbeat_every: u64,
}

#[derive(Clone)]
pub struct Night {
    pub second: u64,
    pub policy: Policy,
    pub inventory: Inventory,
    pub world: World,
    pub ledger: Ledger,
    pub hosts: BTreeMap<NodeName, Host>,
    pub api_trouble: Option<String>,
    pub every_lease_stale: bool,
    pub controller_cut: bool,
    pub entries: Vec<Entry>,
    /// Replies to effects by name, used up in order, the last one stays; else the default.
    pub replies: BTreeMap<&'static str, Vec<Outcome>>,
    pub delays: BTreeMap<&'static str, u64>,
    /// What happens to the world so many seconds after an effect was done.
    pub after: BTreeMap<&'static str, (u64, Event)>,
    pub at: Vec<(u64, Event)>,
    pending: Vec<(u64, EffectId, Outcome)>,
    looks: BTreeSet<Look>,
    going_on: both_ways::GoingOn,
    pub executed: BTreeSet<EffectId>,
    pub recreated: u32,
    /// When each host was last made well.
    pub healed: BTreeMap<NodeName, u64>,
    /// Snapshots taken after every journal batch, before its effects are executed.
    pub snapshots: Option<Vec<Night>>,
    /// An engine with something wrong, instead of ours. What the checker says of it is kept.
    pub planted: Option<fn(&Situation<'_>) -> Plan>,
    pub vetoed: Vec<String>,
}

pub fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("names in tests are valid")
}

impl Night {
    /// A server and two workers, all automatic, all well.
    pub fn new() -> Self {
        let policy = Policy {
            start: Mode::Auto,
            reboot: Mode::Auto,
            recreate: Mode::Auto,
            ..Policy::default()
        };
        let mut night = Self {
            second: 0,
            policy,
            inventory: Inventory {
                nodes: BTreeMap::new(),
                has_cluster: true,
            },
            world: World::new(Tick(START)),
            ledger: Ledger::default(),
            hosts: BTreeMap::new(),
            api_trouble: None,
            every_lease_stale: false,
            controller_cut: false,
            entries: Vec::new(),
            replies: BTreeMap::new(),
            delays: BTreeMap::from([("reboot", 20), ("recreate", 90), ("start", 10)]),
            after: BTreeMap::new(),
            at: Vec::new(),
            pending: Vec::new(),
            looks: BTreeSet::new(),
            going_on: both_ways::GoingOn::default(),
            executed: BTreeSet::new(),
            recreated: 0,
            healed: BTreeMap::new(),
            snapshots: None,
            planted: None,
            vetoed: Vec::new(),
        };
        night.add("tethys", Role::Server, true);
        night.add("styx", Role::Worker, true);
        night.add("calypso", Role::Worker, false);
        night
    }

    pub fn add(&mut self, node: &str, role: Role, provider: bool) {
        let node = name(node);
        let machine = provider.then(|| ("hostinger".to_owned(), MachineId(node.to_string())));
        self.inventory.nodes.insert(
            node.clone(),
            NodeSpec {
                name: node.clone(),
                role,
                machine,
                domains: BTreeMap::new(),
            },
        );
        self.hosts.insert(
            node,
            Host {
                agent: true,
                boot: 1,
                lease: true,
                reach: Reach::All,
                machine: if provider {
                    running()
                } else {
                    MachineSeen::NoProvider
                },
                findings: Vec::new(),
                reports: true,
                local_data: Vec::new(),
                cordoned: false,
                not_ready: false,
                latched: false,
                opt_out: None,
                unknown_to_kube: false,
                skew_ms: 0,
                heartbeat_every: 5,
            },
        );
    }

    pub fn host(&mut self, node: &str) -> &mut Host {
        self.hosts
            .get_mut(&name(node))
            .expect("hosts in tests exist")
    }

    /// The hypervisor's cut: nothing in, nothing out, and the provider says that it runs.
    pub fn cut(&mut self, node: &str) {
        let host = self.host(node);
        host.agent = false;
        host.lease = false;
        host.reach = Reach::Nobody;
    }

    pub fn heal(&mut self, node: &str) {
        self.healed.insert(name(node), self.second);
        let host = self.host(node);
        host.agent = true;
        host.boot += 1;
        host.lease = true;
        host.reach = Reach::All;
        host.machine = running();
    }

    pub fn now(&self) -> Tick {
        Tick(START + self.second * 1_000)
    }

    pub fn situation(&self) -> Situation<'_> {
        Situation {
            now: self.now(),
            policy: &self.policy,
            inventory: &self.inventory,
            world: &self.world,
            ledger: &self.ledger,
        }
    }

    pub fn run(mut self, end: u64) -> Self {
        while self.second < end {
            self.second += 1;
            self.tick();
        }
        self
    }

    pub fn until_closed(mut self, end: u64) -> Self {
        while self.second < end {
            self.second += 1;
            self.tick();
            let opened = self.ledger.incidents.values().next().is_some();
            if opened
                && self
                    .ledger
                    .incidents
                    .values()
                    .all(|i| matches!(i.standing, Standing::Closed(..)))
            {
                break;
            }
        }
        self
    }

    pub fn tick(&mut self) {
        let now = self.second;
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.at)
            .into_iter()
            .partition(|(t, _)| *t <= now);
        self.at = later;
        for (_, event) in due {
            event(self);
        }
        self.observe();
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(t, ..)| *t <= now);
        self.pending = later;
        for (_, effect, outcome) in due {
            self.settle(effect, outcome);
        }
        self.decide();
    }

    fn settle(&mut self, id: EffectId, outcome: Outcome) {
        let state = self
            .ledger
            .effect(&id)
            .expect("a pending effect was intended");
        let action = state.effect.action.clone();
        let node = state.effect.node.clone();
        if matches!(outcome, Outcome::Done { .. }) {
            if let Some((delay, then)) = self.after.get(action.name()).copied() {
                self.at.push((self.second + delay, then));
            }
            if let Some(host) = self.hosts.get_mut(&node) {
                match action {
                    Action::Cordon => host.cordoned = true,
                    Action::Uncordon => host.cordoned = false,
                    _ => {}
                }
            }
        }
        self.journal(Record::Resolved {
            effect: id,
            outcome,
        });
    }

    pub fn journal(&mut self, record: Record) {
        let entry = Entry {
            sequence: self.ledger.sequence + 1,
            at: self.now(),
            record,
        };
        let json = serde_json::to_string(&entry).expect("records become JSON");
        assert_eq!(
            serde_json::from_str::<Entry>(&json).expect("and come back"),
            entry
        );
        let trial = self
            .ledger
            .would_fold(entry.at, std::slice::from_ref(&entry.record));
        assert_eq!(trial, Ok(()), "and are said to fold beforehand");
        self.ledger.fold(&entry).expect("the engine's records fold");
        self.entries.push(entry);
    }

    fn see(&mut self, observation: Observation) {
        self.going_on.touched.extend(observation.node().cloned());
        self.world.observe(self.now(), observation);
    }

    fn observe(&mut self) {
        let hosts = self.hosts.clone();
        let api_ok = self.api_trouble.is_none() && !self.controller_cut;
        if self.second.is_multiple_of(5) {
            let trouble = if api_ok {
                None
            } else {
                Some(self.api_trouble.clone().unwrap_or("no route".into()))
            };
            self.see(Observation::KubeApi { trouble });
        }
        for (node, host) in &hosts {
            self.observe_agent(node, host);
            if self.second.is_multiple_of(5) && api_ok && self.inventory.has_cluster {
                self.observe_kube(node, host);
            }
        }
        for look in std::mem::take(&mut self.looks) {
            self.answer(look);
        }
    }

    fn observe_agent(&mut self, node: &NodeName, host: &Host) {
        if !host.agent || self.controller_cut {
            return;
        }
        let boot = format!("boot-{}", host.boot);
        let known = self.world.nodes.get(node).and_then(|f| f.agent.as_ref());
        let same = known
            .is_some_and(|a| a.value == iaso_engine::world::AgentLink::Up { boot: boot.clone() });
        let node = node.clone();
        if !same {
            self.see(Observation::AgentConnected {
                node: node.clone(),
                boot,
                host_boot_unix_ms: 1,
            });
        }
        if self.second.is_multiple_of(host.heartbeat_every) {
            self.see(Observation::AgentHeartbeat {
                node: node.clone(),
                self_health: 0,
                skew_ms: host.skew_ms,
            });
        }
        if host.reports && self.second.is_multiple_of(10) {
            self.see(Observation::Report {
                node,
                plugin: "k3s-agent".into(),
                findings: host.findings.clone(),
                fault: None,
            });
        }
    }

    fn observe_kube(&mut self, node: &NodeName, host: &Host) {
        let before = self
            .world
            .nodes
            .get(node)
            .and_then(|f| f.kube.as_ref())
            .and_then(|k| k.value.lease_changed);
        let renewed = host.lease && !self.every_lease_stale;
        let seen = KubeNode {
            exists: !host.unknown_to_kube,
            // The node controller doubts a kubelet only after its grace.
            ready: if host.not_ready {
                Ready::False
            } else if host.latched
                || renewed
                || before.is_some_and(|at| self.now().since(at).as_secs() < 50)
            {
                Ready::True
            } else {
                Ready::Unknown
            },
            lease_changed: if renewed { Some(self.now()) } else { before },
            unschedulable: host.cordoned,
            uid: format!("uid-{node}"),
            kubelet_version: "v1.33.4+k3s1".into(),
            stuck_pods: 0,
            local_data: host.local_data.clone(),
            opt_out: host.opt_out.clone(),
        };
        self.see(Observation::Kube {
            node: node.clone(),
            seen,
        });
    }

    fn answer(&mut self, look: Look) {
        match look {
            Look::Probe(target) => self.probe(&target),
            Look::Machine(node) => {
                let seen = if self.controller_cut {
                    unknown("transport")
                } else {
                    self.hosts[&node].machine.clone()
                };
                self.see(Observation::Machine { node, seen });
            }
            Look::Effect(id) => {
                if self.pending.iter().any(|(_, p, _)| *p == id) {
                    return;
                }
                let state = self
                    .ledger
                    .effect(&id)
                    .expect("looked at effects exist")
                    .effect
                    .clone();
                let outcome = if self.executed.contains(&id) {
                    self.reply(&state)
                } else {
                    not_started("transport")
                };
                self.pending.push((self.second + 1, id, outcome));
            }
        }
    }

    fn probe(&mut self, target: &NodeName) {
        let reach = self.hosts[target].reach;
        let result = |ok: bool| {
            vec![ProbeResult {
                kind: "tcp/22".into(),
                outcome: if ok {
                    ProbeOutcome::Reached
                } else {
                    ProbeOutcome::Timeout
                },
                rtt_us: ok.then_some(900),
            }]
        };
        let mine = reach == Reach::All && !self.controller_cut;
        let probed = |target: &NodeName, observer, results| Observation::Probed {
            target: target.clone(),
            observer,
            round: 1,
            results,
        };
        self.see(probed(target, Observer::Controller, result(mine)));
        for (peer, host) in self.hosts.clone() {
            if &peer != target && host.agent && !self.controller_cut {
                self.see(probed(
                    target,
                    Observer::Node(peer),
                    result(reach != Reach::Nobody),
                ));
            }
        }
    }

    fn decide(&mut self) {
        if let Some(planted) = self.planted {
            return self.decide_wrongly(planted);
        }
        let made = plan(&self.situation());
        self.assert_the_planner_agrees(&made);
        let vetoes = iaso_engine_check::vet(&self.situation(), &made);
        assert_eq!(
            vetoes,
            vec![],
            "the checker vetoes the engine at {} s: {:#?}",
            self.second,
            made.records
        );
        let Plan { records, looks, .. } = made;
        self.looks = looks.into_iter().collect();
        let mut intended = Vec::new();
        for record in records {
            if let Record::Intended { effect } = &record {
                intended.push(effect.clone());
            }
            self.journal(record);
        }
        let again = plan(&self.situation());
        assert_eq!(
            again.records,
            vec![],
            "planning twice at {} s adds records",
            self.second
        );
        if let Some(mut all) = self.snapshots.take() {
            all.push(self.clone());
            self.snapshots = Some(all);
        }
        for effect in intended {
            self.execute(&effect);
        }
    }

    fn execute(&mut self, effect: &Effect) {
        if matches!(effect.action, Action::Recreate { .. } | Action::Reboot) {
            let just_healed = self
                .healed
                .get(&effect.node)
                .is_some_and(|at| self.second - at <= 2);
            let host = &self.hosts[&effect.node];
            let dark = host.reach == Reach::Nobody;
            let lost = !host.lease && effect.action == Action::Reboot;
            assert!(
                dark || lost || just_healed || self.planted.is_some(),
                "{} of a node that answers\n{}",
                effect.action.name(),
                self.trace()
            );
        }
        let outcome = self.reply(effect);
        if !matches!(outcome, Outcome::NotStarted { .. }) {
            self.executed.insert(effect.id.clone());
            if matches!(effect.action, Action::Recreate { .. }) {
                self.recreated += 1;
            }
        }
        let delay = self.delays.get(effect.action.name()).copied().unwrap_or(1);
        self.pending
            .push((self.second + delay, effect.id.clone(), outcome));
    }

    fn reply(&mut self, effect: &Effect) -> Outcome {
        if let Some(replies) = self.replies.get_mut(effect.action.name()) {
            return if replies.len() > 1 {
                replies.remove(0)
            } else {
                replies[0].clone()
            };
        }
        let yielded = match &effect.action {
            Action::ApplyFix { .. } => Yield::Fix {
                result: "fixed".into(),
            },
            Action::Reboot => Yield::Reboot { proven: Some(true) },
            Action::Remember => Yield::Remembered {
                remembered: Remembered {
                    labels: BTreeMap::from([("disk".into(), "ssd".into())]),
                    ..Remembered::default()
                },
            },
            Action::StorePassword => Yield::Password {
                key: effect.id.to_string(),
            },
            Action::PrepareScript => Yield::Script {
                script: "script-1".into(),
                token: "token-1".into(),
            },
            _ => Yield::Nothing,
        };
        Outcome::Done {
            detail: "ok".into(),
            yielded,
        }
    }

    /// What was intended a moment ago reached its target, and the answer was lost.
    pub fn send_all(&mut self) {
        let fresh: Vec<Effect> = self.ledger.unsettled().map(|e| e.effect.clone()).collect();
        for effect in fresh {
            if !self.executed.contains(&effect.id) {
                self.execute(&effect);
            }
        }
    }

    /// The controller dies: what it knew of the world, and every answer under way, is gone. The journal stays.
    pub fn crash(&mut self) {
        self.world = World::new(self.now());
        self.going_on = both_ways::GoingOn::default();
        self.pending.clear();
        self.looks.clear();
        for host in self.hosts.values_mut() {
            host.boot += 100;
        }
    }

    pub fn trace(&self) -> String {
        let lines = self.entries.iter().map(|e| {
            let line = describe(e);
            format!(
                "{:>5}s {:<9} {}",
                (e.at.0 - START) / 1_000,
                line.kind,
                line.text
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    pub fn intended(&self, action: &str) -> usize {
        self.ledger
            .effects()
            .filter(|e| e.effect.action.name() == action)
            .count()
    }

    pub fn closed(&self) -> bool {
        !self.ledger.incidents.is_empty()
            && self
                .ledger
                .incidents
                .values()
                .all(|i| matches!(i.standing, Standing::Closed(..)))
    }
}
