//! What a plugin says of itself: `plugin.toml`, which lies in the component as a custom section.

use std::collections::BTreeMap;

use iaso_grants::Grants;
use semver::Version;
use serde::{Deserialize, Serialize};

/// The largest manifest.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;
/// Longest description or summary.
const TEXT_BYTES_MAX: usize = 1024;
/// Most keys of a plugin's configuration.
const KEYS_MAX: usize = 64;

/// A plugin's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1 to 63 of a-z 0-9 `-`. Its findings' codes begin with it.
    pub name: String,
    /// A later version is a greater one.
    pub version: Version,
    /// What it looks at, for a person.
    #[serde(default)]
    pub description: String,
    /// What it asks for; the operator decides.
    #[serde(default)]
    pub grants: Grants,
    /// The keys of its configuration.
    #[serde(default)]
    pub config: BTreeMap<String, ConfigKey>,
    /// What one run may use in `iaso plugin bench`.
    #[serde(default)]
    pub budget: Budget,
}

/// One key of a plugin's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigKey {
    /// What it is for.
    pub summary: String,
    /// What counts when it is left out; none when it must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// What the author promises that one run needs at most. What is left out is not measured against anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// The component's size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component_kib: Option<u64>,
    /// The most memory it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_kib: Option<u64>,
    /// Host calls, `log` included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_calls: Option<u64>,
    /// Processor time, median over the runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// Wall clock, median over the runs; scripted answers take no time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_us: Option<u64>,
}

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// More than one in a component.
    #[error("the component has {0} manifests, and nobody can tell which counts: pack it again")]
    Several(usize),
    /// Larger than any manifest.
    #[error("the manifest has {0} bytes, at most {MANIFEST_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// Not what a manifest is made of.
    #[error("the manifest is not valid: {0}")]
    Syntax(String),
    /// A value that cannot be meant.
    #[error("the manifest's `{key}` {what}")]
    Value {
        /// Which.
        key: String,
        /// What is wrong, and what to do.
        what: String,
    },
}

impl Manifest {
    /// Reads `plugin.toml`.
    pub fn from_toml(text: &str) -> Result<Self, BadManifest> {
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(BadManifest::TooLarge(text.len()));
        }
        let manifest: Self =
            toml::from_str(text).map_err(|error| BadManifest::Syntax(error.to_string()))?;
        manifest.checked()
    }

    /// Reads what [`crate::pack`] wrote.
    pub(crate) fn from_section(bytes: &[u8]) -> Result<Self, BadManifest> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(BadManifest::TooLarge(bytes.len()));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| {
            BadManifest::Syntax(format!("{error}; it may be of a newer version: update"))
        })?;
        manifest.checked()
    }

    fn checked(self) -> Result<Self, BadManifest> {
        let wrong = |key: &str, what: String| {
            Err(BadManifest::Value {
                key: crate::words(key),
                what,
            })
        };
        if !is_name(&self.name) {
            let what = format!(
                "is {:?}: use 1 to 63 of a-z 0-9 and `-`, a letter first",
                crate::words(&self.name)
            );
            return wrong("name", what);
        }
        if self.description.len() > TEXT_BYTES_MAX {
            return wrong(
                "description",
                format!("is longer than {TEXT_BYTES_MAX} bytes"),
            );
        }
        if self.config.len() > KEYS_MAX {
            return wrong("config", format!("has more than {KEYS_MAX} keys"));
        }
        for (key, about) in &self.config {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if key.is_empty() || key.len() > 63 || !key.chars().all(plain) {
                return wrong(
                    &format!("config.{key}"),
                    "is not 1 to 63 of a-z 0-9 and `_`".to_owned(),
                );
            }
            let longest = about
                .summary
                .len()
                .max(about.default.as_ref().map_or(0, String::len));
            if longest > TEXT_BYTES_MAX {
                return wrong(
                    &format!("config.{key}"),
                    format!("is longer than {TEXT_BYTES_MAX} bytes"),
                );
            }
        }
        Ok(self)
    }

    /// What lies in the component: JSON, the same bytes for the same manifest.
    ///
    /// # Panics
    /// Never: a manifest has only string keys.
    #[must_use]
    pub fn to_section(&self) -> Vec<u8> {
        serde_json::to_vec(self)
            .expect("a manifest has only string keys and cannot fail to serialise")
    }
}

/// True for what may name a plugin: it becomes part of paths, metrics and finding codes.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "disk-hog"
        version = "0.2.0"
        description = "Tells what fills the disk"
        [grants.check]
        host = true
        [config.threshold]
        summary = "percent"
        default = "85"
        [budget]
        host_calls = 4
    "#;

    #[test]
    fn a_manifest_comes_back_from_its_section() {
        let manifest = Manifest::from_toml(GOOD).expect("good");
        assert_eq!(Manifest::from_section(&manifest.to_section()), Ok(manifest));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        let refused = |from: &str, to: &str| {
            Manifest::from_toml(&GOOD.replace(from, to))
                .expect_err("refused")
                .to_string()
        };
        assert!(refused("disk-hog", "Disk Hog").contains("a-z 0-9"));
        assert!(refused("0.2.0", "new").contains("version"));
        assert!(refused("host = true", "hots = true").contains("hots"));
        assert!(refused("[config.threshold]", "[config.Threshold]").contains("config.Threshold"));
        assert!(refused("host = true", "scripts = [\"x\"]").contains("a check never acts"));
    }
}
