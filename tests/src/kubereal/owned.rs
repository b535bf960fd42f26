//! What a test made on a cluster, and by what names: so that it can go again, and nothing else with it.
//!
//! **Invariants**
//! - Only what was created is removed, and only that very object: its UID is a precondition.
//! - Nothing is called removed that is still there.

use super::seed::Seed;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The label of everything that is made on somebody else's cluster; its value is the run's.
pub const RUN_LABEL: &str = "iaso.dev/test-run";
/// How long objects may take to go: a namespace takes seconds.
const GONE_WITHIN: Duration = Duration::from_mins(2);

/// What short names stand for.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// Before names that all namespaces share.
    pub(super) prefix: String,
    /// Of pods and budgets.
    pub(super) namespace: String,
    /// The pods' service account.
    pub(super) account: String,
    /// The run's label; `None`: the cluster is the test's own.
    pub(super) run: Option<String>,
    /// Whom pods belong to, where a garbage collector looks for him.
    pub(super) owner: Option<Value>,
}

impl Names {
    /// On a cluster of one's own, short names are the names.
    pub(super) fn own() -> Self {
        Self {
            prefix: String::new(),
            namespace: "default".into(),
            account: "default".into(),
            run: None,
            owner: None,
        }
    }

    pub(super) fn labelled(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if let Some(run) = &self.run {
            let label = json!({"metadata": {"labels": {RUN_LABEL: run}}});
            crate::kubeapi::merge(&mut object, &label);
        }
        object
    }

    /// Somebody else's scheduler must put nothing on a node that does not exist.
    pub(super) fn tainted(&self, taints: &Value) -> Value {
        let mut taints = taints.clone();
        if let (Some(run), Some(list)) = (&self.run, taints.as_array_mut()) {
            list.push(json!({"key": RUN_LABEL, "value": run, "effect": "NoSchedule"}));
        }
        taints
    }

    /// A pod's owner, of a kind where nobody looks for him.
    pub(super) fn owner(&self, kind: &str) -> Value {
        self.owner.clone().unwrap_or_else(|| {
            json!({
                "apiVersion": "apps/v1", "kind": kind, "name": "web", "controller": true,
                "uid": "00000000-0000-4000-8000-000000000001",
            })
        })
    }
}

/// Objects in the order of their making: path and UID.
#[derive(Debug, Clone, Default)]
pub(super) struct Owned(Arc<Mutex<Vec<(String, String)>>>);

impl Owned {
    pub(super) fn put_down(&self, collection: &str, made: &Value) {
        let text = |pointer: &str| made.pointer(pointer).and_then(Value::as_str);
        if let (Some(name), Some(uid)) = (text("/metadata/name"), text("/metadata/uid")) {
            let object = (format!("{collection}/{name}"), uid.to_owned());
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(object);
        }
    }

    /// The last that was made goes first.
    pub(super) async fn remove_all(&self, seed: &Seed) -> Result<()> {
        let mut objects =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        objects.reverse();
        let mut trouble = Vec::new();
        for (path, uid) in &objects {
            if let Err(error) = seed.delete_only(path, uid).await {
                trouble.push(format!("{error:#}"));
            }
        }
        let gone = crate::until(GONE_WITHIN, "everything to be gone", || async {
            left(seed, &objects).await.is_ok_and(|left| left.is_empty())
        });
        if gone.await.is_err() {
            let left = left(seed, &objects).await;
            bail!("a test's objects are still there: {left:?}; {trouble:?}");
        }
        Ok(())
    }
}

async fn left(seed: &Seed, objects: &[(String, String)]) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for (path, uid) in objects {
        let found = seed.get(path).await?;
        if found.is_some_and(|found| found.pointer("/metadata/uid") == Some(&json!(uid))) {
            left.push(path.clone());
        }
    }
    Ok(left)
}
