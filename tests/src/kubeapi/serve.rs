//! HTTP: who asks, what for, and the answer as Kubernetes words it.

use super::route::{self, Target};
use super::store::{Deed, Store, Verb, field, fields_match, labels_match, merge, metadata, text};
use super::upstream::Asked;
use super::{ADMIN_TOKEN, Shared, k3s};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Grace that a pod gets when nobody says otherwise, in seconds.
const DEFAULT_GRACE_SECS: u64 = 30;

/// Query parameters that this server understands.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Parameters {
    label_selector: String,
    field_selector: String,
    limit: Option<usize>,
    r#continue: String,
    watch: Option<String>,
    grace_period_seconds: Option<u64>,
    field_manager: String,
}

pub(crate) fn spawn(listener: TcpListener, shared: Shared) -> (CancellationToken, JoinHandle<()>) {
    let token = CancellationToken::new();
    let stopped = token.clone();
    let router = Router::new()
        .route("/version", get(version))
        .route("/cacerts", get(|| async { k3s::CA }))
        .route("/ping", get(|| async { "pong" }))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(|| async { "ok" }))
        .route("/healthz", get(|| async { "ok" }))
        .route("/v1-k3s/serving-kubelet.crt", get(k3s::join))
        .fallback(api)
        .layer(middleware::from_fn_with_state(shared.clone(), hold))
        .with_state(shared);
    let task = tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(async move { stopped.cancelled().await });
        if let Err(error) = served.await {
            tracing::warn!(%error, "the lab's Kubernetes API ended");
        }
    });
    (token, task)
}

/// A hung server takes a request and says nothing.
async fn hold(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let mut hung = shared.hung.subscribe();
    let _ = hung.wait_for(|hung| !*hung).await;
    next.run(request).await
}

async fn version() -> impl IntoResponse {
    axum::Json(json!({
        "major": "1", "minor": "33", "gitVersion": k3s::VERSION, "gitCommit": "lab", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.24", "compiler": "gc", "platform": "linux/amd64",
    }))
}

async fn api(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(upstream) = &shared.upstream {
        let asked = Asked {
            method,
            uri,
            headers,
            body,
        };
        return upstream.forward(&shared, asked).await;
    }
    let Some(who) = caller(&shared, &headers) else {
        return failure(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized");
    };
    let Some(target) = route::parse(uri.path()) else {
        let message = "the server could not find the requested resource";
        return failure(StatusCode::NOT_FOUND, "NotFound", message);
    };
    let body = match parse_body(&headers, &body) {
        Ok(body) => body,
        Err(message) => return failure(StatusCode::BAD_REQUEST, "BadRequest", &message),
    };
    let mut store = shared.store();
    let call = Call {
        store: &mut store,
        target,
        who,
        parameters,
        body,
        applies: kind_of(&headers).contains("apply-patch"),
    };
    call.answer(&method)
}

fn caller(shared: &Shared, headers: &HeaderMap) -> Option<String> {
    let token = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")?;
    if token == ADMIN_TOKEN {
        return Some("admin".into());
    }
    shared.store().kubelets.get(token).cloned()
}

fn kind_of(headers: &HeaderMap) -> &str {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn parse_body(headers: &HeaderMap, body: &Bytes) -> Result<Value, String> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    let kind = kind_of(headers);
    // What is applied is YAML by name; clients write JSON, which is YAML too.
    let yaml = kind.contains("yaml") && !kind.contains("apply-patch");
    if kind.contains("json-patch+json") || yaml {
        return Err(format!("the lab's API server does not take {kind}"));
    }
    serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))
}

/// A `Status` that says why not.
pub(crate) fn failure(code: StatusCode, reason: &str, message: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    (code, axum::Json(status)).into_response()
}

struct Call<'a> {
    store: &'a mut Store,
    target: Target,
    who: String,
    parameters: Parameters,
    body: Value,
    /// A server-side apply.
    applies: bool,
}

impl Call<'_> {
    fn answer(mut self, method: &Method) -> Response {
        let single = !self.target.name.is_empty();
        match (method.as_str(), single) {
            ("GET", true) => self.get(),
            ("GET", false) => self.list(),
            ("POST", false) => self.create(),
            ("POST", true) if self.target.subresource == "eviction" => self.evict(),
            ("PUT", true) => self.update(),
            ("PATCH", true) => self.patch(),
            ("DELETE", true) => self.delete(),
            _ => failure(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ),
        }
    }

    fn current(&self) -> Option<&Value> {
        let Target {
            resource,
            namespace,
            name,
            ..
        } = &self.target;
        self.store.get(resource, namespace, name)
    }

    fn missing(&self) -> Response {
        let message = format!("{} {:?} not found", self.target.resource, self.target.name);
        failure(StatusCode::NOT_FOUND, "NotFound", &message)
    }

    fn conflict(&self, why: &str) -> Response {
        let Target { resource, name, .. } = &self.target;
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        failure(StatusCode::CONFLICT, "Conflict", &message)
    }

    fn record(&mut self, verb: Verb, name: &str) {
        self.store.record(Deed {
            verb,
            resource: self.target.resource.clone(),
            namespace: self.target.namespace.clone(),
            name: name.to_owned(),
            subresource: self.target.subresource.clone(),
            who: self.who.clone(),
            at: Timestamp::now(),
        });
    }

    fn get(&self) -> Response {
        match self.current() {
            Some(object) => axum::Json(self.dressed(object)).into_response(),
            None => self.missing(),
        }
    }

    fn dressed(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if let Some((kind, version)) = route::kind(&self.target.resource) {
            merge(&mut object, &json!({"kind": kind, "apiVersion": version}));
        }
        object
    }

    fn list(&self) -> Response {
        if self
            .parameters
            .watch
            .as_deref()
            .is_some_and(|watch| watch != "false" && watch != "0")
        {
            return failure(
                StatusCode::BAD_REQUEST,
                "BadRequest",
                "the lab's API server does not watch: list instead",
            );
        }
        let matching: Vec<&Value> = self
            .store
            .all(&self.target.resource)
            .filter(|object| {
                let namespace = &self.target.namespace;
                namespace.is_empty() || text(object, &["metadata", "namespace"]) == namespace
            })
            .filter(|object| labels_match(object, &self.parameters.label_selector))
            .filter(|object| fields_match(object, &self.parameters.field_selector))
            .collect();
        let start: usize = self.parameters.r#continue.parse().unwrap_or(0);
        let limit = self.parameters.limit.filter(|limit| *limit > 0);
        let page: Vec<Value> = matching
            .iter()
            .skip(start)
            .take(limit.unwrap_or(usize::MAX))
            .map(|object| self.dressed(object))
            .collect();
        let after = start + page.len();
        let mut meta = json!({"resourceVersion": self.store.version().to_string()});
        if after < matching.len() {
            let rest = matching.len() - after;
            merge(
                &mut meta,
                &json!({"continue": after.to_string(), "remainingItemCount": rest}),
            );
        }
        let kind = route::kind(&self.target.resource).map_or("", |(kind, _)| kind);
        axum::Json(json!({
            "kind": format!("{kind}List"), "apiVersion": self.target.api_version, "metadata": meta, "items": page,
        }))
        .into_response()
    }

    fn create(&mut self) -> Response {
        let name = text(&self.body, &["metadata", "name"]).to_owned();
        if name.is_empty() {
            let message = "metadata.name: Required value: name is required";
            return failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        }
        let Target {
            resource,
            namespace,
            ..
        } = self.target.clone();
        if self.store.get(&resource, &namespace, &name).is_some() {
            let message = format!("{resource} {name:?} already exists");
            return failure(StatusCode::CONFLICT, "AlreadyExists", &message);
        }
        let mut object = std::mem::take(&mut self.body);
        if !namespace.is_empty() {
            metadata(&mut object).insert("namespace".into(), json!(namespace));
        }
        fold_string_data(&mut object);
        let stored = self.store.seed(&resource, object);
        self.record(Verb::Create, &name);
        (StatusCode::CREATED, axum::Json(self.dressed(&stored))).into_response()
    }

    fn update(&mut self) -> Response {
        let Some(current) = self.current().cloned() else {
            return self.missing();
        };
        let mut object = std::mem::take(&mut self.body);
        let version = text(&object, &["metadata", "resourceVersion"]);
        if !version.is_empty() && version != text(&current, &["metadata", "resourceVersion"]) {
            return self.conflict("the object has been modified; please apply your changes to the latest version and try again");
        }
        let kept = json!({"metadata": {
            "uid": field(&current, &["metadata", "uid"]),
            "creationTimestamp": field(&current, &["metadata", "creationTimestamp"]),
        }});
        merge(&mut object, &kept);
        fold_string_data(&mut object);
        self.keep(Verb::Update, object)
    }

    fn patch(&mut self) -> Response {
        let Some(current) = self.current() else {
            return self.missing();
        };
        let wanted = text(&self.body, &["metadata", "resourceVersion"]);
        if !wanted.is_empty() && wanted != text(current, &["metadata", "resourceVersion"]) {
            return self.conflict("the object has been modified");
        }
        let wanted = text(&self.body, &["metadata", "uid"]);
        if !wanted.is_empty() && wanted != text(current, &["metadata", "uid"]) {
            return self.conflict("the UID in the patch is not the object's");
        }
        let mut object = current.clone();
        if self.applies {
            let Target {
                resource,
                namespace,
                name,
                subresource,
                ..
            } = &self.target;
            let by = &self.parameters.field_manager;
            let manager = [by, resource, namespace, name, subresource]
                .map(String::as_str)
                .join("/");
            let before = self.store.applied.insert(manager, self.body.clone());
            if let Some(before) = before {
                merge(&mut object, &taken_back(&before, &self.body));
            }
        }
        merge(&mut object, &self.body);
        fold_string_data(&mut object);
        self.keep(Verb::Patch, object)
    }

    fn keep(&mut self, verb: Verb, object: Value) -> Response {
        let resource = self.target.resource.clone();
        let stored = self.store.seed(&resource, object);
        let name = self.target.name.clone();
        self.record(verb, &name);
        axum::Json(self.dressed(&stored)).into_response()
    }

    /// There are no disruption budgets here: a pod may always go.
    fn evict(&mut self) -> Response {
        self.body = field(&self.body, &["deleteOptions"]).clone();
        self.delete()
    }

    fn delete(&mut self) -> Response {
        let Some(current) = self.current().cloned() else {
            return self.missing();
        };
        for precondition in ["uid", "resourceVersion"] {
            let wanted = text(&self.body, &["preconditions", precondition]);
            let have = text(&current, &["metadata", precondition]);
            if !wanted.is_empty() && wanted != have {
                return self.conflict(&format!(
                    "the {precondition} in the precondition ({wanted}) does not match the {precondition} in record ({have})"
                ));
            }
        }
        let grace = field(&self.body, &["gracePeriodSeconds"])
            .as_u64()
            .or(self.parameters.grace_period_seconds)
            .unwrap_or(DEFAULT_GRACE_SECS);
        let bound =
            self.target.resource == "pods" && !text(&current, &["spec", "nodeName"]).is_empty();
        let Target {
            resource,
            namespace,
            name,
            ..
        } = self.target.clone();
        self.record(Verb::Delete, &name);
        if bound && grace > 0 {
            let stored = self.store.seed(&resource, terminating(current, grace));
            return axum::Json(self.dressed(&stored)).into_response();
        }
        self.store.remove(&resource, &namespace, &name);
        axum::Json(json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": name, "kind": resource, "uid": text(&current, &["metadata", "uid"])},
        }))
        .into_response()
    }
}

/// The pod, on its way out; its kubelet must confirm.
pub(crate) fn terminating(mut pod: Value, grace: u64) -> Value {
    let meta = metadata(&mut pod);
    meta.entry("deletionTimestamp")
        .or_insert_with(|| json!(super::store::now()));
    meta.insert("deletionGracePeriodSeconds".into(), json!(grace));
    pod
}

/// A merge patch that removes what a manager applied before and does not apply any more. One manager is enough here: nobody else's
/// hold on a field is asked for.
fn taken_back(before: &Value, now: &Value) -> Value {
    let Some(fields) = before.as_object() else {
        return if now.is_null() {
            Value::Null
        } else {
            now.clone()
        };
    };
    let nothing = Value::Null;
    let patches = fields.iter().map(|(name, value)| {
        let now = now.get(name).unwrap_or(&nothing);
        (name.clone(), taken_back(value, now))
    });
    Value::Object(patches.collect())
}

/// `stringData` becomes `data`, as a server does it.
fn fold_string_data(object: &mut Value) {
    use base64::Engine;
    let Some(plain) = object
        .as_object_mut()
        .and_then(|object| object.remove("stringData"))
    else {
        return;
    };
    for (name, value) in plain.as_object().into_iter().flatten() {
        let encoded =
            base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
        merge(object, &json!({"data": {name: encoded}}));
    }
}
