//! Which interfaces this agent offers, which grant each of their functions needs, and what a component may import.
//!
//! The import list of a component is its list of capabilities; everything here is decided from it before anything is linked.

use iaso_grants::{GrantSet, Grants};

use crate::fault::{FaultClass, PluginFault};

/// The version of the plugin interface that this agent speaks.
pub const INTERFACE_VERSION: &str = "0.1.0";
/// Plugins for any version that begins like this can be loaded.
const COMPATIBLE: &str = "0.1.";
const PACKAGE: &str = "iaso:plugin/";

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

const ALL: [Interface; 11] = [
    Interface::Types,
    Interface::Log,
    Interface::Net,
    Interface::Dns,
    Interface::Http,
    Interface::Services,
    Interface::Scripts,
    Interface::Host,
    Interface::Files,
    Interface::Kube,
    Interface::State,
];

/// A function, the key of its grant, and whether a table holds it.
type Function = (&'static str, &'static str, fn(&GrantSet) -> bool);

impl Interface {
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

    /// Its functions with their grants; the key is empty for what is always granted.
    const fn functions(self) -> &'static [Function] {
        match self {
            Self::Types => &[],
            Self::Log => &[("write", "", |_| true)],
            Self::State => &[
                ("get", "", |_| true),
                ("set", "", |_| true),
                ("delete", "", |_| true),
            ],
            Self::Net => &[
                ("tcp-connect", "net.tcp", |g| !g.net.tcp.is_empty()),
                ("ping", "net.icmp", |g| !g.net.icmp.is_empty()),
                ("unix-connect", "net.unix", |g| !g.net.unix.is_empty()),
            ],
            Self::Dns => &[("query", "dns.servers", |g| !g.dns.servers.is_empty())],
            Self::Http => &[("send", "http", |g| !g.http.is_empty())],
            Self::Services => &[
                ("status", "services.read", |g| !g.services.read.is_empty()),
                ("journal", "services.read", |g| !g.services.read.is_empty()),
                ("restart", "services.control", |g| {
                    !g.services.control.is_empty()
                }),
                ("start", "services.control", |g| {
                    !g.services.control.is_empty()
                }),
                ("stop", "services.control", |g| {
                    !g.services.control.is_empty()
                }),
            ],
            Self::Scripts => &[("run", "scripts", |g| !g.scripts.is_empty())],
            Self::Host => &[
                ("info", "host", |g| g.host),
                ("disks", "host", |g| g.host),
                ("routes", "host", |g| g.host),
                ("links", "host", |g| g.host),
                ("resolvers", "host", |g| g.host),
                ("peers", "host", |g| g.host),
                ("pause-ms", "host", |g| g.host),
                ("monotonic-us", "host", |g| g.host),
                ("random", "host", |g| g.host),
            ],
            Self::Files => &[
                ("stat", "files.read", |g| !g.files.read.is_empty()),
                ("read", "files.read", |g| !g.files.read.is_empty()),
            ],
            Self::Kube => &[
                ("pods-here", "kube.pods", |g| !g.kube.pods.is_empty()),
                ("delete-pod", "kube.delete_pods", |g| {
                    !g.kube.delete_pods.is_empty()
                }),
                ("get-service", "kube.services", |g| {
                    !g.kube.services.is_empty()
                }),
                ("get-endpoints", "kube.services", |g| {
                    !g.kube.services.is_empty()
                }),
                ("pod-states-here", "kube.pod_states", |g| {
                    !g.kube.pod_states.is_empty()
                }),
                ("workloads-here", "kube.workloads", |g| {
                    !g.kube.workloads.is_empty()
                }),
                ("env-urls-here", "kube.env_urls", |g| {
                    !g.kube.env_urls.is_empty()
                }),
                ("conditions", "kube.conditions", |g| {
                    !g.kube.conditions.is_empty()
                }),
            ],
        }
    }
}

/// One import of a component: its full name and the functions that the component takes from it.
pub(crate) struct Import<'a> {
    pub(crate) name: &'a str,
    /// None when it is not an interface at all but a lone function or type.
    pub(crate) functions: Option<Vec<&'a str>>,
}

/// The interface that an import names, if this agent has it, every function of it that is used, and a grant for at least one of those.
pub(crate) fn accept(import: &Import<'_>, grants: &Grants) -> Result<Interface, PluginFault> {
    let interface = known(import)?;
    let used = import.functions.as_deref().unwrap_or_default();
    let mut missing: Vec<&str> = Vec::new();
    let declined = grants
        .declined
        .iter()
        .any(|name| name == interface.as_str());
    let mut granted = used.is_empty() || declined;
    for name in used {
        let Some((_, key, is_in)) = interface.functions().iter().find(|(f, _, _)| f == name) else {
            return Err(refused(format!(
                "needs function `{}` of `{}`; this agent has {INTERFACE_VERSION} without it: update the agent",
                words(name),
                words(import.name)
            )));
        };
        granted |= is_in(&grants.check) || is_in(&grants.fix);
        if !missing.contains(key) {
            missing.push(key);
        }
    }
    if granted {
        Ok(interface)
    } else {
        Err(not_granted(import.name, &missing))
    }
}

/// Whether a component may import `name` at all, whatever it was granted; a fault says why not.
pub fn check_import_name(name: &str) -> Result<(), PluginFault> {
    known(&Import {
        name,
        functions: Some(Vec::new()),
    })
    .map(|_| ())
}

fn known(import: &Import<'_>) -> Result<Interface, PluginFault> {
    let name = words(import.name);
    let foreign = || {
        refused(format!(
            "needs `{name}`, which this agent does not have: a plugin imports only interfaces of `iaso:plugin@{INTERFACE_VERSION}` (no WASI)"
        ))
    };
    let (interface, version) = import
        .name
        .strip_prefix(PACKAGE)
        .and_then(|rest| rest.split_once('@'))
        .ok_or_else(foreign)?;
    if import.functions.is_none() {
        return Err(foreign());
    }
    if !is_compatible(version) {
        return Err(refused(format!(
            "needs `{name}`; this agent has {INTERFACE_VERSION}: build the plugin with a matching SDK, or update the agent"
        )));
    }
    ALL.into_iter().find(|known| known.as_str() == interface).ok_or_else(|| {
        refused(format!("needs `{name}`; this agent has {INTERFACE_VERSION} without that interface: update the agent"))
    })
}

/// 0.y versions agree on y; a pre-release agrees with nothing.
pub(crate) fn is_compatible(version: &str) -> bool {
    version.strip_prefix(COMPATIBLE).is_some_and(|patch| {
        !patch.is_empty() && patch.len() < 10 && patch.bytes().all(|b| b.is_ascii_digit())
    })
}

/// The bare name in an import's full name.
pub(crate) fn interface_name(import: &str) -> &str {
    let last = import.rsplit('/').next().unwrap_or_default();
    last.split('@').next().unwrap_or_default()
}

fn not_granted(import: &str, keys: &[&str]) -> PluginFault {
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    let which = match keys.as_slice() {
        [only] => format!("grant {only}"),
        _ => format!("one of the grants {}", keys.join(", ")),
    };
    let acts = keys
        .iter()
        .all(|k| ["`scripts`", "`services.control`", "`kube.delete_pods`"].contains(&k.as_str()));
    let table = if acts {
        "`grants.fix`"
    } else {
        "`grants.check` or `grants.fix`"
    };
    PluginFault::new(
        FaultClass::MissingGrant,
        format!(
            "imports `{}` and was not granted it: needs {which} in {table}, or `declined` to run without it",
            words(import)
        ),
    )
}

pub(crate) fn refused(message: String) -> PluginFault {
    PluginFault::new(FaultClass::Refused, message)
}

/// A name out of a component, short and printable.
pub(crate) fn words(name: &str) -> String {
    name.chars()
        .take(128)
        .map(|c| {
            if c.is_control() || c == '`' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// The name under which a component exports `interface`, in whatever compatible version.
pub(crate) fn exported<'a>(
    mut exports: impl Iterator<Item = &'a str>,
    interface: &str,
) -> Option<&'a str> {
    exports.find(|name| {
        let rest = name
            .strip_prefix(PACKAGE)
            .and_then(|rest| rest.split_once('@'));
        rest.is_some_and(|(found, version)| found == interface && is_compatible(version))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a function added to the interface file and forgotten here, which would be refused at load for ever.
    #[test]
    fn every_function_of_the_interface_file_is_known() {
        let mut resolve = wit_parser::Resolve::default();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/wit");
        let (package, _) = resolve.push_path(path).expect("the interface file is good");
        for interface in ALL {
            let id = resolve.packages[package].interfaces[interface.as_str()];
            let mut in_file: Vec<&str> = resolve.interfaces[id]
                .functions
                .keys()
                .map(String::as_str)
                .collect();
            let mut known: Vec<&str> = interface
                .functions()
                .iter()
                .map(|(name, _, _)| *name)
                .collect();
            in_file.sort_unstable();
            known.sort_unstable();
            assert_eq!(in_file, known, "interface {}", interface.as_str());
        }
    }

    #[test]
    fn versions_agree_on_the_minor_number_only() {
        assert!(is_compatible("0.1.0") && is_compatible("0.1.12"));
        for other in ["0.2.0", "0.1", "0.1.", "0.1.0-rc.1", "1.1.0", "0.10.0", ""] {
            assert!(!is_compatible(other), "{other}");
        }
    }

    #[test]
    fn a_missing_grant_is_named_for_the_functions_that_are_used() {
        let import = Import {
            name: "iaso:plugin/net@0.1.0",
            functions: Some(vec!["ping", "tcp-connect"]),
        };
        let fault = accept(&import, &Grants::default()).expect_err("nothing is granted");
        assert_eq!(fault.class, FaultClass::MissingGrant);
        assert_eq!(
            fault.message,
            "imports `iaso:plugin/net@0.1.0` and was not granted it: needs one of the grants `net.icmp`, `net.tcp` \
             in `grants.check` or `grants.fix`, or `declined` to run without it"
        );
    }

    #[test]
    fn a_newer_interface_is_named_with_what_this_agent_has() {
        let import = Import {
            name: "iaso:plugin/http@0.3.0",
            functions: Some(vec!["send"]),
        };
        let fault = accept(&import, &Grants::default()).expect_err("it is newer");
        assert_eq!(fault.class, FaultClass::Refused);
        assert!(
            fault
                .message
                .starts_with("needs `iaso:plugin/http@0.3.0`; this agent has 0.1.0"),
            "{fault}"
        );
    }
}
