//! Asks Kubernetes again and again, and hands what it says to the driver.
//!
//! A node that looks unwell is looked into at every turn; healthy ones one by one, so that what lies on them is known before
//! they fall ill. Until a node was looked into, its local data counts as present.

use super::{Cluster, Contents, NodeView};
use crate::clock::Clock;
use crate::driver::Handle;
use crate::text::bounded;
use iaso_engine::fact::{KubeNode, Observation, Ready};
use iaso_engine::id::NodeName;
use iaso_engine::time::Tick;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A lease that has not changed for so long makes a node worth looking into, whatever Ready says.
const SUSPICIOUS: Duration = Duration::from_secs(15);

/// The poller of one cluster.
pub struct Poller {
    cluster: Arc<dyn Cluster>,
    handle: Handle,
    clock: Clock,
    nodes: Vec<NodeName>,
    every: Duration,
    leases: BTreeMap<NodeName, (String, Tick)>,
    contents: BTreeMap<NodeName, Contents>,
    /// The last word of owners whose Node object may be gone since.
    opt_outs: BTreeMap<NodeName, String>,
    turn: usize,
}

impl Poller {
    /// A poller for the declared nodes.
    #[must_use]
    pub fn new(
        cluster: Arc<dyn Cluster>,
        handle: Handle,
        clock: Clock,
        nodes: Vec<NodeName>,
        every: Duration,
    ) -> Self {
        Self {
            cluster,
            handle,
            clock,
            nodes,
            every,
            leases: BTreeMap::new(),
            contents: BTreeMap::new(),
            opt_outs: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Polls until it is stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                facts = self.poll() => self.handle.tell(facts).await,
            }
        }
    }

    /// One turn.
    pub async fn poll(&mut self) -> Vec<Observation> {
        let views = match self.cluster.survey().await {
            Ok(views) => views,
            Err(error) => {
                return vec![Observation::KubeApi {
                    trouble: Some(error.to_string()),
                }];
            }
        };
        let views: BTreeMap<String, NodeView> = views
            .into_iter()
            .map(|view| (view.name.clone(), view))
            .collect();
        let mut facts = vec![Observation::KubeApi { trouble: None }];
        self.turn = self.turn.wrapping_add(1);
        for (index, node) in self.nodes.clone().into_iter().enumerate() {
            let view = views.get(node.as_str());
            let lease = view.and_then(|view| self.lease_changed(&node, view));
            if let Some(view) = view {
                match &view.opt_out {
                    Some(why) => self.opt_outs.insert(node.clone(), why.clone()),
                    None => self.opt_outs.remove(&node),
                };
                let stale = lease.is_none_or(|at| self.clock.now().since(at) > SUSPICIOUS);
                let its_turn = self.nodes.len() <= 1 || self.turn % self.nodes.len() == index;
                if stale
                    || view.ready != Ready::True
                    || its_turn
                    || !self.contents.contains_key(&node)
                {
                    self.look_into(&node).await;
                }
            }
            facts.push(Observation::Kube {
                seen: self.seen(&node, view, lease),
                node,
            });
        }
        facts
    }

    /// When the lease was last seen to change, on our clock. One that is seen for the first time counts as changed now: a controller
    /// that has just started must wait before it calls anything stale.
    fn lease_changed(&mut self, node: &NodeName, view: &NodeView) -> Option<Tick> {
        let renewed = view.renewed.as_ref()?;
        let now = self.clock.now();
        let known = self.leases.entry(node.clone());
        let (seen, at) = known.or_insert_with(|| (renewed.clone(), now));
        if seen != renewed {
            seen.clone_from(renewed);
            *at = now;
        }
        Some(*at)
    }

    async fn look_into(&mut self, node: &NodeName) {
        match self.cluster.contents(node).await {
            Ok(contents) => {
                self.contents.insert(node.clone(), contents);
            }
            // What was seen before still lies there.
            Err(_) if self.contents.contains_key(node) => {}
            Err(error) => {
                let why = bounded(
                    &format!("its pods and volumes cannot be listed: {error}"),
                    400,
                );
                tracing::warn!(%node, why, "taken as having local data");
            }
        }
    }

    fn seen(&self, node: &NodeName, view: Option<&NodeView>, lease: Option<Tick>) -> KubeNode {
        let unknown = || {
            Contents {
            stuck_pods: 0,
            local_data: vec!["nobody could list its pods and volumes yet: grant list on pods and persistentvolumes".into()],
        }
        };
        let Some(view) = view else {
            return KubeNode {
                exists: false,
                ready: Ready::Unknown,
                lease_changed: None,
                unschedulable: false,
                uid: String::new(),
                kubelet_version: String::new(),
                stuck_pods: 0,
                local_data: self
                    .contents
                    .get(node)
                    .cloned()
                    .unwrap_or_else(unknown)
                    .local_data,
                opt_out: self.opt_outs.get(node).cloned(),
            };
        };
        let contents = self.contents.get(node).cloned().unwrap_or_else(unknown);
        KubeNode {
            exists: true,
            ready: view.ready,
            lease_changed: lease,
            unschedulable: view.unschedulable,
            uid: view.uid.clone(),
            kubelet_version: view.kubelet_version.clone(),
            stuck_pods: contents.stuck_pods,
            local_data: contents.local_data,
            opt_out: view.opt_out.clone(),
        }
    }
}
