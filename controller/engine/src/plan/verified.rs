//! What is seen at the moment an incident is closed: the last page of its report, so that nobody has to look by hand.

use crate::fact::{KubeNode, Ready, Severity};
use crate::plan::work::Work;
use crate::record::Diagnosis;
use crate::timeline::counted;
use crate::world::PluginRun;

/// Most checks that are told one by one.
const CHECKS_MAX: usize = 32;

/// Every channel, what Kubernetes says of the node, each check, and the cluster, in words.
pub(super) fn seen(w: &Work<'_>) -> Vec<String> {
    let mut all = vec![w.node.evidence.join("; ")];
    let facts = w.s.world.nodes.get(w.name);
    if let Some(kube) = facts.and_then(|f| f.kube.as_ref()) {
        all.push(kubernetes(&kube.value));
    }
    if let Some(facts) = facts {
        let told = facts.plugins.iter().take(CHECKS_MAX);
        all.extend(told.map(|(name, run)| format!("check {name}: {}", check(&run.value))));
        let more = facts.plugins.len().saturating_sub(CHECKS_MAX);
        if more > 0 {
            all.push(format!("and {more} more checks"));
        }
    }
    let is_well = |d: &Diagnosis| *d == Diagnosis::Healthy;
    let well = w.all.nodes.values().filter(|a| is_well(&a.diagnosis));
    all.push(format!(
        "{} of {} nodes are healthy",
        well.count(),
        w.all.nodes.len()
    ));
    all
}

fn kubernetes(node: &KubeNode) -> String {
    let ready = match node.ready {
        Ready::True => "Ready",
        Ready::False => "not Ready",
        Ready::Unknown => "Ready unknown",
    };
    format!(
        "Kubernetes says {ready}, kubelet {}, {}, {} stuck Terminating",
        node.kubelet_version,
        if node.unschedulable {
            "cordoned"
        } else {
            "schedulable"
        },
        counted(
            usize::try_from(node.stuck_pods).unwrap_or(usize::MAX),
            "pod"
        )
    )
}

fn check(run: &PluginRun) -> String {
    if let Some(fault) = &run.fault {
        return format!("the plugin is broken ({}), so it says nothing", fault.class);
    }
    let worst = run.findings.iter().max_by_key(|f| f.severity);
    match worst {
        None => "well".into(),
        Some(f) if matches!(f.severity, Severity::Ok | Severity::Info) => "well".into(),
        Some(f) => f.code.clone(),
    }
}
