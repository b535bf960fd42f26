//! What the cluster has before a scene begins: the pods, services and volumes of a small k3s.

use super::{KubeApi, k3s};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::net::IpAddr;

/// Where the cluster's DNS is.
#[derive(Debug, Clone)]
pub struct DnsSeed {
    /// The service's address.
    pub service: IpAddr,
    /// (node, address) of each CoreDNS pod.
    pub endpoints: Vec<(String, IpAddr)>,
    /// The port of all of them.
    pub port: u16,
}

/// CoreDNS: pods, `ReplicaSet`, service and endpoint slice.
pub fn dns(api: &KubeApi, dns: &DnsSeed) {
    let labels = json!({"k8s-app": "kube-dns"});
    api.put(
        "replicasets",
        json!({
            "metadata": {"name": "coredns-lab", "namespace": "kube-system"},
            "spec": {"replicas": dns.endpoints.len(), "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "coredns", "image": "coredns"}]}}},
        }),
    );
    for (index, (node, address)) in dns.endpoints.iter().enumerate() {
        let mut pod = pod(
            "kube-system",
            &format!("coredns-lab-{index}"),
            node,
            "coredns-lab",
        );
        super::store::merge(
            &mut pod,
            &json!({"metadata": {"labels": labels}, "status": {"podIP": address.to_string(), "podIPs": [{"ip": address.to_string()}]}}),
        );
        api.put("pods", pod);
    }
    let ports: Vec<Value> = [("dns", "UDP"), ("dns-tcp", "TCP")]
        .iter()
        .map(|(name, protocol)| json!({"name": name, "protocol": protocol, "port": dns.port}))
        .collect();
    api.put(
        "services",
        json!({
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
            "spec": {"clusterIP": dns.service.to_string(), "clusterIPs": [dns.service.to_string()], "selector": labels, "ports": ports, "type": "ClusterIP"},
        }),
    );
    let endpoints: Vec<Value> = dns
        .endpoints
        .iter()
        .map(|(node, address)| {
            json!({"addresses": [address.to_string()], "nodeName": node, "conditions": {"ready": true, "serving": true, "terminating": false}})
        })
        .collect();
    api.put(
        "endpointslices",
        json!({
            "metadata": {"name": "kube-dns-lab", "namespace": "kube-system", "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        }),
    );
}

/// Two ordinary pods on a node: one of a `ReplicaSet` that is not replaced, one of a `DaemonSet`.
pub fn workload(api: &KubeApi, node: &str) {
    api.put("pods", pod("default", &format!("web-{node}"), node, "web"));
    let mut daemon = pod("kube-system", &format!("svclb-{node}"), node, "svclb");
    super::store::merge(
        &mut daemon,
        &json!({"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "svclb", "uid": "lab", "controller": true}]}}),
    );
    api.put("pods", daemon);
}

/// A bootstrap token, agent-only; answers the K10 form that a node joins with.
pub fn bootstrap_token(api: &KubeApi, id: &str, secret: &str) -> String {
    let (object, token) = bootstrap_secret(id, secret);
    api.put("secrets", object);
    token
}

/// Its Secret, and its K10 form.
#[must_use]
pub fn bootstrap_secret(id: &str, secret: &str) -> (Value, String) {
    let encoded = |text: &str| STANDARD.encode(text);
    let object = json!({
            "metadata": {"name": format!("bootstrap-token-{id}"), "namespace": "kube-system"},
            "type": "bootstrap.kubernetes.io/token",
            "data": {"token-id": encoded(id), "token-secret": encoded(secret), "usage-bootstrap-authentication": encoded("true")},
    });
    (object, format!("K10{}::{id}.{secret}", k3s::ca_hash()))
}

/// A volume whose data lies on one node's disk.
pub fn local_volume(api: &KubeApi, node: &str, name: &str) {
    api.put(
        "persistentvolumes",
        json!({
            "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": "rancher.io/local-path"}},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "local-path",
                "persistentVolumeReclaimPolicy": "Delete", "hostPath": {"path": format!("/var/lib/rancher/k3s/storage/{name}")},
                "claimRef": {"kind": "PersistentVolumeClaim", "namespace": "default", "name": name},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}},
            },
            "status": {"phase": "Bound"},
        }),
    );
}

/// Sets one field of a map.
pub fn set(map: &mut Value, key: &str, value: &str) {
    super::store::merge(map, &json!({key: value}));
}

pub(crate) fn pod(namespace: &str, name: &str, node: &str, owner: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": namespace, "labels": {"app": owner},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "lab", "controller": true}],
        },
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "lab"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "main", "image": "lab", "imageID": "lab", "ready": true, "restartCount": 0}],
        },
    })
}
