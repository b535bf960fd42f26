//! Pods of this node with their containers, as a person would look at them when one does not come or go.

use std::time::Duration;

use iaso_host::{
    CapError,
    types::{ContainerState, PodState},
};
use k8s_openapi::api::core::v1::{
    Container, ContainerState as KubeState, ContainerStatus, Pod as KubePod,
};

use super::{Kube, controller, cut, unix_ms, within};

/// A node has 110 pods unless it is told otherwise.
const PODS_MAX: usize = 256;
const CONTAINERS_MAX: usize = 16;
const FINALIZERS_MAX: usize = 8;
const MESSAGE_BYTES_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 512;

impl Kube {
    /// Pods bound to this node, with their containers.
    pub async fn pod_states_here(
        &self,
        namespace: &str,
        timeout: Duration,
    ) -> Result<Vec<PodState>, CapError> {
        let list = async {
            let ours = self.ours(namespace, "").await?;
            Ok(ours.iter().take(PODS_MAX).map(to_state).collect())
        };
        within(timeout, list).await
    }
}

fn to_state(pod: &KubePod) -> PodState {
    let meta = &pod.metadata;
    let status = pod.status.as_ref();
    let short = |value: Option<&String>| cut(value, NAME_BYTES_MAX);
    PodState {
        namespace: short(meta.namespace.as_ref()),
        name: short(meta.name.as_ref()),
        uid: short(meta.uid.as_ref()),
        phase: short(status.and_then(|status| status.phase.as_ref())),
        reason: short(status.and_then(|status| status.reason.as_ref())),
        created_unix_ms: unix_ms(meta.creation_timestamp.as_ref()),
        delete_by_unix_ms: meta
            .deletion_timestamp
            .as_ref()
            .map(|time| unix_ms(Some(time))),
        finalizers: meta
            .finalizers
            .iter()
            .flatten()
            .take(FINALIZERS_MAX)
            .map(|name| short(Some(name)))
            .collect(),
        owner: controller(meta)
            .map(|owner| format!("{}/{}", short(Some(&owner.kind)), short(Some(&owner.name))))
            .unwrap_or_default(),
        containers: containers(pod),
        attributes: Vec::new(),
    }
}

fn containers(pod: &KubePod) -> Vec<ContainerState> {
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_deref());
    let init_status = status.and_then(|status| status.init_container_statuses.as_deref());
    let main = spec.map(|spec| spec.containers.as_slice());
    let main_status = status.and_then(|status| status.container_statuses.as_deref());
    let of = |kind: &'static str, asked: Option<&[Container]>, seen: Option<&[ContainerStatus]>| {
        asked
            .unwrap_or_default()
            .iter()
            .map(|container| {
                let status = seen
                    .unwrap_or_default()
                    .iter()
                    .find(|status| status.name == container.name);
                to_container(kind, container, status)
            })
            .collect::<Vec<_>>()
    };
    let mut all = of("init", init, init_status);
    all.extend(of("container", main, main_status));
    all.truncate(CONTAINERS_MAX);
    all
}

fn to_container(kind: &str, asked: &Container, status: Option<&ContainerStatus>) -> ContainerState {
    let (state, reason, message) = said(status.and_then(|status| status.state.as_ref()));
    let last = status
        .and_then(|status| status.last_state.as_ref())
        .and_then(|state| state.terminated.as_ref());
    ContainerState {
        name: cut(Some(&asked.name), NAME_BYTES_MAX),
        kind: kind.to_owned(),
        image: cut(asked.image.as_ref(), NAME_BYTES_MAX),
        image_id: cut(status.map(|status| &status.image_id), NAME_BYTES_MAX),
        state: state.to_owned(),
        reason,
        message,
        ready: status.is_some_and(|status| status.ready),
        restarts: status.map_or(0, |status| u32::try_from(status.restart_count).unwrap_or(0)),
        last_reason: cut(last.and_then(|last| last.reason.as_ref()), NAME_BYTES_MAX),
        last_exit_code: last.map(|last| last.exit_code),
        attributes: Vec::new(),
    }
}

/// The state's word, its reason and its message.
fn said(state: Option<&KubeState>) -> (&'static str, String, String) {
    let told = |word, reason: Option<&String>, message: Option<&String>| {
        (
            word,
            cut(reason, NAME_BYTES_MAX),
            cut(message, MESSAGE_BYTES_MAX),
        )
    };
    let Some(state) = state else {
        return told("", None, None);
    };
    if let Some(waiting) = &state.waiting {
        told("waiting", waiting.reason.as_ref(), waiting.message.as_ref())
    } else if let Some(ended) = &state.terminated {
        let (word, reason, message) =
            told("terminated", ended.reason.as_ref(), ended.message.as_ref());
        (
            word,
            reason,
            format!(
                "exit code {}{}{message}",
                ended.exit_code,
                if message.is_empty() { "" } else { ": " }
            ),
        )
    } else if state.running.is_some() {
        told("running", None, None)
    } else {
        told("", None, None)
    }
}
