//! Refuses grants that cannot mean what the operator meant.
//!
//! Every list is bounded, every name is shaped like what it names, and a check's table holds nothing that acts.

use serde::Deserialize;

use crate::decide::is_plain;
use crate::set::{GrantSet, Grants, HttpGrant, PortGrant};

/// The most entries one list of grants may have.
pub const LIST_MAX: usize = 256;

/// Interfaces that are granted, and so can be declined.
const INTERFACES: [&str; 8] = [
    "net", "dns", "http", "services", "scripts", "host", "files", "kube",
];

/// The longest path, unit or script name.
const TEXT_BYTES_MAX: usize = 4096;

/// Why a table of grants was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// An acting grant in the check's table.
    #[error("`check.{0}` acts, and a check never acts: move it to the plugin's `grants.fix`")]
    ActsInCheck(&'static str),
    /// More entries than anyone means.
    #[error(
        "`{key}` has {count} entries, at most {LIST_MAX} are allowed: use a network instead of single addresses"
    )]
    TooMany {
        /// The list.
        key: String,
        /// Its entries.
        count: usize,
    },
    /// Declined something that is no interface.
    #[error(
        "`declined` names `{0}`, which is no interface of the plugin package: net, dns, http, services, scripts, host, files or kube"
    )]
    UnknownInterface(String),
    /// Port 0.
    #[error("`{key}` allows port 0, which is no port: leave `ports` out to allow any")]
    PortZero {
        /// The list.
        key: String,
    },
    /// A list without an entry where that would read as "none" or "all".
    #[error(
        "`{key}` has an entry whose `methods` is empty: name them, or leave `methods` out for GET and HEAD"
    )]
    NoMethods {
        /// The list.
        key: String,
    },
    /// An entry that is not what the list is made of.
    #[error("`{key}` has `{entry}`, which is not {expected}")]
    BadEntry {
        /// The list.
        key: String,
        /// The entry.
        entry: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// [`Grants`] as written, not yet looked at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawGrants {
    #[serde(default)]
    check: GrantSet,
    #[serde(default)]
    fix: GrantSet,
    #[serde(default)]
    declined: Vec<String>,
}

impl TryFrom<RawGrants> for Grants {
    type Error = GrantError;

    fn try_from(raw: RawGrants) -> Result<Self, GrantError> {
        let grants = Self {
            check: raw.check,
            fix: raw.fix,
            declined: raw.declined,
        };
        grants.validate()?;
        Ok(grants)
    }
}

impl Grants {
    /// Looks at grants that were built in code; parsed ones have been looked at.
    pub fn validate(&self) -> Result<(), GrantError> {
        for (key, is_empty) in [
            ("services.control", self.check.services.control.is_empty()),
            ("scripts", self.check.scripts.is_empty()),
            ("kube.delete_pods", self.check.kube.delete_pods.is_empty()),
        ] {
            if !is_empty {
                return Err(GrantError::ActsInCheck(key));
            }
        }
        for interface in &self.declined {
            if !INTERFACES.contains(&interface.as_str()) {
                return Err(GrantError::UnknownInterface(interface.clone()));
            }
        }
        validate_set("check", &self.check)?;
        validate_set("fix", &self.fix)
    }
}

fn validate_set(phase: &str, set: &GrantSet) -> Result<(), GrantError> {
    let key = |name: &str| format!("{phase}.{name}");
    ports(key("net.tcp"), &set.net.tcp)?;
    length(&key("net.icmp"), set.net.icmp.len())?;
    entries(
        key("net.unix"),
        &set.net.unix,
        is_path,
        "an absolute path without `..`",
    )?;
    ports(key("dns.servers"), &set.dns.servers)?;
    http(key("http"), &set.http)?;
    entries(key("services.read"), &set.services.read, is_unit, UNIT)?;
    entries(
        key("services.control"),
        &set.services.control,
        is_unit,
        UNIT,
    )?;
    entries(
        key("scripts"),
        &set.scripts,
        is_word,
        "a word of letters, digits, `-`, `_` and `.`",
    )?;
    entries(
        key("files.read"),
        &set.files.read,
        is_path,
        "an absolute path without `..`",
    )?;
    entries(key("kube.pods"), &set.kube.pods, is_namespace, NAMESPACE)?;
    entries(
        key("kube.services"),
        &set.kube.services,
        is_namespace,
        NAMESPACE,
    )?;
    entries(
        key("kube.delete_pods"),
        &set.kube.delete_pods,
        is_namespace,
        NAMESPACE,
    )?;
    entries(
        key("kube.pod_states"),
        &set.kube.pod_states,
        is_namespace,
        NAMESPACE,
    )?;
    entries(
        key("kube.workloads"),
        &set.kube.workloads,
        is_namespace,
        NAMESPACE,
    )?;
    entries(
        key("kube.env_urls"),
        &set.kube.env_urls,
        is_namespace,
        NAMESPACE,
    )?;
    entries(
        key("kube.conditions"),
        &set.kube.conditions,
        is_custom_resource,
        "a namespace and a custom resource by its plural and group, such as `flux-system/kustomizations.kustomize.toolkit.fluxcd.io`",
    )
}

const UNIT: &str = "the full name of a unit, such as `k3s-agent.service`";
const NAMESPACE: &str = "a namespace (wildcards are not known)";

fn length(key: &str, count: usize) -> Result<(), GrantError> {
    if count > LIST_MAX {
        return Err(GrantError::TooMany {
            key: key.to_owned(),
            count,
        });
    }
    Ok(())
}

fn ports(key: String, grants: &[PortGrant]) -> Result<(), GrantError> {
    length(&key, grants.len())?;
    if grants.iter().any(|g| g.ports.contains(&0)) {
        return Err(GrantError::PortZero { key });
    }
    grants.iter().try_for_each(|g| length(&key, g.ports.len()))
}

fn http(key: String, grants: &[HttpGrant]) -> Result<(), GrantError> {
    length(&key, grants.len())?;
    for grant in grants {
        length(&key, grant.ports.len().max(grant.methods.len()))?;
        if grant.ports.contains(&0) {
            return Err(GrantError::PortZero { key });
        }
        if grant.methods.is_empty() {
            return Err(GrantError::NoMethods { key });
        }
        entries(
            key.clone(),
            &grant.methods,
            is_method,
            "a method in capitals, such as `GET`",
        )?;
    }
    Ok(())
}

fn entries(
    key: String,
    list: &[String],
    is_good: fn(&str) -> bool,
    expected: &'static str,
) -> Result<(), GrantError> {
    length(&key, list.len())?;
    match list
        .iter()
        .find(|entry| entry.len() > TEXT_BYTES_MAX || !is_good(entry))
    {
        None => Ok(()),
        Some(bad) => Err(GrantError::BadEntry {
            key,
            entry: bad.chars().take(128).collect(),
            expected,
        }),
    }
}

fn is_path(text: &str) -> bool {
    is_plain(text) && !text.contains('\0')
}

fn is_unit(text: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    let has_suffix = text
        .rsplit_once('.')
        .is_some_and(|(stem, kind)| !stem.is_empty() && !kind.is_empty());
    text.len() <= 255 && has_suffix && text.bytes().all(is_good)
}

fn is_word(text: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_good)
}

fn is_method(text: &str) -> bool {
    !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_uppercase())
}

fn is_namespace(text: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(is_good)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The core group and those without a dot (`apps`) are Kubernetes' own, and have calls of their own.
fn is_custom_resource(text: &str) -> bool {
    let Some((namespace, resource)) = text.split_once('/') else {
        return false;
    };
    let is_label = |label: &str| is_namespace(label);
    let labels: Vec<&str> = resource.split('.').collect();
    is_namespace(namespace)
        && resource.len() <= 253
        && labels.len() >= 3
        && labels.into_iter().all(is_label)
}
