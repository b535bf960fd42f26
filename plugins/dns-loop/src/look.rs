//! Which file pods get, what its servers are to this node, and what the cluster DNS says.

use std::net::IpAddr;

use iaso_plugin::{Dns, Error, Files, Host};

use crate::ask::{Reply, ask};
use crate::resolv::{address, configured, is_fit_for_pods, is_global_unicast, servers};
use crate::settings::Settings;

pub(crate) const CHOICES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
/// What k3s writes when neither will do.
pub(crate) const GENERATED: &str = "8.8.8.8";
const FILE_BYTES_MAX: u32 = 64 << 10;
/// Servers that are asked in one look.
const ASKED_MAX: usize = 4;

/// Why pods get this file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// By the kubelet's configuration.
    Given(String),
    /// The first of [`CHOICES`] that will do.
    Chosen(String),
    /// None of them will do, so k3s writes one.
    Generated,
}

impl Source {
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Given(path) | Self::Chosen(path) => path,
            Self::Generated => "the file that k3s wrote",
        }
    }
}

/// What a server is to this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a pod, the pod itself.
    Loopback,
    ClusterDns,
    /// An address of this node, and what it answered for the external name.
    Own(Reply),
    /// Of one link only: no pod reaches it.
    LinkLocal,
    Elsewhere(Reply),
    NoAddress,
}

/// What the cluster DNS said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterDns {
    pub(crate) external: Reply,
    pub(crate) own_name: Reply,
}

/// Everything that one look saw.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) source: Source,
    /// False: the file is not there.
    pub(crate) is_there: bool,
    pub(crate) servers: Vec<(String, Place)>,
    /// None: not asked.
    pub(crate) cluster_dns: Option<ClusterDns>,
    /// What could not be looked at, and changes little.
    pub(crate) unseen: Vec<String>,
}

/// An error says why it is not known which file counts, or what is in it.
pub(crate) fn look<H: Dns + Files + Host>(host: &H, settings: &Settings) -> Result<Sight, String> {
    let mut unseen = Vec::new();
    let given = given(host, settings, &mut unseen);
    let (source, found) = match given {
        Some(path) => {
            let found = file(host, &path)?;
            (Source::Given(path), found)
        }
        None => choose(host)?,
    };
    let own = own_addresses(host, &mut unseen);
    let mut asked = 0;
    let mut external = |server: IpAddr| {
        if settings.external_name.is_empty() || asked >= ASKED_MAX {
            return Reply::Unseen("it was not asked".to_owned());
        }
        asked += 1;
        ask(host, server, &settings.external_name, settings.timeout)
    };
    let servers = found
        .iter()
        .flatten()
        .map(|server| {
            let place = match address(server) {
                None => Place::NoAddress,
                Some(ip) if Some(ip) == settings.cluster_dns => Place::ClusterDns,
                Some(ip) if ip.is_loopback() || ip.is_unspecified() => Place::Loopback,
                Some(ip) if !is_global_unicast(ip) => Place::LinkLocal,
                Some(ip) if own.contains(&ip) => Place::Own(external(ip)),
                Some(ip) => Place::Elsewhere(external(ip)),
            };
            (server.clone(), place)
        })
        .collect();
    Ok(Sight {
        source,
        is_there: found.is_some(),
        servers,
        cluster_dns: cluster_dns(host, settings),
        unseen,
    })
}

fn given<H: Files>(host: &H, settings: &Settings, unseen: &mut Vec<String>) -> Option<String> {
    if !settings.resolv_conf.is_empty() {
        return Some(settings.resolv_conf.clone());
    }
    if settings.k3s_config.is_empty() {
        return None;
    }
    match host.read_text(&settings.k3s_config, FILE_BYTES_MAX) {
        Ok(text) => configured(&text),
        // Most nodes have none.
        Err(Error::Unavailable(_)) => None,
        Err(why) => {
            unseen.push(format!("{}: {why}", settings.k3s_config));
            None
        }
    }
}

/// None: it is not there.
fn file<H: Files>(host: &H, path: &str) -> Result<Option<Vec<String>>, String> {
    let told = |why: Error| format!("{path}: {why}");
    match host.stat(path) {
        Ok(stat) if stat.kind == "missing" => return Ok(None),
        Ok(_) => {}
        Err(why) => return Err(told(why)),
    }
    let text = host.read_text(path, FILE_BYTES_MAX).map_err(told)?;
    Ok(Some(servers(&text)))
}

fn choose<H: Files>(host: &H) -> Result<(Source, Option<Vec<String>>), String> {
    for path in CHOICES {
        if let Some(found) = file(host, path)?
            && is_fit_for_pods(&found)
        {
            return Ok((Source::Chosen(path.to_owned()), Some(found)));
        }
    }
    Ok((Source::Generated, Some(vec![GENERATED.to_owned()])))
}

fn own_addresses<H: Host>(host: &H, unseen: &mut Vec<String>) -> Vec<IpAddr> {
    match host.links() {
        Ok(links) => links
            .iter()
            .flat_map(|link| &link.addresses)
            .filter_map(|text| address(text.split('/').next().unwrap_or_default()))
            .collect(),
        Err(why) => {
            unseen.push(format!("the addresses of this node: {why}"));
            Vec::new()
        }
    }
}

fn cluster_dns<H: Dns>(host: &H, settings: &Settings) -> Option<ClusterDns> {
    let server = settings.cluster_dns?;
    if settings.external_name.is_empty() {
        return None;
    }
    let external = ask(host, server, &settings.external_name, settings.timeout);
    let own_name = match &external {
        Reply::Fails(_) | Reply::Silent if !settings.cluster_name.is_empty() => {
            ask(host, server, &settings.cluster_name, settings.timeout)
        }
        Reply::Knows | Reply::Fails(_) | Reply::Silent | Reply::Unseen(_) => {
            Reply::Unseen("it was not asked".to_owned())
        }
    };
    Some(ClusterDns { external, own_name })
}
