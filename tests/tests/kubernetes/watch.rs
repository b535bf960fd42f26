//! Watches in place of lists that are made again and again.

use super::{Scene, adapter, installed, node, on_a_cluster};
use anyhow::{Context, Result};
use iaso_controller::cluster::{Cluster, KubeCluster, NodeView};
use iaso_engine::fact::Ready;
use iaso_tests::kubeapi::KubeApi;
use iaso_tests::kubereal::{Options, RealKube, Seed, User, lease_now, lease_of};
use iaso_tests::until;
use serde_json::json;
use std::time::Duration;

const VOLUMES: &str = "persistentvolumes";
/// Longer than the first pauses between lists.
const DOWN_FOR: Duration = Duration::from_secs(5);
const HEARD: Duration = Duration::from_secs(20);
/// Longer than a test: no lease that is renewed once is silent.
const NEVER: Duration = Duration::from_hours(1);

async fn watching(iaso: &KubeCluster, seed: &Seed, silent_after: Duration) -> Result<KubeCluster> {
    let nodes = ["styx", "tethys"].map(|name| node(&seed.name(name)));
    let watched = iaso.clone().watching(&nodes, silent_after);
    until(HEARD, "everything to be watched", || async {
        watched.is_watching()
    })
    .await?;
    Ok(watched)
}

async fn seen(iaso: &KubeCluster, name: &str) -> Result<NodeView> {
    let views = iaso.survey().await?;
    let view = views.into_iter().find(|view| view.name == name);
    view.with_context(|| format!("{name} is not seen"))
}

/// How often a resource was listed, by whomever: the API server lists some itself when it starts.
async fn lists(site: &RealKube, resource: &str) -> Result<u64> {
    let metrics = site.kubectl(&["get", "--raw", "/metrics"]).await?;
    let of_it = format!("resource=\"{resource}\"");
    let lines = metrics.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && line.contains(&of_it)
            && line.contains("verb=\"LIST\"")
            && line.contains("code=\"200\"")
    });
    let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(counts.sum())
}

async fn two_nodes(seed: &Seed) -> Result<()> {
    for name in ["styx", "tethys"] {
        seed.node(name, &json!({}), &json!([])).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_watched_cluster_is_seen_as_an_asked_one_while_it_changes() -> Result<()> {
    on_a_cluster("watch", Options::default(), async |scene| {
        let Scene { iaso, seed, .. } = scene;
        two_nodes(seed).await?;
        let (styx, tethys) = (scene.node("styx"), scene.node("tethys"));
        let watched = watching(iaso, seed, NEVER).await?;
        let same = || async {
            let known = (
                seen(&watched, styx.as_str()).await?,
                seen(&watched, tethys.as_str()).await?,
                watched.contents(&styx).await?,
                watched.contents(&tethys).await?,
            );
            let asked = (
                seen(iaso, styx.as_str()).await?,
                seen(iaso, tethys.as_str()).await?,
                iaso.contents(&styx).await?,
                iaso.contents(&tethys).await?,
            );
            anyhow::Ok((known == asked, asked))
        };
        let lease = lease_of(styx.as_str());
        for change in [
            "label", "lease", "volume", "pod", "ending", "unready", "gone",
        ] {
            match change {
                "label" => drop(
                    seed.merge(
                        &seed.node_path("styx"),
                        &json!({"metadata": {"annotations": {"iaso.dev/opt-out": "training"}}}),
                    )
                    .await?,
                ),
                "lease" => drop(
                    seed.merge(&lease, &json!({"spec": lease_now(styx.as_str())}))
                        .await?,
                ),
                "volume" => seed.local_volume("data", "styx").await?,
                "pod" => drop(seed.pod("ending", "styx", Some("ReplicaSet")).await?),
                "ending" => seed.terminate("ending").await?,
                "unready" => seed.ready("tethys", "False").await?,
                _ => drop(seed.delete(&seed.pod_path("ending")).await?),
            }
            until(HEARD, change, || async {
                same().await.is_ok_and(|(same, _)| same)
            })
            .await?;
        }
        let (_, (styx, tethys, contents, _)) = same().await?;
        assert_eq!(styx.opt_out.as_deref(), Some("training"));
        assert_eq!(tethys.ready, Ready::False);
        assert_eq!(contents.local_data.len(), 1);
        Ok(())
    })
    .await
}

async fn own(name: &str) -> Result<Option<(RealKube, KubeCluster, Seed)>> {
    let Some(kube) = RealKube::for_test(name, Options::default()).await? else {
        return Ok(None);
    };
    let iaso = installed(&kube).await?;
    let seed = kube.seed().await?;
    two_nodes(&seed).await?;
    Ok(Some((kube, iaso, seed)))
}

#[tokio::test]
async fn healthy_nodes_are_not_listed_again_and_a_restarted_server_only_once() -> Result<()> {
    let Some((mut kube, iaso, seed)) = own("watch without lists").await? else {
        return Ok(());
    };
    let by_itself = lists(&kube, VOLUMES).await?;
    let watched = watching(&iaso, &seed, NEVER).await?;
    assert_eq!(lists(&kube, VOLUMES).await?, by_itself + 1);
    let before = (lists(&kube, "nodes").await?, lists(&kube, "pods").await?);
    for _ in 0..50 {
        assert_eq!(watched.survey().await?.len(), 2);
        watched.contents(&node("styx")).await?;
    }
    let after = (lists(&kube, "nodes").await?, lists(&kube, "pods").await?);
    assert_eq!(after, before, "healthy nodes were listed");

    // One that is silent is asked about, alone.
    seed.ready("tethys", "Unknown").await?;
    until(HEARD, "the condition to be heard of", || async {
        seen(&watched, "tethys")
            .await
            .is_ok_and(|view| view.ready == Ready::Unknown)
    })
    .await?;
    seed.ready("tethys", "True").await?;
    until(HEARD, "both to be well", || async {
        let views = watched.survey().await.unwrap_or_default();
        views.iter().all(|view| view.ready == Ready::True)
    })
    .await?;

    kube.stop_api().await;
    let error = watched.survey().await.expect_err("nobody answers");
    assert_eq!(error.class, "unavailable", "{error}");
    tokio::time::sleep(DOWN_FOR).await;
    kube.start_api().await?;
    until(
        Duration::from_secs(40),
        "everything to be watched again",
        || async { watched.is_watching() },
    )
    .await?;
    assert_eq!(watched.survey().await?.len(), 2);
    // The count is the new server's.
    assert_eq!(lists(&kube, VOLUMES).await?, by_itself + 1);
    Ok(())
}

#[tokio::test]
async fn a_watch_that_hears_nothing_takes_nobody_for_silent() -> Result<()> {
    let Some((kube, _, seed)) = own("deaf watch").await? else {
        return Ok(());
    };
    let door = KubeApi::before(([127, 0, 0, 1], 0).into(), kube).await?;
    door.deafen_watches();
    let directory = tempfile::tempdir()?;
    let kubeconfig = directory.path().join("kubeconfig");
    let url = format!("http://{}", door.address());
    KubeApi::write_kubeconfig(&kubeconfig, &url, &User::Iaso.token())?;
    let iaso = adapter(kubeconfig, 0, false).await?;
    let silent_after = Duration::from_secs(2);
    let watched = watching(&iaso, &seed, silent_after).await?;
    let listed = seen(&watched, "styx").await?.renewed;
    seed.merge(&lease_of("styx"), &json!({"spec": lease_now("styx")}))
        .await?;
    seed.delete("/api/v1/nodes/tethys").await?;
    // Nothing is heard of either: what was listed is what is known, until it has been still for too long.
    until(
        silent_after * 3,
        "the silent lease to be asked for",
        || async {
            seen(&watched, "styx")
                .await
                .is_ok_and(|view| view.renewed != listed)
        },
    )
    .await?;
    assert!(seen(&watched, "tethys").await.is_err(), "it was deleted");
    assert!(watched.is_watching(), "{:?}", watched.watch_troubles());
    Ok(())
}
