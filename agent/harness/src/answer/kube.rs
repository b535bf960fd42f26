//! What the Kubernetes capability answers when nothing is said of a field.

use iaso_host::types::{EnvUrl, PodState, StatusObject, Workload};

use super::START_UNIX_MS;

pub(super) fn pod_state() -> PodState {
    PodState {
        namespace: "default".to_owned(),
        name: "pod".to_owned(),
        uid: "uid".to_owned(),
        phase: "Running".to_owned(),
        reason: String::new(),
        created_unix_ms: START_UNIX_MS,
        delete_by_unix_ms: None,
        finalizers: Vec::new(),
        owner: String::new(),
        containers: Vec::new(),
        attributes: Vec::new(),
    }
}

pub(super) fn workload() -> Workload {
    Workload {
        namespace: "default".to_owned(),
        kind: "Deployment".to_owned(),
        name: "app".to_owned(),
        settled: true,
        images: Vec::new(),
        pods: Vec::new(),
        attributes: Vec::new(),
    }
}

pub(super) fn env_url() -> EnvUrl {
    EnvUrl {
        namespace: "default".to_owned(),
        pod: "pod".to_owned(),
        container: "app".to_owned(),
        variable: "URL".to_owned(),
        scheme: "http".to_owned(),
        host: "app".to_owned(),
        port: None,
        attributes: Vec::new(),
    }
}

pub(super) fn status_object() -> StatusObject {
    StatusObject {
        namespace: "default".to_owned(),
        name: "app".to_owned(),
        created_unix_ms: START_UNIX_MS,
        generation: 1,
        observed_generation: 1,
        suspended: false,
        conditions: Vec::new(),
        attributes: Vec::new(),
    }
}
