//! A real API server behind the lab's door: the door stays k3s's supervisor, and hands on everything else as it came.
//!
//! It can also be unkind: while it is armed, each kind of write of the controller's is met once by the death of the API server, before
//! the write or after it, with its answer lost; the server comes back by itself.

use super::serve::failure;
use super::store::{Deed, Verb};
use super::{KubeApi, Shared, route};
use crate::kubereal::{NODES, RealKube, User};
use anyhow::Result;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A dead API server stays dead for so long: everybody must notice.
const DEAD_FOR: Duration = Duration::from_secs(2);

/// The real one.
pub(crate) struct Upstream {
    /// Its processes.
    pub(crate) kube: Arc<tokio::sync::Mutex<RealKube>>,
    clients: BTreeMap<String, Client>,
    deaths: Mutex<Deaths>,
    deaf: AtomicBool,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upstream")
    }
}

#[derive(Debug, Default)]
struct Deaths {
    armed: bool,
    met: BTreeSet<&'static str>,
}

/// One request, read.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    fn header(&self, name: header::HeaderName) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    fn token(&self) -> &str {
        let words = self.header(header::AUTHORIZATION);
        words.strip_prefix("Bearer ").unwrap_or_default()
    }

    fn watches(&self) -> bool {
        let query = self.uri.query().unwrap_or_default();
        self.method == Method::GET && query.split('&').any(|word| word.starts_with("watch="))
    }

    /// Which step of a recreate this request belongs to.
    fn step(&self) -> Option<&'static str> {
        let target = route::parse(self.uri.path())?;
        let applied = self.header(header::CONTENT_TYPE).contains("apply-patch");
        let body = String::from_utf8_lossy(&self.body);
        match (self.method.as_str(), target.resource.as_str()) {
            ("GET", "nodes") if !target.name.is_empty() => Some("remember"),
            ("PATCH", "nodes") if applied && body.contains("unschedulable") => Some("cordon"),
            ("PATCH", "nodes") if applied => Some("uncordon"),
            ("PATCH", "nodes") => Some("restore"),
            ("POST", "secrets") => Some("prepare-script"),
            ("DELETE", "secrets") if target.name.ends_with(".node-password.k3s") => Some("release"),
            _ => None,
        }
    }
}

impl Upstream {
    async fn new(kube: RealKube) -> Result<Self> {
        let users = [User::Admin, User::Iaso]
            .into_iter()
            .chain(NODES.map(User::Kubelet));
        let mut clients = BTreeMap::new();
        for user in users {
            clients.insert(user.token(), kube.client(user).await?);
        }
        Ok(Self {
            kube: Arc::new(tokio::sync::Mutex::new(kube)),
            clients,
            deaths: Mutex::default(),
            deaf: AtomicBool::new(false),
        })
    }

    /// Hands a request on and its answer back.
    pub(crate) async fn forward(&self, shared: &Shared, asked: Asked) -> Response {
        let Some(client) = self.clients.get(asked.token()) else {
            return failure(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized");
        };
        let dies = self.death_at(&asked);
        if dies == Some(When::Before) {
            self.die().await;
            return gone();
        }
        record(shared, &asked);
        if asked.watches() && !self.deaf.load(Ordering::Relaxed) {
            return pass(client, asked).await.unwrap_or_else(|_| gone());
        }
        let answer = send(client, asked).await;
        if dies == Some(When::After) {
            self.die().await;
            return gone();
        }
        answer.unwrap_or_else(|_| gone())
    }

    fn death_at(&self, asked: &Asked) -> Option<When> {
        if asked.token() != User::Iaso.token() {
            return None;
        }
        let mut deaths = self.deaths.lock().unwrap_or_else(PoisonError::into_inner);
        let step = asked.step().filter(|_| deaths.armed)?;
        if !deaths.met.insert(step) {
            return None;
        }
        Some(if deaths.met.len() % 2 == 1 {
            When::Before
        } else {
            When::After
        })
    }

    async fn die(&self) {
        let kube = Arc::clone(&self.kube);
        kube.lock().await.stop_api().await;
        tokio::spawn(async move {
            tokio::time::sleep(DEAD_FOR).await;
            if let Err(error) = kube.lock().await.start_api().await {
                tracing::error!(%error, "the API server does not come back");
            }
        });
    }

    /// Copies an object into the door's own memory, which its k3s part reads; forgets it when it is gone.
    pub(crate) async fn bring(&self, shared: &Shared, namespace: &str, name: &str) -> Result<()> {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        let seed = self.kube.lock().await.seed().await?;
        let found = seed.get(&path).await?;
        let mut store = shared.store();
        match found {
            Some(secret) => drop(store.seed("secrets", secret)),
            None => drop(store.remove("secrets", namespace, name)),
        }
        Ok(())
    }

    /// Makes a Secret there that the door's k3s part made here.
    pub(crate) async fn take(&self, shared: &Shared, namespace: &str, name: &str) -> Result<()> {
        let made = shared.store().get("secrets", namespace, name).cloned();
        let path = format!("/api/v1/namespaces/{namespace}/secrets");
        let seed = self.kube.lock().await.seed().await?;
        if let Some(mut secret) = made
            && seed.get(&format!("{path}/{name}")).await?.is_none()
        {
            for field in ["resourceVersion", "uid", "creationTimestamp"] {
                super::store::metadata(&mut secret).remove(field);
            }
            seed.create(&path, &secret).await?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    After,
}

fn gone() -> Response {
    failure(
        StatusCode::SERVICE_UNAVAILABLE,
        "ServiceUnavailable",
        "apiserver not ready",
    )
}

/// An answer that has no end: handed on as it comes.
async fn pass(client: &Client, asked: Asked) -> Result<Response> {
    let (head, body) = ask(client, asked).await?.into_parts();
    Ok((head.status, Body::new(body)).into_response())
}

async fn send(client: &Client, asked: Asked) -> Result<Response> {
    let (head, body) = ask(client, asked).await?.into_parts();
    // Whole, because an answer that breaks off is none.
    let body = axum::body::to_bytes(Body::new(body), usize::MAX).await?;
    let mut answer = (head.status, body).into_response();
    if let Some(kind) = head.headers.get(header::CONTENT_TYPE) {
        answer
            .headers_mut()
            .insert(header::CONTENT_TYPE, kind.clone());
    }
    Ok(answer)
}

async fn ask(client: &Client, asked: Asked) -> Result<http::Response<kube::client::Body>> {
    let path = asked.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = http::Request::builder().method(&asked.method).uri(path);
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        if let Some(value) = asked.headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let request = request.body(kube::client::Body::from(asked.body.to_vec()))?;
    Ok(client.send(request).await?)
}

fn record(shared: &Shared, asked: &Asked) {
    let verb = match asked.method.as_str() {
        "POST" => Verb::Create,
        "PUT" => Verb::Update,
        "PATCH" => Verb::Patch,
        "DELETE" => Verb::Delete,
        _ => return,
    };
    if let Some(target) = route::parse(asked.uri.path()) {
        let token = asked.token();
        let who = token.strip_prefix("kubelet-").unwrap_or(token).to_owned();
        shared.store().record(Deed {
            verb,
            resource: target.resource,
            namespace: target.namespace,
            name: target.name,
            subresource: target.subresource,
            who,
            at: Timestamp::now(),
        });
    }
}

impl KubeApi {
    /// Opens the door before a real API server.
    pub async fn before(bind: SocketAddr, kube: RealKube) -> Result<Self> {
        let upstream = Arc::new(Upstream::new(kube).await?);
        Self::open(bind, Some(upstream), None).await
    }

    /// The real cluster behind the door, if there is one.
    #[must_use]
    pub fn real(&self) -> Option<Arc<tokio::sync::Mutex<RealKube>>> {
        let upstream = self.shared.upstream.as_ref()?;
        Some(Arc::clone(&upstream.kube))
    }

    /// From now on a watch hears nothing until it ends, as behind a proxy that holds answers back.
    pub fn deafen_watches(&self) {
        if let Some(upstream) = &self.shared.upstream {
            upstream.deaf.store(true, Ordering::Relaxed);
        }
    }

    /// From now on the API server dies once in each step of a recreate.
    pub fn die_in_each_step(&self) {
        if let Some(upstream) = &self.shared.upstream {
            let deaths = upstream.deaths.lock();
            deaths.unwrap_or_else(PoisonError::into_inner).armed = true;
        }
    }

    /// The steps in which it has died.
    #[must_use]
    pub fn deaths(&self) -> Vec<&'static str> {
        let upstream = self.shared.upstream.as_ref();
        upstream.map_or_else(Vec::new, |upstream| {
            let deaths = upstream.deaths.lock();
            let deaths = deaths.unwrap_or_else(PoisonError::into_inner);
            deaths.met.iter().copied().collect()
        })
    }
}
