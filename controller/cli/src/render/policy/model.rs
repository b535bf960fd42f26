//! What a policy would do, as data: the stable shape that scripts read, and what the table is made of.

use crate::text::Text;
use iaso_engine::fact::{Inventory, Role};
use iaso_engine::id::NodeName;
use iaso_engine::policy::check::dangers;
use iaso_engine::policy::outlook::{ONLY_TOLD, Said, WITH_RUNGS, not_for, said};
use iaso_engine::policy::step::{StepKind, Terms, Verify};
use iaso_engine::policy::window::Window;
use iaso_engine::policy::{Mode, Policy};
use iaso_engine::record::Diagnosis;
use iaso_engine::time::Tick;
use iaso_policy_file::Loaded;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// All of a policy.
#[derive(Debug, Serialize)]
pub(crate) struct Model<'a> {
    /// `None`: the default policy.
    pub(crate) file: Option<String>,
    /// It says nothing of its own.
    pub(crate) is_default: bool,
    /// Every key with its value.
    pub(crate) policy: &'a Policy,
    /// The ladders of a worker that has a provider, in the order in which an operator reads them.
    pub(crate) ladders: Vec<Ladder>,
    /// Diagnoses that no rung mends.
    pub(crate) told: Vec<Told>,
    pub(crate) windows: Vec<OfCluster>,
    /// What is different for roles and nodes.
    pub(crate) overrides: Vec<Different>,
    /// The declared nodes, if the file has them.
    pub(crate) nodes: Vec<Declared>,
    /// Allowed and dangerous, each with what to do.
    pub(crate) dangers: Vec<String>,
}

/// The ladder of one diagnosis.
#[derive(Debug, Serialize)]
pub(crate) struct Ladder {
    pub(crate) diagnosis: Diagnosis,
    /// Empty: a person is told at once.
    pub(crate) rungs: Vec<RungTerms>,
    pub(crate) runbook: Text,
}

/// One rung. All durations in seconds.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct RungTerms {
    pub(crate) rung: StepKind,
    pub(crate) mode: Mode,
    /// The diagnosis must have stood for so long.
    pub(crate) after_secs: u64,
    /// Most times in one incident.
    pub(crate) attempts: u32,
    /// Shortest time between two on one node.
    pub(crate) cooldown_secs: u64,
    /// So long to help.
    pub(crate) wait_secs: u64,
    /// An outcome that is later is paged.
    pub(crate) timeout_secs: u64,
    pub(crate) verify: Verify,
    pub(crate) verify_secs: u64,
    /// It waits for one of these; none: it does not.
    pub(crate) windows: Vec<String>,
}

/// A diagnosis without rungs.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    pub(crate) diagnosis: Diagnosis,
    pub(crate) runbook: Text,
}

/// A window of the cluster.
#[derive(Debug, Serialize)]
pub(crate) struct OfCluster {
    pub(crate) window: String,
    pub(crate) rungs: Vec<StepKind>,
    /// `None`: it is open now.
    pub(crate) next_opening: Option<Timestamp>,
}

/// What is different for a role or a node.
#[derive(Debug, Serialize)]
pub(crate) struct Different {
    /// `role server`, `node styx`.
    pub(crate) of: String,
    pub(crate) keys: Vec<Word>,
    /// Only the ladders that are not the cluster's.
    pub(crate) ladders: Vec<Ladder>,
}

/// One key.
#[derive(Debug, Serialize)]
pub(crate) struct Word {
    pub(crate) key: String,
    pub(crate) value: Text,
    pub(crate) instead_of: Text,
}

/// A node that the configuration declares.
#[derive(Debug, Serialize)]
pub(crate) struct Declared {
    pub(crate) node: NodeName,
    pub(crate) role: Role,
    pub(crate) provider: Option<String>,
    /// Rungs that it never gets, whatever the policy says, and why.
    pub(crate) never: Vec<String>,
}

/// Of a policy that was loaded; `now` for the next openings.
pub(crate) fn model<'a>(file: Option<&Path>, loaded: &'a Loaded, now: Timestamp) -> Model<'a> {
    let policy = &loaded.policy;
    let told = |d: &Diagnosis| Told {
        diagnosis: *d,
        runbook: policy.runbook(*d).into(),
    };
    Model {
        file: file.map(|file| file.display().to_string()),
        is_default: *policy == Policy::default(),
        policy,
        ladders: WITH_RUNGS
            .iter()
            .map(|d| ladder(policy, *d, None))
            .collect(),
        told: ONLY_TOLD.iter().map(told).collect(),
        windows: policy.windows.iter().map(|w| opening(w, now)).collect(),
        overrides: said(policy, loaded.inventory.as_ref())
            .iter()
            .map(different)
            .collect(),
        nodes: loaded.inventory.iter().flat_map(declared).collect(),
        dangers: dangers(policy, loaded.inventory.as_ref()),
    }
}

/// Without what a node of that role never gets.
fn ladder(policy: &Policy, diagnosis: Diagnosis, role: Option<Role>) -> Ladder {
    let never = |t: &Terms| t.kind == StepKind::Recreate && role == Some(Role::Server);
    let rung = |t: Terms| RungTerms {
        rung: t.kind,
        mode: t.mode,
        after_secs: t.after_secs,
        attempts: t.attempts,
        cooldown_secs: t.cooldown_secs,
        wait_secs: t.wait_secs,
        timeout_secs: t.timeout_secs,
        verify: t.verify,
        verify_secs: t.verify_secs,
        windows: policy
            .windows
            .iter()
            .filter(|w| w.rungs.contains(&t.kind))
            .map(ToString::to_string)
            .collect(),
    };
    Ladder {
        diagnosis,
        rungs: policy
            .steps(diagnosis)
            .into_iter()
            .filter(|t| !never(t))
            .map(rung)
            .collect(),
        runbook: policy.runbook(diagnosis).into(),
    }
}

fn opening(window: &Window, now: Timestamp) -> OfCluster {
    let tick = Tick(u64::try_from(now.as_millisecond()).unwrap_or(0));
    let opens = window.next_opening(tick);
    let at = i64::try_from(opens.0).ok();
    OfCluster {
        window: window.to_string(),
        rungs: window.rungs.clone(),
        next_opening: at
            .filter(|_| opens > tick)
            .and_then(|ms| Timestamp::from_millisecond(ms).ok()),
    }
}

fn different(said: &Said<'_>) -> Different {
    let word = said.word;
    let before = serde_json::to_value(&said.before).unwrap_or_default();
    let own = serde_json::to_value(word).unwrap_or_default();
    let keys = own.as_object().into_iter().flatten();
    let keys = keys
        .filter(|(key, value)| !value.is_null() && !matches!(key.as_str(), "ladder" | "runbooks"))
        .map(|(key, value)| Word {
            key: key.clone(),
            value: shown(key, value, word.windows.as_deref()),
            instead_of: shown(
                key,
                before.get(key).unwrap_or(&Value::Null),
                Some(&said.before.windows),
            ),
        })
        .collect();
    let ladders = WITH_RUNGS.iter().filter_map(|d| {
        let old = ladder(&said.before, *d, said.role);
        let new = ladder(&said.after, *d, said.role);
        (old.rungs != new.rungs || old.runbook != new.runbook).then_some(new)
    });
    Different {
        of: said.of.clone(),
        keys,
        ladders: ladders.collect(),
    }
}

/// A value in the words of the file.
fn shown(key: &str, value: &Value, windows: Option<&[Window]>) -> Text {
    if key == "windows" {
        let all: Vec<String> = windows
            .iter()
            .copied()
            .flatten()
            .map(ToString::to_string)
            .collect();
        return if all.is_empty() {
            "always".into()
        } else {
            all.join(" or ").into()
        };
    }
    match value {
        Value::String(text) => text.as_str().into(),
        Value::Array(all) => {
            let words: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
            words.join(", ").into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            value.to_string().into()
        }
    }
}

fn declared(inventory: &Inventory) -> Vec<Declared> {
    let kinds = [StepKind::Start, StepKind::Reboot, StepKind::Recreate];
    let nodes = inventory.nodes.values().map(|spec| Declared {
        node: spec.name.clone(),
        role: spec.role,
        provider: spec.machine.as_ref().map(|(name, _)| name.clone()),
        never: kinds
            .iter()
            .filter_map(|kind| Some(format!("{kind}: {}", not_for(spec, *kind)?)))
            .collect(),
    });
    nodes.collect()
}
