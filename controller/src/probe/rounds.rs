//! Rounds of probes: who is asked about whom, and whose answers count.

use super::{icmp, tcp};
use crate::config::Config;
use crate::driver::Handle;
use crate::sessions::{Order, Sessions, Target};
use iaso_engine::fact::{Observation, Observer, ProbeResult};
use iaso_engine::id::NodeName;
use rand::seq::IndexedRandom as _;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Probes of the controller's own that run at once.
const AT_ONCE_MAX: usize = 256;
/// Targets in one order to an agent.
const TARGETS_MAX: usize = 64;
/// Rounds that are open at once; the oldest is closed for a new one.
const OPEN_MAX: usize = 4_096;
/// An agent that calls itself less fit than this does not judge others.
const SELF_HEALTH_MAX: u32 = 4;

/// A node that can be probed.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Where.
    pub address: IpAddr,
    /// On which ports.
    pub tcp_ports: Vec<u16>,
    /// By ICMP too.
    pub icmp: bool,
}

#[derive(Debug)]
struct Open {
    asked: BTreeMap<NodeName, BTreeSet<NodeName>>,
    until: Instant,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    open: BTreeMap<u64, Open>,
}

/// The prober.
#[derive(Debug)]
pub struct Rounds {
    subjects: BTreeMap<NodeName, Subject>,
    sessions: Arc<Sessions>,
    timeout: Duration,
    observers: usize,
    at_once: Arc<Semaphore>,
    state: Mutex<State>,
}

impl Rounds {
    /// A prober of the configured nodes.
    #[must_use]
    pub fn new(config: &Config, sessions: Arc<Sessions>) -> Self {
        let subject = |node: &crate::config::NodeConfig| Subject {
            address: node.address,
            tcp_ports: config.probe_ports(node),
            icmp: config.probe.icmp,
        };
        let subjects = config
            .nodes
            .iter()
            .map(|node| (node.name.clone(), subject(node)))
            .collect();
        Self {
            subjects,
            sessions,
            timeout: Duration::from_millis(config.probe.timeout_ms),
            observers: usize::try_from(config.probe.observers).unwrap_or(usize::MAX),
            at_once: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            state: Mutex::default(),
        }
    }

    /// Probes all nodes again and again, so that who reaches whom is known before it matters.
    pub async fn baseline(
        self: Arc<Self>,
        handle: Handle,
        every: Duration,
        stop: CancellationToken,
    ) {
        let nodes: Vec<NodeName> = self.subjects.keys().cloned().collect();
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.round(&nodes, &handle) => {}
            }
        }
    }

    /// One round about some nodes: orders go out first, then the controller probes itself.
    pub async fn round(&self, nodes: &[NodeName], handle: &Handle) {
        let round = self.ask_others(nodes);
        let mut probes = JoinSet::new();
        for node in nodes {
            let Some(target) = self.target(node) else {
                continue;
            };
            let (limit, timeout) = (Arc::clone(&self.at_once), self.timeout);
            probes.spawn(async move {
                let results = probe_all(&target, timeout, &limit).await;
                Observation::Probed {
                    target: target.node,
                    observer: Observer::Controller,
                    round,
                    results,
                }
            });
        }
        while let Some(joined) = probes.join_next().await {
            if let Ok(fact) = joined {
                handle.tell(vec![fact]).await;
            }
        }
    }

    fn target(&self, node: &NodeName) -> Option<Target> {
        let subject = self.subjects.get(node)?;
        let mut tcp_ports = subject.tcp_ports.clone();
        // The agent's own listener, when it listens where the node is, or on every address of it.
        if let Some(own) = self.sessions.probe_address(node)
            && (own.ip() == subject.address || own.ip().is_unspecified())
            && !tcp_ports.contains(&own.port())
        {
            tcp_ports.push(own.port());
        }
        Some(Target {
            node: node.clone(),
            address: subject.address,
            tcp_ports,
            icmp: subject.icmp,
        })
    }

    fn ask_others(&self, nodes: &[NodeName]) -> u64 {
        let fit = self.sessions.observers(SELF_HEALTH_MAX);
        let mut orders: BTreeMap<NodeName, Vec<Target>> = BTreeMap::new();
        for node in nodes {
            let Some(target) = self.target(node) else {
                continue;
            };
            let others: Vec<&NodeName> = fit.iter().filter(|observer| *observer != node).collect();
            for observer in others.sample(&mut rand::rng(), self.observers) {
                orders
                    .entry((*observer).clone())
                    .or_default()
                    .push(target.clone());
            }
        }
        let asked = orders.iter().map(|(observer, targets)| {
            (
                observer.clone(),
                targets
                    .iter()
                    .take(TARGETS_MAX)
                    .map(|target| target.node.clone())
                    .collect(),
            )
        });
        let round = self.open(asked.collect());
        for (observer, mut targets) in orders {
            targets.truncate(TARGETS_MAX);
            let order = Order::Probe {
                round,
                targets,
                timeout: self.timeout,
            };
            if let Err(error) = self.sessions.order(&observer, order) {
                tracing::debug!(%observer, %error, "not asked to probe");
            }
        }
        round
    }

    fn open(&self, asked: BTreeMap<NodeName, BTreeSet<NodeName>>) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state.open.retain(|_, open| open.until > now);
        while state.open.len() >= OPEN_MAX {
            state.open.pop_first();
        }
        state.last += 1;
        let round = state.last;
        // The answer takes the probes' time and the way there and back.
        let until = now + self.timeout * 4 + Duration::from_secs(5);
        state.open.insert(round, Open { asked, until });
        round
    }

    /// Facts from an agent's report: only what that agent was asked, and only while its round is open.
    #[must_use]
    pub fn accept(
        &self,
        observer: &NodeName,
        round: u64,
        results: BTreeMap<NodeName, Vec<ProbeResult>>,
    ) -> Vec<Observation> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = state
            .open
            .get_mut(&round)
            .filter(|open| open.until > Instant::now())
        else {
            return Vec::new();
        };
        let Some(asked) = open.asked.remove(observer) else {
            return Vec::new();
        };
        let counted = results
            .into_iter()
            .filter(|(target, results)| asked.contains(target) && !results.is_empty());
        counted
            .map(|(target, results)| Observation::Probed {
                target,
                observer: Observer::Node(observer.clone()),
                round,
                results,
            })
            .collect()
    }
}

async fn probe_all(target: &Target, timeout: Duration, limit: &Arc<Semaphore>) -> Vec<ProbeResult> {
    let mut probes = JoinSet::new();
    for port in target.tcp_ports.clone() {
        let (address, limit) = (SocketAddr::new(target.address, port), Arc::clone(limit));
        probes.spawn(async move {
            let _permit = limit.acquire_owned().await;
            tcp::probe(address, timeout).await
        });
    }
    if target.icmp && icmp::allowed(target.address) {
        let (address, limit) = (target.address, Arc::clone(limit));
        probes.spawn(async move {
            let _permit = limit.acquire_owned().await;
            icmp::probe(address, timeout).await
        });
    }
    let mut results = probes.join_all().await;
    results.sort_by(|a, b| a.kind.cmp(&b.kind));
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use iaso_engine::fact::ProbeOutcome;

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn rounds() -> Rounds {
        Rounds {
            subjects: BTreeMap::new(),
            sessions: Arc::new(Sessions::new(Duration::from_secs(15))),
            timeout: Duration::from_secs(1),
            observers: 5,
            at_once: Arc::new(Semaphore::new(1)),
            state: Mutex::default(),
        }
    }

    fn said(target: &str) -> BTreeMap<NodeName, Vec<ProbeResult>> {
        let result = ProbeResult {
            kind: "icmp".into(),
            outcome: ProbeOutcome::Timeout,
            rtt_us: None,
        };
        BTreeMap::from([(name(target), vec![result])])
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_asked_observer_counts_once_and_in_time_and_about_what_it_was_asked() {
        let rounds = rounds();
        let asked = || BTreeMap::from([(name("tethys"), BTreeSet::from([name("styx")]))]);
        let round = rounds.open(asked());
        assert!(
            rounds
                .accept(&name("calypso"), round, said("styx"))
                .is_empty(),
            "was not asked"
        );
        assert!(
            rounds
                .accept(&name("tethys"), round + 1, said("styx"))
                .is_empty(),
            "no such round"
        );
        assert_eq!(rounds.accept(&name("tethys"), round, said("styx")).len(), 1);
        assert!(
            rounds
                .accept(&name("tethys"), round, said("styx"))
                .is_empty(),
            "counted twice"
        );
        let round = rounds.open(asked());
        assert!(
            rounds
                .accept(&name("tethys"), round, said("calypso"))
                .is_empty(),
            "about another"
        );
        let round = rounds.open(asked());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(
            rounds
                .accept(&name("tethys"), round, said("styx"))
                .is_empty(),
            "too late"
        );
    }
}
