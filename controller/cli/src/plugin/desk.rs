//! A plugin's directory: its manifest, its component, its fixtures.

use super::files;
use crate::failure::Failure;
use crate::output;
use iaso_harness::Fixture;
use iaso_package::{MANIFEST_BYTES_MAX, Manifest, look};
use std::path::{Path, PathBuf};

/// The largest fixture: a recording of a host with much to tell.
const FIXTURE_BYTES_MAX: u64 = 4 << 20;
/// Most fixtures of one plugin.
const FIXTURES_MAX: usize = 1_000;

/// An author's directory.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) directory: PathBuf,
    pub(super) manifest: Manifest,
}

impl Desk {
    /// The directory that has a plugin.toml.
    pub(super) fn open(directory: &Path) -> Result<Self, Failure> {
        Ok(Self {
            directory: directory.to_owned(),
            manifest: manifest(&directory.join("plugin.toml"))?,
        })
    }

    /// Where `iaso plugin build` puts the component.
    pub(super) fn component(&self) -> PathBuf {
        let file = format!("{}.wasm", self.manifest.name);
        self.directory.join("build").join(file)
    }

    /// Where the fixtures are.
    pub(super) fn fixtures_dir(&self) -> PathBuf {
        self.directory.join("fixtures")
    }

    /// The component and the manifest in it, which is what would be installed.
    pub(super) fn packed(&self, component: &Path) -> Result<Manifest, Failure> {
        if !component.exists() {
            return Err(Failure::Plugin(format!(
                "{} is not there: `iaso plugin build` makes it",
                component.display()
            )));
        }
        let bytes = files::component(component)?;
        let wrong = |why: String| Failure::Plugin(format!("{}: {why}", component.display()));
        let looked = look(&bytes).map_err(|error| wrong(error.to_string()))?;
        let packed = match looked.manifest {
            Some(Ok(manifest)) => manifest,
            Some(Err(bad)) => return Err(wrong(bad.to_string())),
            None => {
                return Err(wrong(
                    "it has no manifest: `iaso plugin pack` adds it".into(),
                ));
            }
        };
        if packed != self.manifest {
            output::complain(
                "iaso: plugin.toml is not what the component was packed with: build it again",
            );
        }
        Ok(packed)
    }

    /// The fixtures whose names contain one of `filters`, by name; none given: all.
    pub(super) fn fixtures(&self, filters: &[String]) -> Result<Vec<(String, Fixture)>, Failure> {
        let directory = self.fixtures_dir();
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(Failure::Read {
                    file: directory,
                    source,
                });
            }
        };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|ending| ending != "toml") {
                continue;
            }
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if !filters.is_empty() && filters.iter().all(|part| !name.contains(part.as_str())) {
                continue;
            }
            let text = files::read_text(&path, FIXTURE_BYTES_MAX)?;
            let fixture = Fixture::parse(&text)
                .map_err(|error| Failure::Plugin(format!("{}: {error}", path.display())))?;
            found.push((name, fixture));
        }
        if found.len() > FIXTURES_MAX {
            return Err(Failure::Plugin(format!(
                "{} has more than {FIXTURES_MAX} fixtures",
                directory.display()
            )));
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }
}

/// Reads a plugin.toml.
pub(super) fn manifest(path: &Path) -> Result<Manifest, Failure> {
    if !path.exists() {
        return Err(Failure::Plugin(format!(
            "{} is not there: run this in a plugin's directory, which `iaso plugin new NAME` makes",
            path.display()
        )));
    }
    let text = files::read_text(path, MANIFEST_BYTES_MAX as u64)?;
    Manifest::from_toml(&text)
        .map_err(|error| Failure::Plugin(format!("{}: {error}", path.display())))
}

/// The user's cache, made if it is not there: `$XDG_CACHE_HOME/iaso` or `~/.cache/iaso`.
pub(super) fn cache() -> Option<PathBuf> {
    let base = output::variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| output::variable("HOME").map(|home| Path::new(&home).join(".cache")))?;
    let cache = base.join("iaso");
    std::fs::create_dir_all(&cache).ok()?;
    Some(cache)
}
