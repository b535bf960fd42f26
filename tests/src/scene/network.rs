//! Who is where, for either kind of host.

use super::HOSTS;
use crate::dns::DnsServer;
use crate::hosts::nspawn::{NspawnHost, network as bridge};
use crate::hosts::process::{self, Commons, ProcessHost};
use crate::hosts::{Host, HostKind};
use crate::kubeapi::seed::DnsSeed;
use crate::wires::{Links, Wire};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the CoreDNS pods are: on the server and on the worker that stays.
const DNS_ENDPOINTS: [(&str, u8); 2] = [("tethys", 2), ("calypso", 3)];

/// What both sides must know.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) controller: SocketAddr,
    pub(crate) agent_url: String,
    pub(crate) k3s_url: String,
    pub(crate) kube_url: String,
    pub(crate) prefix: &'static str,
    pub(crate) probe_ports: [u16; 3],
    pub(crate) icmp: bool,
    pub(crate) dns_port: u16,
    pub(crate) dns_service: Ipv4Addr,
    pub(crate) kubelet_healthz: SocketAddr,
}

pub(crate) fn addresses(kind: HostKind) -> Addresses {
    let outside = outside(kind);
    match kind {
        HostKind::Process => Addresses {
            controller: ([127, 0, 80, 1], 7443).into(),
            agent_url: format!("https://{outside}:7443"),
            k3s_url: format!("https://{outside}:6443"),
            kube_url: "http://127.0.80.1:6443".into(),
            prefix: "127.0.77",
            probe_ports: [process::SSH_PORT, 10_250, 7_444],
            icmp: false,
            dns_port: 5_353,
            dns_service: Ipv4Addr::new(127, 0, 81, 10),
            kubelet_healthz: (outside, 10_248).into(),
        },
        HostKind::Nspawn => Addresses {
            controller: (outside, 7443).into(),
            agent_url: format!("https://{outside}:7443"),
            k3s_url: format!("https://{outside}:6443"),
            kube_url: format!("http://{outside}:6443"),
            prefix: "10.77.0",
            probe_ports: [22, 10_250, 7_444],
            icmp: true,
            dns_port: 53,
            dns_service: bridge::DNS_SERVICE,
            kubelet_healthz: ([127, 0, 0, 1], 10_248).into(),
        },
    }
}

fn outside(kind: HostKind) -> Ipv4Addr {
    match kind {
        HostKind::Process => process::OUTSIDE,
        HostKind::Nspawn => bridge::OUTSIDE,
    }
}

/// The lab's network, and what holds it up.
#[derive(Debug)]
pub struct Network {
    pub(crate) kind: HostKind,
    pub(crate) addresses: Addresses,
    links: Links,
    commons_at: PathBuf,
    inside: std::sync::Mutex<BTreeMap<String, process::Inside>>,
    _wires: Vec<Wire>,
    _commons: Option<Commons>,
}

impl Network {
    /// Makes what hosts are connected by.
    pub(crate) fn create(kind: HostKind, lab: &Path) -> Result<Self> {
        let addresses = addresses(kind);
        if kind == HostKind::Nspawn {
            if let Some(why) = crate::hosts::nspawn::missing() {
                bail!("nspawn hosts cannot run here: {why}");
            }
            let further: Vec<Ipv4Addr> = dns_addresses(addresses.dns_service).collect();
            bridge::create(&further)?;
        }
        Ok(Self {
            kind,
            addresses,
            links: Links::default(),
            commons_at: lab.join("containerd.sock"),
            inside: std::sync::Mutex::default(),
            _wires: Vec::new(),
            _commons: None,
        })
    }

    /// Where the API server really listens.
    pub(crate) fn kube_bind(&self) -> SocketAddr {
        match self.kind {
            HostKind::Process => ([127, 0, 80, 1], 6443).into(),
            HostKind::Nspawn => (outside(self.kind), 6443).into(),
        }
    }

    /// Containerd's socket, as every host sees it.
    pub(crate) fn containerd(&self) -> String {
        match self.kind {
            HostKind::Process => self.commons_at.display().to_string(),
            HostKind::Nspawn => "/run/k3s/containerd/containerd.sock".into(),
        }
    }

    pub(crate) fn hosts(&self, lab: &Path) -> Result<BTreeMap<String, Arc<dyn Host>>> {
        let mut hosts: BTreeMap<String, Arc<dyn Host>> = BTreeMap::new();
        for (name, index, ..) in HOSTS {
            let host: Arc<dyn Host> = match self.kind {
                HostKind::Process => {
                    let host = ProcessHost::new(name, index, lab, &self.links)?;
                    let mut inside = self
                        .inside
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    inside.insert(name.to_owned(), host.inside());
                    Arc::new(host)
                }
                HostKind::Nspawn => Arc::new(NspawnHost::new(name, index, lab)),
            };
            hosts.insert(name.to_owned(), host);
        }
        Ok(hosts)
    }

    /// Lays the wires from the hosts to the outside world.
    pub(crate) async fn connect(mut self, kube: SocketAddr) -> Result<Self> {
        if self.kind == HostKind::Nspawn {
            return Ok(self);
        }
        let at = |port| SocketAddr::from((process::OUTSIDE, port));
        for (outside, inside) in [(at(7443), self.addresses.controller), (at(6443), kube)] {
            self._wires
                .push(Wire::lay(outside, inside, None, self.links.clone())?);
        }
        let inside = std::mem::take(
            &mut *self
                .inside
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        let commons = Commons::open(self.addresses.kubelet_healthz, &self.commons_at, inside);
        self._commons = Some(
            commons
                .await
                .context("cannot open the hosts' common doors")?,
        );
        Ok(self)
    }

    pub(crate) async fn dns(&self) -> Result<Vec<DnsServer>> {
        let port = self.addresses.dns_port;
        let servers = dns_addresses(self.addresses.dns_service)
            .map(|address| DnsServer::start(SocketAddr::from((address, port))));
        futures::future::try_join_all(servers).await
    }

    pub(crate) fn dns_seed(&self) -> DnsSeed {
        let [first, second, third, _] = self.addresses.dns_service.octets();
        DnsSeed {
            service: self.addresses.dns_service.into(),
            endpoints: DNS_ENDPOINTS
                .iter()
                .map(|(node, last)| {
                    (
                        (*node).to_owned(),
                        IpAddr::from([first, second, third, *last]),
                    )
                })
                .collect(),
            port: self.addresses.dns_port,
        }
    }
}

fn dns_addresses(service: Ipv4Addr) -> impl Iterator<Item = Ipv4Addr> {
    let [first, second, third, _] = service.octets();
    std::iter::once(service).chain(
        DNS_ENDPOINTS
            .iter()
            .map(move |(_, last)| Ipv4Addr::new(first, second, third, *last)),
    )
}
