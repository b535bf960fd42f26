use super::publish::{controller, open_incident};
use super::{Scene, adapter, granted, manifests, node, on_a_cluster};
use anyhow::{Context, Result, bail};
use iaso_controller::cluster::{Cluster, ClusterError, KubeCluster, Publisher, RIGHTS, Right};
use iaso_engine::id::NodeName;
use iaso_tests::kubereal::{Options, RealKube, Seed};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A role of the shipped manifests: its path, and where it holds.
fn roles(name: &str) -> [(String, Option<&'static str>); 4] {
    let within = |namespace: &str| format!("{RBAC}/namespaces/{namespace}/roles/{name}");
    [
        (format!("{RBAC}/clusterroles/{name}"), None),
        (within("kube-node-lease"), Some("kube-node-lease")),
        (within("kube-system"), Some("kube-system")),
        (within("default"), Some("default")),
    ]
}

fn words(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What is left of the rules without one verb on one resource.
fn without(rules: &Value, right: &Right) -> Value {
    let mut rules = rules.clone();
    for rule in rules.as_array_mut().into_iter().flatten() {
        if words(&rule["resources"])
            .iter()
            .any(|name| name == right.resource)
            && words(&rule["apiGroups"])
                .iter()
                .any(|name| name == right.group)
        {
            let verbs = words(&rule["verbs"]);
            rule["verbs"] = json!(
                verbs
                    .iter()
                    .filter(|verb| *verb != right.verb)
                    .collect::<Vec<_>>()
            );
        }
    }
    let some = |rule: &&Value| !words(&rule["verbs"]).is_empty();
    json!(
        rules
            .as_array()
            .into_iter()
            .flatten()
            .filter(some)
            .collect::<Vec<_>>()
    )
}

/// Does what needs the right, and answers all that was said about it.
async fn exercise(iaso: &KubeCluster, seed: &Seed, right: &Right) -> Result<String> {
    let styx = node(&seed.name("styx"));
    let said = |error: ClusterError| {
        assert_eq!(error.class, "forbidden", "{error}");
        error.to_string()
    };
    Ok(match (right.verb, right.resource) {
        ("list", "nodes" | "leases") => said(iaso.survey().await.expect_err("denied")),
        ("list", "pods") => {
            let facts = said(iaso.contents(&styx).await.expect_err("denied"));
            assert!(iaso.release(&styx).await?.contains(&facts));
            facts
        }
        ("list", "persistentvolumes") => said(iaso.contents(&styx).await.expect_err("denied")),
        ("get", "nodes") => said(iaso.remember(&styx).await.expect_err("denied")),
        ("patch", "nodes") => {
            let was = iaso.remember(&styx).await?;
            said(iaso.restore(&styx, &was).await.expect_err("denied"));
            let left_out = iaso.cordon(&styx).await?;
            let node = seed.get(&seed.node_path("styx")).await?;
            let node = node.context("styx is gone")?;
            assert!(node["spec"]["unschedulable"].is_null());
            left_out
        }
        ("delete", "pods") => {
            seed.pod("ending", "styx", Some("ReplicaSet")).await?;
            seed.terminate("ending").await?;
            let words = iaso.release(&styx).await?;
            assert!(seed.get(&seed.pod_path("ending")).await?.is_some());
            seed.delete(&seed.pod_path("ending")).await?;
            words
        }
        ("create", "pods/eviction") => {
            seed.pod("living", "styx", Some("ReplicaSet")).await?;
            let words = iaso.release(&styx).await?;
            assert!(seed.get(&seed.pod_path("living")).await?.is_some());
            seed.delete(&seed.pod_path("living")).await?;
            words
        }
        (_, "volumeattachments") => {
            // An earlier release deleted it, as it should.
            let path = seed.attachment_path("of-styx");
            if seed.get(&path).await?.is_none() {
                seed.attachment("of-styx", "styx").await?;
            }
            let words = iaso.release(&styx).await?;
            assert!(seed.get(&path).await?.is_some());
            words
        }
        (_, "nodes/status" | "events" | "incidents") => publish_denied(iaso, &styx).await?,
        (_, "secrets") => {
            let hour = Duration::from_hours(1);
            // The token's id comes from the seed, which must be nobody else's.
            let minted = iaso
                .mint_token(styx.as_str(), hour, "https://lab:6443")
                .await;
            said(minted.expect_err("denied"))
        }
        ("watch", _) => watch_denied(iaso, styx, right).await?,
        (verb, resource) => bail!("nothing here needs {verb} on {resource}"),
    })
}

/// Shows what a journal says.
async fn publish_denied(iaso: &KubeCluster, styx: &NodeName) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let running = controller(directory.path(), iaso, styx.as_str(), false).await?;
    let store = Arc::clone(&running.store);
    let mut publisher = Publisher::new(iaso.clone(), running.handle.clone(), store);
    let wait = Duration::from_secs(20);
    iaso_tests::until(wait, "the node to be seen", || async {
        let name = styx.clone();
        let known = running.handle.ask(move |view| {
            view.world
                .nodes
                .get(&name)
                .is_some_and(|n| n.kube.is_some())
                && view.nodes.contains_key(&name)
        });
        known.await.is_ok_and(|known| known)
    })
    .await?;
    let mut words: Vec<_> = publisher.show().await;
    // The journal from here on is told in Events.
    open_incident(&running, styx.as_str()).await?;
    words.extend(publisher.show().await);
    running.stop().await;
    let words = words.into_iter().map(|error| error.detail);
    Ok(words.collect())
}

async fn watch_denied(iaso: &KubeCluster, styx: NodeName, right: &Right) -> Result<String> {
    let iaso = iaso.clone().watching(&[styx], Duration::from_mins(1));
    let (said, denied) = (|| iaso.watch_troubles().join("; "), right.denied());
    iaso_tests::until(
        Duration::from_secs(20),
        "the watch to be denied",
        || async { said().contains(&denied) },
    )
    .await?;
    // It is asked for instead.
    assert!(!iaso.survey().await?.is_empty());
    Ok(said())
}

#[tokio::test]
async fn every_shipped_right_is_needed_and_its_absence_is_named() -> Result<()> {
    on_a_cluster("rights", Options::default(), each_right).await
}

async fn each_right(scene: &Scene<'_>) -> Result<()> {
    let Scene { site, seed, .. } = scene;
    let iaso = adapter(site.kubeconfig().await?, 1, false).await?;
    seed.node("styx", &json!({}), &json!([])).await?;
    let mut shipped = BTreeSet::new();
    for (path, namespace) in roles(&site.role()) {
        let role = seed.get(&path).await?.context("the role is not there")?;
        for rule in role["rules"].as_array().into_iter().flatten() {
            for (resource, verb) in words(&rule["resources"]).iter().flat_map(|resource| {
                words(&rule["verbs"])
                    .into_iter()
                    .map(move |verb| (resource.clone(), verb))
            }) {
                let group = words(&rule["apiGroups"]).concat();
                shipped.insert((namespace, group, resource, verb));
            }
        }
        for right in RIGHTS.iter().filter(|right| right.namespace == namespace) {
            seed.merge(&path, &json!({"rules": without(&role["rules"], right)}))
                .await?;
            iaso_tests::until(Duration::from_secs(20), "the right to be gone", || async {
                iaso.missing_rights()
                    .await
                    .is_ok_and(|missing| missing == [*right])
            })
            .await?;
            // The server that the tests build cannot serve custom kinds: without them there is nothing to make, change or delete.
            let of_a_kind = right.group == "iaso.dev" && right.verb != "list";
            // Events do not go with the test.
            if of_a_kind || (right.publishes && site.is_borrowed()) {
                seed.merge(&path, &json!({"rules": role["rules"]})).await?;
                granted(&iaso).await?;
                continue;
            }
            let said = exercise(&iaso, seed, right).await?;
            assert!(said.contains(&right.denied()), "{}: {said}", right.name());
            seed.merge(&path, &json!({"rules": role["rules"]})).await?;
            granted(&iaso).await?;
        }
    }
    let needed: BTreeSet<_> = RIGHTS
        .iter()
        .map(|right| {
            (
                right.namespace,
                right.group.to_owned(),
                right.resource.to_owned(),
                right.verb.to_owned(),
            )
        })
        .collect();
    assert_eq!(
        shipped, needed,
        "the shipped roles are not exactly what Iaso needs"
    );
    Ok(())
}

#[tokio::test]
async fn the_shipped_manifests_are_taken_by_the_api_server() -> Result<()> {
    let Some(kube) = RealKube::for_test("manifests", Options::default()).await? else {
        return Ok(());
    };
    // A namespace that is only tried does not exist for what lies in it.
    kube.kubectl(&["create", "namespace", "iaso-system"])
        .await?;
    let mut said = String::new();
    for shipped in ["base", "base/crds"] {
        let tried = ["apply", "--dry-run=server", "-k", &manifests(shipped)];
        said += &kube.kubectl(&tried).await?;
    }
    assert!(
        said.lines().all(|line| line.ends_with("(server dry run)")),
        "{said}"
    );
    assert!(
        said.contains("clusterrole.rbac.authorization.k8s.io/iaso-controller")
            && said.contains("customresourcedefinition.apiextensions.k8s.io/incidents.iaso.dev"),
        "{said}"
    );
    Ok(())
}
