//! The operator's configuration of this plugin.

use std::time::Duration;

use iaso_plugin::Config;

pub(crate) const KEYS: &[&str] = &[
    "namespaces",
    "terminating_max",
    "starting_max",
    "crash_restarts",
];

/// Where is looked, and what takes too long.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) namespaces: Vec<String>,
    /// Beyond the pod's own grace.
    pub(crate) terminating_max: Duration,
    /// From its making on.
    pub(crate) starting_max: Duration,
    /// So many restarts of a container that is not ready are a loop.
    pub(crate) crash_restarts: u64,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let settings = Self {
            namespaces: config.list("namespaces", &["default", "kube-system"])?,
            terminating_max: config.duration("terminating_max", Duration::from_mins(5))?,
            starting_max: config.duration("starting_max", Duration::from_mins(10))?,
            crash_restarts: config.number("crash_restarts", 3, 1..=1000)?,
        };
        if settings.namespaces.is_empty() {
            return Err("configuration key `namespaces` must name one at least".into());
        }
        Ok(settings)
    }
}
