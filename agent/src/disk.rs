//! Files that the agent itself owns: private directories and writes that are there whole or not at all.
//!
//! **Invariants**
//! - A directory is used only if it is 0700 and ours: what lies in it is loaded as code or believed as a record.
//! - After `write_atomic` returns, a power cut leaves the new content; before it, the old.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Why a file or directory of the agent cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The operating system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was being done, as a verb.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: io::Error,
    },
    /// Somebody else could have written there.
    #[error("{} is not private: {what}; make it a directory of the agent's user with mode 0700", path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl DiskError {
    /// Wraps an operating system error with what was being done.
    #[must_use]
    pub fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}

/// Makes `path` (and what is above it) if it is missing, and checks that nobody else can write into it.
pub fn private_dir(path: &Path) -> Result<(), DiskError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| DiskError::io("create directory", path, source))?;
    let meta =
        fs::symlink_metadata(path).map_err(|source| DiskError::io("look at", path, source))?;
    let refuse = |what: String| {
        Err(DiskError::NotPrivate {
            path: path.to_owned(),
            what,
        })
    };
    if !meta.is_dir() {
        return refuse("it is not a directory".into());
    }
    let me = nix::unistd::geteuid().as_raw();
    if meta.uid() != me {
        return refuse(format!(
            "it belongs to user {}, the agent runs as {me}",
            meta.uid()
        ));
    }
    if meta.mode() & 0o077 != 0 {
        return refuse(format!("its mode is {:04o}", meta.mode() & 0o7777));
    }
    Ok(())
}

/// Replaces `path` by `content`, durably. The file is 0600.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<(), DiskError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(|source| DiskError::io("create", &temporary, source))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(|source| DiskError::io("write", &temporary, source))?;
    fs::rename(&temporary, path).map_err(|source| DiskError::io("replace", path, source))?;
    sync_parent(path)
}

/// Makes a rename or creation in the directory of `path` durable.
pub fn sync_parent(path: &Path) -> Result<(), DiskError> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| DiskError::io("sync directory", parent, source))
}

/// The content of `path`, at most `max` bytes; `None` if there is no such file.
pub fn read_bounded(path: &Path, max: u64) -> Result<Option<Vec<u8>>, DiskError> {
    use io::Read as _;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(DiskError::io("open", path, source)),
    };
    let mut content = Vec::new();
    file.take(max + 1)
        .read_to_end(&mut content)
        .map_err(|source| DiskError::io("read", path, source))?;
    if content.len() as u64 > max {
        let source = io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {max} bytes"),
        );
        return Err(DiskError::io("read", path, source));
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_others_can_enter_is_refused_with_what_to_do() {
        let root = tempfile::tempdir().expect("temporary directory");
        let open = root.path().join("open");
        private_dir(&open).expect("a new directory is private");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).expect("chmod");
        let text = private_dir(&open)
            .expect_err("0755 is not private")
            .to_string();
        assert!(text.contains("0755") && text.contains("0700"), "{text}");
    }

    #[test]
    fn a_symbolic_link_in_place_of_a_directory_is_refused() {
        let root = tempfile::tempdir().expect("temporary directory");
        let link = root.path().join("link");
        std::os::unix::fs::symlink(root.path(), &link).expect("symlink");
        assert!(matches!(
            private_dir(&link),
            Err(DiskError::NotPrivate { .. })
        ));
    }

    #[test]
    fn a_file_larger_than_its_bound_is_an_error_and_a_missing_one_is_not() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("f");
        assert_eq!(read_bounded(&path, 3).expect("missing is fine"), None);
        write_atomic(&path, b"abcd").expect("write");
        assert_eq!(
            read_bounded(&path, 4).expect("fits"),
            Some(b"abcd".to_vec())
        );
        assert!(read_bounded(&path, 3).is_err());
    }
}
