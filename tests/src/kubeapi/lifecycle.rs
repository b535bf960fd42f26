//! The node life cycle, as the controller-manager plays it: a stale lease makes Ready unknown, a taint follows, then eviction; and a
//! `ReplicaSet` gets its pods back.

use super::Shared;
use super::serve::terminating;
use super::store::{Store, field, merge, now, text};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// How long things take. Kubernetes' own: 50 s, 300 s.
#[derive(Debug, Clone, Copy)]
pub struct Lifecycle {
    /// A lease older than this makes Ready unknown.
    pub grace: Duration,
    /// A pod on an unreachable node is evicted after this.
    pub toleration: Duration,
    /// How often it looks.
    pub tick: Duration,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(4),
            toleration: Duration::from_secs(4),
            tick: Duration::from_millis(500),
        }
    }
}

pub(crate) async fn run(shared: Shared, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(lifecycle.tick);
    loop {
        ticks.tick().await;
        let mut store = shared.store();
        let nodes: Vec<Value> = store.all("nodes").cloned().collect();
        let stale = nodes
            .iter()
            .filter(|node| is_stale(&store, node, lifecycle.grace))
            .count();
        // As the node controller: when most of a small cluster is gone, the trouble is more likely its own.
        let evicting = stale * 100 < nodes.len() * 55;
        for node in nodes {
            step(&mut store, &node, lifecycle, evicting);
        }
        replace_pods(&mut store);
    }
}

/// The status of the Ready condition; empty when there is none.
pub(crate) fn ready_status(node: &Value) -> String {
    conditions(node)
        .iter()
        .find(|condition| text(condition, &["type"]) == "Ready")
        .map(|condition| text(condition, &["status"]).to_owned())
        .unwrap_or_default()
}

fn conditions(node: &Value) -> &[Value] {
    field(node, &["status", "conditions"])
        .as_array()
        .map_or(&[], Vec::as_slice)
}

fn taints(node: &Value) -> Vec<Value> {
    field(node, &["spec", "taints"])
        .as_array()
        .cloned()
        .unwrap_or_default()
}

fn older(written: &str, age: Duration) -> bool {
    written
        .parse::<Timestamp>()
        // What lies in the future, by a clock that runs ahead, is not old.
        .is_ok_and(|at| {
            Duration::try_from(Timestamp::now().duration_since(at)).is_ok_and(|since| since > age)
        })
}

fn is_stale(store: &Store, node: &Value, grace: Duration) -> bool {
    let name = text(node, &["metadata", "name"]);
    store
        .get("leases", "kube-node-lease", name)
        .is_none_or(|lease| older(text(lease, &["spec", "renewTime"]), grace))
}

fn step(store: &mut Store, node: &Value, lifecycle: Lifecycle, evicting: bool) {
    let name = text(node, &["metadata", "name"]).to_owned();
    let tainted = taints(node)
        .iter()
        .find(|taint| {
            text(taint, &["key"]) == UNREACHABLE && text(taint, &["effect"]) == "NoExecute"
        })
        .map(|taint| text(taint, &["timeAdded"]).to_owned());
    let stale = is_stale(store, node, lifecycle.grace);
    let ready = ready_status(node);
    if stale && ready != "Unknown" {
        store.seed("nodes", with_ready_unknown(node));
    } else if stale && tainted.is_none() {
        store.seed("nodes", with_taint(node));
    } else if !stale && ready == "True" && tainted.is_some() {
        store.seed("nodes", without_taint(node));
    }
    if stale && evicting && tainted.is_some_and(|since| older(&since, lifecycle.toleration)) {
        evict(store, &name);
    }
}

fn with_ready_unknown(node: &Value) -> Value {
    let others = conditions(node)
        .iter()
        .filter(|condition| text(condition, &["type"]) != "Ready");
    let unknown = json!({
        "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.", "lastTransitionTime": now(),
        "lastHeartbeatTime": now(),
    });
    let all: Vec<Value> = others.cloned().chain([unknown]).collect();
    let mut node = node.clone();
    merge(&mut node, &json!({"status": {"conditions": all}}));
    node
}

fn with_taint(node: &Value) -> Value {
    let mut all = taints(node);
    all.extend(
        ["NoSchedule", "NoExecute"]
            .map(|effect| json!({"key": UNREACHABLE, "effect": effect, "timeAdded": now()})),
    );
    let mut node = node.clone();
    merge(&mut node, &json!({"spec": {"taints": all}}));
    node
}

fn without_taint(node: &Value) -> Value {
    let all: Vec<Value> = taints(node)
        .into_iter()
        .filter(|taint| text(taint, &["key"]) != UNREACHABLE)
        .collect();
    let mut node = node.clone();
    merge(&mut node, &json!({"spec": {"taints": all}}));
    node
}

fn evict(store: &mut Store, node: &str) {
    let leaving: Vec<Value> = store
        .all("pods")
        .filter(|pod| text(pod, &["spec", "nodeName"]) == node)
        .filter(|pod| !is_terminating(pod) && owner(pod, "DaemonSet").is_none())
        .cloned()
        .collect();
    for pod in leaving {
        store.seed("pods", terminating(pod, 30));
    }
}

fn is_terminating(pod: &Value) -> bool {
    !field(pod, &["metadata", "deletionTimestamp"]).is_null()
}

fn owner<'a>(pod: &'a Value, kind: &str) -> Option<&'a str> {
    field(pod, &["metadata", "ownerReferences"])
        .as_array()?
        .iter()
        .find(|owner| text(owner, &["kind"]) == kind)
        .map(|owner| text(owner, &["name"]))
}

/// Every `ReplicaSet` with too few living pods gets one more, on a node that is ready.
fn replace_pods(store: &mut Store) {
    let sets: Vec<Value> = store.all("replicasets").cloned().collect();
    for set in sets {
        let name = text(&set, &["metadata", "name"]);
        let wanted = field(&set, &["spec", "replicas"]).as_u64().unwrap_or(1);
        let living = store
            .all("pods")
            .filter(|pod| !is_terminating(pod) && owner(pod, "ReplicaSet") == Some(name))
            .count();
        let free = store.all("nodes").find(|node| {
            ready_status(node) == "True"
                && taints(node).is_empty()
                && field(node, &["spec", "unschedulable"]) != &Value::Bool(true)
        });
        let Some(node) = free.filter(|_| (living as u64) < wanted) else {
            continue;
        };
        let mut pod = field(&set, &["spec", "template"]).clone();
        let suffix = store.version();
        merge(
            &mut pod,
            &json!({
                "metadata": {
                    "name": format!("{name}-{suffix}"), "namespace": field(&set, &["metadata", "namespace"]),
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": "lab", "controller": true}],
                },
                "spec": {"nodeName": text(node, &["metadata", "name"])},
                "status": {"phase": "Pending"},
            }),
        );
        store.seed("pods", pod);
    }
}
