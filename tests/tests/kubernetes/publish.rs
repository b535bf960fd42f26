//! What the journal says, shown in the cluster by a whole controller under the shipped roles.

use super::{adapter, installed, node};
use anyhow::{Context, Result};
use iaso_controller::cluster::{KubeCluster, Publisher};
use iaso_controller::config::Config;
use iaso_controller::run::{Outside, Running, start};
use iaso_engine::id::IncidentId;
use iaso_engine::ledger::Standing;
use iaso_engine::record::{Closing, Diagnosis, Record};
use iaso_engine::time::Tick;
use iaso_providers::NoProvider;
use iaso_providers::secrets::FileStore;
use iaso_tests::kubeapi::{ADMIN_TOKEN, KubeApi, Lifecycle};
use iaso_tests::kubereal::{Options, RealKube};
use iaso_tests::until;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const INCIDENTS: &str = "/apis/iaso.dev/v1alpha1/incidents";
const SHOWN: Duration = Duration::from_secs(30);
/// Longer than two lists of what is there are apart.
const HEALED: Duration = Duration::from_secs(75);

/// A controller of one node, which it never heard of. Where it shows what it journals is asked for.
pub(super) async fn controller(
    directory: &Path,
    iaso: &KubeCluster,
    styx: &str,
    shows: bool,
) -> Result<Running> {
    let text = format!(
        "listen = \"127.0.0.1:0\"\nstatus_listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\ncompiler = \"/nonexistent/iaso-compile\"\n\
         [cluster]\nkubeconfig = \"unused\"\npoll_secs = 1\npublish = true\n\
         [probe]\nicmp = false\ntcp_ports = []\n[[nodes]]\nname = \"{styx}\"\nrole = \"worker\"\naddress = \"127.0.0.9\"\n"
    );
    let path = directory.join("controller.toml");
    std::fs::write(&path, text)?;
    std::fs::write(directory.join("unused"), "")?;
    let config = Config::load(&path, false)?;
    std::fs::create_dir_all(&config.data_dir)?;
    let outside = Outside {
        provider: Arc::new(NoProvider),
        cluster: Some(Arc::new(iaso.clone())),
        shown_in: shows.then(|| iaso.clone()),
        secrets: Arc::new(FileStore::open(directory.join("secrets"))?),
    };
    start(config, outside).await
}

pub(super) async fn open_incident(running: &Running, styx: &str) -> Result<()> {
    let incident = IncidentId(format!("{styx}-7"));
    let opened = Record::IncidentOpened {
        incident,
        node: node(styx),
        since: Tick(0),
        diagnosis: Diagnosis::GoneNoProvider,
        evidence: vec!["a test says so".into()],
    };
    running.handle.change(move |_| Ok(vec![opened])).await?;
    Ok(())
}

fn shown(kube: &KubeApi) -> Option<Value> {
    kube.get("incidents", "", "styx-7")
}

/// Where the incident stands, as the journal has it.
async fn phase(running: &Running) -> &'static str {
    let asked = running.handle.ask(|view| {
        let incident = view.ledger.incidents.values().next();
        match incident.map(|incident| incident.standing) {
            None => "none",
            Some(Standing::Open) => "Open",
            Some(Standing::Verifying(_)) => "Verifying",
            Some(Standing::Parked) => "Parked",
            Some(Standing::Closed(..)) => "Closed",
        }
    });
    asked.await.unwrap_or("gone")
}

/// Whether the object says what the journal says.
async fn is_true(kube: &KubeApi, running: &Running) -> bool {
    let object = shown(kube).unwrap_or_default();
    object["spec"] == json!({"incident": "styx-7", "node": "styx"})
        && object["status"]["phase"] == phase(running).await
        && object["status"]["closedAt"] == ""
        && object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "iaso"
}

async fn becomes_true(what: &str, kube: &KubeApi, running: &Running) -> Result<()> {
    let healed = until(HEALED, what, || is_true(kube, running)).await;
    let (shown, phase) = (shown(kube), phase(running).await);
    healed.with_context(|| format!("the journal says {phase}, and the object {shown:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_an_event_and_a_condition_of_its_node_where_its_kind_is_not_known()
-> Result<()> {
    let directory = tempfile::tempdir()?;
    let Some(kube) = RealKube::for_test("incidents shown", Options::default()).await? else {
        return Ok(());
    };
    let iaso = installed(&kube).await?;
    let seed = kube.seed().await?;
    seed.node("styx", &json!({}), &json!([])).await?;
    let running = controller(directory.path(), &iaso, "styx", true).await?;
    until(SHOWN, "the node's condition", || async {
        let node = seed.get(&seed.node_path("styx")).await;
        let node = node.ok().flatten().unwrap_or_default();
        let all = node["status"]["conditions"].as_array().cloned();
        let all = all.unwrap_or_default();
        let has = |kind: &str| all.iter().any(|condition| condition["type"] == kind);
        has("IasoHealthy") && has("Ready")
    })
    .await?;
    open_incident(&running, "styx").await?;
    until(SHOWN, "an Event about the node", || async {
        let events = seed.get("/api/v1/namespaces/default/events").await;
        let events = events.ok().flatten().unwrap_or_default();
        let mut events = events["items"].as_array().into_iter().flatten();
        events.any(|event| {
            event["involvedObject"]["name"] == "styx"
                && event["reason"] == "GoneNoProvider"
                && event["source"]["component"] == "iaso-controller"
        })
    })
    .await?;
    let mut publisher = Publisher::new(iaso, running.handle.clone(), Arc::clone(&running.store));
    let troubles = publisher.show().await;
    let words = troubles.first().map(|error| error.detail.as_str());
    assert!(
        troubles.len() == 1 && words.is_some_and(|words| words.contains("base/crds")),
        "{troubles:?}"
    );
    running.stop().await;
    Ok(())
}

/// On the lab's own server: the real one that the tests build cannot serve custom kinds.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_heals_after_an_edit_a_deletion_and_a_stopped_server_and_nobody_waits_for_it()
-> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir()?;
    let kube = KubeApi::start(([127, 0, 0, 1], 0).into(), Lifecycle::default()).await?;
    let kubeconfig = directory.path().join("kubeconfig");
    let url = format!("http://{}", kube.address());
    KubeApi::write_kubeconfig(&kubeconfig, &url, ADMIN_TOKEN)?;
    let iaso = adapter(kubeconfig, 0, false).await?;
    let running = controller(directory.path(), &iaso, "styx", true).await?;
    open_incident(&running, "styx").await?;
    becomes_true("the incident to be shown", &kube, &running).await?;

    let foreign = |name: &str, labels: Value| {
        json!({
            "metadata": {"name": name, "labels": labels}, "spec": {"incident": name, "node": "styx"},
        })
    };
    let ours = json!({"app.kubernetes.io/managed-by": "iaso"});
    kube.put("incidents", foreign("not-in-the-journal", ours));
    kube.put("incidents", foreign("somebody-elses", json!({})));
    let mut edited = shown(&kube).context("it is gone")?;
    edited["spec"]["node"] = json!("tethys");
    edited["metadata"]["labels"] = json!({});
    edited["status"]["closedAt"] = json!("never");
    kube.put("incidents", edited);
    assert!(!is_true(&kube, &running).await);
    becomes_true("the edit to be written over", &kube, &running).await?;
    until(HEALED, "what no journal knows to go", || async {
        let all = kube.all("incidents");
        let names = all.iter().map(|object| &object["metadata"]["name"]);
        names.eq([&json!("somebody-elses"), &json!("styx-7")])
    })
    .await?;

    let reached = reqwest::Client::new()
        .delete(format!("{url}{INCIDENTS}/styx-7"))
        .bearer_auth(ADMIN_TOKEN)
        .send()
        .await?;
    assert!(reached.status().is_success() && shown(&kube).is_none());
    becomes_true("the deleted object to be made again", &kube, &running).await?;

    kube.stop().await;
    let began = Instant::now();
    for number in 0..20 {
        running.handle.note(None, format!("note {number}")).await?;
    }
    let closed = Record::Closed {
        incident: IncidentId("styx-7".into()),
        closing: Closing::RecoveredByItself,
        verified: Vec::new(),
    };
    running.handle.change(move |_| Ok(vec![closed])).await?;
    let waited = began.elapsed();
    assert!(
        waited < Duration::from_secs(3),
        "the journal waited {waited:?} for the API server"
    );
    kube.start_again().await?;
    until(HEALED, "the change to be shown", || async {
        shown(&kube).is_some_and(|object| object["status"]["outcome"] == "RecoveredByItself")
    })
    .await?;
    running.stop().await;
    Ok(())
}
