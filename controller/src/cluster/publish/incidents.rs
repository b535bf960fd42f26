//! One object for each incident that is open, and for the latest that were closed.
//!
//! **Invariants**
//! - Only objects with Iaso's own label are deleted, and only the very object that was listed.
//! - A status is applied by the one field manager; a field that somebody else wrote is taken over, and that is logged.

use super::super::acts::MANAGER;
use super::super::crd::{GROUP, Incident, IncidentSpec, IncidentStatus, Phase, RungLine};
use super::super::kube::{FIELD_CONFLICT, KubeCluster};
use super::super::{ClusterError, release};
use super::{Shown, stopping};
use crate::text::{bounded, short_digest};
use iaso_engine::ledger::{self, Ledger, Standing};
use iaso_engine::record::{Closing, RungResult};
use iaso_engine::time::Tick;
use jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Closed incidents that are shown: the latest.
const CLOSED_MAX: usize = 100;
/// What others did to the objects is looked at this often.
const RESYNC: Duration = Duration::from_secs(30);
/// Lines of one status.
const WAITING_MAX: usize = 20;
const RUNGS_MAX: usize = 50;
/// Longest name of an object, and longest value of a label.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;
/// Whose an object is.
const OWNER: (&str, &str) = ("app.kubernetes.io/managed-by", "iaso");

#[derive(Default)]
pub(super) struct Incidents {
    /// What is there, as far as we know; `None`: it must be listed.
    there: Option<BTreeMap<String, Incident>>,
    listed: Option<Instant>,
}

impl Incidents {
    pub(super) async fn show(&mut self, shown: &Shown) -> Result<(), ClusterError> {
        let wanted = shown.handle.ask(|view| wanted(view.ledger)).await;
        let wanted = wanted.map_err(|_| stopping())?;
        let result = self.reconcile(&shown.cluster, wanted).await;
        if result.is_err() {
            self.there = None;
        }
        result
    }

    async fn reconcile(
        &mut self,
        cluster: &KubeCluster,
        wanted: BTreeMap<String, (IncidentSpec, IncidentStatus)>,
    ) -> Result<(), ClusterError> {
        let api: Api<Incident> = Api::all(cluster.client.clone());
        let old = self.listed.is_none_or(|at| at.elapsed() >= RESYNC);
        let mut there = match self.there.take() {
            Some(there) if !old => there,
            Some(_) | None => {
                let all = cluster.list(LIST, &api, None).await.map_err(no_crd)?;
                self.listed = Some(Instant::now());
                let named = |object: Incident| Some((object.metadata.name.clone()?, object));
                all.into_iter().filter_map(named).collect()
            }
        };
        for (name, object) in &there {
            if !wanted.contains_key(name) && is_ours(object) {
                delete(cluster, &api, name, object).await?;
            }
        }
        there.retain(|name, _| wanted.contains_key(name));
        for (name, (spec, status)) in wanted {
            let object = match there.remove(&name) {
                None => create(cluster, &api, &name, spec).await?,
                Some(object) if object.spec == spec && is_ours(&object) => object,
                Some(_) => apply(cluster, &api, &name, &dressed(&name, spec), Half::Object).await?,
            };
            let object = if object.status.as_ref() == Some(&status) {
                object
            } else {
                let body = json!({
                    "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "Incident",
                    "metadata": {"name": name}, "status": status,
                });
                apply(cluster, &api, &name, &body, Half::Status).await?
            };
            // What we said, not what came back: what the server makes of it is looked at with the next list.
            let status = Some(status);
            there.insert(name, Incident { status, ..object });
        }
        self.there = Some(there);
        Ok(())
    }
}

const LIST: &str = "list incidents";

/// A cluster without the definitions answers like one without the object.
fn no_crd(error: ClusterError) -> ClusterError {
    if error.class != "not-found" {
        return error;
    }
    ClusterError {
        class: error.class,
        detail: format!(
            "the cluster does not know Iaso's kinds: kubectl apply -k deploy/kustomize/base/crds brings them, or say cluster.publish = false ({})",
            error.detail
        ),
    }
}

fn is_ours(object: &Incident) -> bool {
    let labels = object.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(OWNER.0))
        .map(String::as_str)
        == Some(OWNER.1)
}

fn dressed(name: &str, spec: IncidentSpec) -> Incident {
    let mut object = Incident::new(name, spec);
    let labels = object.metadata.labels.get_or_insert_default();
    labels.insert(OWNER.0.into(), OWNER.1.into());
    if object.spec.node.len() <= LABEL_MAX {
        labels.insert("iaso.dev/node".into(), object.spec.node.clone());
    }
    object
}

async fn create(
    cluster: &KubeCluster,
    api: &Api<Incident>,
    name: &str,
    spec: IncidentSpec,
) -> Result<Incident, ClusterError> {
    let params = PostParams {
        field_manager: Some(MANAGER.into()),
        ..PostParams::default()
    };
    let object = dressed(name, spec);
    cluster
        .call("create incidents", api.create(&params, &object))
        .await
        .map_err(no_crd)
}

/// The object itself, or its status.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Object,
    Status,
}

async fn apply<T: serde::Serialize + std::fmt::Debug>(
    cluster: &KubeCluster,
    api: &Api<Incident>,
    name: &str,
    body: &T,
    half: Half,
) -> Result<Incident, ClusterError> {
    let patch = Patch::Apply(body);
    let send = async |params: PatchParams| match half {
        Half::Object => {
            let patched = api.patch(name, &params, &patch);
            cluster.call("patch incidents", patched).await
        }
        Half::Status => {
            let patched = api.patch_status(name, &params, &patch);
            cluster.call("patch incidents/status", patched).await
        }
    };
    match send(PatchParams::apply(MANAGER)).await {
        Err(error) if error.class == FIELD_CONFLICT => {
            tracing::info!(
                incident = name,
                theirs = error.detail,
                "somebody wrote to what is shown of an incident: written over"
            );
            send(PatchParams::apply(MANAGER).force()).await
        }
        done @ (Ok(_) | Err(_)) => done,
    }
}

async fn delete(
    cluster: &KubeCluster,
    api: &Api<Incident>,
    name: &str,
    object: &Incident,
) -> Result<(), ClusterError> {
    let params = release::only(object.metadata.uid.clone());
    let deleted = cluster.call_opt("delete incidents", api.delete(name, &params));
    release::gone(deleted.await).map(drop)
}

/// What should be there, by name.
fn wanted(ledger: &Ledger) -> BTreeMap<String, (IncidentSpec, IncidentStatus)> {
    let ended = |incident: &&ledger::Incident| match incident.standing {
        Standing::Closed(at, _) => Some(at),
        Standing::Open | Standing::Verifying(_) | Standing::Parked => None,
    };
    let all = ledger.incidents.values();
    let (mut closed, mut shown): (Vec<_>, Vec<_>) = all.partition(|i| ended(i).is_some());
    closed.sort_by_key(|incident| Reverse(ended(incident)));
    closed.truncate(CLOSED_MAX);
    shown.extend(closed);
    shown.into_iter().map(of).collect()
}

fn of(incident: &ledger::Incident) -> (String, (IncidentSpec, IncidentStatus)) {
    let spec = IncidentSpec {
        incident: bounded(incident.id.as_str(), 300),
        node: incident.node.as_str().to_owned(),
    };
    (name_of(incident.id.as_str()), (spec, status_of(incident)))
}

/// An incident's id is a name, unless its node's is as long as names may be.
fn name_of(id: &str) -> String {
    if id.len() <= NAME_MAX {
        return id.to_owned();
    }
    format!("incident-{}", short_digest(id))
}

fn status_of(incident: &ledger::Incident) -> IncidentStatus {
    let (phase, closed_at, outcome) = match incident.standing {
        Standing::Open => (Phase::Open, String::new(), ""),
        Standing::Verifying(_) => (Phase::Verifying, String::new(), ""),
        Standing::Parked => (Phase::Parked, String::new(), ""),
        Standing::Closed(at, Closing::Recovered) => (Phase::Closed, time(at), "Recovered"),
        Standing::Closed(at, Closing::RecoveredByItself) => {
            (Phase::Closed, time(at), "RecoveredByItself")
        }
    };
    let rungs = &incident.rungs;
    let latest = rungs.get(rungs.len().saturating_sub(RUNGS_MAX)..);
    let running = incident.running().or(rungs.last());
    let waiting = incident.waiting.iter().take(WAITING_MAX);
    IncidentStatus {
        phase,
        diagnosis: incident.diagnosis.to_string(),
        rung: running.map_or_else(String::new, |rung| bounded(&rung.rung.to_string(), 300)),
        opened_at: time(incident.opened),
        closed_at,
        outcome: outcome.into(),
        waiting: waiting.map(|why| bounded(&why.to_string(), 500)).collect(),
        rungs: latest.unwrap_or_default().iter().map(line).collect(),
    }
}

fn line(rung: &ledger::RungState) -> RungLine {
    let result = rung.ended.map_or("", |(_, result)| match result {
        RungResult::Recovered => "Recovered",
        RungResult::NoHelp => "NoHelp",
        RungResult::Failed => "Failed",
        RungResult::Moot => "NotNeeded",
    });
    RungLine {
        rung: bounded(&rung.rung.to_string(), 300),
        attempt: i64::from(rung.attempt.max(1)),
        started_at: time(rung.started),
        result: result.into(),
    }
}

/// As Kubernetes writes it; seconds are enough.
pub(super) fn time(at: Tick) -> String {
    let seconds = i64::try_from(at.0 / 1_000).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iaso_engine::id::NodeName;
    use iaso_engine::record::{Diagnosis, Entry, Record, Rung, Waiting};
    use serde_json::Value;

    fn ledger(records: Vec<Record>) -> Ledger {
        let mut ledger = Ledger::default();
        for (index, record) in records.into_iter().enumerate() {
            let sequence = u64::try_from(index).unwrap() + 1;
            let at = Tick(sequence * 1_000);
            ledger
                .fold(&Entry {
                    sequence,
                    at,
                    record,
                })
                .unwrap();
        }
        ledger
    }

    fn opened(node: &str, number: u64) -> Record {
        Record::IncidentOpened {
            incident: iaso_engine::id::IncidentId(format!("{node}-{number}")),
            node: NodeName::new(node).unwrap(),
            since: Tick(0),
            diagnosis: Diagnosis::Isolated,
            evidence: Vec::new(),
        }
    }

    fn closed(node: &str, number: u64) -> Record {
        Record::Closed {
            incident: iaso_engine::id::IncidentId(format!("{node}-{number}")),
            closing: Closing::Recovered,
            verified: Vec::new(),
        }
    }

    #[test]
    fn an_open_incident_is_shown_with_its_rung_and_what_it_waits_for() {
        let incident = || iaso_engine::id::IncidentId("styx-1".into());
        let ledger = ledger(vec![
            opened("styx", 1),
            Record::RungStarted {
                incident: incident(),
                rung: Rung::Reboot,
                attempt: 1,
                why: String::new(),
            },
            Record::WaitingChanged {
                incident: incident(),
                waiting: vec![Waiting::Approval { rung: Rung::Reboot }; 30],
            },
        ]);
        let all = wanted(&ledger);
        let (spec, status) = all.get("styx-1").unwrap();
        assert_eq!((spec.node.as_str(), status.phase), ("styx", Phase::Open));
        assert_eq!(
            (status.diagnosis.as_str(), status.rung.as_str()),
            ("isolated", "reboot")
        );
        assert_eq!(status.opened_at, "1970-01-01T00:00:01Z");
        assert_eq!(status.waiting.len(), WAITING_MAX);
        assert_eq!(status.rungs.len(), 1);
    }

    /// Catches: garbage that grows with the journal, and an open incident that is taken for it.
    #[test]
    fn of_many_closed_incidents_the_latest_are_shown_and_every_open_one() {
        let many = u64::try_from(CLOSED_MAX).unwrap() + 20;
        let mut records = vec![opened("tethys", 1)];
        for number in 1..=many {
            records.extend([opened("styx", number), closed("styx", number)]);
        }
        let all = wanted(&ledger(records));
        assert_eq!(all.len(), CLOSED_MAX + 1);
        assert!(all.contains_key("tethys-1") && all.contains_key(&format!("styx-{many}")));
        assert!(!all.contains_key("styx-1"));
        let status = serde_json::to_value(&all.get("styx-21").unwrap().1).unwrap();
        assert_eq!(
            (&status["phase"], &status["outcome"]),
            (&Value::from("Closed"), &Value::from("Recovered"))
        );
    }

    #[test]
    fn a_name_that_is_too_long_is_a_digest() {
        let long = format!("{}-7", "a".repeat(253));
        let name = name_of(&long);
        assert!(
            name.len() <= NAME_MAX && name != name_of(&format!("{long}7")),
            "{name}"
        );
        assert_eq!(name_of("styx-7"), "styx-7");
    }
}
