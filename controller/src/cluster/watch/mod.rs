//! What is known of the cluster without asking again: watches of nodes, leases, pods and volumes, reduced to what Iaso needs of them.
//!
//! **Invariants**
//! - A watch saves questions and is never a witness against a node: whoever looks unwell, silent or missing is asked about (see
//!   [`survey`](super::survey)), so that a watch that hears nothing takes nobody for dead.
//! - What is kept is small and bounded: the declared nodes, and of pods and volumes those that count. More than the bound: that kind is asked for.
//! - A list that must be made anew waits, longer after each failure, and never in step with others.
//!
//! Left out: resuming a broken watch where it broke. It would save a list, and not say when it hears again.

mod kinds;
mod mirror;

use self::kinds::{OnDisk, OnNode, Registered, Renewed};
use self::mirror::Mirror;
use super::kube::{KubeCluster, PAGE};
use super::{ClusterError, Contents, NodeView, local_data};
use iaso_engine::fact::Ready;
use iaso_engine::id::NodeName;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use rand::RngExt as _;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;

/// Longest life of one watch request, in seconds: a connection that died unnoticed is found soon after.
const WATCH_SECS: u32 = 60;
/// Longest silence on the watches' connections: longer than a watch lives.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(75);
/// Pauses before a list is made anew: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// A watch that lived for so long was well.
const WELL_AFTER: Duration = Duration::from_mins(1);

/// What is watched of a kind.
pub(super) trait Kept: Clone + Send + Sync + 'static {
    /// Kubernetes' type.
    type Object: Resource + Clone + DeserializeOwned + Debug + Send + 'static;
    /// The right to list, as [`RIGHTS`](super::RIGHTS) names it.
    const LIST: &'static str;
    /// The right to watch.
    const WATCH: &'static str;
    /// What is kept of an object, and what was kept before; `None`: it does not count.
    fn of(object: Self::Object, before: Option<&Self>, nodes: &BTreeSet<String>) -> Option<Self>;
}

/// The watches of one cluster. They end when it is dropped.
pub(super) struct Watched {
    nodes: Arc<BTreeSet<String>>,
    silent_after: Duration,
    registered: Arc<Mirror<Registered>>,
    renewed: Arc<Mirror<Renewed>>,
    pods: Arc<Mirror<OnNode>>,
    volumes: Arc<Mirror<OnDisk>>,
    _tasks: JoinSet<()>,
}

impl Watched {
    /// Begins to watch. A lease that did not change for `silent_after` makes its node worth asking about.
    fn start(client: &Client, nodes: &[NodeName], silent_after: Duration) -> Self {
        let mut tasks = JoinSet::new();
        let nodes: BTreeSet<String> = nodes.iter().map(|node| node.as_str().to_owned()).collect();
        let nodes = Arc::new(nodes);
        Self {
            registered: spawn(&mut tasks, Api::all(client.clone()), &nodes),
            renewed: spawn(
                &mut tasks,
                Api::namespaced(client.clone(), "kube-node-lease"),
                &nodes,
            ),
            pods: spawn(&mut tasks, Api::all(client.clone()), &nodes),
            volumes: spawn(&mut tasks, Api::all(client.clone()), &nodes),
            nodes,
            silent_after,
            _tasks: tasks,
        }
    }

    /// All that is known of the declared nodes, and which of them must be asked about; `None`: nodes or leases are not watched now.
    pub(super) fn views(&self) -> Option<(Vec<NodeView>, Vec<String>)> {
        let (mut views, mut doubtful) = (Vec::new(), Vec::new());
        for name in self.nodes.iter() {
            let registered = self.registered.get(name)?;
            let renewed = self.renewed.get(&format!("kube-node-lease/{name}"))?;
            let silent =
                |renewed: &Renewed| Instant::now().duration_since(renewed.at) >= self.silent_after;
            let well = registered
                .as_ref()
                .is_some_and(|node| node.0.ready == Ready::True)
                && renewed.as_ref().is_some_and(|renewed| !silent(renewed));
            if !well {
                doubtful.push(name.clone());
            }
            views.extend(registered.map(|Registered(view)| NodeView {
                renewed: renewed.map(|renewed| renewed.time),
                ..view
            }));
        }
        Some((views, doubtful))
    }

    /// What lies on a node that looks well; `None`: it must be asked for.
    pub(super) fn contents(&self, node: &NodeName) -> Option<Contents> {
        let (_, doubtful) = self.views()?;
        let name = node.as_str();
        if !self.nodes.contains(name) || doubtful.iter().any(|doubtful| doubtful == name) {
            return None;
        }
        let pods = self.pods.matching(|pod| pod.node == name)?;
        let volumes = self
            .volumes
            .matching(|volume| volume.hosts.iter().any(|host| host == name))?;
        let now = Timestamp::now();
        let stuck = pods.iter().filter(|pod| pod.is_stuck(now)).count();
        let lines = volumes.into_iter().map(|volume| volume.line);
        let paths = pods.into_iter().filter_map(|pod| pod.host_path);
        Some(Contents {
            stuck_pods: u32::try_from(stuck).unwrap_or(u32::MAX),
            local_data: local_data::bounded_lines(lines.chain(paths).collect()),
        })
    }

    /// Why something is asked for again and again that should be watched, in words.
    pub(super) fn troubles(&self) -> Vec<String> {
        [
            self.registered.trouble(),
            self.renewed.trouble(),
            self.pods.trouble(),
            self.volumes.trouble(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Whether every kind is known.
    fn is_whole(&self) -> bool {
        self.views().is_some()
            && self.pods.matching(|_| false).is_some()
            && self.volumes.matching(|_| false).is_some()
    }
}

fn spawn<K: Kept>(
    tasks: &mut JoinSet<()>,
    api: Api<K::Object>,
    nodes: &Arc<BTreeSet<String>>,
) -> Arc<Mirror<K>>
where
    <K::Object as Resource>::DynamicType: Default,
{
    let mirror = Arc::new(Mirror::default());
    tasks.spawn(keep(api, Arc::clone(&mirror), Arc::clone(nodes)));
    mirror
}

/// Watches a kind for ever.
async fn keep<K: Kept>(api: Api<K::Object>, mirror: Arc<Mirror<K>>, nodes: Arc<BTreeSet<String>>) {
    let mut pause = PAUSE.0;
    loop {
        let began = Instant::now();
        let error = follow(&api, &mirror, &nodes).await;
        if mirror.interrupt(&error.detail) {
            tracing::warn!(
                what = K::WATCH,
                error = error.detail,
                "asked for again and again until it can be watched"
            );
        }
        if began.elapsed() >= WELL_AFTER {
            pause = PAUSE.0;
        }
        let out_of_step = rand::rng().random_range(0.5..1.5);
        tokio::time::sleep(pause.mul_f64(out_of_step)).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// One list and the watches after it, until something is wrong.
async fn follow<K: Kept>(
    api: &Api<K::Object>,
    mirror: &Mirror<K>,
    nodes: &BTreeSet<String>,
) -> ClusterError {
    let config = watcher::Config::default()
        .page_size(PAGE)
        .timeout(WATCH_SECS);
    let mut events = pin!(watcher(api.clone(), config));
    while let Some(event) = events.next().await {
        let taken = match event {
            Ok(event) => mirror.take(event, nodes),
            Err(error) => Err(in_words::<K>(&error)),
        };
        if let Err(error) = taken {
            return error;
        }
    }
    ClusterError {
        class: "unexpected",
        detail: format!("{}: the watch has ended", K::WATCH),
    }
}

fn in_words<K: Kept>(error: &watcher::Error) -> ClusterError {
    use super::kube::in_words as told;
    match error {
        watcher::Error::InitialListFailed(error) => told(K::LIST, error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            told(K::WATCH, error)
        }
        watcher::Error::WatchError(status) => told(K::WATCH, &kube::Error::Api(status.clone())),
        watcher::Error::NoResourceVersion => ClusterError {
            class: "unexpected",
            detail: format!("{}: the API server gives no resourceVersion", K::WATCH),
        },
    }
}

impl KubeCluster {
    /// Watches what it is asked about, for these nodes, so that healthy ones need not be asked about again and again. A lease that did
    /// not change for `silent_after` makes its node worth asking about.
    #[must_use]
    pub fn watching(mut self, nodes: &[NodeName], silent_after: Duration) -> Self {
        let watched = Watched::start(&self.watcher, nodes, silent_after);
        self.watched = Some(Arc::new(watched));
        self
    }

    /// Why something is asked for again and again that should be watched, in words; empty: all is watched, or nothing should be.
    #[must_use]
    pub fn watch_troubles(&self) -> Vec<String> {
        self.watched
            .as_ref()
            .map_or_else(Vec::new, |watched| watched.troubles())
    }

    /// Whether everything that can be watched is watched now.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.watched
            .as_ref()
            .is_some_and(|watched| watched.is_whole())
    }
}
