//! What a value must be, beyond its type.

use std::{net::SocketAddr, path::Path};

use super::{ConfigError, File, Overrides, PluginConfig, RunnerConfig, is_plugin_name};

/// The file, to say where a key is.
pub(super) struct Place<'a> {
    pub(super) text: &'a str,
    pub(super) path: &'a Path,
}

impl Place<'_> {
    /// An error at the first line that sets `key`.
    fn error(&self, key: &str, message: String) -> ConfigError {
        let last = key.rsplit('.').next().unwrap_or(key);
        let sets = |line: &str| {
            line.trim_start()
                .strip_prefix(last)
                .is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let line = self
            .text
            .lines()
            .position(sets)
            .map(|at| format!(":{}", at + 1));
        let place = line.map_or(String::new(), |line| {
            format!("{}{line}: ", self.path.display())
        });
        ConfigError::Value {
            place,
            key: key.to_owned(),
            message,
        }
    }

    pub(super) fn listen(
        &self,
        key: &str,
        value: Option<&str>,
        insecure: bool,
    ) -> Result<Option<SocketAddr>, ConfigError> {
        let Some(address) = self.address(key, value)? else {
            return Ok(None);
        };
        if !address.ip().to_canonical().is_loopback() && !insecure {
            let message = format!(
                "{address} can be reached from other machines, and nothing there is encrypted or asks who is calling; \
                 use 127.0.0.1, or say --insecure if the network is trusted"
            );
            return Err(self.error(key, message));
        }
        Ok(Some(address))
    }

    pub(super) fn address(
        &self,
        key: &str,
        value: Option<&str>,
    ) -> Result<Option<SocketAddr>, ConfigError> {
        let parsed = value.map(|value| {
            value.parse().map_err(|_| {
                let message =
                    format!("`{value}` is not an address and port, such as 127.0.0.1:9464");
                self.error(key, message)
            })
        });
        parsed.transpose()
    }
}

/// Everything that does not need a parsed value.
pub(super) fn file(file: &File, place: &Place<'_>, flags: &Overrides) -> Result<(), ConfigError> {
    let node = flags.node.as_ref().or(file.node.as_ref());
    if let Some(node) = node.filter(|node| !is_node_name(node)) {
        let message = format!(
            "`{node}` is not a node's name (lower-case letters, digits, `-` and `.`, at most 253)"
        );
        return Err(place.error("node", message));
    }
    let controller = flags.controller.as_ref().or(file.controller.as_ref());
    if let Some(url) = controller {
        check_controller(url, place)?;
    }
    for (name, path) in &file.scripts {
        if !path.is_absolute() {
            return Err(place.error(
                name,
                format!("`{}` must be an absolute path", path.display()),
            ));
        }
    }
    if !(100..=3_600_000).contains(&file.session.reconnect_max_ms) {
        return Err(place.error(
            "session.reconnect_max_ms",
            "must be between 100 and 3600000".into(),
        ));
    }
    if !(100..=600_000).contains(&file.session.connect_timeout_ms) {
        return Err(place.error(
            "session.connect_timeout_ms",
            "must be between 100 and 600000".into(),
        ));
    }
    runner(&file.runner, place)?;
    plugins(&file.plugins, place)
}

fn runner(runner: &RunnerConfig, place: &Place<'_>) -> Result<(), ConfigError> {
    for (key, id) in [("runner.uid", runner.uid), ("runner.gid", runner.gid)] {
        if id == 0 || id == u32::MAX {
            let message = "must be a number of its own, not root's: leave it out, or take one that nobody has".to_owned();
            return Err(place.error(key, message));
        }
    }
    if !(64..=65_536).contains(&runner.memory_mib) {
        return Err(place.error("runner.memory_mib", "must be between 64 and 65536".into()));
    }
    Ok(())
}

fn check_controller(url: &str, place: &Place<'_>) -> Result<(), ConfigError> {
    let told = |message: String| place.error("controller", message);
    let uri: tonic::transport::Uri = url.parse().map_err(|_| {
        told(format!(
            "`{url}` is not a URL, such as https://127.0.0.1:7443"
        ))
    })?;
    if uri.scheme_str() != Some("https") || uri.host().is_none() || uri.port().is_none() {
        return Err(told(format!(
            "`{url}` must be https://HOST:PORT: the controller speaks TLS"
        )));
    }
    Ok(())
}

fn plugins(plugins: &[PluginConfig], place: &Place<'_>) -> Result<(), ConfigError> {
    for (at, plugin) in plugins.iter().enumerate() {
        let key = |field: &str| format!("plugins.{}.{field}", plugin.name);
        if !is_plugin_name(&plugin.name) {
            let message = format!(
                "`{}` is not a plugin's name (lower-case letters, digits and `-`, at most 63)",
                plugin.name
            );
            return Err(place.error("plugins.name", message));
        }
        if plugins
            .iter()
            .take(at)
            .any(|other| other.name == plugin.name)
        {
            return Err(place.error(
                "plugins.name",
                format!(
                    "`{}` is there twice; give the second another name",
                    plugin.name
                ),
            ));
        }
        if !(1..=86_400).contains(&plugin.interval_secs) {
            return Err(place.error(&key("interval_secs"), "must be between 1 and 86400".into()));
        }
        if !(10..=600_000).contains(&plugin.timeout_ms) {
            return Err(place.error(&key("timeout_ms"), "must be between 10 and 600000".into()));
        }
    }
    Ok(())
}

fn is_node_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    (1..=253).contains(&name.len()) && name.chars().all(plain)
}
