use super::{Scene, adapter, granted, on_a_cluster};
use anyhow::Result;
use iaso_controller::cluster::Cluster;
use iaso_tests::kubereal::Options;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn what_a_wiped_machine_left_is_cleared_and_nothing_else() -> Result<()> {
    on_a_cluster("release", Options::default(), async |scene| {
        let Scene { iaso, seed, .. } = scene;
        for name in ["styx", "tethys"] {
            seed.node(name, &json!({}), &json!([])).await?;
            seed.node_password(name).await?;
            seed.attachment(&format!("of-{name}"), name).await?;
            seed.pod(&format!("ending-{name}"), name, Some("ReplicaSet"))
                .await?;
            seed.terminate(&format!("ending-{name}")).await?;
        }
        seed.pod("living", "styx", Some("ReplicaSet")).await?;

        let said = iaso.release(&scene.node("styx")).await?;
        assert_eq!(
            said,
            "1 Terminating pod deleted; 1 volume attachment deleted; the node-password Secret is deleted"
        );
        for (path, stays) in [
            (seed.pod_path("ending-styx"), false),
            (seed.pod_path("ending-tethys"), true),
            // Eviction is off in this adapter.
            (seed.pod_path("living"), true),
            (seed.attachment_path("of-styx"), false),
            (seed.attachment_path("of-tethys"), true),
            (seed.password_path("styx"), false),
            (seed.password_path("tethys"), true),
        ] {
            assert_eq!(seed.get(&path).await?.is_some(), stays, "{path}");
        }
        let again = iaso.release(&scene.node("styx")).await?;
        assert!(
            again.contains("0 Terminating pods") && again.contains("was not there"),
            "{again}"
        );
        Ok(())
    })
    .await
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
    on_a_cluster("disruption budget", options, async |scene| {
        let Scene { site, seed, .. } = scene;
        let styx = scene.node("styx");
        seed.node("styx", &json!({}), &json!([])).await?;
        for (name, owner) in [
            ("one", Some("ReplicaSet")),
            ("two", Some("ReplicaSet")),
            ("bare", None),
        ] {
            seed.pod(name, "styx", owner).await?;
        }
        let mut stay = vec!["bare".to_owned()];
        // Somebody else's collector would take a daemon's pod without its daemon.
        if !site.is_borrowed() {
            seed.pod("daemon", "styx", Some("DaemonSet")).await?;
            stay.push("daemon".into());
        }
        let counted = u32::try_from(stay.len() + 2)?;
        seed.budget("web", counted - 1).await?;
        let respects = adapter(site.kubeconfig().await?, 3, false).await?;
        granted(&respects).await?;
        seed.budget_counts("web", counted, 1).await?;
        let said = respects.release(&styx).await?;
        let budget = format!(
            "1 evicted, 1 left to its disruption budget ({}/",
            seed.namespace()
        );
        assert!(said.contains(&budget), "{said}");
        let left = seed.names(&seed.pod_path("")).await?;
        assert_eq!(left.len(), stay.len() + 1, "{left:?}");
        assert!(stay.iter().all(|name| left.contains(name)), "{left:?}");

        let overrules = adapter(site.kubeconfig().await?, 2, true).await?;
        let said = overrules.release(&styx).await?;
        assert!(
            said.contains("1 deleted against a disruption budget"),
            "{said}"
        );
        assert_eq!(seed.names(&seed.pod_path("")).await?, stay);
        Ok(())
    })
    .await
}
