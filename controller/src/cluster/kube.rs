//! The client: how to reach the API server, deadlines, pages, and errors in words.

use super::evict::EvictPolicy;
use super::watch::{READ_TIMEOUT, Watched};
use super::{
    Cluster, ClusterError, Contents, JoinToken, NodeView, Right, acts, release, rights, survey,
    token,
};
use crate::config::ClusterConfig;
use crate::text::{bounded, chain};
use async_trait::async_trait;
use iaso_engine::effect::Remembered;
use iaso_engine::id::NodeName;
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// Objects in one page.
pub(super) const PAGE: u32 = 500;
/// Most pages of one list.
const PAGES_MAX: usize = 40;
/// Class of a refusal because somebody else holds a field.
pub(super) const FIELD_CONFLICT: &str = "field-conflict";

/// A real cluster.
#[derive(Clone)]
pub struct KubeCluster {
    pub(super) client: Client,
    /// The same, with patience for watches.
    pub(super) watcher: Client,
    pub(super) watched: Option<Arc<Watched>>,
    pub(super) timeout: Duration,
    pub(super) evict: EvictPolicy,
}

impl std::fmt::Debug for KubeCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KubeCluster")
    }
}

impl KubeCluster {
    /// Reads the kubeconfig. Asks nothing yet.
    ///
    /// # Errors
    /// When it cannot be read or names no usable cluster.
    pub async fn connect(config: &ClusterConfig) -> Result<Self, ClusterError> {
        let path = &config.kubeconfig;
        let bad = |error: &(dyn std::error::Error + 'static)| ClusterError {
            class: "unavailable",
            detail: format!(
                "the kubeconfig {} cannot be used: {}; check it with kubectl --kubeconfig",
                path.display(),
                chain(error)
            ),
        };
        let file = Kubeconfig::read_from(path).map_err(|error| bad(&error))?;
        let mut client = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .map_err(|error| bad(&error))?;
        let timeout = Duration::from_secs(config.timeout_secs);
        client.connect_timeout = Some(timeout);
        client.read_timeout = Some(timeout);
        client.write_timeout = Some(timeout);
        // A 429 is an answer: a disruption budget's no, or a server that is busy. Who asked decides when to ask again.
        client.default_retry = false;
        let mut patient = client.clone();
        patient.read_timeout = Some(READ_TIMEOUT);
        let client = Client::try_from(client).map_err(|error| bad(&error))?;
        let watcher = Client::try_from(patient).map_err(|error| bad(&error))?;
        let evict = EvictPolicy {
            within: Duration::from_secs(config.evict_secs),
            overrule_budgets: config.overrule_budgets,
        };
        Ok(Self {
            client,
            watcher,
            watched: None,
            timeout,
            evict,
        })
    }

    /// What its role does not allow it, of what it needs.
    ///
    /// # Errors
    /// When the API server cannot be asked.
    pub async fn missing_rights(&self) -> Result<Vec<Right>, ClusterError> {
        rights::missing(self).await
    }

    /// One call under the deadline, its error in words. `what` says the verb and the resource, as RBAC does.
    pub(super) async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(in_words(what, &error)),
            Err(_) => Err(ClusterError {
                class: "unavailable",
                detail: format!(
                    "{what}: the API server did not answer within {} s",
                    self.timeout.as_secs()
                ),
            }),
        }
    }

    /// The same, where "not there" is an answer.
    pub(super) async fn call_opt<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<Option<T>, ClusterError> {
        match self.call(what, call).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.class == "not-found" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A whole list, page by page.
    pub(super) async fn list<K>(
        &self,
        what: &str,
        api: &Api<K>,
        fields: Option<&str>,
    ) -> Result<Vec<K>, ClusterError>
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let mut items = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        if let Some(fields) = fields {
            params = params.fields(fields);
        }
        for _ in 0..PAGES_MAX {
            let page = self.call(what, api.list(&params)).await?;
            items.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(items),
            }
        }
        Err(ClusterError {
            class: "unexpected",
            detail: format!(
                "{what}: more than {} objects; this controller is not made for that many",
                PAGES_MAX * PAGE as usize
            ),
        })
    }

    pub(super) fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }
}

pub(super) fn in_words(what: &str, error: &kube::Error) -> ClusterError {
    let kube::Error::Api(status) = error else {
        return ClusterError {
            class: "unavailable",
            detail: format!("{what}: {}", bounded(&chain(error), 600)),
        };
    };
    let message = bounded(&status.message, 600);
    if status.code == 403
        && let Some(right) = rights::of(what)
    {
        return ClusterError {
            class: "forbidden",
            detail: format!("{} (HTTP 403: {message})", right.denied()),
        };
    }
    let (class, advice) = match status.code {
        401 => ("unauthorized", "renew the credentials in the kubeconfig"),
        403 => (
            "forbidden",
            "grant that verb on that resource to Iaso's role",
        ),
        404 => ("not-found", "it is not there"),
        409 if is_field_conflict(status) => (FIELD_CONFLICT, "somebody else holds the field"),
        409 | 422 => ("conflict", "it has changed in between"),
        429 => ("rate-limited", "the API server is busy"),
        500..=599 => ("unavailable", "the API server has trouble of its own"),
        _ => ("unexpected", "look at the API server's log"),
    };
    ClusterError {
        class,
        detail: format!("{what}: {advice} (HTTP {}: {message})", status.code),
    }
}

fn is_field_conflict(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .into_iter()
        .any(|cause| cause.reason == "FieldManagerConflict")
}

#[async_trait]
impl Cluster for KubeCluster {
    async fn survey(&self) -> Result<Vec<NodeView>, ClusterError> {
        survey::survey(self).await
    }
    async fn contents(&self, node: &NodeName) -> Result<Contents, ClusterError> {
        survey::contents(self, node).await
    }
    async fn server_version(&self) -> Result<String, ClusterError> {
        Ok(self
            .call("get /version", self.client.apiserver_version())
            .await?
            .git_version)
    }
    async fn remember(&self, node: &NodeName) -> Result<Remembered, ClusterError> {
        acts::remember(self, node).await
    }
    async fn cordon(&self, node: &NodeName) -> Result<String, ClusterError> {
        acts::cordon(self, node).await
    }
    async fn uncordon(&self, node: &NodeName) -> Result<String, ClusterError> {
        acts::uncordon(self, node).await
    }
    async fn restore(&self, node: &NodeName, remembered: &Remembered) -> Result<(), ClusterError> {
        acts::restore(self, node, remembered).await
    }
    async fn release(&self, node: &NodeName) -> Result<String, ClusterError> {
        release::release(self, node).await
    }
    async fn mint_token(
        &self,
        seed: &str,
        ttl: Duration,
        server: &str,
    ) -> Result<JoinToken, ClusterError> {
        token::mint(self, seed, ttl, server).await
    }
    async fn delete_token(&self, name: &str) -> Result<(), ClusterError> {
        token::delete(self, name).await
    }
}
