//! Kubernetes Events about nodes: what `kubectl describe node` and `kubectl get events` show of an incident.
//!
//! **Invariants**
//! - An Event's name comes from its journal entry: one that is made again is the same.
//! - Events that are too old to help anybody are left out: a server that was away for long is not flooded.

use super::super::ClusterError;
use super::condition::camel;
use super::incidents::time;
use super::{Shown, stopping};
use crate::store::{READ_MAX, Scope};
use crate::text::{bounded, chain, short_digest};
use iaso_engine::id::NodeName;
use iaso_engine::record::{Entry, Record, RungResult};
use iaso_engine::time::Tick;
use iaso_engine::timeline;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use std::time::Duration;

/// Events about what has no namespace lie here.
pub(super) const NAMESPACE: &str = "default";
/// Older ones are not worth telling: Kubernetes forgets them after an hour.
const AGE_MAX: Duration = Duration::from_mins(10);
/// Most Events in one round.
const ROUND_MAX: usize = 50;

#[derive(Default)]
pub(super) struct Events {
    /// Sequence of the last entry that was looked at; `None`: nothing before now is told.
    told: Option<u64>,
}

impl Events {
    pub(super) async fn show(&mut self, shown: &Shown) -> Result<(), ClusterError> {
        let asked = shown.handle.ask(|view| (view.now, view.ledger.sequence));
        let (now, last) = asked.await.map_err(|_| stopping())?;
        let told = *self.told.get_or_insert(last);
        if told >= last {
            return Ok(());
        }
        let read = shown.store.read(told, READ_MAX, None).await;
        let entries = read.map_err(|error| ClusterError {
            class: "unavailable",
            detail: format!("the journal cannot be read: {}", chain(&error)),
        })?;
        let mut made = 0;
        for entry in entries {
            if let Some((reason, is_warning)) = reason(&entry.record)
                && now.since(entry.at) < AGE_MAX
            {
                if made >= ROUND_MAX {
                    break;
                }
                made += 1;
                tell(shown, &entry, &reason, is_warning).await?;
            }
            self.told = Some(entry.sequence);
        }
        Ok(())
    }
}

async fn tell(
    shown: &Shown,
    entry: &Entry,
    reason: &str,
    is_warning: bool,
) -> Result<(), ClusterError> {
    let Some(node) = node_of(&entry.record) else {
        return Ok(());
    };
    let about = node.clone();
    let uid = shown.handle.ask(move |view| {
        let facts = view.world.nodes.get(&about)?;
        Some(facts.kube.as_ref()?.value.uid.clone())
    });
    let uid = uid.await.map_err(|_| stopping())?.unwrap_or_default();
    let api: Api<Event> = shown.cluster.namespaced(NAMESPACE);
    let Some(event) = event(entry, &node, &uid, reason, is_warning) else {
        return Ok(());
    };
    let params = PostParams::default();
    let created = api.create(&params, &event);
    match shown
        .cluster
        .call("create events in default", created)
        .await
    {
        Ok(_) => Ok(()),
        // It is there: its answer was lost the first time.
        Err(error) if error.class == "conflict" => Ok(()),
        Err(error) => Err(error),
    }
}

fn event(
    entry: &Entry,
    node: &NodeName,
    uid: &str,
    reason: &str,
    is_warning: bool,
) -> Option<Event> {
    let at = time(entry.at);
    serde_json::from_value(json!({
        "metadata": {"name": name(node, entry.sequence, entry.at), "namespace": NAMESPACE},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node.as_str(), "uid": uid},
        "type": if is_warning { "Warning" } else { "Normal" },
        "reason": reason,
        "message": bounded(&timeline::describe(entry).text, 1_000),
        "source": {"component": "iaso-controller"},
        "reportingComponent": "iaso.dev/controller", "reportingInstance": "iaso-controller",
        "firstTimestamp": at, "lastTimestamp": at, "count": 1,
    }))
    .ok()
}

/// The time as well: a controller with a new journal counts from one again.
fn name(node: &NodeName, sequence: u64, at: Tick) -> String {
    let own = format!("iaso-{sequence}-{:x}", at.0);
    let name = format!("{node}.{own}");
    if name.len() <= 253 {
        return name;
    }
    format!("{}.{own}", short_digest(node.as_str()))
}

/// What is worth an Event, and whether it is a warning.
fn reason(record: &Record) -> Option<(String, bool)> {
    let told = |reason: &str, is_warning| Some((reason.to_owned(), is_warning));
    match record {
        Record::IncidentOpened { diagnosis, .. } | Record::Diagnosed { diagnosis, .. } => {
            Some((camel(&diagnosis.to_string()), true))
        }
        Record::RungStarted { .. } => told("RemediationStarted", false),
        Record::RungEnded { result, .. } => match result {
            RungResult::Recovered => told("RemediationHelped", false),
            RungResult::NoHelp | RungResult::Failed => told("RemediationDidNotHelp", true),
            RungResult::Moot => told("RemediationNotNeeded", false),
        },
        Record::WouldHave { .. } => told("WouldRemediate", false),
        Record::Approved { .. } => told("Approved", false),
        Record::Denied { .. } => told("Denied", false),
        Record::VerifyFailed { .. } => told("NotWellAfterAll", true),
        Record::Parked { .. } => told("PersonNeeded", true),
        Record::Closed { .. } => told("Recovered", false),
        Record::ControllerStarted { .. }
        | Record::Noted { .. }
        | Record::WaitingChanged { .. }
        | Record::Intended { .. }
        | Record::Resolved { .. }
        | Record::Paused { .. }
        | Record::Resumed { .. }
        | Record::Verifying { .. } => None,
    }
}

fn node_of(record: &Record) -> Option<NodeName> {
    NodeName::new(Scope::of(record).about()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iaso_engine::id::IncidentId;
    use iaso_engine::record::Closing;

    #[test]
    fn an_event_is_about_its_incidents_node_and_is_the_same_when_it_is_made_again() {
        let entry = Entry {
            sequence: 41,
            at: Tick(1_000),
            record: Record::Closed {
                incident: IncidentId("styx-2.example-7".into()),
                closing: Closing::Recovered,
                verified: Vec::new(),
            },
        };
        let node = node_of(&entry.record).unwrap();
        assert_eq!(node.as_str(), "styx-2.example");
        let (word, is_warning) = reason(&entry.record).unwrap();
        let made = event(&entry, &node, "uid", &word, is_warning).unwrap();
        assert_eq!(
            made.metadata.name.as_deref(),
            Some("styx-2.example.iaso-41-3e8")
        );
        assert_eq!(made.type_.as_deref(), Some("Normal"));
        assert_eq!(
            made.message.as_deref(),
            Some("styx-2.example-7 closed: recovered and verified")
        );
        let long = NodeName::new("a".repeat(253)).unwrap();
        assert!(name(&long, u64::MAX, Tick(u64::MAX)).len() <= 253);
    }
}
