//! The suite on a cluster that is somebody else's.

use super::manifests;
use anyhow::{Context, Result};
use iaso_tests::kubereal::{KUBECONFIG_VARIABLE, Options, RealKube, Seed, User};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long the whole suite may take on it.
const PLAYED_WITHIN: Duration = Duration::from_mins(5);
/// Tests that play on any cluster.
const PLAYED: usize = 8;

/// Every object that the API server has, by its path, without what Kubernetes itself writes all the time.
async fn everything(seed: &Seed) -> Result<BTreeMap<String, Value>> {
    let mut groups = vec!["/api/v1".to_owned()];
    let known = seed.get("/apis").await?.context("no API groups")?;
    for group in known["groups"].as_array().into_iter().flatten() {
        let version = group["preferredVersion"]["groupVersion"].as_str();
        groups.push(format!(
            "/apis/{}",
            version.context("a group of no version")?
        ));
    }
    let mut all = BTreeMap::new();
    for group in groups {
        let resources = seed.get(&group).await?.unwrap_or_default();
        for resource in resources["resources"].as_array().into_iter().flatten() {
            let name = resource["name"].as_str().unwrap_or_default();
            let listed = resource["verbs"].to_string().contains("\"list\"");
            if listed && !["events", "componentstatuses"].contains(&name) {
                list(seed, &format!("{group}/{name}"), &mut all).await?;
            }
        }
    }
    Ok(all)
}

async fn list(seed: &Seed, path: &str, all: &mut BTreeMap<String, Value>) -> Result<()> {
    let list = seed.get(path).await?.unwrap_or_default();
    for item in list["items"].as_array().into_iter().flatten() {
        let mut item = item.clone();
        let meta = item["metadata"].clone();
        let text = |field: &str| meta[field].as_str().unwrap_or_default().to_owned();
        if let Some(meta) = item["metadata"].as_object_mut() {
            meta.remove("managedFields");
            meta.remove("resourceVersion");
        }
        if let Some(object) = item.as_object_mut() {
            object.remove("status");
        }
        all.insert(
            format!("{path}: {}/{}", text("namespace"), text("name")),
            item,
        );
    }
    Ok(())
}

/// What its owner has there: an Iaso of his own, and things of all the kinds and names that tests make.
async fn bystanders(kube: &RealKube, seed: &Seed) -> Result<()> {
    kube.kubectl(&["apply", "-k", &manifests("base")]).await?;
    for node in ["styx", "tethys"] {
        seed.node(node, &json!({}), &json!([])).await?;
        seed.node_password(node).await?;
        seed.attachment(&format!("of-{node}"), node).await?;
        seed.local_volume(&format!("data-{node}"), node).await?;
    }
    for pod in ["one", "living", "ending-styx"] {
        seed.pod(pod, "styx", None).await?;
    }
    seed.budget("web", 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_on_somebody_elses_cluster_leaves_it_as_it_was() -> Result<()> {
    let options = Options {
        controllers: true,
        collector: true,
        // Nobody renews the bystanders' leases.
        grace: Duration::from_hours(1),
        ..Options::default()
    };
    let Some(kube) = RealKube::for_test("somebody else's cluster", options).await? else {
        return Ok(());
    };
    let seed = kube.seed().await?;
    bystanders(&kube, &seed).await?;
    let counted = seed.budget_counts("web", 3, 2).await;
    counted.with_context(|| kube.last_words())?;
    let before = everything(&seed).await?;
    let mut suite = Command::new(std::env::current_exe()?);
    suite
        .args(["--nocapture", "--test-threads=2"])
        .env(KUBECONFIG_VARIABLE, kube.kubeconfig(User::Admin)?)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let played = tokio::time::timeout(PLAYED_WITHIN, suite.output())
        .await
        .context("the suite did not end")??;
    let said = [played.stdout, played.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(played.status.success(), "{said}");
    let passed = said.matches(" ... ok").count() - said.matches("LEFT OUT").count();
    assert!(passed >= PLAYED, "{passed} tests played: {said}");
    let after = everything(&seed).await?;
    let (old, new): (Vec<_>, Vec<_>) = (before.keys().collect(), after.keys().collect());
    assert_eq!(old, new);
    for (path, object) in &before {
        assert_eq!(after.get(path), Some(object), "{path}");
    }
    Ok(())
}
