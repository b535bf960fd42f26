//! The condition `IasoHealthy` of each declared node.
//!
//! **Invariants**
//! - It is written when it changes, and once in a while to say that somebody still looks: never more often, whatever the facts do.
//! - Only a node that is there gets one.
//!
//! Left out: a last word when the controller stops. A controller that is killed could not say it either, so a reader goes by the
//! heartbeat's age: older than ten minutes, nobody knows.

use super::super::ClusterError;
use super::super::acts::MANAGER;
use super::super::kube::KubeCluster;
use super::incidents::time;
use super::{Shown, stopping};
use crate::driver::View;
use crate::text::bounded;
use iaso_engine::id::NodeName;
use iaso_engine::plan::NodePlan;
use iaso_engine::record::Diagnosis;
use iaso_engine::time::Tick;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// The condition's type.
pub(super) const TYPE: &str = "IasoHealthy";
/// It is written again after so long.
const HEARTBEAT: Duration = Duration::from_mins(5);
/// New words alone are not written sooner than this.
const WORDS_EVERY: Duration = Duration::from_mins(1);
/// Most nodes in one round: the others have the next.
const WRITES_MAX: usize = 50;

/// What is said of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    status: &'static str,
    reason: String,
    message: String,
}

struct Written {
    said: Said,
    at: Tick,
    /// When the status last changed.
    since: String,
}

#[derive(Default)]
pub(super) struct Conditions {
    written: BTreeMap<NodeName, Written>,
}

impl Conditions {
    pub(super) async fn show(&mut self, shown: &Shown) -> Result<(), ClusterError> {
        let asked = shown.handle.ask(|view| (view.now, all(view))).await;
        let (now, said) = asked.map_err(|_| stopping())?;
        let mut writes = 0;
        for (node, said) in said {
            if !self.is_due(&node, &said, now) {
                continue;
            }
            if writes >= WRITES_MAX {
                break;
            }
            writes += 1;
            self.write(&shown.cluster, node, said, now).await?;
        }
        Ok(())
    }

    fn is_due(&self, node: &NodeName, said: &Said, now: Tick) -> bool {
        let Some(written) = self.written.get(node) else {
            return true;
        };
        let (then, age) = (&written.said, now.since(written.at));
        let turned = (then.status, &then.reason) != (said.status, &said.reason);
        turned || age >= HEARTBEAT || (then != said && age >= WORDS_EVERY)
    }

    async fn write(
        &mut self,
        cluster: &KubeCluster,
        node: NodeName,
        said: Said,
        now: Tick,
    ) -> Result<(), ClusterError> {
        let since = match self.written.get(&node) {
            Some(written) if written.said.status == said.status => written.since.clone(),
            Some(_) => time(now),
            // A controller before us may have said the same.
            None => match before(cluster, &node).await? {
                Some((status, since)) if status == said.status => since,
                Some(_) | None => time(now),
            },
        };
        let condition = json!({
            "type": TYPE, "status": said.status, "reason": said.reason, "message": said.message,
            "lastHeartbeatTime": time(now), "lastTransitionTime": since,
        });
        // Conditions are merged by their type, as kubelets and problem detectors do it: nobody else's is touched.
        let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
        let params = PatchParams {
            field_manager: Some(MANAGER.into()),
            ..PatchParams::default()
        };
        let api: Api<Node> = Api::all(cluster.client.clone());
        let patched = api.patch_status(node.as_str(), &params, &patch);
        // A node that is gone gets its condition when it is back.
        if cluster
            .call_opt("patch nodes/status", patched)
            .await?
            .is_some()
        {
            let at = now;
            self.written.insert(node, Written { said, at, since });
        } else {
            self.written.remove(&node);
        }
        Ok(())
    }
}

async fn before(
    cluster: &KubeCluster,
    node: &NodeName,
) -> Result<Option<(String, String)>, ClusterError> {
    let api: Api<Node> = Api::all(cluster.client.clone());
    let node = cluster
        .call_opt("get nodes", api.get(node.as_str()))
        .await?;
    let conditions = node.and_then(|node| node.status?.conditions);
    let mut ours = conditions.into_iter().flatten().filter(|c| c.type_ == TYPE);
    Ok(ours
        .next()
        .and_then(|c| Some((c.status, c.last_transition_time?.0.to_string()))))
}

/// Of every declared node that Kubernetes has.
fn all(view: &View<'_>) -> Vec<(NodeName, Said)> {
    let exists = |node: &NodeName| {
        let facts = view.world.nodes.get(node);
        let kube = facts.and_then(|facts| facts.kube.as_ref());
        kube.is_some_and(|seen| seen.value.exists)
    };
    let declared = view.nodes.iter().filter(|(node, _)| exists(node));
    declared
        .map(|(node, plan)| (node.clone(), say(plan)))
        .collect()
}

fn say(plan: &NodePlan) -> Said {
    let status = match plan.diagnosis {
        Diagnosis::Healthy => "True",
        Diagnosis::Unknown => "Unknown",
        Diagnosis::K3sAgentDown
        | Diagnosis::CheckFailing
        | Diagnosis::NotReady
        | Diagnosis::AgentLost
        | Diagnosis::Hung
        | Diagnosis::PartialPartition
        | Diagnosis::Flapping
        | Diagnosis::Isolated
        | Diagnosis::PoweredOff
        | Diagnosis::ProviderTrouble
        | Diagnosis::ProviderUnknown
        | Diagnosis::GoneNoProvider
        | Diagnosis::ControllerCutOff
        | Diagnosis::Storm
        | Diagnosis::NeverJoined => "False",
    };
    let mut message = plan.evidence.join("; ");
    if let Some(why) = plan.waiting.first() {
        message = format!("{message}; waits: {why}");
    }
    Said {
        status,
        reason: camel(&plan.diagnosis.to_string()),
        message: bounded(message.trim_start_matches("; "), 1_000),
    }
}

/// `k3s-agent-down` as a reason: `K3sAgentDown`.
pub(super) fn camel(word: &str) -> String {
    let capital = |part: &str| {
        let mut letters = part.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    word.split('-').map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reason: &str, message: &str) -> Said {
        Said {
            status: "False",
            reason: reason.into(),
            message: message.into(),
        }
    }

    #[test]
    fn a_condition_is_written_when_it_turns_and_seldom_for_its_words() {
        let node = NodeName::new("styx").unwrap();
        let mut conditions = Conditions::default();
        let at = |secs: u64| Tick(secs * 1_000);
        assert!(conditions.is_due(&node, &said("Hung", "a"), at(0)));
        let written = Written {
            said: said("Hung", "a"),
            at: at(0),
            since: String::new(),
        };
        conditions.written.insert(node.clone(), written);
        for (reason, message, secs, due) in [
            ("Hung", "a", 299, false),
            ("Hung", "a", 300, true),
            ("Hung", "b", 59, false),
            ("Hung", "b", 60, true),
            ("Isolated", "a", 1, true),
        ] {
            let said = said(reason, message);
            assert_eq!(
                conditions.is_due(&node, &said, at(secs)),
                due,
                "{said:?} at {secs}"
            );
        }
    }

    #[test]
    fn a_diagnosis_is_a_reason_in_kubernetes_form() {
        assert_eq!(camel("k3s-agent-down"), "K3sAgentDown");
        assert_eq!(camel(&Diagnosis::Healthy.to_string()), "Healthy");
    }
}
