//! Custom resources by their conditions, and nothing else of them.

use std::time::Duration;

use iaso_host::{
    CapError, CustomResource,
    types::{Condition, StatusObject},
};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
};
use serde_json::Value;

use super::{Kube, cut, unix_ms, within};

const OBJECTS_MAX: u32 = 200;
const CONDITIONS_MAX: usize = 8;
const MESSAGE_BYTES_MAX: usize = 2048;
const WORD_BYTES_MAX: usize = 256;

impl Kube {
    /// Objects of a custom resource, with their conditions.
    pub async fn conditions(
        &self,
        of: &CustomResource,
        namespace: &str,
        timeout: Duration,
    ) -> Result<Vec<StatusObject>, CapError> {
        let list = async {
            let resource = ApiResource {
                group: of.group.clone(),
                version: of.version.clone(),
                api_version: format!("{}/{}", of.group, of.version),
                // Only for what is written; it is not part of the URL.
                kind: String::new(),
                plural: of.resource.clone(),
            };
            let objects: Api<DynamicObject> =
                Api::namespaced_with(self.client().await?, namespace, &resource);
            let found = objects
                .list(&ListParams::default().limit(OBJECTS_MAX))
                .await;
            let what = format!("{}.{} in {namespace}", of.resource, of.group);
            let found = self.settle(found, &what).await?;
            Ok(found.items.iter().map(to_status).collect())
        };
        within(timeout, list).await
    }
}

fn to_status(object: &DynamicObject) -> StatusObject {
    let (meta, data) = (&object.metadata, &object.data);
    let conditions = data.pointer("/status/conditions").and_then(Value::as_array);
    StatusObject {
        namespace: cut(meta.namespace.as_ref(), WORD_BYTES_MAX),
        name: cut(meta.name.as_ref(), WORD_BYTES_MAX),
        created_unix_ms: unix_ms(meta.creation_timestamp.as_ref()),
        generation: meta
            .generation
            .and_then(|generation| u64::try_from(generation).ok())
            .unwrap_or(0),
        observed_generation: data
            .pointer("/status/observedGeneration")
            .and_then(Value::as_u64)
            .unwrap_or(0),
        suspended: data.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true),
        conditions: conditions
            .into_iter()
            .flatten()
            .take(CONDITIONS_MAX)
            .map(to_condition)
            .collect(),
        attributes: Vec::new(),
    }
}

fn to_condition(value: &Value) -> Condition {
    let text = |key: &str, bytes_max| {
        let text = value.get(key).and_then(Value::as_str);
        cut(text.map(str::to_owned).as_ref(), bytes_max)
    };
    let changed = value
        .get("lastTransitionTime")
        .and_then(Value::as_str)
        .and_then(|text| text.parse::<Timestamp>().ok());
    Condition {
        name: text("type", WORD_BYTES_MAX),
        status: text("status", WORD_BYTES_MAX),
        reason: text("reason", WORD_BYTES_MAX),
        message: text("message", MESSAGE_BYTES_MAX),
        changed_unix_ms: changed
            .and_then(|time| u64::try_from(time.as_millisecond()).ok())
            .unwrap_or(0),
    }
}
