//! The night of styx with a real API server and the real node, eviction and disruption controllers. Hosts are processes; the controller
//! has the shipped roles and no more.

use anyhow::{Context, Result};
use iaso_proto::v1::Event;
use iaso_tests::hostinger::CallKind;
use iaso_tests::hosts::HostKind;
use iaso_tests::kubeapi::{Deed, Verb};
use iaso_tests::kubereal::{Seed, User, needs_its_own};
use iaso_tests::scene::{Lab, LabOptions};
use iaso_tests::{story, until};
use serde_json::Value;
use std::time::Duration;

const SEEN: Duration = Duration::from_mins(1);
const RECOVERS: Duration = Duration::from_mins(4);
const RECOVERS_DYING: Duration = Duration::from_mins(8);
const STYX: &str = "/api/v1/nodes/styx";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// A night has machines, and an API server that dies: none of it is for somebody else's cluster.
async fn lab(name: &str) -> Result<Option<Lab>> {
    if needs_its_own(name) {
        return Ok(None);
    }
    story::lab(name, options()).await
}

fn options() -> LabOptions {
    LabOptions {
        real: true,
        ..LabOptions::new(HostKind::Process)
    }
}

async fn hands(lab: &Lab) -> Result<Seed> {
    let real = lab.kube.real().context("the cluster is not real")?;
    let real = real.lock().await;
    real.seed().await
}

async fn told<T>(lab: &Lab, result: Result<T>) -> Result<T> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => Err(error.context(lab.account().await)),
    }
}

fn record(event: &Event) -> Value {
    serde_json::from_str(&event.json).unwrap_or_default()
}

/// When the provider's recreate was known to have succeeded: from then on the old machine cannot run.
async fn fenced(lab: &Lab) -> Result<i64> {
    let intended = lab
        .operator
        .until_event(SEEN, "the recreate", |event| {
            record(event)["effect"]["action"]["do"] == "recreate"
        })
        .await?;
    let id = record(&intended)["effect"]["id"].clone();
    let done = lab
        .operator
        .until_event(SEEN, "the recreate to be done", |event| {
            let record = record(event);
            record["type"] == "resolved"
                && record["effect"] == id
                && record["outcome"]["outcome"] == "done"
        })
        .await?;
    Ok(done.at_unix_ms)
}

fn by_iaso(lab: &Lab) -> Vec<Deed> {
    let mut deeds = lab.kube.deeds();
    deeds.retain(|deed| deed.who == User::Iaso.token());
    deeds
}

/// Whether it takes something away from the old machine's workloads.
fn releases(deed: &Deed) -> bool {
    let pods = deed.resource == "pods" && matches!(deed.verb, Verb::Delete | Verb::Create);
    let attachments = deed.resource == "volumeattachments" && deed.verb == Verb::Delete;
    pods || attachments || deed.name == "styx.node-password.k3s"
}

/// What must hold however the night went.
async fn recovered_once(lab: &Lab, incident: &iaso_proto::v1::Incident) -> Result<()> {
    assert_eq!(incident.state, "closed", "{}", lab.account().await);
    assert_eq!(incident.recreates, 1);
    assert_eq!(lab.provider.calls().taken(CallKind::Recreate), 1);
    assert_eq!(lab.host("styx")?.life().recreates(), 1);
    told(lab, lab.green().await).await?;
    let seed = hands(lab).await?;
    let node = seed.get(STYX).await?.context("the node is gone")?;
    assert_eq!(node["metadata"]["labels"]["iaso.lab/disk"], "ssd");
    assert_eq!(node["metadata"]["annotations"]["iaso.lab/owner"], "ops");
    assert!(node["metadata"]["annotations"]["iaso.dev/cordoned"].is_null());
    assert_ne!(node["spec"]["unschedulable"], true);
    assert!(
        lab.provider.scripts().is_empty(),
        "the script with its token is still at the provider"
    );
    let secrets = seed.names("/api/v1/namespaces/kube-system/secrets").await?;
    let tokens: Vec<_> = secrets
        .iter()
        .filter(|name| name.starts_with("bootstrap-token-"))
        .collect();
    assert_eq!(
        tokens,
        ["bootstrap-token-labjoin"],
        "the join token is still there"
    );
    let fenced = fenced(lab).await?;
    let deeds = by_iaso(lab);
    assert!(
        deeds.iter().any(releases),
        "nothing was released: {deeds:?}"
    );
    for deed in deeds.iter().filter(|deed| releases(deed)) {
        assert!(
            deed.at.as_millisecond() >= fenced,
            "released before the machine was fenced: {deed:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn styx_is_tainted_and_evicted_by_the_real_controllers_and_recovered_under_the_shipped_roles()
-> Result<()> {
    let Some(lab) = lab("styx on a real Kubernetes").await? else {
        return Ok(());
    };
    let seed = hands(&lab).await?;
    lab.host("styx")?.cut().await?;
    let unreachable = until(SEEN, "the node controller's taint", || async {
        let node = seed.get(STYX).await.ok().flatten().unwrap_or_default();
        let ready = node["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten();
        let unknown = ready
            .filter(|c| c["type"] == "Ready")
            .any(|c| c["status"] == "Unknown");
        unknown
            && node["spec"]["taints"]
                .to_string()
                .contains("node.kubernetes.io/unreachable")
    });
    told(&lab, unreachable.await).await?;
    let evicted = until(SEEN, "the taint manager to evict styx's pod", || async {
        let pod = seed.get(&format!("{PODS}/web-styx")).await.ok().flatten();
        pod.is_some_and(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
    });
    told(&lab, evicted.await).await?;
    let settled = lab.operator.until_settled("styx", RECOVERS).await;
    let incident = told(&lab, settled).await?;
    recovered_once(&lab, &incident).await?;
    assert!(
        seed.get(&format!("{PODS}/web-styx")).await?.is_none(),
        "stuck Terminating"
    );
    let deeds = by_iaso(&lab);
    assert!(
        deeds
            .iter()
            .any(|deed| deed.verb == Verb::Delete && deed.name == "web-styx"),
        "the stuck pod was not Iaso's to clear: {deeds:?}"
    );
    let report = lab.operator.report(&incident.id, "json").await?.body;
    let report: Value = serde_json::from_str(&report)?;
    assert_eq!(report["outcome"], "recovered");
    assert!(
        report.to_string().contains("1 Terminating pod deleted"),
        "{report:#}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_dies_in_each_step_of_a_recreate_delays_it_and_repeats_nothing()
-> Result<()> {
    let Some(lab) = lab("API server dying").await? else {
        return Ok(());
    };
    lab.kube.die_in_each_step();
    lab.host("styx")?.cut().await?;
    let settled = lab.operator.until_settled("styx", RECOVERS_DYING).await;
    let incident = told(&lab, settled).await?;
    assert_eq!(
        lab.kube.deaths(),
        [
            "cordon",
            "prepare-script",
            "release",
            "remember",
            "restore",
            "uncordon"
        ]
    );
    recovered_once(&lab, &incident).await
}

/// A volume on the machine's disk: nothing is wiped until a person says yes.
#[tokio::test(flavor = "multi_thread")]
async fn a_local_volume_on_the_machine_asks_a_person_before_it_is_wiped() -> Result<()> {
    let Some(lab) = lab("local volume").await? else {
        return Ok(());
    };
    hands(&lab).await?.local_volume("data", "styx").await?;
    lab.host("styx")?.cut().await?;
    let asked = until(
        RECOVERS,
        "approval to be asked for the local volume",
        || async {
            let nodes = lab.operator.nodes().await.unwrap_or_default();
            nodes.iter().any(|node| {
                let why = format!("{:?}", node.waiting);
                node.name == "styx"
                    && why.contains("volume data (local-path) of claim default/data")
            })
        },
    );
    told(&lab, asked.await).await?;
    assert_eq!(lab.provider.calls().received(CallKind::Recreate), 0);
    assert_eq!(lab.host("styx")?.life().recreates(), 0);
    Ok(())
}
