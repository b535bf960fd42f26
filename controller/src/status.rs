//! `/metrics` for Prometheus and `/healthz`.

use crate::driver::Handle;
use crate::text::chain;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use iaso_engine::id::NodeName;
use iaso_engine::ledger::{Ledger, Standing};
use iaso_engine::plan::NodePlan;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long the driver may take to answer `/healthz`.
const HEALTH_MAX: Duration = Duration::from_secs(3);

/// Refusals that deserve a look each: counted from zero on, or the first of them would be no increase.
const WATCHED: [&str; 3] = ["join-token-replayed", "other-node", "certificate-revoked"];

/// A metric's single label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    kind: String,
}

/// A node's label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfNode {
    node: String,
}

fn kind(kind: impl Into<String>) -> Kind {
    Kind { kind: kind.into() }
}

/// All metrics. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    nodes: Family<Kind, Gauge>,
    incidents: Family<Kind, Gauge>,
    waiting: Family<Kind, Gauge>,
    effects: Family<Kind, Counter>,
    entries: Counter,
    vetoes: Counter,
    dropped: Family<Kind, Counter>,
    admissions: Admissions,
    observed: Family<Kind, Counter>,
    sessions: Gauge,
}

/// Who was let in, for how long, and who was not.
#[derive(Debug, Clone, Default)]
struct Admissions {
    refused: Family<Kind, Counter>,
    issued: Family<Kind, Counter>,
    ends: Family<OfNode, Gauge>,
    authority_ends: Gauge,
}

impl Admissions {
    fn registered(registry: &mut Registry) -> Self {
        let admissions = Self::default();
        registry.register(
            "refused",
            "Connections and calls that were refused, by kind",
            admissions.refused.clone(),
        );
        registry.register(
            "certificates",
            "Certificates of nodes that this process issued",
            admissions.issued.clone(),
        );
        registry.register(
            "certificate_not_after_seconds",
            "When a node's latest certificate ends, in Unix seconds; absent without one that counts",
            admissions.ends.clone(),
        );
        registry.register(
            "authority_not_after_seconds",
            "When the authority's own certificate ends, in Unix seconds",
            admissions.authority_ends.clone(),
        );
        for why in WATCHED {
            admissions.refused.get_or_create(&kind(why)).inc_by(0);
        }
        admissions
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("iaso_controller");
        let metrics = Self {
            registry: Arc::default(),
            nodes: Family::default(),
            incidents: Family::default(),
            waiting: Family::default(),
            effects: Family::default(),
            entries: Counter::default(),
            vetoes: Counter::default(),
            dropped: Family::default(),
            admissions: Admissions::registered(&mut registry),
            observed: Family::default(),
            sessions: Gauge::default(),
        };
        registry.register("nodes", "Nodes by diagnosis", metrics.nodes.clone());
        registry.register(
            "incidents",
            "Incidents by standing",
            metrics.incidents.clone(),
        );
        registry.register(
            "waiting",
            "Nodes by reason for waiting",
            metrics.waiting.clone(),
        );
        registry.register(
            "effects",
            "Effects intended by this process, by action",
            metrics.effects.clone(),
        );
        registry.register(
            "journal_entries",
            "Entries written by this process",
            metrics.entries.clone(),
        );
        registry.register(
            "vetoes",
            "Plans that the independent checker vetoed",
            metrics.vetoes.clone(),
        );
        registry.register(
            "dropped",
            "What was dropped at a bound, by kind",
            metrics.dropped.clone(),
        );
        registry.register(
            "observed",
            "Rungs that observe mode would have taken, by judgement when their incident was closed",
            metrics.observed.clone(),
        );
        registry.register("sessions", "Connected agents", metrics.sessions.clone());
        Self {
            registry: Arc::new(registry),
            ..metrics
        }
    }
}

impl Metrics {
    pub(crate) fn journaled(&self, entries: usize) {
        self.entries.inc_by(entries as u64);
    }

    pub(crate) fn intended(&self, action: &str) {
        self.effects.get_or_create(&kind(action)).inc();
    }

    pub(crate) fn vetoed(&self, plans: usize) {
        self.vetoes.inc_by(plans as u64);
    }

    pub(crate) fn observed(&self, judgement: &str) {
        self.observed.get_or_create(&kind(judgement)).inc();
    }

    pub(crate) fn dropped(&self, what: &str) {
        self.dropped.get_or_create(&kind(what)).inc();
    }

    pub(crate) fn refused(&self, why: &str) {
        self.admissions.refused.get_or_create(&kind(why)).inc();
    }

    pub(crate) fn certified(&self, how: &str) {
        self.admissions.issued.get_or_create(&kind(how)).inc();
    }

    /// When the latest certificate of a node ends, in Unix seconds; `None`: none counts.
    pub(crate) fn certificate(&self, node: &str, ends: Option<u64>) {
        let of = OfNode { node: node.into() };
        match ends {
            Some(ends) => {
                self.admissions
                    .ends
                    .get_or_create(&of)
                    .set(ends.cast_signed());
            }
            None => {
                self.admissions.ends.remove(&of);
            }
        }
    }

    pub(crate) fn authority(&self, ends: u64) {
        self.admissions.authority_ends.set(ends.cast_signed());
    }

    pub(crate) fn session(&self, change: i64) {
        self.sessions.inc_by(change);
    }

    /// Gauges of what is, after a decision.
    pub(crate) fn observe(&self, nodes: &BTreeMap<NodeName, NodePlan>, ledger: &Ledger) {
        self.nodes.clear();
        self.waiting.clear();
        for node in nodes.values() {
            self.nodes.get_or_create(&kind(word(&node.diagnosis))).inc();
            for waiting in &node.waiting {
                self.waiting.get_or_create(&kind(word(waiting))).inc();
            }
        }
        self.incidents.clear();
        for incident in ledger.incidents.values() {
            let standing = match incident.standing {
                Standing::Open => "open",
                Standing::Verifying(_) => "verifying",
                Standing::Parked => "parked",
                Standing::Closed(..) => "closed",
            };
            self.incidents.get_or_create(&kind(standing)).inc();
        }
    }

    fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// An enum's own spelling: the variant's name as it is written in the journal.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(serde_json::Value::Object(map)) => map
            .into_iter()
            .next()
            .map(|(key, _)| key)
            .unwrap_or_default(),
        Ok(_) | Err(_) => "unknown".into(),
    }
}

/// Serves until it is stopped.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    handle: Handle,
    stop: CancellationToken,
) {
    let app = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(show_health))
        .with_state((metrics, handle));
    let served = axum::serve(listener, app)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(error = chain(&error), "the status listener ended");
    }
}

async fn show_metrics(State((metrics, _)): State<(Metrics, Handle)>) -> Response {
    let format = [(
        header::CONTENT_TYPE,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )];
    match metrics.render() {
        Ok(text) => (format, text).into_response(),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "metrics cannot be written",
        )
            .into_response(),
    }
}

async fn show_health(State((_, handle)): State<(Metrics, Handle)>) -> Response {
    let trouble = handle.ask(|view| view.world.store.clone());
    match tokio::time::timeout(HEALTH_MAX, trouble).await {
        Ok(Ok(None)) => (StatusCode::OK, "ok\n").into_response(),
        Ok(Ok(Some(trouble))) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the journal: {trouble}\n"),
        )
            .into_response(),
        Ok(Err(gone)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{gone}\n")).into_response(),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the driver does not answer\n",
        )
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Denied;

    const ALERTS: &str = include_str!("../../deploy/monitoring/alerts.yaml");

    /// An empty family is not rendered.
    fn in_use() -> String {
        let metrics = Metrics::default();
        metrics.nodes.get_or_create(&kind("x")).set(1);
        metrics.incidents.get_or_create(&kind("x")).set(1);
        metrics.waiting.get_or_create(&kind("x")).set(1);
        metrics.intended("x");
        metrics.dropped("x");
        metrics.certified("x");
        metrics.observed("x");
        metrics.certificate("styx", Some(1));
        metrics.render().unwrap()
    }

    #[test]
    fn every_alert_is_about_a_metric_that_there_is() {
        let rendered = in_use();
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let mut names: Vec<&str> = ALERTS
            .match_indices("iaso_controller_")
            .filter_map(|(at, _)| ALERTS.get(at..)?.split(|c| !is_name(c)).next())
            .collect();
        names.dedup();
        assert!(names.len() >= 4, "{names:?}");
        for name in names {
            let is_sample = |line: &str| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            assert!(rendered.lines().any(is_sample), "there is no {name}");
        }
    }

    #[test]
    fn the_refusals_that_are_watched_are_refusals_and_count_from_zero() {
        let node = || "styx".to_owned();
        let other = Denied::OtherNode {
            certified: node(),
            claimed: node(),
        };
        let kinds = [Denied::JoinTokenUsed, other, Denied::Revoked].map(|denied| denied.kind());
        assert_eq!(kinds, WATCHED);
        assert!(ALERTS.contains(&format!("kind=~\"{}\"", WATCHED.join("|"))));
        let rendered = Metrics::default().render().unwrap();
        for why in WATCHED {
            let line = format!("iaso_controller_refused_total{{kind=\"{why}\"}} 0");
            assert!(rendered.lines().any(|said| said == line), "{rendered}");
        }
    }

    #[test]
    fn a_node_without_a_certificate_that_counts_has_no_end_of_one() {
        let metrics = Metrics::default();
        metrics.certificate("styx", Some(1_795_000_000));
        let line = "iaso_controller_certificate_not_after_seconds{node=\"styx\"} 1795000000";
        assert!(metrics.render().unwrap().lines().any(|said| said == line));
        metrics.certificate("styx", None);
        assert!(!metrics.render().unwrap().contains("styx"));
    }
}
