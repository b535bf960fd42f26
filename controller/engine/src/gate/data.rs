//! What a recreate would destroy or needs: Kubernetes' word, local data, the secret store.

use super::Question;
use crate::diagnose::channel::Lease;
use crate::record::{Rung, Waiting};

pub(super) fn kubernetes(q: &Question<'_>) -> Option<Waiting> {
    match &q.node.lease {
        Lease::Unknown { why } => Some(Waiting::KubeUnknown { why: why.clone() }),
        Lease::Young => Some(Waiting::KubeUnknown {
            why: "the lease was not watched for long enough".into(),
        }),
        Lease::Absent
        | Lease::Fresh
        | Lease::NotReady { .. }
        | Lease::Stale { .. }
        | Lease::Missing => None,
    }
}

/// What nobody has looked at counts as present.
pub(super) fn local_data(q: &Question<'_>) -> Option<Waiting> {
    let asked = *q.rung == Rung::Recreate && !q.policy.local_data_expendable;
    if !asked || q.incident.decision(q.rung) == Some(true) {
        return None;
    }
    let facts = q.situation.world.nodes.get(&q.incident.node);
    let volumes = match facts.and_then(|f| f.kube.as_ref()) {
        Some(seen) => seen.value.local_data.clone(),
        // It will say so when it answers: nobody is to be asked for that.
        None if kubernetes(q).is_some() => return None,
        None => vec!["unknown: Kubernetes never said what lies on it".into()],
    };
    (!volumes.is_empty()).then_some(Waiting::LocalData { volumes })
}

pub(super) fn secret_store(q: &Question<'_>) -> Option<Waiting> {
    let why = q.situation.world.secret_store.clone()?;
    Some(Waiting::SecretStore { why })
}
