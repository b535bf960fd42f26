//! The operator's configuration of this plugin.

use std::net::IpAddr;
use std::time::Duration;

use iaso_plugin::Config;

pub(crate) const KEYS: &[&str] = &[
    "service_ip",
    "endpoints",
    "namespace",
    "service",
    "selector",
    "cluster_domain",
    "external_name",
    "timeout",
    "budget",
    "cooldown",
    "verify",
];

/// What is asked, and how patiently.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// None: Kubernetes is asked.
    pub(crate) service_ip: Option<(String, u16)>,
    /// None: Kubernetes is asked.
    pub(crate) endpoints: Option<Vec<(String, u16)>>,
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) selector: String,
    /// Ends in a dot.
    pub(crate) cluster_domain: String,
    /// Ends in a dot; empty: not asked.
    pub(crate) external_name: String,
    pub(crate) timeout: Duration,
    /// For the whole look: a dead server costs its timeout at every question.
    pub(crate) budget: Duration,
    pub(crate) cooldown: Duration,
    /// How long a fix waits for an answer after it acted.
    pub(crate) verify: Duration,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let service_ip = config.endpoint("service_ip", "", Some(53))?;
        let endpoints = if config.get("endpoints").is_some() {
            Some(config.endpoints("endpoints", &[], Some(53))?)
        } else {
            None
        };
        for (address, _) in service_ip.iter().chain(endpoints.iter().flatten()) {
            if address.parse::<IpAddr>().is_err() {
                return Err(format!(
                    "configuration keys `service_ip` and `endpoints` must be IP addresses, not the name `{address}`"
                ));
            }
        }
        Ok(Self {
            service_ip,
            endpoints,
            namespace: config.text("namespace", "kube-system").to_owned(),
            service: config.text("service", "kube-dns").to_owned(),
            selector: config.text("selector", "k8s-app=kube-dns").to_owned(),
            cluster_domain: name(config, "cluster_domain", "cluster.local.")?,
            external_name: match config.text("external_name", "example.com.") {
                "" => String::new(),
                _ => name(config, "external_name", "example.com.")?,
            },
            timeout: config.duration("timeout", Duration::from_secs(1))?,
            budget: config.duration("budget", Duration::from_secs(8))?,
            cooldown: config.duration("cooldown", Duration::from_mins(15))?,
            verify: config.duration("verify", Duration::from_secs(30))?,
        })
    }
}

/// A DNS name, made fully qualified: no search list may be added to it.
fn name(config: &Config, key: &str, default: &str) -> Result<String, String> {
    let text = config.text(key, default);
    let bare = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if bare.len() > 200 || !bare.split('.').all(label) {
        return Err(format!(
            "configuration key `{key}` must be a DNS name, such as `{default}`, not `{text}`"
        ));
    }
    Ok(format!("{bare}."))
}
