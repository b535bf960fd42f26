use super::{Scene, node};
use anyhow::Result;
use iaso_controller::cluster::{Cluster, Contents};
use iaso_engine::fact::Ready;
use iaso_tests::kubereal::{Options, RealKube, lease_now, lease_of};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn nodes_leases_pods_and_local_volumes_are_seen_as_kubernetes_has_them() -> Result<()> {
    let Some(kube) = RealKube::for_test("facts of a real cluster", Options::default()).await?
    else {
        return Ok(());
    };
    let Scene { kube, iaso, seed } = Scene::new(kube).await?;
    seed.node("styx", &json!({}), &json!([])).await?;
    seed.node("tethys", &json!({}), &json!([])).await?;
    seed.ready("tethys", "Unknown").await?;

    let seen = iaso.survey().await?;
    let styx = seen.iter().find(|view| view.name == "styx").expect("styx");
    let tethys = seen
        .iter()
        .find(|view| view.name == "tethys")
        .expect("tethys");
    assert_eq!((styx.ready, tethys.ready), (Ready::True, Ready::Unknown));
    assert_eq!(styx.kubelet_version, "v1.33.4+k3s1");
    assert!(!styx.uid.is_empty() && styx.uid != tethys.uid);
    let before = styx.renewed.clone().expect("a lease");
    seed.merge(&lease_of("styx"), &json!({"spec": lease_now("styx")}))
        .await?;
    let seen = iaso.survey().await?;
    let after = seen
        .iter()
        .find(|view| view.name == "styx")
        .and_then(|view| view.renewed.clone());
    assert_ne!(after, Some(before), "a renewed lease looks the same");

    assert_eq!(iaso.contents(&node("styx")).await?, Contents::default());
    seed.local_volume("data", "styx").await?;
    seed.pod("ending", "styx", Some("ReplicaSet")).await?;
    seed.pod("living", "styx", Some("ReplicaSet")).await?;
    seed.pod("elsewhere", "tethys", Some("ReplicaSet")).await?;
    seed.terminate("ending").await?;
    let contents = iaso.contents(&node("styx")).await?;
    assert_eq!(
        contents.local_data,
        ["volume data (local-path) of claim default/data"]
    );
    assert_eq!(contents.stuck_pods, 0, "its grace is not over");
    // A grace of a second, and the adapter's margin for clocks that differ.
    iaso_tests::until(
        Duration::from_secs(20),
        "the pod to count as stuck",
        || async {
            iaso.contents(&node("styx"))
                .await
                .is_ok_and(|contents| contents.stuck_pods == 1)
        },
    )
    .await?;
    assert_eq!(iaso.contents(&node("tethys")).await?, Contents::default());
    drop(kube);
    Ok(())
}

#[tokio::test]
async fn a_stopped_api_server_is_trouble_in_words_and_the_same_cluster_afterwards() -> Result<()> {
    let Some(kube) = RealKube::for_test("API server stopped", Options::default()).await? else {
        return Ok(());
    };
    let Scene {
        mut kube,
        iaso,
        seed,
    } = Scene::new(kube).await?;
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
