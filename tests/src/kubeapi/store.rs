//! The objects, and what was done to them.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Most deeds that are remembered; older ones go first.
const DEEDS_MAX: usize = 20_000;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

/// One write over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// What.
    pub verb: Verb,
    /// Plural, such as `nodes`.
    pub resource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Of the object.
    pub name: String,
    /// `status` and the like; else empty.
    pub subresource: String,
    /// `admin`, or the node whose kubelet's token was used.
    pub who: String,
    /// When.
    pub at: Timestamp,
}

/// What an object is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    resource: String,
    namespace: String,
    name: String,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Value>,
    version: u64,
    /// Kubelets' tokens and whose they are.
    pub(crate) kubelets: BTreeMap<String, String>,
    /// What each field manager applied last, by manager and object.
    pub(crate) applied: BTreeMap<String, Value>,
    /// What was written.
    pub(crate) deeds: Vec<Deed>,
}

impl Store {
    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&key(resource, namespace, name))
    }

    pub(crate) fn all(&self, resource: &str) -> impl Iterator<Item = &Value> {
        self.objects
            .iter()
            .filter(move |(key, _)| key.resource == resource)
            .map(|(_, object)| object)
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Puts an object, filling in what a server fills in.
    pub(crate) fn seed(&mut self, resource: &str, object: Value) -> Value {
        self.version += 1;
        let version = self.version;
        let mut object = object;
        let meta = metadata(&mut object);
        meta.insert("resourceVersion".into(), json!(version.to_string()));
        meta.entry("uid").or_insert_with(|| json!(uid(version)));
        meta.entry("creationTimestamp")
            .or_insert_with(|| json!(now()));
        let key = key_of(resource, &object);
        self.objects.insert(key, object.clone());
        object
    }

    pub(crate) fn remove(&mut self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.version += 1;
        self.objects.remove(&key(resource, namespace, name))
    }

    pub(crate) fn record(&mut self, deed: Deed) {
        if self.deeds.len() >= DEEDS_MAX {
            self.deeds.drain(..DEEDS_MAX / 2);
        }
        self.deeds.push(deed);
    }
}

/// Seconds precision, as Kubernetes writes times.
pub(crate) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A field by its path; `Null` when it is not there.
pub(crate) fn field<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    static NULL: Value = Value::Null;
    path.iter()
        .try_fold(object, |value, name| value.get(name))
        .unwrap_or(&NULL)
}

/// A text field by its path; empty when it is not there.
pub(crate) fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    field(object, path).as_str().unwrap_or_default()
}

/// The object's metadata, made if it was missing.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    object_at(object_of(object), "metadata")
}

/// The map inside, made if it was missing.
pub(crate) fn object_at<'a>(
    parent: &'a mut Map<String, Value>,
    name: &str,
) -> &'a mut Map<String, Value> {
    object_of(parent.entry(name).or_insert_with(|| json!({})))
}

/// The value as a map; anything else becomes an empty one.
pub(crate) fn object_of(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value
        .as_object_mut()
        .expect("the value was just made a map")
}

/// Merges a patch into an object, as RFC 7386 says.
pub fn merge(target: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    let fields = object_of(target);
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

/// Whether labels match a selector: `a=b,c!=d,e,!f`.
pub(crate) fn labels_match(object: &Value, selector: &str) -> bool {
    let labels = field(object, &["metadata", "labels"]);
    terms(selector).all(|term| {
        let value = |name: &str| labels.get(name.trim()).and_then(Value::as_str);
        if let Some((name, wanted)) = term.split_once("!=") {
            value(name) != Some(wanted.trim())
        } else if let Some((name, wanted)) = term.split_once('=') {
            value(name) == Some(wanted.trim_start_matches('=').trim())
        } else if let Some(name) = term.strip_prefix('!') {
            value(name).is_none()
        } else {
            value(term).is_some()
        }
    })
}

/// Whether fields match a selector: `spec.nodeName=styx`.
pub(crate) fn fields_match(object: &Value, selector: &str) -> bool {
    terms(selector).all(|term| {
        let (path, wanted, same) = match term.split_once("!=") {
            Some((path, wanted)) => (path, wanted, false),
            None => match term.split_once('=') {
                Some((path, wanted)) => (path, wanted.trim_start_matches('='), true),
                None => return false,
            },
        };
        let path: Vec<&str> = path.trim().split('.').collect();
        (text(object, &path) == wanted.trim()) == same
    })
}

fn terms(selector: &str) -> impl Iterator<Item = &str> {
    selector
        .split(',')
        .map(str::trim)
        .filter(|term| !term.is_empty())
}

fn key(resource: &str, namespace: &str, name: &str) -> Key {
    Key {
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn key_of(resource: &str, object: &Value) -> Key {
    key(
        resource,
        text(object, &["metadata", "namespace"]),
        text(object, &["metadata", "name"]),
    )
}

fn uid(version: u64) -> String {
    format!("00000000-0000-4000-8000-{version:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_removes_with_null_and_replaces_lists() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        merge(
            &mut object,
            &json!({"a": {"b": null, "d": 3}, "l": [3], "n": {"x": null}}),
        );
        assert_eq!(object, json!({"a": {"c": 2, "d": 3}, "l": [3], "n": {}}));
    }

    #[test]
    fn selectors_know_equality_inequality_presence_and_absence() {
        let object = json!({"metadata": {"labels": {"app": "dns", "tier": "one"}}, "spec": {"nodeName": "styx"}});
        for (selector, expected) in [
            ("app=dns", true),
            ("app==dns,tier", true),
            ("app!=dns", false),
            ("!app", false),
            ("!other,tier=one", true),
            ("", true),
        ] {
            assert_eq!(labels_match(&object, selector), expected, "{selector}");
        }
        assert!(fields_match(&object, "spec.nodeName=styx"));
        assert!(!fields_match(&object, "spec.nodeName!=styx"));
    }
}
