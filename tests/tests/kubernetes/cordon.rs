use super::{Scene, node};
use anyhow::{Context, Result};
use iaso_controller::cluster::Cluster;
use iaso_tests::kubereal::{Options, RealKube, Seed};
use serde_json::{Value, json};

const STYX: &str = "/api/v1/nodes/styx";

async fn styx(seed: &Seed) -> Result<Value> {
    seed.get(STYX).await?.context("styx is gone")
}

fn is_cordoned(node: &Value) -> bool {
    node["spec"]["unschedulable"] == true
}

/// (manager, operation) of everybody who holds fields of the node's spec.
fn holders(node: &Value) -> Vec<(String, String)> {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let entries = node["metadata"]["managedFields"].as_array().cloned();
    entries
        .unwrap_or_default()
        .iter()
        .filter(|entry| !entry["fieldsV1"]["f:spec"]["f:unschedulable"].is_null())
        .map(|entry| (text(entry, "manager"), text(entry, "operation")))
        .collect()
}

#[tokio::test]
async fn a_cordon_is_applied_by_one_manager_and_somebody_elses_is_left_alone() -> Result<()> {
    let Some(kube) = RealKube::for_test("cordon", Options::default()).await? else {
        return Ok(());
    };
    let Scene { kube, iaso, seed } = Scene::new(kube).await?;
    seed.node("styx", &json!({"iaso.lab/disk": "ssd"}), &json!([]))
        .await?;

    assert_eq!(iaso.cordon(&node("styx")).await?, "cordoned");
    let cordoned = styx(&seed).await?;
    assert!(is_cordoned(&cordoned));
    assert_eq!(holders(&cordoned), [("iaso".into(), "Apply".into())]);
    assert_eq!(
        iaso.cordon(&node("styx")).await?,
        "cordoned before, by Iaso"
    );
    assert_eq!(iaso.uncordon(&node("styx")).await?, "uncordoned");
    let free = styx(&seed).await?;
    assert!(!is_cordoned(&free) && holders(&free).is_empty());
    assert!(free["metadata"]["annotations"]["iaso.dev/cordoned"].is_null());
    assert_eq!(free["metadata"]["labels"]["iaso.lab/disk"], "ssd");

    kube.kubectl(&["cordon", "styx"]).await?;
    assert!(iaso.cordon(&node("styx")).await?.contains("stays theirs"));
    assert!(iaso.uncordon(&node("styx")).await?.contains("it stays"));
    assert!(
        is_cordoned(&styx(&seed).await?),
        "a person's cordon was taken back"
    );
    kube.kubectl(&["uncordon", "styx"]).await?;

    // A cordon that both hold: ours goes, theirs stays.
    iaso.cordon(&node("styx")).await?;
    apply(&kube, "flux", true).await?;
    assert!(
        iaso.uncordon(&node("styx"))
            .await?
            .contains("somebody else's stays")
    );
    assert!(is_cordoned(&styx(&seed).await?));
    Ok(())
}

/// Another field manager's word on the node, as a program of `GitOps` says it.
async fn apply(kube: &RealKube, manager: &str, unschedulable: bool) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("node.yaml");
    std::fs::write(
        &file,
        format!(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: styx\nspec:\n  unschedulable: {unschedulable}\n"
        ),
    )?;
    let file = file.display().to_string();
    let manager = format!("--field-manager={manager}");
    kube.kubectl(&["apply", "--server-side", &manager, "-f", &file])
        .await
        .map(drop)
}

#[tokio::test]
async fn a_field_that_somebody_else_holds_is_taken_over_and_named() -> Result<()> {
    let Some(kube) = RealKube::for_test("cordon in conflict", Options::default()).await? else {
        return Ok(());
    };
    let Scene { kube, iaso, seed } = Scene::new(kube).await?;
    seed.node("styx", &json!({}), &json!([])).await?;
    apply(&kube, "flux", false).await?;
    let said = iaso.cordon(&node("styx")).await?;
    assert!(
        said.contains("against another's word") && said.contains("flux"),
        "{said}"
    );
    assert!(is_cordoned(&styx(&seed).await?));
    Ok(())
}

/// Applying makes what is not there: a node that was deleted in between must stay deleted.
#[tokio::test]
async fn a_deleted_node_is_not_made_by_a_cordon() -> Result<()> {
    let Some(kube) = RealKube::for_test("cordon of a deleted node", Options::default()).await?
    else {
        return Ok(());
    };
    let Scene {
        kube: _kube,
        iaso,
        seed,
    } = Scene::new(kube).await?;
    let error = iaso
        .cordon(&node("styx"))
        .await
        .expect_err("there is no styx");
    assert_eq!(error.class, "not-found");
    // Deleted and registered anew between reading and writing: another node of the same name.
    seed.node("styx", &json!({}), &json!([])).await?;
    let old = styx(&seed).await?["metadata"]["uid"].clone();
    seed.delete(STYX).await?;
    let apply = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "styx", "uid": old}, "spec": {"unschedulable": true}});
    let refused = seed
        .call("APPLY", &format!("{STYX}?fieldManager=iaso"), &apply)
        .await
        .expect_err("a UID that is not there");
    assert!(
        format!("{refused:#}").to_lowercase().contains("uid"),
        "{refused:#}"
    );
    assert!(seed.get(STYX).await?.is_none(), "applying made a node");
    Ok(())
}
