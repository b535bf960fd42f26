//! The operator's configuration of this plugin.

use std::time::Duration;

use iaso_plugin::{Config, ConfigError};

pub(crate) const KEYS: &[&str] = &[
    "unit",
    "kubelet_healthz",
    "containerd_socket",
    "agent_lb",
    "activating_max",
    "start_grace",
    "crash_loop_restarts",
    "crash_loop_window",
    "cause_max_age",
    "journal_lines",
    "journal_max_age",
    "timeout",
    "restart_timeout",
    "health_timeout",
    "restart_cooldown",
    "killall_script",
];

/// What is looked at, and how patiently. An empty endpoint is not looked at.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) unit: String,
    pub(crate) kubelet_healthz: String,
    pub(crate) containerd_socket: String,
    pub(crate) agent_lb: Option<(String, u16)>,
    /// k3s-agent takes more than ten minutes on a small machine, and its unit has no start timeout of its own.
    pub(crate) activating_max: Duration,
    /// After the unit is active, kubelet and containerd may take so long to answer.
    pub(crate) start_grace: Duration,
    pub(crate) crash_loop_restarts: u64,
    pub(crate) crash_loop_window: Duration,
    /// What keeps the agent from working is logged again every few seconds: an older line is of a trouble that has passed.
    pub(crate) cause_max_age: Duration,
    pub(crate) journal_lines: u32,
    pub(crate) journal_max_age: Duration,
    pub(crate) timeout: Duration,
    pub(crate) restart_timeout: Duration,
    pub(crate) health_timeout: Duration,
    pub(crate) restart_cooldown: Duration,
    pub(crate) killall_script: String,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let seconds = |key: &str, default: u64| config.duration(key, Duration::from_secs(default));
        let lines = config.number("journal_lines", 300, 1..=500)?;
        Ok(Self {
            unit: config.text("unit", "k3s-agent.service").to_owned(),
            kubelet_healthz: config
                .text("kubelet_healthz", "http://127.0.0.1:10248/healthz")
                .to_owned(),
            containerd_socket: config
                .text("containerd_socket", "/run/k3s/containerd/containerd.sock")
                .to_owned(),
            agent_lb: config.endpoint("agent_lb", "", Some(6444))?,
            activating_max: seconds("activating_max", 15 * 60)?,
            start_grace: seconds("start_grace", 120)?,
            crash_loop_restarts: config.number("crash_loop_restarts", 3, 1..=1000)?,
            crash_loop_window: seconds("crash_loop_window", 600)?,
            cause_max_age: seconds("cause_max_age", 300)?,
            journal_lines: u32::try_from(lines).unwrap_or(500),
            journal_max_age: seconds("journal_max_age", 3600)?,
            timeout: seconds("timeout", 2)?,
            restart_timeout: seconds("restart_timeout", 30)?,
            health_timeout: seconds("health_timeout", 60)?,
            restart_cooldown: seconds("restart_cooldown", 600)?,
            killall_script: config.text("killall_script", "k3s-killall").to_owned(),
        })
    }
}
