use super::{Scene, installed, on_a_cluster};
use anyhow::{Context, Result};
use iaso_controller::cluster::{Cluster, Contents, NodeView};
use iaso_engine::fact::Ready;
use iaso_tests::kubereal::{Options, RealKube, lease_now, lease_of};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn nodes_leases_pods_and_local_volumes_are_seen_as_kubernetes_has_them() -> Result<()> {
    on_a_cluster("facts", Options::default(), async |scene| {
        let Scene { iaso, seed, .. } = scene;
        seed.node("styx", &json!({}), &json!([])).await?;
        seed.node("tethys", &json!({}), &json!([])).await?;
        seed.ready("tethys", "Unknown").await?;

        let (styx, tethys) = (seen(scene, "styx").await?, seen(scene, "tethys").await?);
        assert_eq!((styx.ready, tethys.ready), (Ready::True, Ready::Unknown));
        assert_eq!(styx.kubelet_version, "v1.33.4+k3s1");
        assert!(!styx.uid.is_empty() && styx.uid != tethys.uid);
        let before = styx.renewed.expect("a lease");
        let lease = seed.name("styx");
        seed.merge(&lease_of(&lease), &json!({"spec": lease_now(&lease)}))
            .await?;
        let after = seen(scene, "styx").await?.renewed;
        assert_ne!(after, Some(before), "a renewed lease looks the same");

        let (styx, tethys) = (scene.node("styx"), scene.node("tethys"));
        assert_eq!(iaso.contents(&styx).await?, Contents::default());
        seed.local_volume("data", "styx").await?;
        seed.pod("ending", "styx", Some("ReplicaSet")).await?;
        seed.pod("living", "styx", Some("ReplicaSet")).await?;
        seed.pod("elsewhere", "tethys", Some("ReplicaSet")).await?;
        seed.terminate("ending").await?;
        let contents = iaso.contents(&styx).await?;
        let data = seed.name("data");
        assert_eq!(
            contents.local_data,
            [format!(
                "volume {data} (local-path) of claim {}/{data}",
                seed.namespace()
            )]
        );
        assert_eq!(contents.stuck_pods, 0, "its grace is not over");
        // A grace of a second, and the adapter's margin for clocks that differ.
        iaso_tests::until(
            Duration::from_secs(20),
            "the pod to count as stuck",
            || async {
                let contents = iaso.contents(&styx).await;
                contents.is_ok_and(|contents| contents.stuck_pods == 1)
            },
        )
        .await?;
        assert_eq!(iaso.contents(&tethys).await?, Contents::default());
        Ok(())
    })
    .await
}

async fn seen(scene: &Scene<'_>, name: &str) -> Result<NodeView> {
    let name = scene.seed.name(name);
    let seen = scene.iaso.survey().await?;
    let view = seen.into_iter().find(|view| view.name == name);
    view.with_context(|| format!("{name} is not seen"))
}

#[tokio::test]
async fn a_stopped_api_server_is_trouble_in_words_and_the_same_cluster_afterwards() -> Result<()> {
    let Some(mut kube) = RealKube::for_test("API server stopped", Options::default()).await? else {
        return Ok(());
    };
    let iaso = installed(&kube).await?;
    let seed = kube.seed().await?;
    seed.node("styx", &json!({}), &json!([])).await?;
    let before = iaso.survey().await?;
    kube.stop_api().await;
    let error = iaso.survey().await.expect_err("nobody answers");
    assert_eq!(error.class, "unavailable", "{error}");
    assert!(error.detail.starts_with("list nodes: "), "{error}");
    kube.start_api().await?;
    assert_eq!(iaso.survey().await?, before);
    Ok(())
}
