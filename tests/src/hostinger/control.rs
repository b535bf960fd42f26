//! The HTTP side: counting, faults, the token, then the API; and `/lab/*` for whoever runs the lab.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Query, Request, State},
    http::{HeaderMap, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::Value;

use super::{
    CallKind, Calls, Cut, Faults,
    answer::Refusal,
    api::{self, Route},
    faults::Effect,
    world::World,
};

/// Largest request that is read.
const BODY_BYTES_MAX: usize = 256 * 1024;

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/lab/faults", get(show_faults).post(set_faults))
        .route("/lab/calls", get(show_calls))
        .fallback(serve)
        .with_state(world)
}

async fn show_faults(State(world): State<Arc<World>>) -> Json<Faults> {
    Json(world.state().faults.clone())
}

async fn set_faults(State(world): State<Arc<World>>, body: Bytes) -> Result<Json<Faults>, Refusal> {
    let wrong = |error| Refusal::bad_request(&format!("these are no faults: {error}"));
    let faults: Faults = serde_json::from_slice(&body).map_err(wrong)?;
    if let Some(mistake) = faults.mistake() {
        return Err(Refusal::bad_request(mistake));
    }
    world.state().faults = faults.clone();
    Ok(Json(faults))
}

async fn show_calls(State(world): State<Arc<World>>) -> Json<Calls> {
    Json(world.state().calls.clone())
}

async fn serve(
    State(world): State<Arc<World>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let route = Route::read(&parts.method, parts.uri.path());
    let hit = {
        let mut state = world.state();
        state.calls.count_received(route.kind);
        state.faults.hit(route.kind)
    };
    tokio::time::sleep(hit.delay).await;
    match hit.effect {
        Some(Effect::Hang) => {
            world.stopping.cancelled().await;
            cut.now();
            Refusal::server_error(503).into_response()
        }
        Some(Effect::ServerError(status)) => Refusal::server_error(status).into_response(),
        Some(Effect::NotFound) => Refusal::not_found().into_response(),
        Some(Effect::Unauthorized) => Refusal::unauthorized().into_response(),
        Some(Effect::RateLimited(limit)) => {
            Refusal::rate_limited(limit.retry_after_secs).into_response()
        }
        Some(Effect::DropAfterAccept) => {
            let response = guarded(&world, route, &query, &parts.headers, body).await;
            cut.now();
            response
        }
        None => guarded(&world, route, &query, &parts.headers, body).await,
    }
}

async fn guarded(
    world: &Arc<World>,
    route: Route,
    query: &BTreeMap<String, String>,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    if !authorized(world, headers) {
        return Refusal::unauthorized().into_response();
    }
    if route.kind == CallKind::Other {
        return Refusal::not_found().into_response();
    }
    let body = match read_json(body).await {
        Ok(body) => body,
        Err(refusal) => return refusal.into_response(),
    };
    match api::answer(world, route, query, &body).await {
        Ok(answer) => Json(answer).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

fn authorized(world: &World, headers: &HeaderMap) -> bool {
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    given.and_then(|given| given.strip_prefix("Bearer ")) == Some(world.state().token.as_str())
}

async fn read_json(body: Body) -> Result<Value, Refusal> {
    let too_large = |_| Refusal::bad_request("the request is too large or was cut off");
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(too_large)?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(|_| Refusal::bad_request("the request is not JSON"))
}
