//! What a configuration must be beyond its types. Each refusal says what to do.

use super::{Config, IdentityConfig, NodeConfig};
use crate::recorder::RecordingConfig;
use iaso_engine::policy::Mode;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Most nodes of one controller.
const NODES_MAX: usize = 10_000;
/// Most further names of the controller.
const NAMES_MAX: usize = 32;
/// Most plugins.
const PLUGINS_MAX: usize = 64;
/// Most probe ports of one node.
const PORTS_MAX: usize = 16;
/// Most fixes that are delegated.
const FIXES_MAX: usize = 16;
/// Most acts of a cut-off agent in one absence.
const ATTEMPTS_MAX: u64 = 10;
/// Longest period that makes sense anywhere: a day.
const SECS_MAX: u64 = 86_400;

pub(super) fn check(config: &Config, insecure: bool) -> Result<(), String> {
    listener("status_listen", config.status_listen, insecure)?;
    if config.listen == config.status_listen && config.listen.port() != 0 {
        return Err(format!(
            "listen and status_listen are both {}: give them different ports",
            config.listen
        ));
    }
    config.policy.check().map_err(|error| error.to_string())?;
    config
        .policy
        .check_nodes(&config.inventory())
        .map_err(|error| error.to_string())?;
    heartbeat(config)?;
    if let Some(cluster) = &config.cluster {
        within("cluster.poll_secs", cluster.poll_secs, 1, 300)?;
        within("cluster.timeout_secs", cluster.timeout_secs, 1, 300)?;
        within("cluster.evict_secs", cluster.evict_secs, 0, 300)?;
        file("cluster.kubeconfig", &cluster.kubeconfig)?;
    }
    if let Some(account) = &config.provider.hostinger {
        within(
            "provider.hostinger.timeout_secs",
            account.timeout_secs,
            1,
            300,
        )?;
        within(
            "provider.hostinger.poll_secs",
            account.poll_secs,
            1,
            SECS_MAX,
        )?;
        within(
            "provider.hostinger.min_interval_ms",
            account.min_interval_ms,
            1,
            600_000,
        )?;
        if account.token_file.as_os_str().is_empty() {
            return Err(
                "provider.hostinger has no token_file: name the file that holds the API token"
                    .into(),
            );
        }
    }
    if let Some(rejoin) = &config.rejoin {
        within("rejoin.token_ttl_secs", rejoin.token_ttl_secs, 60, SECS_MAX)?;
        if !rejoin.k3s_url.starts_with("https://") {
            return Err(format!(
                "rejoin.k3s_url = {:?} is not an https:// address",
                rejoin.k3s_url
            ));
        }
        if !rejoin.agent_url.starts_with("https://") {
            return Err(format!(
                "rejoin.agent_url = {:?} is not an https:// address: it is this controller's `listen`, as the new machine reaches it, and speaks TLS",
                rejoin.agent_url
            ));
        }
    }
    identity(&config.identity)?;
    within("probe.timeout_ms", config.probe.timeout_ms, 10, 60_000)?;
    within("probe.observers", u64::from(config.probe.observers), 0, 64)?;
    ports("probe.tcp_ports", &config.probe.tcp_ports)?;
    within("page.timeout_secs", config.page.timeout_secs, 1, 600)?;
    delegation(config)?;
    recording(&config.recording)?;
    nodes(config)?;
    plugins(config)
}

fn heartbeat(config: &Config) -> Result<(), String> {
    within("heartbeat_secs", config.heartbeat_secs, 1, 300)?;
    if config.heartbeat_timeout().as_secs() > config.policy.agent_gone_secs.saturating_mul(3) {
        return Err(format!(
            "heartbeat_secs = {} is too slow for policy.agent_gone_secs = {}: agents would look gone between heartbeats; lower the one or raise the other",
            config.heartbeat_secs, config.policy.agent_gone_secs
        ));
    }
    Ok(())
}

fn identity(identity: &IdentityConfig) -> Result<(), String> {
    within(
        "identity.certificate_ttl_secs",
        identity.certificate_ttl_secs,
        3_600,
        366 * 86_400,
    )?;
    if identity.names.len() > NAMES_MAX {
        return Err(format!("identity.names has more than {NAMES_MAX} names"));
    }
    Ok(())
}

fn recording(recording: &RecordingConfig) -> Result<(), String> {
    within("recording.before_secs", recording.before_secs, 0, 3_600)?;
    within("recording.memory_mib", recording.memory_mib, 1, 1_024)?;
    within("recording.max_mib", recording.max_mib, 0, 65_536)?;
    within("recording.keep_days", recording.keep_days, 1, 3_650)
}

fn delegation(config: &Config) -> Result<(), String> {
    let delegation = &config.delegation;
    within(
        "delegation.cut_off_after_secs",
        delegation.cut_off_after_secs,
        1,
        SECS_MAX,
    )?;
    within(
        "delegation.attempts",
        delegation.attempts.into(),
        1,
        ATTEMPTS_MAX,
    )?;
    if delegation.fixes.is_empty() || delegation.fixes.len() > FIXES_MAX {
        return Err(format!(
            "delegation.fixes names {} fixes: name 1 to {FIXES_MAX}, or set delegation.enabled = false",
            delegation.fixes.len()
        ));
    }
    for fix in &delegation.fixes {
        let is_word = |text: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            (1..=128).contains(&text.len()) && text.chars().all(plain)
        };
        let named = fix.split_once('/');
        if !named.is_some_and(|(plugin, fix)| is_word(plugin) && is_word(fix)) {
            return Err(format!(
                "delegation.fixes names {fix:?}: write PLUGIN/FIX, such as \"k3s-agent/restart\""
            ));
        }
    }
    if delegation.enabled == Some(true) && config.policy.fix != Mode::Auto {
        return Err(
            "delegation.enabled = true and policy.fix is not \"auto\": a cut-off agent cannot ask anybody; set policy.fix = \"auto\", or delegation.enabled = false"
                .into(),
        );
    }
    Ok(())
}

fn listener(key: &str, address: SocketAddr, insecure: bool) -> Result<(), String> {
    if address.ip().is_loopback() || insecure {
        return Ok(());
    }
    Err(format!(
        "{key} = \"{address}\" is not a loopback address, and it is neither encrypted nor asks who is calling: use 127.0.0.1, or say --insecure if the network is trusted"
    ))
}

fn within(key: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!(
            "{key} = {value} is out of range: use {least} to {most}"
        ))
    }
}

fn ports(key: &str, ports: &[u16]) -> Result<(), String> {
    if ports.len() > PORTS_MAX {
        return Err(format!(
            "{key} names {} ports: at most {PORTS_MAX}",
            ports.len()
        ));
    }
    if ports.contains(&0) {
        return Err(format!(
            "{key} names port 0, which cannot be probed: use 1 to 65535"
        ));
    }
    Ok(())
}

fn file(key: &str, path: &std::path::Path) -> Result<(), String> {
    match std::fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(format!("{key} = {} is not a file", path.display())),
        Err(error) => Err(format!(
            "{key} = {} cannot be read: {error}; check the path and its permissions",
            path.display()
        )),
    }
}

fn nodes(config: &Config) -> Result<(), String> {
    if config.nodes.len() > NODES_MAX {
        return Err(format!("{} nodes: at most {NODES_MAX}", config.nodes.len()));
    }
    let (mut names, mut addresses, mut machines) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for node in &config.nodes {
        if !names.insert(&node.name) {
            return Err(format!(
                "node {:?} is declared twice: remove one of the [[nodes]]",
                node.name.as_str()
            ));
        }
        if !addresses.insert(node.address) {
            return Err(format!(
                "two nodes have the address {}: probes could not tell them apart",
                node.address
            ));
        }
        machine(config, node)?;
        domains(node)?;
        if let Some(id) = &node.machine
            && !machines.insert((&node.provider, id))
        {
            return Err(format!(
                "two nodes have the machine {id}: one of them would be recreated for the other"
            ));
        }
        if let Some(own) = &node.probe_ports {
            ports(&format!("probe_ports of node {}", node.name), own)?;
        }
    }
    Ok(())
}

/// Most failure domains of one node.
const DOMAINS_MAX: usize = 16;

fn domains(node: &NodeConfig) -> Result<(), String> {
    let (name, all) = (&node.name, &node.domains);
    let long = |text: &String| text.is_empty() || text.len() > 100;
    if all.len() > DOMAINS_MAX || all.iter().any(|(key, value)| long(key) || long(value)) {
        return Err(format!(
            "domains of node {name}: at most {DOMAINS_MAX}, each of 1 to 100 bytes, such as domains = {{ zone = \"fra1\" }}"
        ));
    }
    Ok(())
}

fn machine(config: &Config, node: &NodeConfig) -> Result<(), String> {
    let name = &node.name;
    match node.provider.as_str() {
        "none" if node.machine.is_some() => Err(format!(
            "node {name} has a machine and provider \"none\": name the provider, or remove the machine"
        )),
        "none" => Ok(()),
        "hostinger" if config.provider.hostinger.is_none() => Err(format!(
            "node {name} is at provider \"hostinger\", and there is no [provider.hostinger]: add it with a token_file"
        )),
        "hostinger" => match &node.machine {
            None => Err(format!(
                "node {name} has no machine: set it to the provider's id of its machine"
            )),
            Some(id) => iaso_providers::MachineId::new(id.as_str())
                .map(drop)
                .map_err(|error| format!("node {name}: machine {error}")),
        },
        other => Err(format!(
            "node {name} has the unknown provider {other:?}: use \"hostinger\" or \"none\""
        )),
    }
}

fn plugins(config: &Config) -> Result<(), String> {
    let trust = config.plugin_trust.as_ref();
    if let Some(problem) = trust.and_then(iaso_package::Trust::problem) {
        return Err(problem);
    }
    let plugins = &config.plugins;
    if plugins.len() > PLUGINS_MAX {
        return Err(format!("{} plugins: at most {PLUGINS_MAX}", plugins.len()));
    }
    let mut names = BTreeSet::new();
    for plugin in plugins {
        let name = &plugin.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
            return Err(format!(
                "plugin name {name:?} is not valid: 1 to 63 of a-z 0-9 -"
            ));
        }
        if !names.insert(name) {
            return Err(format!(
                "plugin {name:?} is declared twice: remove one of the [[plugins]]"
            ));
        }
        file(&format!("path of plugin {name}"), &plugin.path)?;
        within(
            &format!("interval_secs of plugin {name}"),
            plugin.interval_secs,
            1,
            SECS_MAX,
        )?;
        within(
            &format!("timeout_ms of plugin {name}"),
            plugin.timeout_ms,
            1,
            600_000,
        )?;
    }
    Ok(())
}
