//! The agent's configuration file.
//!
//! **Invariants**
//! - An unknown key is an error, and every error says where it is and what to do.
//! - `status_listen` neither encrypts nor asks who calls: another address than loopback needs `--insecure`. The controller is spoken to over TLS only.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use iaso_grants::Grants;
use serde::Deserialize;

mod check;

const FILE_BYTES_MAX: u64 = 1 << 20;
const TOKEN_BYTES_MAX: u64 = 4096;

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {}: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// It is not TOML, has an unknown key or a value of the wrong kind.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// First line that is wrong, counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A key has a value that cannot be used.
    #[error("{place}{key}: {message}")]
    Value {
        /// `file:line: `, or empty for a flag.
        place: String,
        /// The key or flag.
        key: String,
        /// What is wrong, and what to do.
        message: String,
    },
}

/// The configuration, complete and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// The controller's URL; none: standalone.
    pub controller: Option<String>,
    /// Where this node's join token is, while it has no certificate.
    pub join_token_file: PathBuf,
    /// Outbox, orders, plugin states and compiled plugins.
    pub state_dir: PathBuf,
    /// `/metrics` and `/healthz`.
    pub status_listen: Option<SocketAddr>,
    /// What peers and the controller probe; it says nothing to anybody.
    pub probe_listen: Option<SocketAddr>,
    /// What `Hello` says of it.
    pub probe_advertise: Option<String>,
    /// Bus; none: the system bus.
    pub dbus_address: Option<String>,
    /// Reads unit logs.
    pub journalctl: PathBuf,
    /// Kubernetes credentials; none: no such capability.
    pub kubeconfig: Option<PathBuf>,
    /// `iaso-compile`; none: beside this binary, else in PATH.
    pub compiler: Option<PathBuf>,
    /// Name servers.
    pub resolv_conf: PathBuf,
    /// Scripts by name.
    pub scripts: BTreeMap<String, PathBuf>,
    /// Standalone plugins.
    pub plugins: Vec<PluginConfig>,
    /// How the session is kept.
    pub session: SessionConfig,
    /// Where plugins run.
    pub runner: RunnerConfig,
}

/// `[session]`
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct SessionConfig {
    /// Longest wait before the next attempt, in milliseconds.
    pub reconnect_max_ms: u64,
    /// Longest wait for a connection and for the first answer, in milliseconds.
    pub connect_timeout_ms: u64,
}

/// `[runner]`
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct RunnerConfig {
    /// Where plugins run.
    pub mode: RunnerMode,
    /// The runner's user when the agent is root; of nobody else.
    pub uid: u32,
    /// The runner's group when the agent is root.
    pub gid: u32,
    /// Memory that the runner may write to, in MiB.
    pub memory_mib: u64,
}

/// Where plugins run.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum RunnerMode {
    /// In a process of their own, locked in.
    Process,
    /// In the agent's own process: for tests, and where nothing else works.
    InProcess,
}

impl Default for RunnerConfig {
    fn default() -> Self {
        Self {
            mode: RunnerMode::Process,
            // Between the numbers for people and those that systemd gives away.
            uid: 61_000,
            gid: 61_000,
            memory_mib: 256,
        }
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            reconnect_max_ms: 30_000,
            connect_timeout_ms: 5_000,
        }
    }
}

impl SessionConfig {
    /// Longest wait before the next attempt.
    #[must_use]
    pub fn reconnect_max(&self) -> Duration {
        Duration::from_millis(self.reconnect_max_ms)
    }

    /// Longest wait for a connection.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }
}

/// `[[plugins]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginConfig {
    /// Its name here.
    pub name: String,
    /// The component.
    pub path: PathBuf,
    /// Seconds between two runs.
    #[serde(default = "interval_secs")]
    pub interval_secs: u64,
    /// Milliseconds for one run.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// The plugin's own settings.
    #[serde(default)]
    pub config: BTreeMap<String, toml::Value>,
    /// What it may do.
    #[serde(default)]
    pub grants: Grants,
}

fn interval_secs() -> u64 {
    30
}

fn timeout_ms() -> u64 {
    10_000
}

/// Flags that go before the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--node`
    pub node: Option<String>,
    /// `--controller`
    pub controller: Option<String>,
    /// `--join-token-file`
    pub join_token_file: Option<PathBuf>,
    /// `--state-dir`
    pub state_dir: Option<PathBuf>,
    /// `--insecure`
    pub insecure: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(
    clippy::struct_field_names,
    reason = "the names are the keys in the file"
)]
struct File {
    node: Option<String>,
    controller: Option<String>,
    join_token_file: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    status_listen: Option<String>,
    probe_listen: Option<String>,
    probe_advertise: Option<String>,
    dbus_address: Option<String>,
    journalctl: Option<PathBuf>,
    kubeconfig: Option<PathBuf>,
    compiler: Option<PathBuf>,
    resolv_conf: Option<PathBuf>,
    scripts: BTreeMap<String, PathBuf>,
    plugins: Vec<PluginConfig>,
    session: SessionConfig,
    runner: RunnerConfig,
}

impl Config {
    /// Reads `path` (none: all defaults), applies the flags and checks the whole.
    pub fn load(path: Option<&Path>, flags: &Overrides) -> Result<Self, ConfigError> {
        let text = path.map(read).transpose()?.unwrap_or_default();
        Self::parse(&text, path.unwrap_or(Path::new("(defaults)")), flags)
    }

    /// As [`Self::load`], of a text that was read already.
    pub fn parse(text: &str, path: &Path, flags: &Overrides) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| syntax(text, path, &error))?;
        let place = check::Place { text, path };
        check::file(&file, &place, flags)?;
        let state_dir = flags
            .state_dir
            .clone()
            .or(file.state_dir)
            .unwrap_or_else(|| "/var/lib/iaso".into());
        Ok(Self {
            node: flags
                .node
                .clone()
                .or(file.node)
                .unwrap_or_else(crate::cap::host::hostname),
            controller: flags.controller.clone().or(file.controller),
            join_token_file: flags
                .join_token_file
                .clone()
                .or(file.join_token_file)
                .unwrap_or_else(|| state_dir.join("join.token")),
            state_dir,
            status_listen: place.listen(
                "status_listen",
                file.status_listen.as_deref(),
                flags.insecure,
            )?,
            probe_advertise: file.probe_advertise.or_else(|| file.probe_listen.clone()),
            probe_listen: place.address("probe_listen", file.probe_listen.as_deref())?,
            dbus_address: file.dbus_address,
            journalctl: file
                .journalctl
                .unwrap_or_else(|| "/usr/bin/journalctl".into()),
            kubeconfig: file.kubeconfig,
            compiler: file.compiler,
            resolv_conf: file
                .resolv_conf
                .unwrap_or_else(|| "/etc/resolv.conf".into()),
            scripts: file.scripts,
            plugins: file.plugins,
            session: file.session,
            runner: file.runner,
        })
    }
}

/// The one word in a file, without the line's end. None: there is no such file.
pub(crate) fn secret(path: &Path) -> Result<Option<String>, ConfigError> {
    let read = |why: String| ConfigError::Read {
        path: path.to_owned(),
        why,
    };
    let content = crate::disk::read_bounded(path, TOKEN_BYTES_MAX)
        .map_err(|error| read(why_unread(&error)))?;
    let Some(content) = content else {
        return Ok(None);
    };
    let token = String::from_utf8(content).map_err(|_| read("it is not text".into()))?;
    Ok(Some(token.trim().to_owned()))
}

/// True for what may name a plugin: it becomes part of paths, metrics and finding codes.
#[must_use]
pub fn is_plugin_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('-')
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let told = |why: String| ConfigError::Read {
        path: path.to_owned(),
        why,
    };
    let content = crate::disk::read_bounded(path, FILE_BYTES_MAX)
        .map_err(|error| told(why_unread(&error)))?;
    let content = content
        .ok_or_else(|| told("there is no such file; `iaso-agent run --once` needs none".into()))?;
    String::from_utf8(content).map_err(|_| told("it is not UTF-8 text".into()))
}

/// The cause only: what could not be read is said by whoever asks.
fn why_unread(error: &crate::disk::DiskError) -> String {
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), chain);
    format!("{cause}; check the path and its permissions")
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn syntax(text: &str, path: &Path, error: &toml::de::Error) -> ConfigError {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let mut message = error.message().to_owned();
    if message.starts_with("unknown field") {
        message.push_str("; remove the key, or correct its spelling");
    }
    ConfigError::Syntax {
        path: path.to_owned(),
        line,
        message,
    }
}

#[cfg(test)]
mod tests;
