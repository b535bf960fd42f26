use super::{Scene, on_a_cluster};
use anyhow::{Context, Result};
use iaso_controller::cluster::Cluster;
use iaso_tests::kubereal::{Options, Seed, Site};
use serde_json::{Value, json};

async fn styx(seed: &Seed) -> Result<Value> {
    let found = seed.get(&seed.node_path("styx")).await?;
    found.context("styx is gone")
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
    on_a_cluster("cordon", Options::default(), async |scene| {
        let Scene { site, iaso, seed } = scene;
        let node = scene.node("styx");
        seed.node("styx", &json!({"iaso.lab/disk": "ssd"}), &json!([]))
            .await?;

        assert_eq!(iaso.cordon(&node).await?, "cordoned");
        let cordoned = styx(seed).await?;
        assert!(is_cordoned(&cordoned));
        assert_eq!(holders(&cordoned), [("iaso".into(), "Apply".into())]);
        assert_eq!(iaso.cordon(&node).await?, "cordoned before, by Iaso");
        assert_eq!(iaso.uncordon(&node).await?, "uncordoned");
        let free = styx(seed).await?;
        assert!(!is_cordoned(&free) && holders(&free).is_empty());
        assert!(free["metadata"]["annotations"]["iaso.dev/cordoned"].is_null());
        assert_eq!(free["metadata"]["labels"]["iaso.lab/disk"], "ssd");

        site.kubectl(&["cordon", node.as_str()]).await?;
        assert!(iaso.cordon(&node).await?.contains("stays theirs"));
        assert!(iaso.uncordon(&node).await?.contains("it stays"));
        assert!(
            is_cordoned(&styx(seed).await?),
            "a person's cordon was taken back"
        );
        site.kubectl(&["uncordon", node.as_str()]).await?;

        // A cordon that both hold: ours goes, theirs stays.
        iaso.cordon(&node).await?;
        apply(site, node.as_str(), "flux", true).await?;
        let said = iaso.uncordon(&node).await?;
        assert!(said.contains("somebody else's stays"), "{said}");
        assert!(is_cordoned(&styx(seed).await?));
        Ok(())
    })
    .await
}

/// Another field manager's word on the node, as a program of `GitOps` says it.
async fn apply(site: &Site, node: &str, manager: &str, unschedulable: bool) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("node.yaml");
    std::fs::write(
        &file,
        format!(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: {node}\nspec:\n  unschedulable: {unschedulable}\n"
        ),
    )?;
    let file = file.display().to_string();
    let manager = format!("--field-manager={manager}");
    site.kubectl(&["apply", "--server-side", &manager, "-f", &file])
        .await
        .map(drop)
}

#[tokio::test]
async fn a_field_that_somebody_else_holds_is_taken_over_and_named() -> Result<()> {
    on_a_cluster("cordon in conflict", Options::default(), async |scene| {
        let Scene { site, iaso, seed } = scene;
        let node = scene.node("styx");
        seed.node("styx", &json!({}), &json!([])).await?;
        apply(site, node.as_str(), "flux", false).await?;
        let said = iaso.cordon(&node).await?;
        assert!(
            said.contains("against another's word") && said.contains("flux"),
            "{said}"
        );
        assert!(is_cordoned(&styx(seed).await?));
        Ok(())
    })
    .await
}

/// Applying makes what is not there: a node that was deleted in between must stay deleted.
#[tokio::test]
async fn a_deleted_node_is_not_made_by_a_cordon() -> Result<()> {
    on_a_cluster(
        "cordon of a deleted node",
        Options::default(),
        async |scene| {
            let Scene { iaso, seed, .. } = scene;
            let node = scene.node("styx");
            let error = iaso.cordon(&node).await.expect_err("there is no styx");
            assert_eq!(error.class, "not-found");
            // Deleted and registered anew between reading and writing: another node of the same name.
            seed.node("styx", &json!({}), &json!([])).await?;
            let old = styx(seed).await?["metadata"]["uid"].clone();
            let path = seed.node_path("styx");
            seed.delete(&path).await?;
            let apply = json!({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.as_str(), "uid": old},
                "spec": {"unschedulable": true},
            });
            let refused = seed
                .call("APPLY", &format!("{path}?fieldManager=iaso"), &apply)
                .await
                .expect_err("a UID that is not there");
            assert!(
                format!("{refused:#}").to_lowercase().contains("uid"),
                "{refused:#}"
            );
            assert!(seed.get(&path).await?.is_none(), "applying made a node");
            Ok(())
        },
    )
    .await
}
