//! The grants themselves, as the operator writes them.

use serde::{Deserialize, Serialize};

use crate::address::To;
use crate::parse::RawGrants;

/// Everything granted to one plugin: what its check may do, and what its fix may do. The two share nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawGrants")]
pub struct Grants {
    /// For `check`, and for nothing that acts.
    pub check: GrantSet,
    /// For `fix`: only what this table says; nothing is inherited from `check`.
    pub fix: GrantSet,
    /// Interfaces that the operator looked at and declined, such as `scripts`: a plugin that imports one is loaded all the same, and every
    /// call to it that is not granted above is denied. Without this, an import that nothing grants is refused at install.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub declined: Vec<String>,
}

/// What one phase of a plugin may do. The empty set grants nothing but `log` and `state`, which every plugin has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrantSet {
    /// Facts about this host: names, load, disks, routes, links, resolvers, peers.
    pub host: bool,
    /// Reachability.
    pub net: NetGrants,
    /// Questions to name servers.
    pub dns: DnsGrants,
    /// HTTP requests.
    pub http: Vec<HttpGrant>,
    /// Units of the init system.
    pub services: ServiceGrants,
    /// Scripts by the operator's name for them; only in a fix.
    pub scripts: Vec<String>,
    /// Files to read.
    pub files: FileGrants,
    /// Kubernetes, as far as this node goes.
    pub kube: KubeGrants,
}

/// `net.*`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetGrants {
    /// TCP connections that are opened and closed.
    pub tcp: Vec<PortGrant>,
    /// Echo requests.
    pub icmp: Vec<To>,
    /// Unix sockets, by absolute path.
    pub unix: Vec<String>,
}

/// `dns.*`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnsGrants {
    /// Name servers that may be asked.
    pub servers: Vec<PortGrant>,
}

/// A peer and its ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortGrant {
    /// The peer.
    pub to: To,
    /// Allowed ports; empty means any.
    #[serde(default)]
    pub ports: Vec<u16>,
}

/// A peer, its ports and the methods that may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGrant {
    /// The peer.
    pub to: To,
    /// Allowed ports; empty means any.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Allowed methods, in capitals. Left out: `GET` and `HEAD`, which change nothing.
    #[serde(default = "reading_methods")]
    pub methods: Vec<String>,
}

fn reading_methods() -> Vec<String> {
    vec!["GET".to_owned(), "HEAD".to_owned()]
}

/// `services.*`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceGrants {
    /// Units whose state and log may be read.
    pub read: Vec<String>,
    /// Units that may be started, stopped and restarted; only in a fix.
    pub control: Vec<String>,
}

/// `files.*`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileGrants {
    /// Files, and directories with all that is under them, by absolute path.
    pub read: Vec<String>,
}

/// `kube.*`: namespaces, and custom resources in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KubeGrants {
    /// Namespaces whose pods on this node may be listed.
    pub pods: Vec<String>,
    /// Namespaces whose services and endpoints may be read.
    pub services: Vec<String>,
    /// Namespaces whose pods on this node may be deleted; only in a fix.
    pub delete_pods: Vec<String>,
    /// Namespaces whose pods on this node may be seen with their containers, images and last exits.
    pub pod_states: Vec<String>,
    /// Namespaces whose controllers of pods on this node may be read for the images that they ask for.
    pub workloads: Vec<String>,
    /// Namespaces where the URLs in the environment of pods on this node may be read: scheme, host and port.
    pub env_urls: Vec<String>,
    /// Custom resources whose conditions may be read: `flux-system/kustomizations.kustomize.toolkit.fluxcd.io`.
    pub conditions: Vec<String>,
}
