//! Where plugins run: in a process of their own, or, for tests and where a person chose so, in the agent's.

use std::sync::Arc;
use std::time::Duration;

use iaso_grants::Grants;
use iaso_host::{
    Broker, Digest, EngineError, HostConfig, LoadedPlugin, PluginFault, PluginHost, RunLimits,
    RunReport,
    types::{Attributes, Finding, FixOutcome, FixPlan},
};
use iaso_runner::{Limits, Plugin, Runner, Settings, Status};

use crate::config::{RunnerConfig, RunnerMode};

/// Whatever runs plugins.
pub(crate) enum Place {
    InProcess(PluginHost),
    Process(Runner),
}

impl Place {
    pub(crate) fn new(config: &RunnerConfig, broker: Arc<dyn Broker>) -> Result<Self, EngineError> {
        match config.mode {
            RunnerMode::InProcess => {
                tracing::warn!(
                    "plugins run in the agent's own process: one that breaks out of its sandbox has all rights of the agent (`runner.mode`)"
                );
                PluginHost::new(HostConfig::default(), broker).map(Self::InProcess)
            }
            RunnerMode::Process => {
                let limits = Limits {
                    uid: config.uid,
                    gid: config.gid,
                    memory_bytes: config.memory_mib << 20,
                };
                let settings = Settings::of_this_program(limits);
                Ok(Self::Process(Runner::start(settings, broker)))
            }
        }
    }

    pub(crate) fn load(
        &self,
        name: &str,
        compiled: &[u8],
        digest: &Digest,
        grants: &Arc<Grants>,
    ) -> Result<Runnable, PluginFault> {
        match self {
            Self::InProcess(host) => host
                .load(name, compiled, digest, grants)
                .map(|plugin| Runnable::InProcess(Box::new(plugin))),
            Self::Process(runner) => runner
                .plugin(name, compiled, digest, Arc::clone(grants))
                .map(|plugin| Runnable::Process(Box::new(plugin))),
        }
    }

    /// None when there is no process for plugins.
    pub(crate) fn status(&self) -> Option<Status> {
        match self {
            Self::InProcess(_) => None,
            Self::Process(runner) => Some(runner.status()),
        }
    }
}

/// A plugin that can be run.
pub enum Runnable {
    /// In the agent's own process.
    InProcess(Box<LoadedPlugin>),
    /// In the runner.
    Process(Box<Plugin>),
}

impl Runnable {
    /// Loads it where it will run, within `within`: what cannot be used is known before its first run.
    pub(crate) async fn load(&self, within: Duration) -> Result<(), PluginFault> {
        match self {
            Self::InProcess(_) => Ok(()), // It would not be one otherwise.
            Self::Process(plugin) => plugin.load(within).await,
        }
    }

    pub(crate) async fn check(
        &self,
        config: &Attributes,
        limits: &RunLimits,
    ) -> RunReport<Vec<Finding>> {
        match self {
            Self::InProcess(plugin) => plugin.check(config, limits).await,
            Self::Process(plugin) => plugin.check(config, limits).await,
        }
    }

    pub(crate) async fn plan(
        &self,
        fix: &str,
        config: &Attributes,
        limits: &RunLimits,
    ) -> RunReport<FixPlan> {
        match self {
            Self::InProcess(plugin) => plugin.plan(fix, config, limits).await,
            Self::Process(plugin) => plugin.plan(fix, config, limits).await,
        }
    }

    pub(crate) async fn apply(
        &self,
        fix: &str,
        config: &Attributes,
        limits: &RunLimits,
    ) -> RunReport<FixOutcome> {
        match self {
            Self::InProcess(plugin) => plugin.apply(fix, config, limits).await,
            Self::Process(plugin) => plugin.apply(fix, config, limits).await,
        }
    }
}

/// How plugins are kept apart from the agent, in one line.
#[must_use]
pub fn words(status: Option<&Status>) -> String {
    let Some(status) = status else {
        return "plugins run in the agent's own process (`runner.mode`)".to_owned();
    };
    let lock = match &status.layers {
        Some(layers) => layers.words(),
        None => "not ready yet".to_owned(),
    };
    let last = match &status.last_end {
        Some(why) => format!(", ended {} times, last because: {why}", status.ends),
        None => String::new(),
    };
    format!("plugins run in a process of their own, locked in by: {lock}{last}")
}
