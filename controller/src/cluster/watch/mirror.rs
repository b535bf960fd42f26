//! What a watch has told of one kind.

use super::super::ClusterError;
use super::Kept;
use crate::text::bounded;
use kube::runtime::watcher::Event;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most objects of one kind that are kept.
const KEPT_MAX: usize = 20_000;

/// Not valid before the first list is whole, and not after an interruption.
pub(super) struct Mirror<K> {
    state: Mutex<State<K>>,
}

struct State<K> {
    valid: bool,
    trouble: Option<String>,
    objects: BTreeMap<String, K>,
    /// A list that is not whole yet.
    listed: BTreeMap<String, K>,
}

impl<K> Default for Mirror<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                valid: false,
                trouble: None,
                objects: BTreeMap::new(),
                listed: BTreeMap::new(),
            }),
        }
    }
}

impl<K: Kept> Mirror<K> {
    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one event in.
    ///
    /// # Errors
    /// When more would be kept than may be.
    pub(super) fn take(
        &self,
        event: Event<K::Object>,
        nodes: &BTreeSet<String>,
    ) -> Result<(), ClusterError> {
        let mut state = self.state();
        let State {
            valid,
            trouble,
            objects,
            listed,
        } = &mut *state;
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                let key = key(&object);
                if let Some(kept) = K::of(object, objects.get(&key), nodes) {
                    listed.insert(key, kept);
                }
            }
            Event::InitDone => {
                *objects = std::mem::take(listed);
                *valid = true;
                *trouble = None;
            }
            Event::Apply(object) => {
                let key = key(&object);
                match K::of(object, objects.get(&key), nodes) {
                    Some(kept) => objects.insert(key, kept),
                    None => objects.remove(&key),
                };
            }
            Event::Delete(object) => {
                objects.remove(&key(&object));
            }
        }
        if objects.len().max(listed.len()) <= KEPT_MAX {
            return Ok(());
        }
        objects.clear();
        listed.clear();
        Err(ClusterError {
            class: "unexpected",
            detail: format!("{}: more than {KEPT_MAX} objects count", K::WATCH),
        })
    }

    /// It hears nothing from now on. Answers whether that is news.
    pub(super) fn interrupt(&self, why: &str) -> bool {
        let mut state = self.state();
        let why = bounded(why, 600);
        let news = state.valid || state.trouble.as_ref() != Some(&why);
        state.valid = false;
        state.trouble = Some(why);
        news
    }

    /// One object; `None`: nobody knows now.
    #[expect(
        clippy::option_option,
        reason = "known not to be there is not the same as unknown"
    )]
    pub(super) fn get(&self, key: &str) -> Option<Option<K>> {
        let state = self.state();
        state.valid.then(|| state.objects.get(key).cloned())
    }

    /// Those of a kind; `None`: nobody knows now.
    pub(super) fn matching(&self, of: impl Fn(&K) -> bool) -> Option<Vec<K>> {
        let state = self.state();
        let all = state.objects.values();
        state
            .valid
            .then(|| all.filter(|kept| of(kept)).cloned().collect())
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let state = self.state();
        state.objects.len() + state.listed.len()
    }
}

fn key<O: kube::ResourceExt>(object: &O) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::{OnNode, Renewed};
    use super::*;
    use k8s_openapi::api::coordination::v1::Lease;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;
    use std::time::Duration;

    fn nodes() -> BTreeSet<String> {
        BTreeSet::from(["styx".to_owned()])
    }

    fn pod(name: &str, node: &str, volumes: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "apps", "annotations": {"long": "x".repeat(10_000)}},
            "spec": {"nodeName": node, "containers": [], "volumes": volumes},
        }))
        .unwrap()
    }

    fn lease(node: &str, second: u32) -> Lease {
        serde_json::from_value(json!({
            "metadata": {"name": node, "namespace": "kube-node-lease"},
            "spec": {"renewTime": format!("2026-01-01T00:00:{second:02}.000000Z")},
        }))
        .unwrap()
    }

    #[test]
    fn only_pods_that_count_are_kept_and_no_more_than_the_bound() {
        let mirror = Mirror::<OnNode>::default();
        let data = json!([{"name": "v", "hostPath": {"path": "/data"}}]);
        let take = |event| mirror.take(event, &nodes());
        assert!(
            mirror.matching(|_| true).is_none(),
            "nothing was listed yet"
        );
        take(Event::Init).unwrap();
        for (name, node, volumes) in [
            ("plain", "styx", &json!([])),
            ("elsewhere", "tethys", &data),
            ("heavy", "styx", &data),
        ] {
            take(Event::InitApply(pod(name, node, volumes))).unwrap();
        }
        assert!(mirror.matching(|_| true).is_none(), "the list is not whole");
        take(Event::InitDone).unwrap();
        let kept = mirror.matching(|_| true).unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(
            kept.first().unwrap().host_path.as_deref(),
            Some("host path /data of pod apps/heavy")
        );
        take(Event::Apply(pod("heavy", "styx", &json!([])))).unwrap();
        assert_eq!(mirror.len(), 0, "it does not count any more");

        let mut refused = None;
        for index in 0..=KEPT_MAX {
            refused = take(Event::Apply(pod(&index.to_string(), "styx", &data))).err();
        }
        let refused = refused.expect("more than the bound");
        assert!(refused.detail.contains("20000"), "{refused}");
        assert_eq!(mirror.len(), 0);
        assert!(mirror.interrupt(&refused.detail) && !mirror.interrupt(&refused.detail));
        assert!(mirror.matching(|_| true).is_none(), "it hears nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_listed_again_is_not_renewed_by_that() {
        let mirror = Mirror::<Renewed>::default();
        let at = || mirror.get("kube-node-lease/styx").unwrap().unwrap().at;
        let list = |second| {
            for event in [
                Event::Init,
                Event::InitApply(lease("styx", second)),
                Event::InitApply(lease("stranger", second)),
                Event::InitDone,
            ] {
                mirror.take(event, &nodes()).unwrap();
            }
        };
        list(1);
        let first = at();
        tokio::time::advance(Duration::from_secs(7)).await;
        mirror.interrupt("the API server restarts");
        list(1);
        assert_eq!(at(), first);
        list(2);
        assert_eq!(at(), first + Duration::from_secs(7));
        assert_eq!(mirror.len(), 1, "a stranger's lease is nothing to keep");
        mirror
            .take(Event::Delete(lease("styx", 2)), &nodes())
            .unwrap();
        assert!(mirror.get("kube-node-lease/styx").unwrap().is_none());
    }
}
