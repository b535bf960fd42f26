//! `/metrics` and `/healthz`.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;

use crate::agent::Agent;

/// Serves until the listener fails.
pub async fn serve(listener: TcpListener, agent: Arc<Agent>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .with_state(agent);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::warn!(%error, "the status listener ended");
    }
}

async fn metrics(State(agent): State<Arc<Agent>>) -> String {
    agent.metrics.render(&agent)
}

/// Healthy means that the agent does its work; whether the controller is there is not its fault.
async fn health(State(agent): State<Arc<Agent>>) -> (StatusCode, String) {
    let unfit = agent.self_health();
    let session = match (&agent.config.controller, agent.is_connected()) {
        (None, _) => "standalone",
        (Some(_), true) => "connected",
        (Some(_), false) => "no session with the controller",
    };
    let code = if unfit >= 8 {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    (
        code,
        format!(
            "self-health {unfit} (0 healthy, 8 unfit), {session}\n{}\n",
            crate::runnable::words(agent.plugins.runner().as_ref())
        ),
    )
}
