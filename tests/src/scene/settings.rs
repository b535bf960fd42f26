//! The controller's configuration, with times of seconds.

use super::HOSTS;
use super::network::{Addresses, Network};
use crate::hostinger::Emulator;
use crate::hosts::HostKind;
use crate::kubeapi::{KubeApi, Lifecycle};
use crate::kubereal::User;
use crate::programs;
use anyhow::{Context, Result};
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Choices of a scene.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// What hosts are made of.
    pub kind: HostKind,
    /// Lines of `[policy]` that replace or add to the lab's.
    pub policy: Vec<(&'static str, String)>,
    /// Instead of the emulator's address.
    pub provider_url: Option<String>,
    /// Instead of 712695, the provider's id of styx.
    pub styx_machine: Option<String>,
    /// Further plugins, as TOML.
    pub plugins: String,
    /// The node life cycle.
    pub lifecycle: Lifecycle,
    /// A real API server with real controllers, and the controller under its shipped roles.
    pub real: bool,
    /// The lab's directory stays.
    pub keep: bool,
}

impl LabOptions {
    /// A scene as the demonstration plays it.
    #[must_use]
    pub fn new(kind: HostKind) -> Self {
        Self {
            kind,
            policy: Vec::new(),
            provider_url: None,
            styx_machine: None,
            plugins: String::new(),
            lifecycle: Lifecycle::default(),
            real: false,
            keep: std::env::var_os("IASO_LAB_KEEP").is_some(),
        }
    }
}

/// Files and addresses of a lab.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The controller's configuration.
    pub controller_config: PathBuf,
    /// The controller's data.
    pub data: PathBuf,
    directory: PathBuf,
    controller: SocketAddr,
}

impl Paths {
    pub(crate) fn new(lab: &Path) -> Self {
        let directory = lab.join("controller");
        Self {
            controller_config: directory.join("controller.toml"),
            data: directory.join("data"),
            directory,
            controller: ([127, 0, 0, 1], 0).into(),
        }
    }

    /// The operators' token.
    #[must_use]
    pub fn operator_token_file(&self) -> PathBuf {
        self.directory.join("operator.token")
    }

    pub(crate) fn controller_address(&self) -> SocketAddr {
        self.controller
    }

    /// Where the controller listens, for a client.
    #[must_use]
    pub fn controller_url(&self) -> String {
        format!("https://{}", self.controller)
    }
}

/// Times of seconds, and modes that act: by policy, not by special cases in the code.
const POLICY: [(&str, &str); 23] = [
    ("fix", "\"auto\""),
    ("start", "\"auto\""),
    ("reboot", "\"auto\""),
    ("recreate", "\"auto\""),
    ("agent_gone_secs", "3"),
    ("lease_stale_secs", "5"),
    ("probe_fresh_secs", "8"),
    ("machine_fresh_secs", "8"),
    ("finding_fresh_secs", "30"),
    ("confirm_secs", "3"),
    ("quorum", "2"),
    ("silence_secs", "4"),
    ("probe_round_secs", "2"),
    ("fix_wait_secs", "12"),
    ("fix_attempts", "2"),
    ("reboot_wait_secs", "8"),
    ("rejoin_secs", "60"),
    ("operation_secs", "60"),
    ("verify_secs", "3"),
    ("storm_limit", "1"),
    ("recreates_per_day", "1"),
    ("reboots_per_day", "3"),
    ("doubt_secs", "10"),
];

/// Writes everything that the controller reads.
pub(crate) fn write(
    paths: &mut Paths,
    options: &LabOptions,
    network: &Network,
    provider: &Emulator,
) -> Result<()> {
    let directory = &paths.directory;
    std::fs::create_dir_all(&paths.data)?;
    let addresses = &network.addresses;
    paths.controller = addresses.controller;
    secret(&directory.join("hostinger.token"), &provider.token())?;
    let user = if options.real {
        User::Iaso
    } else {
        User::Admin
    };
    KubeApi::write_kubeconfig(
        &directory.join("kubeconfig"),
        &addresses.kube_url,
        &user.token(),
    )?;
    std::fs::write(
        directory.join("rejoin.sh.tmpl"),
        include_str!("../../lab-assets/rejoin.sh.tmpl"),
    )?;
    let base_url = options
        .provider_url
        .clone()
        .unwrap_or_else(|| provider.base_url());
    let text = [
        head(addresses, &base_url, options.real)?,
        policy(options),
        nodes(options, addresses),
        plugins(network)?,
        options.plugins.clone(),
    ]
    .join("\n");
    std::fs::write(&paths.controller_config, text)
        .context("cannot write the controller's configuration")
}

/// Tokens are files that only their owner reads.
pub(super) fn secret(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(())
}

fn head(addresses: &Addresses, base_url: &str, real: bool) -> Result<String> {
    // A real API server on two busy cores is slower than one in memory.
    let timeout = if real { 5 } else { 2 };
    let Addresses {
        controller,
        agent_url,
        k3s_url,
        probe_ports,
        icmp,
        ..
    } = addresses;
    let compiler = match std::env::var("IASO_COMPILE") {
        Ok(path) => PathBuf::from(path),
        Err(_) => programs::program("iaso-compile")?,
    };
    let status = SocketAddr::from(([127, 0, 80, 1], 9465));
    Ok(format!(
        "listen = \"{controller}\"\nstatus_listen = \"{status}\"\ndata_dir = \"data\"\ncompiler = \"{}\"\nheartbeat_secs = 1\n\
         [cluster]\nkubeconfig = \"kubeconfig\"\npoll_secs = 1\ntimeout_secs = {timeout}\nevict_secs = 10\n\
         [provider.hostinger]\nbase_url = \"{base_url}\"\ntoken_file = \"hostinger.token\"\ntimeout_secs = 3\nmin_interval_ms = 50\npoll_secs = 2\n\
         [rejoin]\ntemplate_id = 1077\nk3s_url = \"{k3s_url}\"\nscript_template = \"rejoin.sh.tmpl\"\nagent_url = \"{agent_url}\"\ntoken_ttl_secs = 600\n\
         [probe]\nicmp = {icmp}\ntcp_ports = {probe_ports:?}\ntimeout_ms = 700\nobservers = 5\n",
        compiler.display()
    ))
}

fn policy(options: &LabOptions) -> String {
    let mut out = String::from("[policy]\n");
    let replaced = |key: &str| options.policy.iter().any(|(other, _)| *other == key);
    for (key, value) in POLICY.iter().filter(|(key, _)| !replaced(key)) {
        let _ = writeln!(out, "{key} = {value}");
    }
    for (key, value) in &options.policy {
        let _ = writeln!(out, "{key} = {value}");
    }
    out
}

fn nodes(options: &LabOptions, addresses: &Addresses) -> String {
    let mut out = String::new();
    for (name, index, machine, role) in HOSTS {
        let _ = writeln!(
            out,
            "[[nodes]]\nname = \"{name}\"\nrole = \"{role}\"\naddress = \"{}.{index}\"",
            addresses.prefix
        );
        let own = options.styx_machine.clone().filter(|_| name == "styx");
        match own.or_else(|| machine.map(|id| id.to_string())) {
            Some(machine) => {
                let _ = writeln!(out, "provider = \"hostinger\"\nmachine = \"{machine}\"");
            }
            None => out.push_str("provider = \"none\"\n"),
        }
    }
    out
}

fn plugins(network: &Network) -> Result<String> {
    let Addresses {
        prefix,
        dns_port,
        dns_service,
        kubelet_healthz,
        kube_url: _,
        probe_ports,
        icmp,
        ..
    } = &network.addresses;
    let containerd = network.containerd();
    let [k3s, probe, coredns] = [
        programs::plugin("k3s-agent")?,
        programs::plugin("network-probe")?,
        programs::plugin("coredns")?,
    ];
    let health = format!(
        "host = true\nhttp = [{{ to = \"{}\", ports = [10248], methods = [\"GET\"] }}]\nnet.unix = [\"{containerd}\"]\nservices.read = [\"k3s-agent.service\"]\n",
        kubelet_healthz.ip()
    );
    let agent_port = probe_ports.last().copied().unwrap_or(7444);
    let peers: Vec<String> = HOSTS
        .iter()
        .map(|(_, index, ..)| format!("{prefix}.{index}:{agent_port}"))
        .collect();
    let [first, second, third, _] = dns_service.octets();
    Ok(format!(
        "[[plugins]]\nname = \"k3s-agent\"\npath = \"{k3s}\"\nroles = [\"worker\"]\ninterval_secs = 2\ntimeout_ms = 8000\n\
         [plugins.config]\nkubelet_healthz = \"http://{kubelet_healthz}/healthz\"\ncontainerd_socket = \"{containerd}\"\n\
         start_grace = \"5s\"\nrestart_cooldown = \"5s\"\nrestart_timeout = \"10s\"\nhealth_timeout = \"10s\"\n\
         [plugins.grants.check]\n{health}[plugins.grants.fix]\n{health}services.control = [\"k3s-agent.service\"]\nscripts = [\"k3s-killall\"]\n\
         [[plugins]]\nname = \"network-probe\"\npath = \"{probe}\"\ninterval_secs = 3\ntimeout_ms = 8000\n\
         [plugins.config]\npeers = \"{peers}\"\nask_peers = false\nanchors = \"\"\ndns_servers = \"\"\nrequire_default_route = {icmp}\n\
         ping_gateway = false\nmtu = false\ntimeout = \"700ms\"\nbudget = \"5s\"\n\
         [plugins.grants]\ndeclined = [\"dns\", \"services\"]\n[plugins.grants.check]\nhost = true\nnet.tcp = [{{ to = \"{prefix}.0/24\", ports = [] }}]\nnet.icmp = [\"{prefix}.0/24\"]\n\
         [[plugins]]\nname = \"coredns\"\npath = \"{coredns}\"\ninterval_secs = 3\ntimeout_ms = 8000\n\
         [plugins.config]\nservice_ip = \"{dns_service}:{dns_port}\"\nendpoints = \"{first}.{second}.{third}.2:{dns_port},{first}.{second}.{third}.3:{dns_port}\"\n\
         timeout = \"500ms\"\nbudget = \"6s\"\ncooldown = \"60s\"\nverify = \"5s\"\n\
         [plugins.grants.check]\nhost = true\ndns.servers = [{{ to = \"{first}.{second}.{third}.0/24\", ports = [{dns_port}] }}]\n\
         kube.pods = [\"kube-system\"]\nkube.services = [\"kube-system\"]\n\
         [plugins.grants.fix]\nhost = true\ndns.servers = [{{ to = \"{first}.{second}.{third}.0/24\", ports = [{dns_port}] }}]\n\
         kube.pods = [\"kube-system\"]\nkube.services = [\"kube-system\"]\nkube.delete_pods = [\"kube-system\"]\n",
        k3s = k3s.display(),
        probe = probe.display(),
        coredns = coredns.display(),
        peers = peers.join(","),
    ))
}
