//! Which agents are connected, and how to give them orders.
//!
//! **Invariants**
//! - One session for each node. A second live agent of the same name is refused; the one that is there stays.
//! - A reconnect of the same agent process (same boot id), or of any agent after the old one fell silent, replaces it.
//! - Orders wait in a bounded queue; a full one refuses at once, and whoever gave the order learns it.

use iaso_engine::id::NodeName;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Orders that may wait for one agent.
const ORDERS_QUEUED_MAX: usize = 64;

/// What an agent is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Apply a fix, at most once for its id.
    Fix {
        /// The effect's id.
        id: String,
        /// The plugin.
        plugin: String,
        /// Its fix.
        fix: String,
        /// Not after, from receipt.
        deadline: Duration,
        /// The controller's term.
        term: u64,
        /// Why.
        reason: String,
    },
    /// Probe other nodes.
    Probe {
        /// The round.
        round: u64,
        /// Whom, and how.
        targets: Vec<Target>,
        /// Longest wait for one probe.
        timeout: Duration,
    },
}

/// One node to be probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub node: NodeName,
    /// Where.
    pub address: std::net::IpAddr,
    /// On which TCP ports.
    pub tcp_ports: Vec<u16>,
    /// By ICMP too.
    pub icmp: bool,
}

/// An agent's introduction.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// Its node.
    pub node: NodeName,
    /// Its process' random id.
    pub boot: String,
    /// Where it may be probed.
    pub probe_address: Option<SocketAddr>,
}

/// A claimed session, for the task that serves it.
#[derive(Debug)]
pub struct Claim {
    /// Tells this session from later ones of the same node.
    pub generation: u64,
    /// Orders to be sent.
    pub orders: mpsc::Receiver<Order>,
    /// Cancelled when another session takes the place, or this one is dismissed.
    pub replaced: CancellationToken,
}

/// The name is taken by a live agent.
#[derive(Debug, thiserror::Error)]
#[error(
    "another live agent holds the name {node} (heard {silent_ms} ms ago): stop one of the two, or give it the `node` name of its own machine"
)]
pub struct Held {
    node: NodeName,
    silent_ms: u128,
}

/// Why an order was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No session.
    #[error("its agent is not connected")]
    NotConnected,
    /// Too many orders wait.
    #[error("its agent has too many orders waiting")]
    Full,
}

#[derive(Debug)]
struct Session {
    generation: u64,
    boot: String,
    orders: mpsc::Sender<Order>,
    heard: Instant,
    self_health: u32,
    replaced: CancellationToken,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: BTreeMap<NodeName, Session>,
    probe_addresses: BTreeMap<NodeName, SocketAddr>,
    generation: u64,
}

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    inner: Mutex<Inner>,
    silent_max: Duration,
    changes: watch::Sender<u64>,
    assignments: watch::Sender<u64>,
}

impl Sessions {
    /// No sessions; an agent that is silent for longer than `silent_max` may be replaced.
    #[must_use]
    pub fn new(silent_max: Duration) -> Self {
        Self {
            inner: Mutex::default(),
            silent_max,
            changes: watch::Sender::new(0),
            assignments: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a node's place.
    ///
    /// # Errors
    /// When another live agent holds it.
    pub fn claim(&self, agent: Introduction) -> Result<Claim, Held> {
        let mut inner = self.lock();
        if let Some(old) = inner.sessions.get(&agent.node) {
            let silent = old.heard.elapsed();
            if old.boot != agent.boot && silent < self.silent_max {
                return Err(Held {
                    node: agent.node,
                    silent_ms: silent.as_millis(),
                });
            }
            old.replaced.cancel();
        }
        inner.generation += 1;
        let generation = inner.generation;
        let (orders, receiver) = mpsc::channel(ORDERS_QUEUED_MAX);
        let replaced = CancellationToken::new();
        if let Some(address) = agent.probe_address {
            inner.probe_addresses.insert(agent.node.clone(), address);
        }
        inner.sessions.insert(
            agent.node,
            Session {
                generation,
                boot: agent.boot,
                orders,
                heard: Instant::now(),
                self_health: 0,
                replaced: replaced.clone(),
            },
        );
        drop(inner);
        self.changes.send_modify(|count| *count += 1);
        Ok(Claim {
            generation,
            orders: receiver,
            replaced,
        })
    }

    /// Notes that the agent was heard.
    pub fn heard(&self, node: &NodeName, generation: u64, self_health: Option<u32>) {
        if let Some(session) = self
            .lock()
            .sessions
            .get_mut(node)
            .filter(|s| s.generation == generation)
        {
            session.heard = Instant::now();
            if let Some(health) = self_health {
                session.self_health = health;
            }
        }
    }

    /// Ends a node's session: its certificate does not count any more. The session itself gives its place up.
    pub fn dismiss(&self, node: &NodeName) {
        if let Some(session) = self.lock().sessions.get(node) {
            session.replaced.cancel();
        }
    }

    /// Gives a place up. Says whether it was still this session's.
    pub fn release(&self, node: &NodeName, generation: u64) -> bool {
        let mut inner = self.lock();
        let current = inner
            .sessions
            .get(node)
            .is_some_and(|session| session.generation == generation);
        if current {
            inner.sessions.remove(node);
            drop(inner);
            self.changes.send_modify(|count| *count += 1);
        }
        current
    }

    /// Gives an order.
    ///
    /// # Errors
    /// When there is nobody to take it.
    pub fn order(&self, node: &NodeName, order: Order) -> Result<(), OrderError> {
        let inner = self.lock();
        let session = inner.sessions.get(node).ok_or(OrderError::NotConnected)?;
        session.orders.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => OrderError::Full,
            mpsc::error::TrySendError::Closed(_) => OrderError::NotConnected,
        })
    }

    /// The generation of a node's session, if it has one.
    #[must_use]
    pub fn generation(&self, node: &NodeName) -> Option<u64> {
        self.lock()
            .sessions
            .get(node)
            .map(|session| session.generation)
    }

    /// Nodes whose agents are connected and fit to judge others.
    #[must_use]
    pub fn observers(&self, self_health_max: u32) -> Vec<NodeName> {
        let inner = self.lock();
        let fit = inner
            .sessions
            .iter()
            .filter(|(_, session)| session.self_health <= self_health_max);
        fit.map(|(node, _)| node.clone()).collect()
    }

    /// Where a node's agent said it may be probed, when it was last connected.
    #[must_use]
    pub fn probe_address(&self, node: &NodeName) -> Option<SocketAddr> {
        self.lock().probe_addresses.get(node).copied()
    }

    /// A person decided something that agents must know before they are next cut off: every session sends its assignment anew.
    pub fn assign_anew(&self) {
        self.assignments.send_modify(|count| *count += 1);
    }

    /// Changes whenever assignments are to be sent anew.
    #[must_use]
    pub fn assignments(&self) -> watch::Receiver<u64> {
        self.assignments.subscribe()
    }

    /// Changes whenever a session begins or ends.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(boot: &str) -> Introduction {
        Introduction {
            node: NodeName::new("styx").unwrap(),
            boot: boot.into(),
            probe_address: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_live_agent_is_refused_and_the_first_stays_until_it_falls_silent() {
        let sessions = Sessions::new(Duration::from_secs(15));
        let first = sessions.claim(agent("a")).unwrap();
        let refused = sessions.claim(agent("b")).unwrap_err().to_string();
        assert!(refused.contains("stop one of the two"), "{refused}");
        assert!(!first.replaced.is_cancelled());
        tokio::time::advance(Duration::from_secs(16)).await;
        let second = sessions.claim(agent("b")).unwrap();
        assert!(first.replaced.is_cancelled());
        let node = NodeName::new("styx").unwrap();
        assert!(
            !sessions.release(&node, first.generation),
            "the old one gave up another's place"
        );
        assert!(sessions.release(&node, second.generation));
    }

    #[tokio::test]
    async fn the_same_agent_may_come_back_at_once() {
        let sessions = Sessions::new(Duration::from_secs(15));
        let first = sessions.claim(agent("a")).unwrap();
        sessions.claim(agent("a")).unwrap();
        assert!(first.replaced.is_cancelled());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_an_order_at_once() {
        let sessions = Sessions::new(Duration::from_secs(15));
        let _claim = sessions.claim(agent("a")).unwrap();
        let node = NodeName::new("styx").unwrap();
        let order = || Order::Probe {
            round: 1,
            targets: vec![],
            timeout: Duration::ZERO,
        };
        for _ in 0..ORDERS_QUEUED_MAX {
            sessions.order(&node, order()).unwrap();
        }
        assert_eq!(sessions.order(&node, order()), Err(OrderError::Full));
    }
}
