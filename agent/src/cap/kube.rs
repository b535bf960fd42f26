//! Kubernetes, as far as this node goes: its own pods and what made them, and services, endpoints and conditions to look at.
//!
//! **Invariants**
//! - Of pods, only those bound to this node are told of, whatever the server answers.
//! - Answers are bounded in items and in text.
//! - Of an environment only scheme, host and port leave this module, and Secrets are never read.

mod conditions;
mod env;
mod states;
mod workloads;

use std::{path::PathBuf, time::Duration};

use iaso_host::{
    CapError,
    types::{Endpoint, Pod, Service},
};
use k8s_openapi::{
    api::{
        core::v1::{Pod as KubePod, Service as KubeService},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, Preconditions},
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::sync::Mutex;

/// Most pods or endpoints of one answer.
const ITEMS_MAX: u32 = 500;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client with this node's credentials, made when it is first needed.
pub struct Kube {
    kubeconfig: Option<PathBuf>,
    node: String,
    client: Mutex<Option<Client>>,
}

impl Kube {
    /// `kubeconfig`: absent means that there is no such capability here.
    #[must_use]
    pub fn new(kubeconfig: Option<PathBuf>, node: String) -> Self {
        Self {
            kubeconfig,
            node,
            client: Mutex::new(None),
        }
    }

    /// Pods bound to this node.
    pub async fn pods_here(
        &self,
        namespace: &str,
        selector: &str,
        timeout: Duration,
    ) -> Result<Vec<Pod>, CapError> {
        let list = async {
            let ours = self.ours(namespace, selector).await?;
            Ok(ours.iter().map(to_pod).collect())
        };
        within(timeout, list).await
    }

    async fn ours(&self, namespace: &str, selector: &str) -> Result<Vec<KubePod>, CapError> {
        let pods: Api<KubePod> = Api::namespaced(self.client().await?, namespace);
        let here = format!("spec.nodeName={}", self.node);
        let found = pods
            .list(
                &ListParams::default()
                    .fields(&here)
                    .labels(selector)
                    .limit(ITEMS_MAX),
            )
            .await;
        let mut found = self.settle(found, "pods").await?.items;
        // The field selector is the server's promise; this is ours.
        found.retain(|pod| self.is_ours(pod));
        Ok(found)
    }

    /// Deletes a pod of this node that still has this uid.
    pub async fn delete_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        timeout: Duration,
    ) -> Result<(), CapError> {
        let delete = async {
            let pods: Api<KubePod> = Api::namespaced(self.client().await?, namespace);
            let pod = self
                .settle(pods.get(name).await, &format!("pod {namespace}/{name}"))
                .await?;
            if !self.is_ours(&pod) {
                return Err(CapError::Denied(format!(
                    "pod {namespace}/{name} is not on this node"
                )));
            }
            let preconditions = Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            };
            let params = DeleteParams {
                preconditions: Some(preconditions),
                ..DeleteParams::default()
            };
            let deleted = pods.delete(name, &params).await.map(drop);
            self.settle(deleted, &format!("pod {namespace}/{name} with uid {uid}"))
                .await
        };
        within(timeout, delete).await
    }

    /// A service.
    pub async fn service(
        &self,
        namespace: &str,
        name: &str,
        timeout: Duration,
    ) -> Result<Service, CapError> {
        let get = async {
            let services: Api<KubeService> = Api::namespaced(self.client().await?, namespace);
            let service = self
                .settle(
                    services.get(name).await,
                    &format!("service {namespace}/{name}"),
                )
                .await?;
            Ok(to_service(&service))
        };
        within(timeout, get).await
    }

    /// The addresses behind a service, of all its slices.
    pub async fn endpoints(
        &self,
        namespace: &str,
        name: &str,
        timeout: Duration,
    ) -> Result<Vec<Endpoint>, CapError> {
        let list = async {
            let slices: Api<EndpointSlice> = Api::namespaced(self.client().await?, namespace);
            let of = format!("kubernetes.io/service-name={name}");
            let found = slices
                .list(&ListParams::default().labels(&of).limit(ITEMS_MAX))
                .await;
            let found = self
                .settle(found, &format!("endpoints of {namespace}/{name}"))
                .await?;
            Ok(found
                .items
                .iter()
                .flat_map(to_endpoints)
                .take(ITEMS_MAX as usize)
                .collect())
        };
        within(timeout, list).await
    }

    fn is_ours(&self, pod: &KubePod) -> bool {
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(&self.node)
    }

    async fn client(&self) -> Result<Client, CapError> {
        let mut held = self.client.lock().await;
        if let Some(client) = held.as_ref() {
            return Ok(client.clone());
        }
        let path = self.kubeconfig.as_ref().ok_or_else(|| {
            CapError::Unavailable(
                "there is no Kubernetes here: the agent's configuration names no kubeconfig".into(),
            )
        })?;
        let told = |error: &dyn std::fmt::Display| {
            CapError::Unavailable(format!("cannot use {}: {error}", path.display()))
        };
        // A second installation fails, and means that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let file = Kubeconfig::read_from(path).map_err(|error| told(&error))?;
        let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .map_err(|error| told(&error))?;
        config.connect_timeout = Some(TIMEOUT);
        config.read_timeout = Some(TIMEOUT);
        let client = Client::try_from(config).map_err(|error| told(&error))?;
        *held = Some(client.clone());
        Ok(client)
    }

    /// After 401 the kubeconfig is read anew: certificates and tokens rotate.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "whatever is not an answer of the API server is a transport error"
    )]
    async fn settle<T>(&self, outcome: Result<T, kube::Error>, what: &str) -> Result<T, CapError> {
        let error = match outcome {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match error {
            kube::Error::Api(status) => {
                if status.code == 401 {
                    *self.client.lock().await = None;
                }
                let text = format!(
                    "{what}: the API server says {} {}",
                    status.code, status.message
                );
                Err(if matches!(status.code, 404 | 410) {
                    CapError::Unavailable(text)
                } else {
                    CapError::Other(text)
                })
            }
            other => {
                *self.client.lock().await = None;
                Err(CapError::Unavailable(format!(
                    "the API server does not answer: {other}"
                )))
            }
        }
    }
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, CapError>>,
) -> Result<T, CapError> {
    tokio::time::timeout(timeout.min(TIMEOUT), work)
        .await
        .unwrap_or(Err(CapError::Timeout))
}

fn to_pod(pod: &KubePod) -> Pod {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let restarts: i32 = containers
        .into_iter()
        .flatten()
        .map(|container| container.restart_count)
        .sum();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    Pod {
        namespace: text(pod.metadata.namespace.as_ref()),
        name: text(pod.metadata.name.as_ref()),
        uid: text(pod.metadata.uid.as_ref()),
        phase: text(status.and_then(|status| status.phase.as_ref())),
        ready,
        terminating: pod.metadata.deletion_timestamp.is_some(),
        restarts: u32::try_from(restarts).unwrap_or(0),
        ip: text(status.and_then(|status| status.pod_ip.as_ref())),
    }
}

fn to_service(service: &KubeService) -> Service {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_ref());
    let one = |port: &k8s_openapi::api::core::v1::ServicePort| {
        let number = u16::try_from(port.port).ok()?;
        Some((
            port.name.clone().unwrap_or_default(),
            number,
            port.protocol.clone().unwrap_or_else(|| "TCP".into()),
        ))
    };
    Service {
        cluster_ip: spec
            .and_then(|spec| spec.cluster_ip.clone())
            .unwrap_or_default(),
        ports: ports.into_iter().flatten().filter_map(one).collect(),
    }
}

fn to_endpoints(slice: &EndpointSlice) -> Vec<Endpoint> {
    let ports: Vec<(u16, String)> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| {
            let number = u16::try_from(port.port?).ok()?;
            Some((
                number,
                port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            ))
        })
        .collect();
    let mut out = Vec::new();
    for endpoint in &slice.endpoints {
        let ready = endpoint
            .conditions
            .as_ref()
            .and_then(|conditions| conditions.ready)
            .unwrap_or(true);
        for address in &endpoint.addresses {
            for (port, protocol) in &ports {
                let (address, protocol) = (address.clone(), protocol.clone());
                let node = endpoint.node_name.clone().unwrap_or_default();
                out.push(Endpoint {
                    address,
                    port: *port,
                    protocol,
                    node,
                    ready,
                });
            }
        }
    }
    out
}

/// The beginning of a text that others wrote, at most so many bytes.
fn cut(text: Option<&String>, bytes_max: usize) -> String {
    let text = text.map_or("", String::as_str);
    text.get(..text.floor_char_boundary(bytes_max))
        .unwrap_or_default()
        .to_owned()
}

/// Milliseconds since the Unix epoch; 0: not known.
fn unix_ms(time: Option<&Time>) -> u64 {
    time.map_or(0, |time| {
        u64::try_from(time.0.as_millisecond()).unwrap_or(0)
    })
}

/// What made an object, if something did.
fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))
}
