//! `iaso plugin inspect FILE`: everything that can be told without running it.

use super::args::InspectArgs;
use super::{files, keys, render};
use crate::args::Global;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::text::Text;
use iaso_grants::Grants;
use iaso_package::{Budget, ConfigKey, Kind, Looked, NotAPlugin, TrustedKey, Use, look, verify};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What was seen, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Inspected {
    pub(super) file: PathBuf,
    pub(super) bytes: u64,
    pub(super) digest: String,
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) description: Option<Text>,
    pub(super) kind: Kind,
    pub(super) uses: Vec<Use>,
    /// What it asks for; none without a manifest.
    pub(super) requests: Option<Grants>,
    /// Grants that its imports need and that it does not ask for.
    pub(super) not_requested: Vec<&'static str>,
    /// Grants that it asks for and cannot use.
    pub(super) unused: Vec<&'static str>,
    pub(super) config: BTreeMap<String, ConfigKey>,
    pub(super) budget: Budget,
    pub(super) limits: Limits,
    pub(super) signature: Signature,
    pub(super) made_by: Vec<Text>,
    /// Why an agent of this version would not run it.
    pub(super) problems: Vec<Text>,
}

/// What an agent lets one run use, whatever the plugin says.
#[derive(Debug, Serialize)]
pub(super) struct Limits {
    pub(super) cpu_ms: u64,
    pub(super) memory_kib: u64,
    pub(super) host_calls: u32,
    pub(super) log_bytes: usize,
    pub(super) findings: usize,
}

impl Limits {
    fn of_an_agent() -> Self {
        let limits = iaso_host::RunLimits::default();
        Self {
            cpu_ms: u64::try_from(limits.cpu.as_millis()).unwrap_or(u64::MAX),
            memory_kib: (limits.memory_bytes >> 10) as u64,
            host_calls: limits.host_calls,
            log_bytes: limits.log_bytes,
            findings: iaso_host::FINDINGS_MAX,
        }
    }
}

/// What the signature is worth.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(super) enum Signature {
    /// There is none.
    None,
    /// It is good, by a key that was given as trusted.
    Trusted { key: String, who: Text },
    /// It is good, by some key.
    Valid { key: String },
    /// It is not good.
    Bad { why: Text },
}

/// Looks, prints, and says whether an agent would take it.
pub(super) fn run(global: &Global, what: &InspectArgs) -> Result<Exit, Failure> {
    let bytes = files::component(&what.file)?;
    let looked = look(&bytes).map_err(|error| not_a_plugin(&what.file, &error))?;
    let trusted: Vec<TrustedKey> = what
        .keys
        .iter()
        .map(|path| files::trusted_key(path))
        .collect::<Result<_, _>>()?;
    let signature = signature(what, &bytes, &trusted)?;
    let inspected = inspected(&what.file, &looked, signature);
    keys::show(global, &inspected, |inspected| {
        render::inspected(&output::style(global.color), inspected)
    })?;
    let is_bad = matches!(inspected.signature, Signature::Bad { .. });
    Ok(if inspected.problems.is_empty() && !is_bad {
        Exit::Ok
    } else {
        Exit::Wrong
    })
}

/// A file that is no plugin, in words.
pub(super) fn not_a_plugin(file: &Path, error: &NotAPlugin) -> Failure {
    Failure::Plugin(format!("{}: {error}", file.display()))
}

fn signature(
    what: &InspectArgs,
    bytes: &[u8],
    trusted: &[TrustedKey],
) -> Result<Signature, Failure> {
    let path = match &what.signature {
        Some(path) => path.clone(),
        None => files::signature_path(&what.file),
    };
    if what.signature.is_none() && !path.exists() {
        return Ok(Signature::None);
    }
    let read = files::signature(&path)?;
    Ok(match verify(bytes, &read) {
        Err(error) => Signature::Bad {
            why: error.to_string().into(),
        },
        Ok(key) => match trusted.iter().find(|known| known.key == key) {
            Some(known) => Signature::Trusted {
                key: key.id(),
                who: known.who.as_str().into(),
            },
            None => Signature::Valid { key: key.id() },
        },
    })
}

fn inspected(file: &Path, looked: &Looked, signature: Signature) -> Inspected {
    let manifest = looked.good_manifest();
    let requests = manifest.map(|manifest| manifest.grants.clone());
    let asked = requests.clone().unwrap_or_default();
    Inspected {
        file: file.to_owned(),
        bytes: looked.bytes,
        digest: looked.digest.clone(),
        name: manifest.map(|manifest| manifest.name.clone()),
        version: manifest.map(|manifest| manifest.version.to_string()),
        description: manifest
            .map(|manifest| manifest.description.as_str().into())
            .filter(|text: &Text| !text.is_empty()),
        kind: looked.kind(),
        uses: looked.uses(),
        not_requested: looked.missing(&asked),
        unused: looked.unused(&asked),
        requests,
        config: manifest
            .map(|manifest| manifest.config.clone())
            .unwrap_or_default(),
        budget: manifest.map(|manifest| manifest.budget).unwrap_or_default(),
        limits: Limits::of_an_agent(),
        signature,
        made_by: looked.made_by.iter().map(|by| by.as_str().into()).collect(),
        problems: looked.problems().into_iter().map(Text::from).collect(),
    }
}
