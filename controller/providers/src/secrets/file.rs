//! Secrets as files of one directory that only its owner can read.
//!
//! `DIR/<key>/<version>.secret` is written once and never changed; `DIR/<key>/roles` says which version is current and
//! which was before it, so that a promotion is one atomic rename. Everything is written beside, synced, renamed, and
//! the directory synced: after a power cut a file is there as a whole or not at all.
//!
//! **Invariants**
//! - Nothing is read or written while the directory could be read by another user, or is reached through a symlink.
//! - A version that could be a machine's password is deleted only by `discard`, or when two promotions have passed it.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use nix::{errno::Errno, fcntl::OFlag, unistd::geteuid};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{SecretError, SecretKey, SecretStore, Version, Versions};
use crate::Secret;

/// Longest secret, in bytes.
const SECRET_BYTES_MAX: usize = 16 * 1024;
/// Longest file that is read: a secret with every byte escaped, and the rest of the JSON.
const FILE_BYTES_MAX: u64 = 6 * 16 * 1024 + 1024;
/// Versions of one key that may wait for promotion. More means that something goes round in circles.
const PENDING_MAX: usize = 32;
/// Directory entries of one key that are looked at.
const ENTRIES_MAX: usize = 1024;

/// The file that says which version is which.
const ROLES: &str = "roles";
/// How a file is called until it is complete.
const UNFINISHED: &str = ".unfinished-";

/// A [`SecretStore`] in a local directory.
#[derive(Debug, Clone)]
pub struct FileStore {
    root: Arc<PathBuf>,
    /// One writer at a time in this process; there is one controller for a data directory.
    writing: Arc<Mutex<()>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: String,
    secret: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Roles {
    current: Option<String>,
    previous: Option<String>,
}

impl FileStore {
    /// Opens the directory, makes it with mode 0700 when it is not there, and refuses it when others could read it.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, SecretError> {
        let root = root.into();
        ensure_directory(&root)?;
        Ok(Self {
            root: Arc::new(root),
            writing: Arc::default(),
        })
    }

    /// File systems block, so each call runs where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        key: Option<&SecretKey>,
        work: impl FnOnce(&Self) -> Result<T, SecretError> + Send + 'static,
    ) -> Result<T, SecretError> {
        let store = self.clone();
        let directory = key.map(|key| self.root.join(key.as_str()));
        let done = tokio::task::spawn_blocking(move || {
            let _writing = store.writing.lock().unwrap_or_else(PoisonError::into_inner);
            check_directory(&store.root)?;
            if let Some(directory) =
                directory.filter(|directory| directory.symlink_metadata().is_ok())
            {
                check_directory(&directory)?;
            }
            work(&store)
        });
        let lost = |_| SecretError::Unavailable {
            store: "file",
            what: "its task was stopped; try again".to_owned(),
        };
        done.await.map_err(lost)?
    }

    fn key_directory(&self, key: &SecretKey) -> Result<PathBuf, SecretError> {
        let directory = self.root.join(key.as_str());
        ensure_directory(&directory)?;
        Ok(directory)
    }

    fn secret_file(&self, key: &SecretKey, version: &Version) -> PathBuf {
        self.root
            .join(key.as_str())
            .join(format!("{version}.secret"))
    }

    fn read_roles(&self, key: &SecretKey) -> Result<Roles, SecretError> {
        let path = self.root.join(key.as_str()).join(ROLES);
        let Some(bytes) = read_private(&path)? else {
            return Ok(Roles::default());
        };
        serde_json::from_slice(&bytes).map_err(|_| SecretError::Damaged {
            key: key.clone(),
            what: format!("the file {}", path.display()),
        })
    }

    fn read_version(&self, key: &SecretKey, version: &Version) -> Result<Secret, SecretError> {
        let missing = || SecretError::Missing {
            key: key.clone(),
            version: version.clone(),
        };
        let bytes = read_private(&self.secret_file(key, version))?.ok_or_else(missing)?;
        let damaged = || SecretError::Damaged {
            key: key.clone(),
            what: format!("version {version}"),
        };
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        let secret = Secret::new(stored.secret);
        if stored.version == version.as_str() {
            Ok(secret)
        } else {
            Err(damaged())
        }
    }

    fn list(&self, key: &SecretKey) -> Result<Versions, SecretError> {
        let roles = self.read_roles(key)?;
        let parsed = |role: Option<String>| {
            let damaged = |_| SecretError::Damaged {
                key: key.clone(),
                what: format!("the file {ROLES}"),
            };
            role.map(|version| version.parse().map_err(damaged))
                .transpose()
        };
        let (current, previous) = (parsed(roles.current)?, parsed(roles.previous)?);
        let mut pending = self.stored_versions(key)?;
        pending.retain(|version| {
            Some(version) != current.as_ref() && Some(version) != previous.as_ref()
        });
        Ok(Versions {
            current,
            previous,
            pending: pending.into_iter().collect(),
        })
    }

    fn stored_versions(&self, key: &SecretKey) -> Result<BTreeSet<Version>, SecretError> {
        let directory = self.root.join(key.as_str());
        let storage = |source| SecretError::Storage {
            operation: "list",
            path: directory.clone(),
            source,
        };
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(storage(error)),
        };
        let mut versions = BTreeSet::new();
        for (seen, entry) in entries.enumerate() {
            if seen == ENTRIES_MAX {
                let what = format!(
                    "more than {ENTRIES_MAX} files in {}: clear it by hand",
                    directory.display()
                );
                return Err(SecretError::Refused {
                    key: key.clone(),
                    what,
                });
            }
            let name = entry.map_err(storage)?.file_name();
            let version = name
                .to_str()
                .and_then(|name| name.strip_suffix(".secret"))
                .map(str::parse);
            if let Some(Ok(version)) = version {
                versions.insert(version);
            }
        }
        Ok(versions)
    }

    fn store(
        &self,
        key: &SecretKey,
        version: &Version,
        secret: &Secret,
    ) -> Result<(), SecretError> {
        let refused = |what: String| {
            Err(SecretError::Refused {
                key: key.clone(),
                what,
            })
        };
        if secret.expose().is_empty() || secret.expose().len() > SECRET_BYTES_MAX {
            return refused(format!("a secret has 1 to {SECRET_BYTES_MAX} bytes"));
        }
        let directory = self.key_directory(key)?;
        remove_unfinished(&directory)?;
        if self.list(key)?.pending.len() >= PENDING_MAX {
            return refused(format!(
                "{PENDING_MAX} versions wait for promotion: promote or discard some of them first"
            ));
        }
        let path = self.secret_file(key, version);
        if path.symlink_metadata().is_ok() {
            return refused(format!(
                "version {version} is stored already: read it back instead"
            ));
        }
        let stored = Stored {
            version: version.to_string(),
            secret: secret.expose().to_owned(),
        };
        let bytes = serde_json::to_vec(&stored).map(Zeroizing::new);
        drop(Secret::new(stored.secret));
        write_private(&path, &bytes.map_err(|error| not_json(&directory, error))?)
    }

    fn make_current(&self, key: &SecretKey, version: &Version) -> Result<(), SecretError> {
        self.read_version(key, version)?;
        let old = self.list(key)?;
        if old.current.as_ref() == Some(version) {
            return Ok(());
        }
        let roles = Roles {
            current: Some(version.to_string()),
            previous: old.current.as_ref().map(ToString::to_string),
        };
        let path = self.root.join(key.as_str()).join(ROLES);
        let bytes = serde_json::to_vec(&roles).map_err(|error| not_json(&path, error))?;
        write_private(&path, &bytes)?;
        match old.previous {
            Some(passed) if passed != *version => remove(&self.secret_file(key, &passed)),
            Some(_) | None => Ok(()),
        }
    }

    fn forget(&self, key: &SecretKey, version: &Version) -> Result<(), SecretError> {
        let known = self.list(key)?;
        if known.current.as_ref() == Some(version) || known.previous.as_ref() == Some(version) {
            let what =
                format!("version {version} is in use or was before the present one, so it is kept");
            return Err(SecretError::Refused {
                key: key.clone(),
                what,
            });
        }
        remove(&self.secret_file(key, version))
    }

    fn probe(&self) -> Result<(), SecretError> {
        let path = self.root.join(".health");
        write_private(&path, b"ok")?;
        let back = read_private(&path)?;
        remove(&path)?;
        if back.is_some_and(|back| back.as_slice() == b"ok") {
            return Ok(());
        }
        let what = "what was written does not read back: check the disk".to_owned();
        Err(SecretError::Unsafe {
            path: self.root.to_path_buf(),
            what,
        })
    }
}

#[async_trait]
impl SecretStore for FileStore {
    async fn store_pending_as(
        &self,
        key: &SecretKey,
        version: &Version,
        secret: &Secret,
    ) -> Result<(), SecretError> {
        let (owned, version, secret) = (key.clone(), version.clone(), secret.clone());
        self.blocking(Some(key), move |store| {
            store.store(&owned, &version, &secret)
        })
        .await
    }

    async fn read_back(&self, key: &SecretKey, version: &Version) -> Result<Secret, SecretError> {
        let (owned, version) = (key.clone(), version.clone());
        self.blocking(Some(key), move |store| store.read_version(&owned, &version))
            .await
    }

    async fn promote(&self, key: &SecretKey, version: &Version) -> Result<(), SecretError> {
        let (owned, version) = (key.clone(), version.clone());
        self.blocking(Some(key), move |store| store.make_current(&owned, &version))
            .await
    }

    async fn discard(&self, key: &SecretKey, version: &Version) -> Result<(), SecretError> {
        let (owned, version) = (key.clone(), version.clone());
        self.blocking(Some(key), move |store| store.forget(&owned, &version))
            .await
    }

    async fn versions(&self, key: &SecretKey) -> Result<Versions, SecretError> {
        let owned = key.clone();
        self.blocking(Some(key), move |store| store.list(&owned))
            .await
    }

    async fn health(&self) -> Result<(), SecretError> {
        self.blocking(None, Self::probe).await
    }
}

fn not_json(path: &Path, error: serde_json::Error) -> SecretError {
    SecretError::Storage {
        operation: "encode",
        path: path.to_path_buf(),
        source: error.into(),
    }
}

fn ensure_directory(path: &Path) -> Result<(), SecretError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_parent(path)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => {
            return Err(SecretError::Storage {
                operation: "make the directory",
                path: path.to_path_buf(),
                source,
            });
        }
    }
    check_directory(path)
}

fn check_directory(path: &Path) -> Result<(), SecretError> {
    let found = fs::symlink_metadata(path);
    let found = found.map_err(|source| SecretError::Storage {
        operation: "look at",
        path: path.to_path_buf(),
        source,
    })?;
    let refuse = |what: String| {
        Err(SecretError::Unsafe {
            path: path.to_path_buf(),
            what,
        })
    };
    if found.is_symlink() {
        return refuse("it is a symbolic link: name the directory itself".to_owned());
    }
    if !found.is_dir() {
        return refuse("it is not a directory: move it away".to_owned());
    }
    check_owner_only(path, &found, 0o700)
}

fn check_owner_only(path: &Path, found: &fs::Metadata, wanted: u32) -> Result<(), SecretError> {
    let refuse = |what: String| {
        Err(SecretError::Unsafe {
            path: path.to_path_buf(),
            what,
        })
    };
    let mode = found.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let what = format!(
            "others can reach it (mode {mode:o}): chmod {wanted:o} it, and change the secrets in it"
        );
        return refuse(what);
    }
    if found.uid() != geteuid().as_raw() {
        return refuse(format!(
            "it belongs to user {}, not to the one who runs this: chown it",
            found.uid()
        ));
    }
    Ok(())
}

/// Reads a file that only its owner can read; `None` when there is none.
fn read_private(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, SecretError> {
    let storage = |source| SecretError::Storage {
        operation: "read",
        path: path.to_path_buf(),
        source,
    };
    let refuse = |what: &str| SecretError::Unsafe {
        path: path.to_path_buf(),
        what: what.to_owned(),
    };
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            return Err(refuse(
                "it is a symbolic link: somebody put it there; look who",
            ));
        }
        Err(error) => return Err(storage(error)),
    };
    let found = file.metadata().map_err(storage)?;
    if !found.is_file() {
        return Err(refuse("it is not a regular file: look who put it there"));
    }
    check_owner_only(path, &found, 0o600)?;
    if found.len() > FILE_BYTES_MAX {
        return Err(refuse("it is larger than any secret: move it away"));
    }
    // All at once: a buffer that grows leaves copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(found.len()).unwrap_or_default() + 1,
    ));
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(storage)?;
    Ok(Some(bytes))
}

/// Writes a file as a whole or not at all, and returns when a power cut cannot undo it.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), SecretError> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let unfinished = path.with_file_name(format!("{UNFINISHED}{name}"));
    let storage = |operation| {
        let path = path.to_path_buf();
        move |source| SecretError::Storage {
            operation,
            path,
            source,
        }
    };
    remove(&unfinished)?;
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()
    })();
    if let Err(error) = written {
        // A full disk: leave nothing half written behind. A failure of this is repaired by the next write.
        let _ = fs::remove_file(&unfinished);
        return Err(storage("write")(error));
    }
    fs::rename(&unfinished, path).map_err(storage("rename"))?;
    sync_parent(path)
}

fn remove(path: &Path) -> Result<(), SecretError> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(SecretError::Storage {
            operation: "remove",
            path: path.to_path_buf(),
            source,
        }),
    }
}

/// Removes what a crash left half written. It was never promised to anybody.
fn remove_unfinished(directory: &Path) -> Result<(), SecretError> {
    let storage = |source| SecretError::Storage {
        operation: "list",
        path: directory.to_path_buf(),
        source,
    };
    for entry in fs::read_dir(directory).map_err(storage)?.take(ENTRIES_MAX) {
        let entry = entry.map_err(storage)?;
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(UNFINISHED))
        {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn sync_parent(path: &Path) -> Result<(), SecretError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let synced = File::open(parent).and_then(|directory| directory.sync_all());
    synced.map_err(|source| SecretError::Storage {
        operation: "sync",
        path: parent.to_path_buf(),
        source,
    })
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
