//! Whose plugins this controller hands out: the operator's `[plugin_trust]`, and the versions that were accepted before.
//!
//! **Invariants**
//! - Without `[plugin_trust]` nothing is asked: whoever can write the configuration names the files. With it, no plugin goes out unjudged.
//! - What was accepted is written down before it is handed out, so that a restart does not make an old version new.
//! - A memory that cannot be read or written refuses what needs it, and nothing else stops.

use iaso_package::{SIGNATURE_BYTES_MAX, Signature, Trust};
use semver::Version;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The largest memory of versions: 64 plugins have a few KiB.
const SEEN_BYTES_MAX: u64 = 1 << 20;

/// The newest version of each plugin that was accepted here.
type Seen = BTreeMap<String, Version>;

/// Judges components one after another.
pub(super) struct Judge<'a> {
    trust: &'a Trust,
    file: PathBuf,
    seen: Result<Seen, String>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(trust: &'a Trust, data_dir: &Path) -> Self {
        let file = data_dir.join("plugin-versions.json");
        let seen = load(&file);
        Self { trust, file, seen }
    }

    /// By whose word the component may run, or why it may not.
    pub(super) fn judge(
        &mut self,
        component: &[u8],
        path: &Path,
        expected: &str,
    ) -> Result<String, String> {
        let signature = signature(path)?;
        let seen = self.seen.as_mut().map_err(|why| why.clone())?;
        let trusted = self
            .trust
            .judge(component, signature.as_ref(), expected, seen)
            .map_err(|refusal| refusal.to_string())?;
        if let Some((plugin, version)) = trusted.version
            && seen.get(&plugin).is_none_or(|newest| *newest < version)
        {
            seen.insert(plugin, version);
            save(&self.file, seen)?;
        }
        Ok(trusted.word)
    }
}

fn signature(component: &Path) -> Result<Option<Signature>, String> {
    let mut path = component.as_os_str().to_owned();
    path.push(".sig");
    let path = PathBuf::from(path);
    match bounded(&path, SIGNATURE_BYTES_MAX)? {
        None => Ok(None),
        Some(text) => Signature::from_text(&text)
            .map(Some)
            .map_err(|error| format!("{}: {error}", path.display())),
    }
}

fn load(file: &Path) -> Result<Seen, String> {
    let Some(text) = bounded(file, SEEN_BYTES_MAX)? else {
        return Ok(Seen::new());
    };
    serde_json::from_str(&text).map_err(|error| {
        format!(
            "{} is damaged ({error}), and nobody can tell which versions ran before: correct it, or remove it to begin anew",
            file.display()
        )
    })
}

/// A text file of at most so many bytes; none when it is not there.
fn bounded(path: &Path, most: u64) -> Result<Option<String>, String> {
    let unreadable = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut text = String::new();
    file.take(most + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > most {
        return Err(format!(
            "{} is larger than {most} bytes: is it the right file?",
            path.display()
        ));
    }
    Ok(Some(text))
}

fn save(file: &Path, seen: &Seen) -> Result<(), String> {
    let fresh = file.with_extension("json.new");
    let write = || -> std::io::Result<()> {
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut out = std::fs::File::create(&fresh)?;
        out.write_all(&serde_json::to_vec_pretty(seen)?)?;
        out.sync_all()?;
        std::fs::rename(&fresh, file)
    };
    write().map_err(|error| {
        format!(
            "cannot remember that this version ran, in {}: {error}",
            file.display()
        )
    })
}
