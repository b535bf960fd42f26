//! What a component's imports mean to an agent of this version: capabilities in words, or why it would be refused.

use iaso_grants::{GrantSet, Grants, INTERFACE_VERSION, Interface, is_compatible, split_interface};
use serde::Serialize;

use crate::cause;
use crate::component::{Kind, Looked};
use crate::words;

/// One capability that a component imports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Use {
    /// The interface with its version: `iaso:plugin/http@0.1.0`.
    pub import: String,
    /// What it lets a plugin do.
    pub means: &'static str,
    /// The functions that are used.
    pub functions: Vec<String>,
    /// The grants that they need; empty for what is always granted.
    pub grants: Vec<&'static str>,
}

impl Looked {
    /// What it may use, types left out. What this version does not know is in [`Self::problems`].
    #[must_use]
    pub fn uses(&self) -> Vec<Use> {
        let known = |import: &crate::Import| {
            let (interface, version) = split_interface(&import.name)?;
            let interface = Interface::named(interface).filter(|_| is_compatible(version))?;
            let functions = import.functions.clone()?;
            let mut grants: Vec<&'static str> = Vec::new();
            for name in &functions {
                let known = interface.functions().iter().find(|f| f.name == name);
                if let Some(function) = known.filter(|f| !f.grant.is_empty())
                    && !grants.contains(&function.grant)
                {
                    grants.push(function.grant);
                }
            }
            (interface != Interface::Types).then(|| Use {
                import: words(&import.name),
                means: interface.in_words(),
                functions: functions.iter().map(|name| words(name)).collect(),
                grants,
            })
        };
        self.imports.iter().filter_map(known).collect()
    }

    /// Why an agent of this version would not run it; empty when it would.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(Err(bad)) = &self.manifest {
            problems.push(bad.to_string());
        }
        match self.kind() {
            Kind::Check | Kind::CheckAndFix => {}
            Kind::FixOnly => problems.push(format!(
                "it exports `fix` and not `iaso:plugin/check@{INTERFACE_VERSION}`: every plugin looks; build it for the world `fixer`"
            )),
            Kind::Neither => problems.push(self.without_check()),
        }
        let (wasi, own): (Vec<_>, Vec<_>) = self
            .imports
            .iter()
            .partition(|import| import.name.starts_with("wasi:"));
        if !wasi.is_empty() {
            let names: Vec<&str> = wasi.iter().map(|import| import.name.as_str()).collect();
            problems.push(cause::wasi(&names, &self.made_by));
        }
        problems.extend(own.into_iter().filter_map(problem_of));
        problems
    }

    fn without_check(&self) -> String {
        let other = self
            .exports
            .iter()
            .find(|name| name.starts_with("iaso:plugin/check@"));
        match other {
            Some(name) => format!(
                "it exports `{}`; this agent has {INTERFACE_VERSION}: build the plugin with a matching SDK, or update the agent",
                words(name)
            ),
            None => format!(
                "it does not export `iaso:plugin/check@{INTERFACE_VERSION}`: build it for the world `checker` or `fixer`"
            ),
        }
    }

    /// Grants that its functions need and that `grants` lacks in both tables: the plugin would be refused with them.
    #[must_use]
    pub fn missing(&self, grants: &Grants) -> Vec<&'static str> {
        let has = |key: &str| holds(&grants.check, key) || holds(&grants.fix, key);
        let mut missing: Vec<&'static str> = Vec::new();
        for used in self.uses() {
            let interface = split_interface(&used.import).map_or("", |(name, _)| name);
            let declined = grants.declined.iter().any(|name| name == interface);
            // One granted function is enough for the interface to be linked; the others answer that they are denied.
            if declined || used.grants.is_empty() || used.grants.iter().any(|key| has(key)) {
                continue;
            }
            missing.extend(used.grants.iter().copied());
        }
        missing
    }

    /// Keys that `grants` holds and that none of its functions needs: more than it can use.
    #[must_use]
    pub fn unused(&self, grants: &Grants) -> Vec<&'static str> {
        let used: Vec<&str> = self.uses().iter().flat_map(|u| u.grants.clone()).collect();
        let mut unused: Vec<&'static str> = Vec::new();
        for function in Interface::ALL.iter().flat_map(|i| i.functions()) {
            let key = function.grant;
            let is_held = (function.is_in)(&grants.check) || (function.is_in)(&grants.fix);
            if !key.is_empty() && is_held && !used.contains(&key) && !unused.contains(&key) {
                unused.push(key);
            }
        }
        unused
    }
}

fn holds(set: &GrantSet, key: &str) -> bool {
    Interface::ALL
        .iter()
        .flat_map(|interface| interface.functions())
        .any(|function| function.grant == key && (function.is_in)(set))
}

fn problem_of(import: &crate::Import) -> Option<String> {
    let name = words(&import.name);
    let foreign = format!(
        "it needs `{name}`, which no agent has: a plugin imports only interfaces of `iaso:plugin@{INTERFACE_VERSION}`"
    );
    let Some((interface, version)) = split_interface(&import.name) else {
        return Some(foreign);
    };
    let Some(functions) = &import.functions else {
        return Some(foreign);
    };
    if !is_compatible(version) {
        return Some(format!(
            "it needs `{name}`; this agent has {INTERFACE_VERSION}: build the plugin with a matching SDK, or update the agent"
        ));
    }
    let Some(known) = Interface::named(interface) else {
        return Some(format!(
            "it needs `{name}`; this agent has {INTERFACE_VERSION} without that interface: update the agent"
        ));
    };
    let newer = functions
        .iter()
        .find(|used| known.functions().iter().all(|f| f.name != used.as_str()));
    newer.map(|function| {
        format!(
            "it needs function `{}` of `{name}`; this agent has {INTERFACE_VERSION} without it: update the agent",
            words(function)
        )
    })
}
