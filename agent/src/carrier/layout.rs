//! Where things are on the host, and how they get there.
//!
//! **Invariants**
//! - Versions lie side by side under `/opt/iaso/versions`, each named by the digest of all that is in it; `/opt/iaso/current` points to one.
//! - Every file is written beside its name, synced and renamed; every digest is compared with what the disk gives back.

use std::{
    fmt, fs,
    io::{self, ErrorKind},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use iaso_host::Digest;

use super::{CarrierError, UNIT};
use crate::disk::{DiskError, read_bounded, sync_parent, write_atomic};

/// First line of a unit file that the carrier wrote.
const OURS: &str =
    "# Installed by Iaso's carrier: removed and replaced by it. Changes belong in a drop-in.\n";
const PROGRAM: &str = "iaso-agent";
const FILES_MAX: usize = 16;
const FILE_BYTES_MAX: u64 = 256 << 20;
const NOTE_BYTES_MAX: u64 = 4096;
const VERSION_DIGITS: usize = 24;

/// The digest of all that belongs to a version, as 24 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let good =
            text.len() == VERSION_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        good.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to be on the host: the program, its unit, its configuration, and what else lies beside them.
#[derive(Debug)]
pub struct Payload {
    files: Vec<(String, Vec<u8>)>,
    version: Version,
}

impl Payload {
    /// Reads the regular files of `directories` (of the image, of a `ConfigMap`); names that begin with a dot are not for us.
    ///
    /// # Errors
    /// A file is unreadable, too large or there twice, there are too many, or the program or the unit is missing.
    pub fn read(directories: &[PathBuf]) -> Result<Self, CarrierError> {
        let mut files = Vec::new();
        for directory in directories {
            let entries =
                fs::read_dir(directory).map_err(|e| DiskError::io("list", directory, e))?;
            for entry in entries {
                let path = entry
                    .map_err(|e| DiskError::io("list", directory, e))?
                    .path();
                let name = path.file_name().and_then(|name| name.to_str());
                let Some(name) = name.filter(|name| !name.starts_with('.') && path.is_file())
                else {
                    continue;
                };
                if files.len() == FILES_MAX {
                    return Err(bad(
                        directory,
                        format!("more than {FILES_MAX} files: leave out what is not the agent's"),
                    ));
                }
                let content = read_bounded(&path, FILE_BYTES_MAX)?.unwrap_or_default();
                files.push((name.to_owned(), content));
            }
        }
        Self::new(files)
    }

    fn new(mut files: Vec<(String, Vec<u8>)>) -> Result<Self, CarrierError> {
        files.sort();
        let twice = files.array_windows().find(|[a, b]| a.0 == b.0);
        if let Some([(name, _), _]) = twice {
            return Err(bad(
                Path::new(name),
                "it is there twice: name each file once".into(),
            ));
        }
        for needed in [PROGRAM, UNIT] {
            if !files.iter().any(|(name, _)| name == needed) {
                return Err(bad(
                    Path::new(needed),
                    "it is missing: is this the agent's image?".into(),
                ));
            }
        }
        let version = digest(
            files
                .iter()
                .map(|(name, content)| (name.as_str(), content.as_slice())),
        );
        Ok(Self { files, version })
    }

    /// Which version this is.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }
}

/// The host's directories, as the carrier sees them.
#[derive(Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// `root`: where the host's `/opt/iaso`, `/etc/systemd/system` and `/var/lib/iaso` are mounted, under these names.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn home(&self) -> PathBuf {
        self.root.join("opt/iaso")
    }

    fn versions(&self) -> PathBuf {
        self.home().join("versions")
    }

    fn version_dir(&self, version: &Version) -> PathBuf {
        self.versions().join(&version.0)
    }

    fn unit_file(&self) -> PathBuf {
        self.root.join("etc/systemd/system").join(UNIT)
    }

    fn wanted_link(&self) -> PathBuf {
        let wants = "etc/systemd/system/multi-user.target.wants";
        self.root.join(wants).join(UNIT)
    }

    fn note(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    pub(super) fn unit_installed(&self) -> Result<bool, DiskError> {
        Ok(read_bounded(&self.unit_file(), FILE_BYTES_MAX)?.is_some())
    }

    pub(super) fn refuse_foreign_unit(&self) -> Result<(), CarrierError> {
        let path = self.unit_file();
        match read_bounded(&path, FILE_BYTES_MAX)? {
            Some(unit) if !unit.starts_with(OURS.as_bytes()) => Err(CarrierError::Foreign { path }),
            Some(_) | None => Ok(()),
        }
    }

    /// The version that is switched to.
    pub(super) fn current(&self) -> Result<Option<Version>, DiskError> {
        let link = self.note("current");
        match fs::read_link(&link) {
            Ok(to) => Ok(to
                .file_name()
                .and_then(|name| Version::parse(name.to_str()?))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DiskError::io("read link", &link, source)),
        }
    }

    /// Whether the payload's version is on the disk, to the last byte.
    pub(super) fn holds(&self, payload: &Payload) -> Result<bool, DiskError> {
        let directory = self.version_dir(&payload.version);
        let mut found = Vec::new();
        for (name, _) in &payload.files {
            match read_bounded(&directory.join(name), FILE_BYTES_MAX)? {
                Some(content) => found.push((name.as_str(), content)),
                None => return Ok(false),
            }
        }
        let on_disk = digest(
            found
                .iter()
                .map(|(name, content)| (*name, content.as_slice())),
        );
        Ok(on_disk == payload.version)
    }

    /// Writes a version beside the others, and reads it back.
    pub(super) fn store(&self, payload: &Payload) -> Result<(), CarrierError> {
        let directory = self.version_dir(&payload.version);
        make_dir(&directory)?;
        for (name, content) in &payload.files {
            let path = directory.join(name);
            write_atomic(&path, content)?;
            // Programs are for everybody (what runs plugins has a user of its own), the rest is the agent's.
            let mode = if content.starts_with(b"\x7fELF") || content.starts_with(b"#!") {
                0o755
            } else {
                0o600
            };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(|e| DiskError::io("change the mode of", &path, e))?;
        }
        if self.holds(payload)? {
            return Ok(());
        }
        Err(bad(
            &directory,
            "what was written is not what is read back: look at the host's disk".into(),
        ))
    }

    /// Switches to a version; `previous` is remembered for taking it back.
    pub(super) fn switch(
        &self,
        version: &Version,
        previous: Option<&Version>,
    ) -> Result<(), CarrierError> {
        if let Some(previous) = previous {
            write_atomic(&self.note("previous"), previous.0.as_bytes())?;
        }
        let (link, new) = (self.note("current"), self.note("current.new"));
        remove_file(&new)?;
        symlink(Path::new("versions").join(&version.0), &new)
            .map_err(|e| DiskError::io("create link", &new, e))?;
        fs::rename(&new, &link).map_err(|e| DiskError::io("replace", &link, e))?;
        sync_parent(&link)?;
        self.install_unit(version)
    }

    /// Points to no version any more.
    pub(super) fn switch_off(&self) -> Result<(), DiskError> {
        remove_file(&self.note("current"))
    }

    /// Writes the unit of a version, and that it starts at boot.
    pub(super) fn install_unit(&self, version: &Version) -> Result<(), CarrierError> {
        let stored = self.version_dir(version).join(UNIT);
        let Some(content) = read_bounded(&stored, FILE_BYTES_MAX)? else {
            return Err(bad(
                &stored,
                "it is gone from the host: a new version puts it back".into(),
            ));
        };
        let path = self.unit_file();
        write_atomic(&path, &[OURS.as_bytes(), content.as_slice()].concat())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
            .map_err(|e| DiskError::io("change the mode of", &path, e))?;
        let link = self.wanted_link();
        if let Some(wants) = link.parent() {
            make_dir(wants)?;
        }
        match symlink(Path::new("..").join(UNIT), &link) {
            Err(source) if source.kind() != ErrorKind::AlreadyExists => {
                Err(DiskError::io("create link", &link, source).into())
            }
            Ok(()) | Err(_) => Ok(sync_parent(&link)?),
        }
    }

    /// What runs, or ran, before `version`.
    pub(super) fn previous(&self, version: &Version) -> Result<Option<Version>, DiskError> {
        let current = self.current()?;
        let before = match current {
            // The switch was done before the carrier ended: what it was switched from is noted.
            Some(current) if current == *version => self.read_version("previous")?,
            other => other,
        };
        Ok(before.filter(|before| before != version && self.version_dir(before).is_dir()))
    }

    fn read_version(&self, note: &str) -> Result<Option<Version>, DiskError> {
        let content = read_bounded(&self.note(note), NOTE_BYTES_MAX)?;
        Ok(content.and_then(|text| Version::parse(String::from_utf8_lossy(&text).trim())))
    }

    pub(super) fn pending(&self) -> Result<Option<Version>, DiskError> {
        self.read_version("pending")
    }

    pub(super) fn set_pending(&self, version: &Version) -> Result<(), DiskError> {
        write_atomic(&self.note("pending"), version.0.as_bytes())
    }

    pub(super) fn clear_pending(&self) -> Result<(), DiskError> {
        remove_file(&self.note("pending"))
    }

    /// Why this version was taken back, if it was. Only the last one is remembered.
    pub(super) fn refused(&self, version: &Version) -> Result<Option<String>, DiskError> {
        let note = read_bounded(&self.note("refused"), NOTE_BYTES_MAX)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&note).into_owned();
        let why = text.split_once('\n').filter(|(id, _)| *id == version.0);
        Ok(why.map(|(_, why)| why.trim().to_owned()))
    }

    pub(super) fn refuse(&self, version: &Version, why: &str) -> Result<(), DiskError> {
        let why: String = why.chars().take(500).collect();
        write_atomic(
            &self.note("refused"),
            format!("{version}\n{why}\n").as_bytes(),
        )
    }

    /// Leaves the current version and the one before it.
    pub(super) fn prune(&self) -> Result<(), DiskError> {
        let keep = [self.current()?, self.read_version("previous")?];
        let versions = self.versions();
        let entries = fs::read_dir(&versions).map_err(|e| DiskError::io("list", &versions, e))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let kept = keep
                .iter()
                .flatten()
                .any(|version| name.to_str() == Some(&version.0));
            if !kept {
                remove_dir(&entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_unit(&self) -> Result<(), DiskError> {
        remove_file(&self.wanted_link())?;
        remove_file(&self.unit_file())?;
        sync_parent(&self.unit_file())
    }

    /// Everything but the unit. The directories themselves stay where they are mount points.
    pub(super) fn remove_files(&self) -> Result<(), DiskError> {
        for directory in [self.home(), self.root.join("var/lib/iaso")] {
            empty_dir(&directory)?;
            // A mount point stays: whoever mounted it made it.
            let _ = fs::remove_dir(&directory);
        }
        Ok(())
    }
}

fn bad(path: &Path, what: String) -> CarrierError {
    CarrierError::Payload {
        path: path.to_owned(),
        what,
    }
}

fn digest<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Version {
    let mut all = Vec::new();
    for (name, content) in files {
        all.extend(Digest::of(name.as_bytes()).into_bytes());
        all.extend(Digest::of(content).into_bytes());
    }
    Version(
        Digest::of(&all)
            .to_string()
            .chars()
            .take(VERSION_DIGITS)
            .collect(),
    )
}

fn make_dir(path: &Path) -> Result<(), DiskError> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|source| DiskError::io("create directory", path, source))
}

fn gone(outcome: io::Result<()>, operation: &'static str, path: &Path) -> Result<(), DiskError> {
    match outcome {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(DiskError::io(operation, path, source))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<(), DiskError> {
    gone(fs::remove_file(path), "remove", path)
}

fn remove_dir(path: &Path) -> Result<(), DiskError> {
    gone(fs::remove_dir_all(path), "remove", path)
}

fn empty_dir(path: &Path) -> Result<(), DiskError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(DiskError::io("list", path, source)),
    };
    for entry in entries {
        let entry = entry.map_err(|source| DiskError::io("list", path, source))?;
        // Not through a link: what it points to is not ours.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_dir(&entry.path())?;
        } else {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}
