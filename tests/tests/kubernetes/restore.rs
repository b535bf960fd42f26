use super::{Scene, node};
use anyhow::{Context, Result};
use iaso_controller::cluster::Cluster;
use iaso_tests::kubereal::{Options, RealKube};
use serde_json::json;

const STYX: &str = "/api/v1/nodes/styx";

#[tokio::test]
async fn labels_taints_and_annotations_come_back_to_a_node_that_was_deleted() -> Result<()> {
    let Some(kube) = RealKube::for_test("remember and restore", Options::default()).await? else {
        return Ok(());
    };
    let Scene {
        kube: _kube,
        iaso,
        seed,
    } = Scene::new(kube).await?;
    let taints = json!([{"key": "gpu", "value": "true", "effect": "NoSchedule"}]);
    let labels = json!({"iaso.lab/disk": "ssd", "node-role.kubernetes.io/worker": "true"});
    seed.node("styx", &labels, &taints).await?;
    iaso.cordon(&node("styx")).await?;
    let remembered = iaso.remember(&node("styx")).await?;
    assert_eq!(remembered.taints, ["gpu=true:NoSchedule"]);
    assert_eq!(remembered.kubelet_version, "v1.33.4+k3s1");
    assert!(
        !remembered.was_cordoned,
        "Iaso's own cordon is nobody's wish"
    );
    assert!(
        !remembered.labels.contains_key("kubernetes.io/hostname")
            && !remembered.annotations.contains_key("iaso.dev/cordoned")
    );

    seed.delete(STYX).await?;
    // As a kubelet registers: bare, and with a taint of the moment.
    let starting = json!([{"key": "node.example.com/starting", "effect": "NoExecute"}]);
    seed.node("styx", &json!({}), &starting).await?;
    iaso.restore(&node("styx"), &remembered).await?;
    let back = seed.get(STYX).await?.context("styx is gone")?;
    assert_eq!(back["metadata"]["labels"]["iaso.lab/disk"], "ssd");
    assert_eq!(
        back["metadata"]["labels"]["node-role.kubernetes.io/worker"],
        "true"
    );
    assert_eq!(back["metadata"]["annotations"]["iaso.lab/owner"], "ops");
    let keys: Vec<&str> = back["spec"]["taints"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|taint| taint["key"].as_str())
        .collect();
    assert!(
        keys.contains(&"gpu") && keys.contains(&"node.example.com/starting"),
        "{keys:?}"
    );

    // What was put back is not the cordon's: a cordon that comes and goes later leaves it.
    iaso.cordon(&node("styx")).await?;
    iaso.uncordon(&node("styx")).await?;
    assert_eq!(
        iaso.remember(&node("styx")).await?.labels,
        remembered.labels
    );
    // Done again, as a resumed effect is: nothing doubles.
    iaso.restore(&node("styx"), &remembered).await?;
    let again = seed.get(STYX).await?.context("styx is gone")?;
    assert_eq!(again["spec"]["taints"], back["spec"]["taints"]);
    Ok(())
}
