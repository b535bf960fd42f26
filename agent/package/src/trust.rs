//! Whose plugins run here: trusted keys, revocation, and no way back to an older version.

use std::collections::BTreeMap;

use semver::Version;
use serde::Deserialize;

use crate::component::look;
use crate::key::PublicKey;
use crate::signature::{Signature, SignatureError, verify};
use crate::words;

/// Whom the operator trusts, as written in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trust {
    /// Keys whose plugins run.
    pub keys: Vec<TrustedKey>,
    /// Components that run without a signature, by SHA-256: what the operator built.
    pub digests: Vec<String>,
    /// Keys that count no more, by id or in full. They win over `keys`.
    pub revoked_keys: Vec<String>,
    /// Components that do not run whoever signed them, by SHA-256. They win over everything.
    pub revoked_digests: Vec<String>,
    /// The least version of a plugin that runs. Named here, it counts in place of the versions that ran before.
    pub minimum: BTreeMap<String, Version>,
}

/// A key that is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// Whose it is, for people.
    pub who: String,
    /// The key.
    pub key: PublicKey,
    /// For these plugins; absent: for all.
    #[serde(default)]
    pub plugins: Option<Vec<String>>,
}

/// Why a component may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedBy {
    /// Whose word it is: `alice (3f2a…)`, or its digest in the configuration.
    pub word: String,
    /// The plugin and its version, to be remembered: nothing older runs from now on. None when it has no manifest.
    pub version: Option<(String, Version)>,
}

/// Why a component does not run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody vouches for it.
    #[error(
        "it is not signed, and its digest is not trusted: sign it (`iaso plugin sign`), or add {0:?} to plugin_trust.digests"
    )]
    Unsigned(String),
    /// The signature is no good.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Signed by a stranger.
    #[error(
        "it is signed by the key {id}, which is not trusted: add {key:?} to plugin_trust.keys if you know whose it is"
    )]
    UnknownKey {
        /// The key's id.
        id: String,
        /// The key as text.
        key: String,
    },
    /// The key was given up.
    #[error(
        "it is signed by the key {0}, which is revoked (plugin_trust.revoked_keys): have it signed with the key that took its place"
    )]
    RevokedKey(String),
    /// The component was given up.
    #[error(
        "this very component is revoked (plugin_trust.revoked_digests): install another version"
    )]
    RevokedComponent,
    /// Signed by one who may not sign this.
    #[error("it is signed by {who} ({id}), who is trusted for {} and not for {plugin}", plugins.join(", "))]
    KeyOfOthers {
        /// Whose key.
        who: String,
        /// The key's id.
        id: String,
        /// What it may sign.
        plugins: Vec<String>,
        /// What it signed.
        plugin: String,
    },
    /// Signed, and says not what it is.
    #[error(
        "it has no usable manifest, so that nobody can tell which plugin and version was signed: pack and sign it again ({0})"
    )]
    NoManifest(String),
    /// Not the plugin that is configured here.
    #[error(
        "it is the plugin {found:?}, and {expected:?} is configured here: correct `path`, or name it with `plugin = {found:?}`"
    )]
    OtherPlugin {
        /// What the configuration says.
        expected: String,
        /// What the manifest says.
        found: String,
    },
    /// Older than the least that is allowed.
    #[error(
        "{plugin} {version} is older than {minimum}, the least version that may run (plugin_trust.minimum): install a newer one"
    )]
    BelowMinimum {
        /// Which.
        plugin: String,
        /// Its version.
        version: Version,
        /// The least.
        minimum: Version,
    },
    /// Older than what ran here.
    #[error(
        "{plugin} {version} is older than {seen}, which ran here before, and old versions are not taken back by themselves: install {seen} or newer, or allow this one with plugin_trust.minimum.{plugin} = \"{version}\""
    )]
    RolledBack {
        /// Which.
        plugin: String,
        /// Its version.
        version: Version,
        /// The newest that was accepted.
        seen: Version,
    },
}

impl Trust {
    /// Whether the component may run as the plugin `expected`. `seen` is the newest version of each plugin that was accepted here.
    pub fn judge(
        &self,
        component: &[u8],
        signature: Option<&Signature>,
        expected: &str,
        seen: &BTreeMap<String, Version>,
    ) -> Result<TrustedBy, Refusal> {
        let looked = look(component).map_err(|error| Refusal::NoManifest(error.to_string()))?;
        if lists(&self.revoked_digests, &looked.digest) {
            return Err(Refusal::RevokedComponent);
        }
        let by_digest = lists(&self.digests, &looked.digest);
        let manifest = match &looked.manifest {
            Some(Ok(manifest)) => Some(manifest),
            // What the operator trusts byte for byte need not say what it is.
            _ if by_digest => None,
            Some(Err(bad)) => return Err(Refusal::NoManifest(bad.to_string())),
            None if signature.is_none() => return Err(Refusal::Unsigned(looked.digest)),
            None => return Err(Refusal::NoManifest("it has none".to_owned())),
        };
        if let Some(manifest) = manifest.filter(|manifest| manifest.name != expected) {
            return Err(Refusal::OtherPlugin {
                expected: expected.to_owned(),
                found: manifest.name.clone(),
            });
        }
        let word = if by_digest {
            "its digest is trusted".to_owned()
        } else {
            self.signer(component, signature, expected, &looked.digest)?
        };
        let version = manifest.map(|manifest| (manifest.name.clone(), manifest.version.clone()));
        if let Some((plugin, version)) = &version {
            self.is_recent(plugin, version, seen)?;
        }
        Ok(TrustedBy { word, version })
    }

    fn signer(
        &self,
        component: &[u8],
        signature: Option<&Signature>,
        plugin: &str,
        digest: &str,
    ) -> Result<String, Refusal> {
        let signature = signature.ok_or_else(|| Refusal::Unsigned(digest.to_owned()))?;
        let key = verify(component, signature)?;
        let id = key.id();
        if lists(&self.revoked_keys, &id) || lists(&self.revoked_keys, &key.to_string()) {
            return Err(Refusal::RevokedKey(id));
        }
        let Some(trusted) = self.keys.iter().find(|trusted| trusted.key == key) else {
            let key = key.to_string();
            return Err(Refusal::UnknownKey { id, key });
        };
        let who = words(&trusted.who);
        match &trusted.plugins {
            Some(plugins) if plugins.iter().all(|own| own != plugin) => Err(Refusal::KeyOfOthers {
                who,
                id,
                plugins: plugins.clone(),
                plugin: plugin.to_owned(),
            }),
            Some(_) | None => Ok(format!("signed by {who} ({id})")),
        }
    }

    fn is_recent(
        &self,
        plugin: &str,
        version: &Version,
        seen: &BTreeMap<String, Version>,
    ) -> Result<(), Refusal> {
        let (plugin, version) = (plugin.to_owned(), version.clone());
        // The operator's own word about the least version is newer than what was remembered.
        if let Some(minimum) = self.minimum.get(&plugin) {
            if version < *minimum {
                let minimum = minimum.clone();
                return Err(Refusal::BelowMinimum {
                    plugin,
                    version,
                    minimum,
                });
            }
            return Ok(());
        }
        match seen.get(&plugin) {
            Some(seen) if version < *seen => Err(Refusal::RolledBack {
                plugin,
                version,
                seen: seen.clone(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// What cannot be meant: a digest or key id that is none. Each text says where.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let is_hex = |text: &String, len: usize| {
            text.len() == len && text.bytes().all(|b| b.is_ascii_hexdigit())
        };
        for (key, list) in [
            ("digests", &self.digests),
            ("revoked_digests", &self.revoked_digests),
        ] {
            if let Some(bad) = list.iter().find(|text| !is_hex(text, 64)) {
                return Some(format!(
                    "plugin_trust.{key} has {:?}, which is no SHA-256: write the 64 digits that `iaso plugin inspect` shows",
                    words(bad)
                ));
            }
        }
        let is_key = |text: &String| is_hex(text, 16) || text.parse::<PublicKey>().is_ok();
        let bad = self.revoked_keys.iter().find(|text| !is_key(text))?;
        Some(format!(
            "plugin_trust.revoked_keys has {:?}, which is neither a key nor a key's id of 16 digits",
            words(bad)
        ))
    }
}

fn lists(list: &[String], item: &str) -> bool {
    list.iter()
        .any(|listed| listed.trim().eq_ignore_ascii_case(item))
}
