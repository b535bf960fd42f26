//! Files of the author's loop: read within bounds, written whole.

use crate::failure::Failure;
use iaso_package::{
    COMPONENT_BYTES_MAX, PublicKey, SIGNATURE_BYTES_MAX, SecretKey, Signature, TrustedKey,
};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The largest key file.
const KEY_BYTES_MAX: u64 = 4096;
/// Whoever else has a bit of these could read or change the file.
const OTHERS: u32 = 0o077;

/// A file that is not larger than `most`.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let failed = |source| Failure::Read {
        file: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(Failure::Plugin(format!(
            "{} is larger than {most} bytes: is this the right file?",
            path.display()
        )));
    }
    Ok(bytes)
}

/// As [`read`], text.
pub(super) fn read_text(path: &Path, most: u64) -> Result<String, Failure> {
    String::from_utf8(read(path, most)?).map_err(|_| {
        Failure::Plugin(format!(
            "{} is not text: is this the right file?",
            path.display()
        ))
    })
}

/// A component's bytes.
pub(super) fn component(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, COMPONENT_BYTES_MAX)
}

/// The signature beside a component.
pub(super) fn signature_path(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

/// The signature at this path.
pub(super) fn signature(path: &Path) -> Result<Signature, Failure> {
    let text = read_text(path, SIGNATURE_BYTES_MAX)?;
    Signature::from_text(&text)
        .map_err(|error| Failure::Plugin(format!("{}: {error}", path.display())))
}

/// A public key and, as its owner's name, the name of its file.
pub(super) fn trusted_key(path: &Path) -> Result<TrustedKey, Failure> {
    let text = read_text(path, KEY_BYTES_MAX)?;
    let key: PublicKey = text
        .parse()
        .map_err(|error| Failure::Plugin(format!("{}: {error}", path.display())))?;
    let who = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(TrustedKey {
        who: who.into_owned(),
        key,
        plugins: None,
    })
}

/// A secret key, from a file that only its owner can read.
pub(super) fn secret_key(path: &Path) -> Result<SecretKey, Failure> {
    let metadata = std::fs::metadata(path).map_err(|source| Failure::Read {
        file: path.to_owned(),
        source,
    })?;
    if metadata.mode() & OTHERS != 0 {
        return Err(Failure::Plugin(format!(
            "others on this machine can read the secret key {}: chmod 600 it, and make a new one if somebody may have",
            path.display()
        )));
    }
    let text = read_text(path, KEY_BYTES_MAX).map(zeroize::Zeroizing::new)?;
    text.parse()
        .map_err(|error| Failure::Plugin(format!("{}: {error}", path.display())))
}

/// Writes a file that must not exist yet.
pub(super) fn create(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |source: io::Error| {
        if source.kind() == io::ErrorKind::AlreadyExists {
            return Failure::Plugin(format!(
                "{} exists, and nothing is overwritten: give another name, or remove it",
                path.display()
            ));
        }
        write_failed(path, &source)
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(failed)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

/// Writes a file in place of what is there, in one step.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(bytes)?;
        // A temporary file is its owner's alone; what is written here is for others to read.
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| write_failed(path, &source))
}

fn write_failed(path: &Path, source: &io::Error) -> Failure {
    Failure::Plugin(format!("cannot write {}: {source}", path.display()))
}
