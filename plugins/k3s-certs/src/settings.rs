//! The operator's configuration of this plugin.

use iaso_plugin::Config;

pub(crate) const KEYS: &[&str] = &[
    "agent_dir",
    "server_dir",
    "extra",
    "renewal_days",
    "warn_days",
    "critical_days",
    "ca_warn_days",
];

/// Where certificates are, and how near an end must be.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Empty: not looked at.
    pub(crate) agent_dir: String,
    /// Empty: not looked at.
    pub(crate) server_dir: String,
    /// Further files, which must be there.
    pub(crate) extra: Vec<String>,
    /// A start of k3s renews what ends within so many days.
    pub(crate) renewal_days: u64,
    pub(crate) warn_days: u64,
    pub(crate) critical_days: u64,
    pub(crate) ca_warn_days: u64,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let directory = |key, default| {
            let text = config.text(key, default).trim_end_matches('/');
            if text.is_empty() || text.starts_with('/') {
                Ok(text.to_owned())
            } else {
                Err(format!(
                    "configuration key `{key}` must be an absolute path, not `{text}`"
                ))
            }
        };
        let settings = Self {
            agent_dir: directory("agent_dir", "/var/lib/rancher/k3s/agent")?,
            server_dir: directory("server_dir", "/var/lib/rancher/k3s/server/tls")?,
            extra: config.list("extra", &[])?,
            // Newer releases renew from 120 days on: with 90, what is said holds for all of them.
            renewal_days: config.number("renewal_days", 90, 1..=365)?,
            warn_days: config.number("warn_days", 30, 1..=365)?,
            critical_days: config.number("critical_days", 7, 0..=365)?,
            ca_warn_days: config.number("ca_warn_days", 365, 1..=3650)?,
        };
        if let Some(wrong) = settings.extra.iter().find(|path| !path.starts_with('/')) {
            return Err(format!(
                "configuration key `extra` must be absolute paths, not `{wrong}`"
            ));
        }
        if settings.critical_days > settings.warn_days {
            return Err("`critical_days` must not be over `warn_days`".to_owned());
        }
        Ok(settings)
    }
}
