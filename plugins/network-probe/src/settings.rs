//! The operator's configuration of this plugin.

use std::time::Duration;

use iaso_plugin::{Config, ConfigError, split_endpoint};

pub(crate) const KEYS: &[&str] = &[
    "peers",
    "ask_peers",
    "peers_max",
    "api_server",
    "anchors",
    "dns_servers",
    "require_default_route",
    "ping_gateway",
    "ping_count",
    "timeout",
    "budget",
    "latency_warn",
    "loss_warn_percent",
    "mtu",
    "networking_unit",
    "restart_timeout",
];

/// A host to ping, or one with a port to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

/// What is looked at, and how patiently.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a key of the operator's configuration"
)]
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) peers: Vec<Address>,
    /// Also those that the controller told the agent of.
    pub(crate) ask_peers: bool,
    pub(crate) peers_max: usize,
    pub(crate) api_server: Option<Address>,
    pub(crate) anchors: Vec<Address>,
    /// None: those of `/etc/resolv.conf`.
    pub(crate) dns_servers: Option<Vec<Address>>,
    pub(crate) require_default_route: bool,
    pub(crate) ping_gateway: bool,
    pub(crate) ping_count: u32,
    pub(crate) timeout: Duration,
    /// For the whole look: on a dead network every question takes its timeout.
    pub(crate) budget: Duration,
    pub(crate) latency_warn: Duration,
    pub(crate) loss_warn_percent: u64,
    pub(crate) mtu: bool,
    pub(crate) networking_unit: String,
    pub(crate) restart_timeout: Duration,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let peers = config.list("peers", &[])?;
        let peers: Result<Vec<Address>, String> = peers
            .iter()
            .map(|text| Address::parse(text).ok_or_else(|| format!("configuration key `peers` must be addresses, with or without a port, not `{text}`")))
            .collect();
        let with_port = |(host, port)| Address {
            host,
            port: Some(port),
        };
        let all =
            |key: &str, default: &[&str], port: Option<u16>| -> Result<Vec<Address>, ConfigError> {
                Ok(config
                    .endpoints(key, default, port)?
                    .into_iter()
                    .map(with_port)
                    .collect())
            };
        let small = |key: &str, default, max| {
            config
                .number(key, default, 1..=max)
                .map(|number| u32::try_from(number).unwrap_or(1))
        };
        Ok(Self {
            peers: peers?,
            ask_peers: config.bool("ask_peers", true)?,
            peers_max: small("peers_max", 5, 64)? as usize,
            api_server: config
                .endpoint("api_server", "", Some(6443))?
                .map(with_port),
            anchors: all("anchors", &["1.1.1.1:443", "9.9.9.9:443"], None)?,
            dns_servers: if config.get("dns_servers").is_some() {
                Some(all("dns_servers", &[], Some(53))?)
            } else {
                None
            },
            require_default_route: config.bool("require_default_route", true)?,
            ping_gateway: config.bool("ping_gateway", true)?,
            ping_count: small("ping_count", 5, 10)?,
            timeout: config.duration("timeout", Duration::from_secs(1))?,
            budget: config.duration("budget", Duration::from_secs(8))?,
            latency_warn: config.duration("latency_warn", Duration::from_millis(500))?,
            loss_warn_percent: config.number("loss_warn_percent", 40, 1..=99)?,
            mtu: config.bool("mtu", true)?,
            networking_unit: config.text("networking_unit", "").to_owned(),
            restart_timeout: config.duration("restart_timeout", Duration::from_secs(20))?,
        })
    }
}

impl Address {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some((host, port)) = split_endpoint(text, None) {
            return Some(Self {
                host,
                port: Some(port),
            });
        }
        // The port given here only lets a host without one pass.
        split_endpoint(text, Some(1)).map(|(host, _)| Self { host, port: None })
    }

    pub(crate) fn text(&self) -> String {
        match self.port {
            Some(port) if self.host.contains(':') => format!("[{}]:{port}", self.host),
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}
