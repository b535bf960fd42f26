//! Numbers for Prometheus.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{agent::Agent, config::RunnerMode, plugins::CheckRun};

type Labels = Vec<(String, String)>;

/// Counters that parts of the agent raise.
pub struct Metrics {
    registry: Registry,
    runs: Family<Labels, Counter>,
    seconds: Family<Labels, Gauge<f64, AtomicU64>>,
    findings: Family<Labels, Gauge>,
    fixes: Family<Labels, Counter>,
    sessions: Counter,
    connected: Gauge,
    outbox: Gauge,
    dropped: Gauge,
    abandoned: Gauge,
    /// Of one node; empty until there is a certificate.
    certificate: Family<Labels, Gauge>,
    /// By plugin.
    refused: Family<Labels, Gauge>,
    /// None where there is no such process.
    runner: Option<RunnerMetrics>,
}

/// The process that plugins run in.
struct RunnerMetrics {
    up: Gauge,
    ends: Gauge,
    runs_lost: Gauge,
    layers: Family<Labels, Gauge>,
}

impl RunnerMetrics {
    fn registered(registry: &mut Registry) -> Self {
        let (up, ends, runs_lost) = (Gauge::default(), Gauge::default(), Gauge::default());
        let layers = Family::<Labels, Gauge>::default();
        registry.register(
            "runner_up",
            "1 while the process that plugins run in takes runs",
            up.clone(),
        );
        registry.register(
            "runner_ends",
            "Times that the process that plugins run in ended since the agent's start",
            ends.clone(),
        );
        registry.register(
            "runner_runs_lost",
            "Runs that were lost with it since the agent's start",
            runs_lost.clone(),
        );
        registry.register(
            "runner_layer",
            "1 for each layer of the lock round plugins that holds as a whole, else 0",
            layers.clone(),
        );
        Self {
            up,
            ends,
            runs_lost,
            layers,
        }
    }

    fn set(&self, status: &iaso_runner::Status) {
        let up = matches!(status.state, iaso_runner::State::Up { .. });
        self.up.set(i64::from(up));
        self.ends
            .set(i64::try_from(status.ends).unwrap_or(i64::MAX));
        self.runs_lost
            .set(i64::try_from(status.runs_lost).unwrap_or(i64::MAX));
        for (layer, state) in status.layers.iter().flat_map(iaso_runner::Layers::all) {
            let labels = vec![("layer".to_owned(), layer.to_owned())];
            let holds = *state == iaso_runner::Layer::On;
            self.layers.get_or_create(&labels).set(i64::from(holds));
        }
    }
}

fn certificate(registry: &mut Registry) -> Family<Labels, Gauge> {
    let ends = Family::<Labels, Gauge>::default();
    registry.register(
        "certificate_not_after_seconds",
        "When this node's certificate ends, in Unix seconds; absent while there is none",
        ends.clone(),
    );
    ends
}

fn refused(registry: &mut Registry) -> Family<Labels, Gauge> {
    let refused = Family::<Labels, Gauge>::default();
    registry.register(
        "plugin_refused",
        "1 while the version of a plugin that this node was assigned cannot be loaded, whether or not another runs in its place",
        refused.clone(),
    );
    refused
}

impl Metrics {
    /// All zero. What is about the process that plugins run in is there only where there is one.
    #[must_use]
    pub fn new(mode: RunnerMode) -> Self {
        let mut registry = Registry::with_prefix("iaso_agent");
        let (runs, fixes) = (Family::<Labels, Counter>::default(), Family::default());
        let seconds = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        let findings = Family::<Labels, Gauge>::default();
        let (sessions, connected, outbox) =
            (Counter::default(), Gauge::default(), Gauge::default());
        let (dropped, abandoned) = (Gauge::default(), Gauge::default());
        registry.register(
            "plugin_runs",
            "Checks run, by plugin and result",
            runs.clone(),
        );
        registry.register(
            "plugin_run_seconds",
            "Duration of each plugin's last check",
            seconds.clone(),
        );
        registry.register(
            "findings",
            "Findings of each plugin's last check, by severity",
            findings.clone(),
        );
        registry.register("fixes", "Fixes, by result", fixes.clone());
        registry.register(
            "sessions",
            "Sessions opened with the controller",
            sessions.clone(),
        );
        registry.register(
            "connected",
            "1 while a session with the controller is open",
            connected.clone(),
        );
        registry.register(
            "outbox_entries",
            "Entries that the controller has not acknowledged",
            outbox.clone(),
        );
        registry.register(
            "outbox_dropped",
            "Samples dropped from the outbox since the start",
            dropped.clone(),
        );
        registry.register(
            "abandoned_threads",
            "Threads that a hung system call holds",
            abandoned.clone(),
        );
        let certificate = certificate(&mut registry);
        let refused = refused(&mut registry);
        let has_process = mode == RunnerMode::Process;
        let runner = has_process.then(|| RunnerMetrics::registered(&mut registry));
        Self {
            registry,
            runs,
            seconds,
            findings,
            fixes,
            sessions,
            connected,
            outbox,
            dropped,
            abandoned,
            certificate,
            refused,
            runner,
        }
    }

    /// A check ended.
    pub fn ran(&self, plugin: &str, run: &CheckRun) {
        let result = run
            .outcome
            .as_ref()
            .map_or_else(|fault| fault.class.as_str(), |_| "ok");
        let name = ("plugin".to_owned(), plugin.to_owned());
        self.runs
            .get_or_create(&vec![name.clone(), ("result".into(), result.into())])
            .inc();
        self.seconds
            .get_or_create(&vec![name])
            .set(run.duration.as_secs_f64());
    }

    /// A fix ended.
    pub fn fixed(&self, result: &str) {
        self.fixes
            .get_or_create(&vec![("result".into(), result.into())])
            .inc();
    }

    /// A session opened.
    pub fn session(&self) {
        self.sessions.inc();
    }

    /// This node has a certificate until then, in Unix seconds.
    pub fn certified(&self, node: &str, ends: u64) {
        let ends = i64::try_from(ends).unwrap_or(i64::MAX);
        let of = vec![("node".to_owned(), node.to_owned())];
        self.certificate.get_or_create(&of).set(ends);
    }

    /// The text of `/metrics`.
    #[must_use]
    pub fn render(&self, agent: &Agent) -> String {
        self.connected.set(i64::from(agent.is_connected()));
        let (owed, dropped) = {
            let outbox = agent.outbox();
            (outbox.len(), outbox.dropped())
        };
        self.outbox.set(i64::try_from(owed).unwrap_or(i64::MAX));
        self.dropped.set(i64::try_from(dropped).unwrap_or(i64::MAX));
        let abandoned = agent.plugins.capabilities().abandoned_threads();
        self.abandoned
            .set(i64::try_from(abandoned).unwrap_or(i64::MAX));
        if let (Some(runner), Some(status)) = (&self.runner, agent.plugins.runner()) {
            runner.set(&status);
        }
        self.refused.clear();
        for slot in agent.plugins.all() {
            let is_refused = slot.loaded.is_err() || slot.seat.refused().is_some();
            let of = vec![("plugin".to_owned(), slot.spec.name.clone())];
            self.refused.get_or_create(&of).set(i64::from(is_refused));
        }
        self.findings.clear();
        for (plugin, believed) in agent.believed() {
            for finding in believed.unwrap_or_default() {
                let labels = vec![
                    ("plugin".into(), plugin.clone()),
                    ("severity".into(), finding.severity),
                ];
                self.findings.get_or_create(&labels).inc();
            }
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_is_about_a_metric_that_there_is() {
        let alerts = include_str!("../../deploy/monitoring/alerts.yaml");
        let metrics = Metrics::new(RunnerMode::Process);
        metrics.certified("styx", 1_795_000_000);
        let mut rendered = String::new();
        encode(&mut rendered, &metrics.registry).expect("a string takes everything");
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let names: Vec<&str> = alerts
            .match_indices("iaso_agent_")
            .filter_map(|(at, _)| alerts.get(at..)?.split(|c| !is_name(c)).next())
            .collect();
        assert!(names.len() >= 3, "{names:?}");
        for name in names {
            let is_sample = |line: &str| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            assert!(rendered.lines().any(is_sample), "there is no {name}");
        }
        let ends = "iaso_agent_certificate_not_after_seconds{node=\"styx\"} 1795000000";
        assert!(rendered.lines().any(|line| line == ends), "{rendered}");
    }

    #[test]
    fn without_a_certificate_there_is_no_end_of_one() {
        let mut rendered = String::new();
        encode(&mut rendered, &Metrics::new(RunnerMode::Process).registry)
            .expect("a string takes everything");
        assert!(
            !rendered.contains("certificate_not_after_seconds{"),
            "{rendered}"
        );
    }
    /// A gauge that is 0 says that the process is down, and wakes somebody.
    #[test]
    fn where_plugins_run_in_the_agent_nothing_is_said_about_a_process_of_theirs() {
        let text = |mode| {
            let mut text = String::new();
            encode(&mut text, &Metrics::new(mode).registry).expect("a string takes everything");
            text
        };
        assert!(text(RunnerMode::Process).contains("iaso_agent_runner_up 0"));
        assert!(!text(RunnerMode::InProcess).contains("iaso_agent_runner"));
    }
}
