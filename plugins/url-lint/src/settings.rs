//! The operator's configuration of this plugin.

use iaso_plugin::Config;

pub(crate) const KEYS: &[&str] = &["namespaces", "cluster_domain", "ignore"];

/// Whose environment is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) namespaces: Vec<String>,
    /// Without dots at its ends.
    pub(crate) cluster_domain: String,
    /// Variables that are left alone.
    pub(crate) ignore: Vec<String>,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let settings = Self {
            namespaces: config.list("namespaces", &["default"])?,
            cluster_domain: config
                .text("cluster_domain", "cluster.local")
                .trim_matches('.')
                .to_ascii_lowercase(),
            ignore: config.list("ignore", &[])?,
        };
        if settings.namespaces.is_empty() {
            return Err("configuration key `namespaces` must name one at least".into());
        }
        if settings.cluster_domain.is_empty() {
            return Err("configuration key `cluster_domain` must not be empty".into());
        }
        Ok(settings)
    }
}
