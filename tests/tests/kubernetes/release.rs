use super::{Scene, adapter, granted, node};
use anyhow::Result;
use iaso_controller::cluster::Cluster;
use iaso_tests::kubereal::{Options, RealKube};
use serde_json::json;
use std::time::Duration;

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str) -> String {
    format!("{PODS}/{name}")
}

#[tokio::test]
async fn what_a_wiped_machine_left_is_cleared_and_nothing_else() -> Result<()> {
    let Some(kube) = RealKube::for_test("release", Options::default()).await? else {
        return Ok(());
    };
    let Scene {
        kube: _kube,
        iaso,
        seed,
    } = Scene::new(kube).await?;
    for name in ["styx", "tethys"] {
        seed.node(name, &json!({}), &json!([])).await?;
        seed.node_password(name).await?;
        seed.attachment(&format!("of-{name}"), name).await?;
        seed.pod(&format!("ending-{name}"), name, Some("ReplicaSet"))
            .await?;
        seed.terminate(&format!("ending-{name}")).await?;
    }
    seed.pod("living", "styx", Some("ReplicaSet")).await?;

    let said = iaso.release(&node("styx")).await?;
    assert_eq!(
        said,
        "1 Terminating pod deleted; 1 volume attachment deleted; the node-password Secret is deleted"
    );
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let attachments = "/apis/storage.k8s.io/v1/volumeattachments";
    for (path, stays) in [
        (pod("ending-styx"), false),
        (pod("ending-tethys"), true),
        // Eviction is off in this adapter.
        (pod("living"), true),
        (format!("{attachments}/of-styx"), false),
        (format!("{attachments}/of-tethys"), true),
        (format!("{secrets}/styx.node-password.k3s"), false),
        (format!("{secrets}/tethys.node-password.k3s"), true),
    ] {
        assert_eq!(seed.get(&path).await?.is_some(), stays, "{path}");
    }
    let again = iaso.release(&node("styx")).await?;
    assert!(
        again.contains("0 Terminating pods") && again.contains("was not there"),
        "{again}"
    );
    Ok(())
}

/// A budget that the real disruption controller counts.
#[tokio::test]
async fn a_disruption_budget_is_respected_and_overruled_only_by_configuration() -> Result<()> {
    let options = Options {
        controllers: true,
        // Nobody renews leases here.
        grace: Duration::from_hours(1),
        ..Options::default()
    };
    let Some(kube) = RealKube::for_test("disruption budget", options).await? else {
        return Ok(());
    };
    let Scene {
        kube,
        iaso: _,
        seed,
    } = Scene::new(kube).await?;
    seed.node("styx", &json!({}), &json!([])).await?;
    for (name, owner) in [
        ("one", Some("ReplicaSet")),
        ("two", Some("ReplicaSet")),
        ("daemon", Some("DaemonSet")),
        ("bare", None),
    ] {
        seed.pod(name, "styx", owner).await?;
    }
    seed.budget("web", 3).await?;
    let respects = adapter(&kube, 3, false).await?;
    granted(&respects).await?;
    seed.budget_counts("web", 4, 1).await?;
    let said = respects.release(&node("styx")).await?;
    assert!(
        said.contains("1 evicted, 1 left to its disruption budget (default/"),
        "{said}"
    );
    let left = seed.names(PODS).await?;
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(
        left.contains(&"daemon".into()) && left.contains(&"bare".into()),
        "{left:?}"
    );

    let overrules = adapter(&kube, 2, true).await?;
    let said = overrules.release(&node("styx")).await?;
    assert!(
        said.contains("1 deleted against a disruption budget"),
        "{said}"
    );
    assert_eq!(seed.names(PODS).await?, ["bare", "daemon"]);
    Ok(())
}
