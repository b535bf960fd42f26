//! Which interfaces this agent offers, which grant each of their functions needs, and what a component may import.
//!
//! The import list of a component is its list of capabilities; everything here is decided from it before anything is linked.

use iaso_grants::{Grants, is_compatible, split_interface};

use crate::fault::{FaultClass, PluginFault};

pub use iaso_grants::{INTERFACE_VERSION, Interface};

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
        let Some(function) = interface.functions().iter().find(|f| f.name == *name) else {
            return Err(refused(format!(
                "needs function `{}` of `{}`; this agent has {INTERFACE_VERSION} without it: update the agent",
                words(name),
                words(import.name)
            )));
        };
        granted |= (function.is_in)(&grants.check) || (function.is_in)(&grants.fix);
        if !missing.contains(&function.grant) {
            missing.push(function.grant);
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
    let (interface, version) = split_interface(import.name).ok_or_else(foreign)?;
    if import.functions.is_none() {
        return Err(foreign());
    }
    if !is_compatible(version) {
        return Err(refused(format!(
            "needs `{name}`; this agent has {INTERFACE_VERSION}: build the plugin with a matching SDK, or update the agent"
        )));
    }
    Interface::named(interface).ok_or_else(|| {
        refused(format!("needs `{name}`; this agent has {INTERFACE_VERSION} without that interface: update the agent"))
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
        split_interface(name)
            .is_some_and(|(found, version)| found == interface && is_compatible(version))
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
        for interface in Interface::ALL {
            let id = resolve.packages[package].interfaces[interface.as_str()];
            let mut in_file: Vec<&str> = resolve.interfaces[id]
                .functions
                .keys()
                .map(String::as_str)
                .collect();
            let mut known: Vec<&str> = interface
                .functions()
                .iter()
                .map(|function| function.name)
                .collect();
            in_file.sort_unstable();
            known.sort_unstable();
            assert_eq!(in_file, known, "interface {}", interface.as_str());
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
