use super::{Scene, on_a_cluster};
use anyhow::{Context, Result};
use iaso_controller::cluster::Cluster;
use iaso_tests::kubereal::{Options, RUN_LABEL};
use serde_json::{Value, json};

/// Keys in order, without those that Kubernetes' controllers set and clear by themselves.
fn taints_of(node: &Value) -> Vec<&str> {
    let taints = node["spec"]["taints"].as_array();
    let keys = taints.into_iter().flatten();
    let mut keys: Vec<&str> = keys.filter_map(|taint| taint["key"].as_str()).collect();
    keys.retain(|key| !key.starts_with("node.kubernetes.io/"));
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn labels_taints_and_annotations_come_back_to_a_node_that_was_deleted() -> Result<()> {
    on_a_cluster("remember and restore", Options::default(), async |scene| {
        let Scene { iaso, seed, .. } = scene;
        let (styx, path) = (scene.node("styx"), seed.node_path("styx"));
        let taints = json!([{"key": "gpu", "value": "true", "effect": "NoSchedule"}]);
        let labels = json!({"iaso.lab/disk": "ssd", "node-role.kubernetes.io/worker": "true"});
        seed.node("styx", &labels, &taints).await?;
        iaso.cordon(&styx).await?;
        let remembered = iaso.remember(&styx).await?;
        let mut taints = remembered.taints.clone();
        // On somebody else's cluster, a test's nodes bear the mark of the run.
        taints.retain(|taint| !taint.starts_with(RUN_LABEL));
        assert_eq!(taints, ["gpu=true:NoSchedule"]);
        assert_eq!(remembered.kubelet_version, "v1.33.4+k3s1");
        assert!(
            !remembered.was_cordoned,
            "Iaso's own cordon is nobody's wish"
        );
        assert!(
            !remembered.labels.contains_key("kubernetes.io/hostname")
                && !remembered.annotations.contains_key("iaso.dev/cordoned")
        );

        seed.delete(&path).await?;
        // As a kubelet registers: bare, and with a taint of the moment.
        let starting = json!([{"key": "node.example.com/starting", "effect": "NoExecute"}]);
        seed.node("styx", &json!({}), &starting).await?;
        iaso.restore(&styx, &remembered).await?;
        let back = seed.get(&path).await?.context("styx is gone")?;
        assert_eq!(back["metadata"]["labels"]["iaso.lab/disk"], "ssd");
        assert_eq!(
            back["metadata"]["labels"]["node-role.kubernetes.io/worker"],
            "true"
        );
        assert_eq!(back["metadata"]["annotations"]["iaso.lab/owner"], "ops");
        let keys = taints_of(&back);
        assert!(
            keys.contains(&"gpu") && keys.contains(&"node.example.com/starting"),
            "{keys:?}"
        );

        // What was put back is not the cordon's: a cordon that comes and goes later leaves it.
        iaso.cordon(&styx).await?;
        iaso.uncordon(&styx).await?;
        assert_eq!(iaso.remember(&styx).await?.labels, remembered.labels);
        // Done again, as a resumed effect is: nothing doubles.
        iaso.restore(&styx, &remembered).await?;
        let again = seed.get(&path).await?.context("styx is gone")?;
        assert_eq!(taints_of(&again), keys);
        Ok(())
    })
    .await
}
