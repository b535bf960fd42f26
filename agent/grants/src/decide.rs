//! May it? One small function for each kind of call.

use std::net::IpAddr;
use std::path::{Component, Path};

use crate::address::{To, canonical};
use crate::denial::{Decision, Denial, peer};
use crate::set::{GrantSet, PortGrant};

/// A resolved peer, and the name by which it was asked for, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The name in the plugin's request; none when it gave an address.
    pub name: Option<&'a str>,
    /// The address that would be connected to.
    pub address: IpAddr,
}

impl From<IpAddr> for Target<'_> {
    fn from(address: IpAddr) -> Self {
        Self {
            name: None,
            address,
        }
    }
}

impl Target<'_> {
    fn is_covered_by(&self, to: &To) -> bool {
        to.covers(self.name, self.address)
    }

    /// For the text of a denial: a grant by name helps only where a name can cover the address.
    fn words(&self) -> String {
        let by_name = self.name.and_then(|name| name.parse::<To>().ok());
        let would_do = by_name.is_some_and(|to| self.is_covered_by(&to));
        peer(self.name, canonical(self.address), would_do)
    }
}

fn port_is_granted(ports: &[u16], port: u16) -> bool {
    port != 0 && (ports.is_empty() || ports.contains(&port))
}

fn ports_decide(key: &str, grants: &[PortGrant], target: Target<'_>, port: u16) -> Decision {
    let granted = grants
        .iter()
        .any(|g| port_is_granted(&g.ports, port) && target.is_covered_by(&g.to));
    if granted {
        Ok(())
    } else {
        Err(Denial::ports(key, &target.words(), port))
    }
}

fn named_decide(key: &str, granted: &[String], asked: &str) -> Decision {
    if granted.iter().any(|g| g == asked) {
        Ok(())
    } else {
        Err(Denial::item(key, asked))
    }
}

impl GrantSet {
    /// `net.tcp`: may it connect there?
    pub fn tcp<'a>(&self, target: impl Into<Target<'a>>, port: u16) -> Decision {
        ports_decide("net.tcp", &self.net.tcp, target.into(), port)
    }

    /// `net.tcp`, before the lookup: a name that no grant could cover must not even leave the host as a DNS question.
    pub fn tcp_name(&self, name: &str, port: u16) -> Decision {
        let may = self
            .net
            .tcp
            .iter()
            .any(|g| port_is_granted(&g.ports, port) && g.to.may_cover_name(name));
        if may {
            Ok(())
        } else {
            Err(Denial::ports("net.tcp", name, port))
        }
    }

    /// `net.icmp`: may it ping that?
    pub fn icmp<'a>(&self, target: impl Into<Target<'a>>) -> Decision {
        let target = target.into();
        let granted = self.net.icmp.iter().any(|to| target.is_covered_by(to));
        if granted {
            Ok(())
        } else {
            Err(Denial::item("net.icmp", &target.words()))
        }
    }

    /// `net.icmp`, before the lookup.
    pub fn icmp_name(&self, name: &str) -> Decision {
        let may = self.net.icmp.iter().any(|to| to.may_cover_name(name));
        if may {
            Ok(())
        } else {
            Err(Denial::item("net.icmp", name))
        }
    }

    /// `net.unix`: may it connect to this socket? `path` is absolute, its links followed.
    pub fn unix(&self, path: &str) -> Decision {
        named_decide("net.unix", &self.net.unix, path)
    }

    /// `dns.servers`: may it ask that server?
    pub fn dns<'a>(&self, server: impl Into<Target<'a>>, port: u16) -> Decision {
        ports_decide("dns.servers", &self.dns.servers, server.into(), port)
    }

    /// `http`: may it send that method there?
    pub fn http<'a>(&self, target: impl Into<Target<'a>>, port: u16, method: &str) -> Decision {
        let target = target.into();
        let granted = self.http.iter().any(|g| {
            port_is_granted(&g.ports, port)
                && g.methods.iter().any(|m| m == method)
                && target.is_covered_by(&g.to)
        });
        if granted {
            Ok(())
        } else {
            Err(Denial::http(&target.words(), port, method))
        }
    }

    /// `http`, before the lookup.
    pub fn http_name(&self, name: &str, port: u16, method: &str) -> Decision {
        let may = self.http.iter().any(|g| {
            port_is_granted(&g.ports, port)
                && g.methods.iter().any(|m| m == method)
                && g.to.may_cover_name(name)
        });
        if may {
            Ok(())
        } else {
            Err(Denial::http(name, port, method))
        }
    }

    /// `services.read`: may it look at this unit?
    pub fn service_read(&self, unit: &str) -> Decision {
        named_decide("services.read", &self.services.read, unit)
    }

    /// `services.control`: may it start, stop or restart this unit?
    pub fn service_control(&self, unit: &str) -> Decision {
        named_decide("services.control", &self.services.control, unit)
    }

    /// `scripts`: may it run this one?
    pub fn script(&self, name: &str) -> Decision {
        named_decide("scripts", &self.scripts, name)
    }

    /// `host`: may it read facts about this host?
    pub fn host_facts(&self) -> Decision {
        if self.host {
            Ok(())
        } else {
            Err(Denial::flag("host"))
        }
    }

    /// `files.read`: may it read this? `path` is absolute, its links followed.
    pub fn file_read(&self, path: &str) -> Decision {
        let granted = is_plain(path)
            && self
                .files
                .read
                .iter()
                .any(|g| Path::new(path).starts_with(g));
        if granted {
            Ok(())
        } else {
            Err(Denial::item("files.read", path))
        }
    }

    /// `kube.pods`: may it list this namespace's pods on this node?
    pub fn kube_pods(&self, namespace: &str) -> Decision {
        named_decide("kube.pods", &self.kube.pods, namespace)
    }

    /// `kube.services`: may it read this namespace's services and endpoints?
    pub fn kube_services(&self, namespace: &str) -> Decision {
        named_decide("kube.services", &self.kube.services, namespace)
    }

    /// `kube.delete_pods`: may it delete this namespace's pods on this node?
    pub fn kube_delete_pods(&self, namespace: &str) -> Decision {
        named_decide("kube.delete_pods", &self.kube.delete_pods, namespace)
    }

    /// `kube.pod_states`: may it see this namespace's pods on this node with their containers?
    pub fn kube_pod_states(&self, namespace: &str) -> Decision {
        named_decide("kube.pod_states", &self.kube.pod_states, namespace)
    }

    /// `kube.workloads`: may it read the controllers of this namespace's pods on this node?
    pub fn kube_workloads(&self, namespace: &str) -> Decision {
        named_decide("kube.workloads", &self.kube.workloads, namespace)
    }

    /// `kube.env_urls`: may it read where the URLs of this namespace's pods on this node lead?
    pub fn kube_env_urls(&self, namespace: &str) -> Decision {
        named_decide("kube.env_urls", &self.kube.env_urls, namespace)
    }

    /// `kube.conditions`: may it read the conditions of these objects?
    pub fn kube_conditions(&self, group: &str, resource: &str, namespace: &str) -> Decision {
        let asked = format!("{namespace}/{resource}.{group}");
        named_decide("kube.conditions", &self.kube.conditions, &asked)
    }
}

/// Absolute, with no `..`: a prefix means nothing otherwise.
pub(crate) fn is_plain(path: &str) -> bool {
    let path = Path::new(path);
    path.is_absolute()
        && path
            .components()
            .all(|c| matches!(c, Component::RootDir | Component::Normal(_)))
}
