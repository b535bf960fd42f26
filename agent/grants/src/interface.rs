//! The interfaces of the plugin package: their functions, and the grant that each function needs.
//!
//! The import list of a component is its list of capabilities, so this table is what a plugin may ask for at all. It is here, and not in
//! the host, because whoever looks at a plugin without running it needs it too.

use crate::set::GrantSet;

/// The version of the plugin interface of this release.
pub const INTERFACE_VERSION: &str = "0.1.0";
/// Plugins for any version that begins like this can be loaded.
const COMPATIBLE: &str = "0.1.";
/// What the names of all interfaces begin with.
pub const INTERFACE_PACKAGE: &str = "iaso:plugin/";

/// An interface of the plugin package that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the interface file")]
pub enum Interface {
    Types,
    Log,
    Net,
    Dns,
    Http,
    Services,
    Scripts,
    Host,
    Files,
    Kube,
    State,
}

/// One function of an interface.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// Its name in the interface file.
    pub name: &'static str,
    /// The key of its grant; empty for what is always granted.
    pub grant: &'static str,
    /// Whether a table holds such a grant.
    pub is_in: fn(&GrantSet) -> bool,
}

const fn function(
    name: &'static str,
    grant: &'static str,
    is_in: fn(&GrantSet) -> bool,
) -> Function {
    Function { name, grant, is_in }
}

impl Interface {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Types,
        Self::Log,
        Self::Net,
        Self::Dns,
        Self::Http,
        Self::Services,
        Self::Scripts,
        Self::Host,
        Self::Files,
        Self::Kube,
        Self::State,
    ];

    /// Its name in the interface file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Types => "types",
            Self::Log => "log",
            Self::Net => "net",
            Self::Dns => "dns",
            Self::Http => "http",
            Self::Services => "services",
            Self::Scripts => "scripts",
            Self::Host => "host",
            Self::Files => "files",
            Self::Kube => "kube",
            Self::State => "state",
        }
    }

    /// What it lets a plugin do, for a person.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Types => "types that the other interfaces share",
            Self::Log => "write lines to the agent's log",
            Self::Net => "try TCP connections, pings and Unix sockets",
            Self::Dns => "ask name servers",
            Self::Http => "send HTTP requests",
            Self::Services => "look at units of the init system, start, stop and restart them",
            Self::Scripts => "run scripts that the operator named",
            Self::Host => "read facts about the host",
            Self::Files => "read files of the host",
            Self::Kube => "read this node's pods and services, and delete its pods",
            Self::State => "remember up to 64 KiB between runs",
        }
    }

    /// Its functions with their grants.
    #[must_use]
    pub const fn functions(self) -> &'static [Function] {
        match self {
            Self::Types => &[],
            Self::Log => LOG,
            Self::State => STATE,
            Self::Net => NET,
            Self::Dns => DNS,
            Self::Http => HTTP,
            Self::Services => SERVICES,
            Self::Scripts => SCRIPTS,
            Self::Host => HOST,
            Self::Files => FILES,
            Self::Kube => KUBE,
        }
    }

    /// The interface of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

const LOG: &[Function] = &[function("write", "", |_| true)];
const STATE: &[Function] = &[
    function("get", "", |_| true),
    function("set", "", |_| true),
    function("delete", "", |_| true),
];
const NET: &[Function] = &[
    function("tcp-connect", "net.tcp", |g| !g.net.tcp.is_empty()),
    function("ping", "net.icmp", |g| !g.net.icmp.is_empty()),
    function("unix-connect", "net.unix", |g| !g.net.unix.is_empty()),
];
const DNS: &[Function] = &[function("query", "dns.servers", |g| {
    !g.dns.servers.is_empty()
})];
const HTTP: &[Function] = &[function("send", "http", |g| !g.http.is_empty())];
const SERVICES: &[Function] = &[
    function("status", "services.read", |g| !g.services.read.is_empty()),
    function("journal", "services.read", |g| !g.services.read.is_empty()),
    function("restart", "services.control", controls),
    function("start", "services.control", controls),
    function("stop", "services.control", controls),
];
const SCRIPTS: &[Function] = &[function("run", "scripts", |g| !g.scripts.is_empty())];
const HOST: &[Function] = &[
    function("info", "host", |g| g.host),
    function("disks", "host", |g| g.host),
    function("routes", "host", |g| g.host),
    function("links", "host", |g| g.host),
    function("resolvers", "host", |g| g.host),
    function("peers", "host", |g| g.host),
    function("pause-ms", "host", |g| g.host),
    function("monotonic-us", "host", |g| g.host),
    function("random", "host", |g| g.host),
];
const FILES: &[Function] = &[
    function("stat", "files.read", |g| !g.files.read.is_empty()),
    function("read", "files.read", |g| !g.files.read.is_empty()),
];
const KUBE: &[Function] = &[
    function("pods-here", "kube.pods", |g| !g.kube.pods.is_empty()),
    function("delete-pod", "kube.delete_pods", |g| {
        !g.kube.delete_pods.is_empty()
    }),
    function("get-service", "kube.services", reads_services),
    function("get-endpoints", "kube.services", reads_services),
    function("pod-states-here", "kube.pod_states", |g| {
        !g.kube.pod_states.is_empty()
    }),
    function("workloads-here", "kube.workloads", |g| {
        !g.kube.workloads.is_empty()
    }),
    function("env-urls-here", "kube.env_urls", |g| {
        !g.kube.env_urls.is_empty()
    }),
    function("conditions", "kube.conditions", |g| {
        !g.kube.conditions.is_empty()
    }),
];

fn controls(grants: &GrantSet) -> bool {
    !grants.services.control.is_empty()
}

fn reads_services(grants: &GrantSet) -> bool {
    !grants.kube.services.is_empty()
}

/// Splits the full name of an import or export of the plugin package into interface and version: `iaso:plugin/http@0.1.0`.
#[must_use]
pub fn split_interface(full: &str) -> Option<(&str, &str)> {
    full.strip_prefix(INTERFACE_PACKAGE)?.split_once('@')
}

/// 0.y versions agree on y; a pre-release agrees with nothing.
#[must_use]
pub fn is_compatible(version: &str) -> bool {
    version.strip_prefix(COMPATIBLE).is_some_and(|patch| {
        !patch.is_empty() && patch.len() < 10 && patch.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_agree_on_the_minor_number_only() {
        assert!(is_compatible("0.1.0") && is_compatible("0.1.12"));
        for other in ["0.2.0", "0.1", "0.1.", "0.1.0-rc.1", "1.1.0", "0.10.0", ""] {
            assert!(!is_compatible(other), "{other}");
        }
    }
}
