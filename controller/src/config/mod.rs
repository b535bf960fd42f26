//! The configuration: typed, bounded, and refused with words when something in it cannot be meant.

mod check;
mod describe;

pub use describe::describe;

use crate::recorder::RecordingConfig;
use iaso_engine::fact::{Inventory, NodeSpec, Role};
use iaso_engine::id::{MachineId, NodeName};
use iaso_engine::policy::{Mode, Policy};
use iaso_policy_file::PolicyFileError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest configuration file, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: check the path and its permissions", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML, or has a key or value that is not known.
    #[error("the configuration {} is not valid: {detail}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Line, column and what was expected.
        detail: String,
    },
    /// It can be read and cannot be meant.
    #[error("the configuration {}: {what}", path.display())]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The policy's own file is refused.
    #[error(transparent)]
    Policy(PolicyFileError),
}

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// gRPC for agents and operators, over TLS.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// `/metrics` and `/healthz`, without TLS.
    #[serde(default = "default_status_listen")]
    pub status_listen: SocketAddr,
    /// Journal, reports, secrets, tokens, compiled plugins.
    pub data_dir: PathBuf,
    /// The program that compiles plugins; default: `iaso-compile` beside this program, else in PATH.
    #[serde(default)]
    pub compiler: Option<PathBuf>,
    /// How often agents say that they live.
    #[serde(default = "default_heartbeat_secs")]
    pub heartbeat_secs: u64,
    /// Certificates.
    #[serde(default)]
    pub identity: IdentityConfig,
    /// Kubernetes; absent: none.
    #[serde(default)]
    pub cluster: Option<ClusterConfig>,
    /// Accounts at providers.
    #[serde(default)]
    pub provider: Providers,
    /// How a recreated machine rejoins.
    #[serde(default)]
    pub rejoin: Option<RejoinConfig>,
    /// How nodes are probed.
    #[serde(default)]
    pub probe: ProbeConfig,
    /// How people are told.
    #[serde(default)]
    pub page: PageConfig,
    /// What is kept to replay incidents with.
    #[serde(default)]
    pub recording: RecordingConfig,
    /// What Iaso may do.
    #[serde(default)]
    pub policy: Policy,
    /// What an agent may do by itself while it is cut off.
    #[serde(default)]
    pub delegation: DelegationConfig,
    /// A file with more of the policy, without the `[policy]` heading; a key stands in one of the two.
    #[serde(default)]
    pub policy_file: Option<PathBuf>,
    /// The nodes.
    #[serde(default)]
    pub nodes: Vec<NodeConfig>,
    /// The plugins that agents run.
    #[serde(default)]
    pub plugins: Vec<PluginConfig>,
    /// Whose plugins run; absent: those whose files are named here, whoever made them.
    #[serde(default)]
    pub plugin_trust: Option<iaso_package::Trust>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7443))
}
fn default_status_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9465))
}
fn default_heartbeat_secs() -> u64 {
    5
}
fn default_evict_secs() -> u64 {
    30
}

/// `[identity]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// Further names and addresses in the controller's certificate, for tools that look at them; Iaso's own do not.
    pub names: Vec<String>,
    /// How long a node's certificate lives; it is renewed after two thirds.
    pub certificate_ttl_secs: u64,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            certificate_ttl_secs: 30 * 86_400,
        }
    }
}

/// `[cluster]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// How to reach it.
    pub kubeconfig: PathBuf,
    /// How often the cluster is looked at: what is watched costs one small question, what is not is listed.
    #[serde(default = "default_heartbeat_secs")]
    pub poll_secs: u64,
    /// Longest wait for one answer.
    #[serde(default = "default_heartbeat_secs")]
    pub timeout_secs: u64,
    /// Disruption budgets may keep the pods of a wiped machine for so long, before they are left or overruled; 0: nothing is evicted.
    #[serde(default = "default_evict_secs")]
    pub evict_secs: u64,
    /// After that the pods are deleted against their budget's word.
    #[serde(default)]
    pub overrule_budgets: bool,
    /// Shows what the journal says: `Incident` objects, Events, and the nodes' condition `IasoHealthy`.
    #[serde(default)]
    pub publish: bool,
}

/// `[provider.*]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Providers {
    /// Hostinger.
    #[serde(default)]
    pub hostinger: Option<HostingerConfig>,
}

/// `[provider.hostinger]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostingerConfig {
    /// The API's address, without a path.
    pub base_url: String,
    /// Where the API token is read from.
    pub token_file: PathBuf,
    /// Longest wait for one answer.
    pub timeout_secs: u64,
    /// Shortest time between two calls.
    pub min_interval_ms: u64,
    /// How often a healthy machine is asked about.
    pub poll_secs: u64,
}

impl Default for HostingerConfig {
    fn default() -> Self {
        Self {
            base_url: "https://developers.hostinger.com".into(),
            token_file: PathBuf::new(),
            timeout_secs: 20,
            min_interval_ms: 1_000,
            poll_secs: 15,
        }
    }
}

/// `[rejoin]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejoinConfig {
    /// The provider's OS image.
    pub template_id: u64,
    /// The server that the new machine joins.
    pub k3s_url: String,
    /// Version to install; absent: the one the node had.
    #[serde(default)]
    pub k3s_version: Option<String>,
    /// File of the post-install script's template; absent: built in.
    #[serde(default)]
    pub script_template: Option<PathBuf>,
    /// What the new machine's agent connects to.
    pub agent_url: String,
    /// Further arguments for `k3s agent`.
    #[serde(default)]
    pub flags: Vec<String>,
    /// How long the join tokens live, k3s's and Iaso's.
    #[serde(default = "default_token_ttl_secs")]
    pub token_ttl_secs: u64,
}

fn default_token_ttl_secs() -> u64 {
    3_600
}

/// `[probe]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeConfig {
    /// Probe by ICMP too, where this machine allows it.
    pub icmp: bool,
    /// TCP ports to probe.
    pub tcp_ports: Vec<u16>,
    /// Longest wait for one probe.
    pub timeout_ms: u64,
    /// How many other agents are asked about a node.
    pub observers: u32,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            icmp: true,
            tcp_ports: vec![22, 10_250],
            timeout_ms: 1_000,
            // A partial partition must not pass for silence because the few who were drawn all lie on its far side.
            observers: 32,
        }
    }
}

/// `[page]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PageConfig {
    /// Program and arguments; the message comes on its standard input. Empty: only the log and the events tell.
    pub command: Vec<String>,
    /// Longest run.
    pub timeout_secs: u64,
}

impl Default for PageConfig {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            timeout_secs: 20,
        }
    }
}

/// `[delegation]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DelegationConfig {
    /// Whether an agent that is cut off may act by itself; absent: if `policy.fix` is `auto`.
    pub enabled: Option<bool>,
    /// Cut off for longer than this.
    pub cut_off_after_secs: u64,
    /// Most acts until the controller is back.
    pub attempts: u32,
    /// What it may do, `plugin/fix` each.
    pub fixes: Vec<String>,
}

impl Default for DelegationConfig {
    fn default() -> Self {
        Self {
            enabled: None,
            cut_off_after_secs: 300,
            attempts: 2,
            fixes: vec!["k3s-agent/restart".into()],
        }
    }
}

/// `[[nodes]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The node's name in Kubernetes.
    pub name: NodeName,
    /// Its role.
    pub role: Role,
    /// Where it is probed.
    pub address: IpAddr,
    /// `hostinger` or `none`.
    #[serde(default = "default_provider")]
    pub provider: String,
    /// The provider's id of its machine.
    #[serde(default)]
    pub machine: Option<String>,
    /// What it shares with others and may fall with: `zone = "fra1"`, `image = "ubuntu-24.04"`, …
    #[serde(default)]
    pub domains: BTreeMap<String, String>,
    /// Instead of `probe.tcp_ports`.
    #[serde(default)]
    pub probe_ports: Option<Vec<u16>>,
}

fn default_provider() -> String {
    "none".into()
}

/// `[[plugins]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginConfig {
    /// Its name in findings and orders.
    pub name: String,
    /// Its name in its manifest, where `[plugin_trust]` is configured; absent: `name`.
    #[serde(default)]
    pub plugin: Option<String>,
    /// The component.
    pub path: PathBuf,
    /// How often its check runs.
    pub interval_secs: u64,
    /// Longest run.
    pub timeout_ms: u64,
    /// On nodes of these roles; absent: all.
    #[serde(default)]
    pub roles: Option<Vec<Role>>,
    /// What the plugin reads as its configuration.
    #[serde(default)]
    pub config: BTreeMap<String, toml::Value>,
    /// What it may touch.
    #[serde(default)]
    pub grants: iaso_grants::Grants,
}

impl Config {
    /// Reads and checks a file. Relative paths in it are meant from its own directory.
    ///
    /// # Errors
    /// With the line, and what to do.
    pub fn load(path: &Path, insecure: bool) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let size = std::fs::metadata(path).map_err(read)?.len();
        if size > CONFIG_BYTES_MAX {
            let what = format!("it has {size} bytes, more than 1 MiB: is this the right file?");
            return Err(ConfigError::Invalid {
                path: path.to_owned(),
                what,
            });
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        let base = path.parent().map(Path::to_owned).unwrap_or_default();
        Self::parse(&text, path, &base, insecure)
    }

    fn parse(text: &str, path: &Path, base: &Path, insecure: bool) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            detail: iaso_policy_file::detail(&error),
        })?;
        config.resolve_paths(base);
        if let Some(file) = config.policy_file.clone() {
            config.policy = iaso_policy_file::join(text, &file).map_err(ConfigError::Policy)?;
        }
        check::check(&config, insecure).map_err(|what| ConfigError::Invalid {
            path: path.to_owned(),
            what,
        })?;
        Ok(config)
    }

    fn resolve_paths(&mut self, base: &Path) {
        let resolve = |path: &mut PathBuf| {
            if !path.as_os_str().is_empty() && path.is_relative() {
                *path = base.join(&*path);
            }
        };
        resolve(&mut self.data_dir);
        self.policy_file.iter_mut().for_each(resolve);
        self.cluster
            .iter_mut()
            .for_each(|cluster| resolve(&mut cluster.kubeconfig));
        self.provider
            .hostinger
            .iter_mut()
            .for_each(|account| resolve(&mut account.token_file));
        self.rejoin
            .iter_mut()
            .filter_map(|rejoin| rejoin.script_template.as_mut())
            .for_each(resolve);
        self.plugins
            .iter_mut()
            .for_each(|plugin| resolve(&mut plugin.path));
        // A bare program name is looked up; a path with a directory is a file.
        if let Some(compiler) = self
            .compiler
            .as_mut()
            .filter(|c| c.components().count() > 1)
        {
            resolve(compiler);
        }
    }

    /// The nodes as the engine knows them.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        let nodes = self.nodes.iter().map(|node| {
            let machine = node
                .machine
                .as_ref()
                .filter(|_| node.provider != "none")
                .map(|id| (node.provider.clone(), MachineId(id.clone())));
            (
                node.name.clone(),
                NodeSpec {
                    name: node.name.clone(),
                    role: node.role,
                    machine,
                    domains: node.domains.clone(),
                },
            )
        });
        Inventory {
            nodes: nodes.collect(),
            has_cluster: self.cluster.is_some(),
        }
    }

    /// The TCP ports on which a node is probed.
    #[must_use]
    pub fn probe_ports(&self, node: &NodeConfig) -> Vec<u16> {
        node.probe_ports
            .clone()
            .unwrap_or_else(|| self.probe.tcp_ports.clone())
    }

    /// Whether an agent that is cut off may act by itself. What needs a person's yes is not delegated.
    #[must_use]
    pub fn delegates(&self) -> bool {
        self.delegation
            .enabled
            .unwrap_or(self.policy.fix == Mode::Auto)
    }

    /// How long an agent may be silent before its session is closed.
    #[must_use]
    pub fn heartbeat_timeout(&self) -> Duration {
        Duration::from_secs(self.heartbeat_secs.saturating_mul(3))
    }
}

#[cfg(test)]
mod tests;
