use super::*;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;
use std::time::Duration;

async fn server() -> (KubeApi, kube::Client) {
    let api = KubeApi::start(
        "127.0.0.1:0".parse().expect("address"),
        Lifecycle::default(),
    )
    .await
    .expect("starts");
    let client = client(&api, ADMIN_TOKEN).await;
    (api, client)
}

async fn client(api: &KubeApi, token: &str) -> kube::Client {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("kubeconfig");
    KubeApi::write_kubeconfig(&path, &format!("http://{}", api.address()), token).expect("written");
    let kubeconfig = kube::config::Kubeconfig::read_from(&path).expect("read");
    let config = kube::Config::from_custom_kubeconfig(
        kubeconfig,
        &kube::config::KubeConfigOptions::default(),
    )
    .await
    .expect("config");
    kube::Client::try_from(config).expect("client")
}

fn node(name: &str) -> serde_json::Value {
    json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
}

#[tokio::test]
async fn kube_rs_reads_and_patches_nodes_and_meets_status_errors() {
    let (api, client) = server().await;
    api.put("nodes", node("styx"));
    let nodes: Api<Node> = Api::all(client.clone());
    let version = client.apiserver_version().await.expect("version");
    assert_eq!(version.git_version, "v1.33.4+k3s1");

    let patch = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    let patched = nodes
        .patch("styx", &PatchParams::default(), &patch)
        .await
        .expect("patched");
    assert_eq!(patched.spec.and_then(|spec| spec.unschedulable), Some(true));
    let missing = nodes.get("cerberus").await.expect_err("not there");
    assert!(matches!(missing, kube::Error::Api(status) if status.code == 404));
    let deeds = api.deeds();
    assert_eq!(
        (deeds.len(), deeds[0].verb, deeds[0].who.as_str()),
        (1, Verb::Patch, "admin")
    );
}

#[tokio::test]
async fn lists_come_in_pages_and_by_field() {
    let (api, client) = server().await;
    for name in ["one", "two", "three"] {
        seed::workload(&api, name);
    }
    let pods: Api<Pod> = Api::all(client);
    let page = pods
        .list(&ListParams::default().limit(4))
        .await
        .expect("page");
    assert_eq!(page.items.len(), 4);
    let token = page.metadata.continue_.expect("more follow");
    let rest = pods
        .list(&ListParams::default().limit(4).continue_token(&token))
        .await
        .expect("rest");
    assert_eq!((rest.items.len(), rest.metadata.continue_), (2, None));
    let here = pods
        .list(&ListParams::default().fields("spec.nodeName=two"))
        .await
        .expect("here");
    assert_eq!(here.items.len(), 2);
}

#[tokio::test]
async fn a_pod_is_deleted_only_under_its_own_uid_and_waits_for_its_kubelet() {
    let (api, client) = server().await;
    seed::workload(&api, "styx");
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let uid = pods
        .get("web-styx")
        .await
        .expect("pod")
        .metadata
        .uid
        .expect("uid");
    let delete = |uid: &str, grace| DeleteParams {
        grace_period_seconds: Some(grace),
        preconditions: Some(Preconditions {
            uid: Some(uid.into()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let refused = pods
        .delete("web-styx", &delete("another", 0))
        .await
        .expect_err("conflict");
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 409));
    pods.delete("web-styx", &delete(&uid, 30))
        .await
        .expect("deleted");
    let waiting = pods.get("web-styx").await.expect("still there");
    assert!(waiting.metadata.deletion_timestamp.is_some());
    pods.delete("web-styx", &delete(&uid, 0))
        .await
        .expect("deleted");
    assert!(api.get("pods", "default", "web-styx").is_none());
}

#[tokio::test]
async fn a_stale_lease_taints_and_evicts_and_a_renewed_one_heals() {
    let quick = Lifecycle {
        grace: Duration::from_millis(300),
        toleration: Duration::from_secs(1),
        tick: Duration::from_millis(50),
    };
    let api = KubeApi::start("127.0.0.1:0".parse().expect("address"), quick)
        .await
        .expect("starts");
    let client = client(&api, ADMIN_TOKEN).await;
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let future = "2999-01-01T00:00:00.000000Z";
    for name in ["styx", "calypso", "tethys"] {
        api.put("nodes", node(name));
        let renewed = if name == "styx" {
            "2020-01-01T00:00:00.000000Z"
        } else {
            future
        };
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {"renewTime": renewed}});
        leases
            .create(
                &PostParams::default(),
                &serde_json::from_value(lease).expect("lease"),
            )
            .await
            .expect("created");
    }
    seed::workload(&api, "styx");
    crate::until(Duration::from_secs(10), "eviction", || {
        let gone = api
            .get("pods", "default", "web-styx")
            .is_some_and(|pod| !pod["metadata"]["deletionTimestamp"].is_null());
        std::future::ready(gone && api.ready("styx") == "Unknown")
    })
    .await
    .expect("evicted");
    assert!(
        api.get("pods", "kube-system", "svclb-styx")
            .is_some_and(|pod| pod["metadata"]["deletionTimestamp"].is_null())
    );

    let renewed = Patch::Merge(json!({"spec": {"renewTime": future}}));
    leases
        .patch("styx", &PatchParams::default(), &renewed)
        .await
        .expect("renewed");
    let nodes: Api<Node> = Api::all(client);
    let ready =
        Patch::Merge(json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
    nodes
        .patch_status("styx", &PatchParams::default(), &ready)
        .await
        .expect("ready");
    crate::until(Duration::from_secs(10), "the taint to go", || {
        let node = api.get("nodes", "", "styx").unwrap_or_default();
        std::future::ready(node["spec"]["taints"].as_array().is_some_and(Vec::is_empty))
    })
    .await
    .expect("healed");
}

#[tokio::test]
async fn a_stopped_server_refuses_a_hung_one_is_silent_and_neither_forgets() {
    let (api, client) = server().await;
    api.put("nodes", node("styx"));
    let nodes: Api<Node> = Api::all(client);
    api.stop().await;
    assert!(nodes.get("styx").await.is_err());
    api.start_again().await.expect("again");
    api.hang();
    let silent = tokio::time::timeout(Duration::from_millis(300), nodes.get("styx")).await;
    assert!(silent.is_err());
    api.unhang();
    assert!(nodes.get("styx").await.is_ok());
}

#[tokio::test]
async fn a_recreated_node_is_rejected_until_its_old_password_is_dropped() {
    let (api, client) = server().await;
    let token = seed::bootstrap_token(&api, "abcdef", "0123456789abcdef");
    let join = |password: &'static str, token: String| {
        let url = format!("http://{}/v1-k3s/serving-kubelet.crt", api.address());
        async move {
            let request = reqwest::Client::new().get(url).bearer_auth(token);
            let request = request
                .header("k3s-Node-Name", "styx")
                .header("k3s-Node-Password", password);
            let answer = request.send().await.expect("answer");
            (answer.status().as_u16(), answer.text().await.expect("text"))
        }
    };
    assert_eq!(join("old", token.clone()).await.0, 200);
    let (status, body) = join("new", token.clone()).await;
    assert_eq!(status, 403);
    assert!(body.contains("Node password rejected"), "{body}");
    let secrets: Api<Secret> = Api::namespaced(client, "kube-system");
    secrets
        .delete("styx.node-password.k3s", &DeleteParams::default())
        .await
        .expect("dropped");
    assert_eq!(join("new", token).await.0, 200);
    assert_eq!(join("new", "abcdef.wrong".into()).await.0, 401);
    assert_eq!(
        join("new", "K10beef::abcdef.0123456789abcdef".into())
            .await
            .0,
        401
    );
}

#[tokio::test]
async fn what_a_manager_applies_no_longer_goes_and_the_rest_stays() {
    let (api, client) = server().await;
    api.put("nodes", node("styx"));
    let nodes: Api<Node> = Api::all(client);
    let params = PatchParams::apply("iaso");
    let cordon = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"annotations": {"mark": "true"}}, "spec": {"unschedulable": true}});
    let applied = nodes.patch("styx", &params, &Patch::Apply(&cordon)).await;
    let applied = applied.expect("applied");
    assert_eq!(applied.spec.and_then(|spec| spec.unschedulable), Some(true));
    let nothing = json!({"apiVersion": "v1", "kind": "Node"});
    let freed = nodes.patch("styx", &params, &Patch::Apply(&nothing)).await;
    let freed = freed.expect("applied");
    assert_eq!(freed.spec.and_then(|spec| spec.unschedulable), None);
    assert!(freed.metadata.annotations.unwrap_or_default().is_empty());
    assert!(
        freed
            .metadata
            .labels
            .unwrap_or_default()
            .contains_key("kubernetes.io/hostname")
    );
}

#[tokio::test]
async fn an_eviction_deletes_only_the_pod_that_was_meant() {
    let (api, client) = server().await;
    seed::workload(&api, "one");
    let evict = |uid: &str| {
        let body = json!({"metadata": {"name": "web-one"}, "deleteOptions": {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}});
        http::Request::post("/api/v1/namespaces/default/pods/web-one/eviction")
            .header("content-type", "application/json")
            .body(body.to_string().into_bytes())
            .expect("request")
    };
    let other = client.request::<serde_json::Value>(evict("another")).await;
    assert!(matches!(other, Err(kube::Error::Api(status)) if status.code == 409));
    let pod = api.get("pods", "default", "web-one").expect("still there");
    let uid = pod["metadata"]["uid"].as_str().expect("a uid");
    client
        .request::<serde_json::Value>(evict(uid))
        .await
        .expect("evicted");
    assert!(api.get("pods", "default", "web-one").is_none());
}
