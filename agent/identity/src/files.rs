//! Private files: read when nobody else may, written whole or not at all.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Largest file that is read here, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Why a file of an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("{} holds a private key and others may read it: chmod 0600 it, and replace what it stands for if others had access", path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
    },
    /// Nothing of ours is so large.
    #[error("{} is larger than {FILE_BYTES_MAX} bytes: it is none of ours", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
}

/// The text of a file; `None` if there is none.
pub(crate) fn read(path: &Path, is_private: bool) -> Result<Option<String>, FileError> {
    let io = |source| FileError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    if is_private && metadata.permissions().mode() & 0o077 != 0 {
        return Err(FileError::Exposed {
            path: path.to_owned(),
        });
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
        });
    }
    std::fs::read_to_string(path).map(Some).map_err(io)
}

/// Replaces a file, durably; 0600.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), FileError> {
    let io = |operation| {
        move |source| FileError::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    // Left by a crash, perhaps with other permissions.
    let _ = std::fs::remove_file(&temporary);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io("create"))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(io("write"))?;
    std::fs::rename(&temporary, path).map_err(io("replace"))?;
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(io("sync the directory of"))
}
