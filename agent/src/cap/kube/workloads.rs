//! The controllers of this node's pods, and the images that they ask for now.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use iaso_host::{CapError, types::Workload};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        core::v1::PodSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Api;
use serde::de::DeserializeOwned;

use super::{Kube, controller, cut, within};

/// Controllers that are read for one answer.
const WORKLOADS_MAX: usize = 64;
const PODS_MAX: usize = 64;
const IMAGES_MAX: usize = 16;
const TEXT_BYTES_MAX: usize = 512;

impl Kube {
    /// The controllers of pods bound to this node.
    pub async fn workloads_here(
        &self,
        namespace: &str,
        timeout: Duration,
    ) -> Result<Vec<Workload>, CapError> {
        within(timeout, Box::pin(self.workloads(namespace))).await
    }

    async fn workloads(&self, namespace: &str) -> Result<Vec<Workload>, CapError> {
        let mut owned: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for pod in self.ours(namespace, "").await? {
            let (Some(by), Some(name)) = (controller(&pod.metadata), &pod.metadata.name) else {
                continue;
            };
            let key = (by.kind.clone(), by.name.clone());
            owned.entry(key).or_default().insert(name.clone());
        }
        let mut found: BTreeMap<(&'static str, String), Workload> = BTreeMap::new();
        for ((kind, name), pods) in owned.into_iter().take(WORKLOADS_MAX) {
            let Some(workload) = self.workload(namespace, &kind, &name).await? else {
                continue;
            };
            let kept = found
                .entry((of_kind(&workload.kind), workload.name.clone()))
                .or_insert(workload);
            kept.pods.extend(pods);
            kept.pods.truncate(PODS_MAX);
        }
        Ok(found.into_values().collect())
    }

    /// None: it is gone, or of a kind that asks for no image by itself (a `Job`, a bare `ReplicaSet`).
    async fn workload(
        &self,
        namespace: &str,
        kind: &str,
        name: &str,
    ) -> Result<Option<Workload>, CapError> {
        match kind {
            "ReplicaSet" => {
                let Some(set) = self.get::<ReplicaSet>(namespace, name).await? else {
                    return Ok(None);
                };
                let owner = controller(&set.metadata);
                let Some(owner) = owner.filter(|owner| owner.kind == "Deployment") else {
                    return Ok(None);
                };
                let deployment = self.get::<Deployment>(namespace, &owner.name).await?;
                Ok(deployment.map(|deployment| of_deployment(&deployment)))
            }
            "StatefulSet" => {
                let set = self.get::<StatefulSet>(namespace, name).await?;
                Ok(set.map(|set| of_stateful_set(&set)))
            }
            "DaemonSet" => {
                let set = self.get::<DaemonSet>(namespace, name).await?;
                Ok(set.map(|set| of_daemon_set(&set)))
            }
            _ => Ok(None),
        }
    }

    /// None: there is no such object.
    async fn get<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, CapError>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client().await?, namespace);
        self.settle(api.get_opt(name).await, &format!("{namespace}/{name}"))
            .await
    }
}

fn of_kind(kind: &str) -> &'static str {
    match kind {
        "Deployment" => "Deployment",
        "StatefulSet" => "StatefulSet",
        _ => "DaemonSet",
    }
}

fn of_deployment(object: &Deployment) -> Workload {
    let (spec, status) = (object.spec.as_ref(), object.status.as_ref());
    let is_paused = spec.and_then(|spec| spec.paused).unwrap_or(false);
    let observed = status.and_then(|status| status.observed_generation);
    let template = spec.and_then(|spec| spec.template.spec.as_ref());
    workload(
        "Deployment",
        &object.metadata,
        template,
        !is_paused && is_seen(&object.metadata, observed),
    )
}

fn of_stateful_set(object: &StatefulSet) -> Workload {
    let spec = object.spec.as_ref();
    let observed = object
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    let template = spec.and_then(|spec| spec.template.spec.as_ref());
    let settled = is_seen(&object.metadata, observed)
        && !is_on_delete(
            spec.and_then(|spec| spec.update_strategy.as_ref())
                .and_then(|strategy| strategy.type_.as_deref()),
        );
    workload("StatefulSet", &object.metadata, template, settled)
}

fn of_daemon_set(object: &DaemonSet) -> Workload {
    let spec = object.spec.as_ref();
    let observed = object
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    let template = spec.and_then(|spec| spec.template.spec.as_ref());
    let settled = is_seen(&object.metadata, observed)
        && !is_on_delete(
            spec.and_then(|spec| spec.update_strategy.as_ref())
                .and_then(|strategy| strategy.type_.as_deref()),
        );
    workload("DaemonSet", &object.metadata, template, settled)
}

/// Its pods stay as they are until somebody deletes them: behind on purpose.
fn is_on_delete(strategy: Option<&str>) -> bool {
    strategy == Some("OnDelete")
}

/// Its own controller has acted on the last change.
fn is_seen(meta: &ObjectMeta, observed: Option<i64>) -> bool {
    meta.generation.is_none() || observed >= meta.generation
}

fn workload(kind: &str, meta: &ObjectMeta, template: Option<&PodSpec>, settled: bool) -> Workload {
    let short = |value: Option<&String>| cut(value, TEXT_BYTES_MAX);
    let init = template.and_then(|spec| spec.init_containers.as_ref());
    let main = template.map(|spec| &spec.containers);
    Workload {
        namespace: short(meta.namespace.as_ref()),
        kind: kind.to_owned(),
        name: short(meta.name.as_ref()),
        settled,
        images: init
            .into_iter()
            .chain(main)
            .flatten()
            .take(IMAGES_MAX)
            .map(|container| {
                (
                    short(Some(&container.name)),
                    short(container.image.as_ref()),
                )
            })
            .collect(),
        pods: Vec::new(),
        attributes: Vec::new(),
    }
}
