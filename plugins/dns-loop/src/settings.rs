//! The operator's configuration of this plugin.

use std::net::IpAddr;
use std::time::Duration;

use iaso_plugin::Config;

pub(crate) const KEYS: &[&str] = &[
    "resolv_conf",
    "k3s_config",
    "cluster_dns",
    "cluster_name",
    "external_name",
    "timeout",
];

/// Which file counts, and what the cluster DNS is asked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Given to the kubelet as `--resolv-conf`. Empty: as k3s chooses.
    pub(crate) resolv_conf: String,
    /// Read for `resolv-conf`. Empty: not read.
    pub(crate) k3s_config: String,
    /// None: not asked, and not known.
    pub(crate) cluster_dns: Option<IpAddr>,
    pub(crate) cluster_name: String,
    /// Empty: nothing is asked.
    pub(crate) external_name: String,
    pub(crate) timeout: Duration,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let path = |key, default| {
            let text = config.text(key, default);
            if text.is_empty() || text.starts_with('/') {
                Ok(text.to_owned())
            } else {
                Err(format!(
                    "configuration key `{key}` must be an absolute path, not `{text}`"
                ))
            }
        };
        let name = |key, default| {
            let text = config.text(key, default);
            if text.is_empty() || text.ends_with('.') {
                Ok(text.to_owned())
            } else {
                Err(format!(
                    "configuration key `{key}` must be a whole name, ending in a dot, not `{text}`"
                ))
            }
        };
        let cluster_dns = match config.text("cluster_dns", "10.43.0.10") {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                format!("configuration key `cluster_dns` must be an IP address, not `{text}`")
            })?),
        };
        Ok(Self {
            resolv_conf: path("resolv_conf", "")?,
            k3s_config: path("k3s_config", "/etc/rancher/k3s/config.yaml")?,
            cluster_dns,
            cluster_name: name("cluster_name", "kubernetes.default.svc.cluster.local.")?,
            external_name: name("external_name", "example.com.")?,
            timeout: config.duration("timeout", Duration::from_secs(1))?,
        })
    }
}
