//! A plugin's compiled bytes in a file without a name that nobody can change any more, so that they can be given to one runner after the other.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use iaso_host::{COMPILED_BYTES_MAX, Digest};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Sealed bytes.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) file: Arc<OwnedFd>,
    pub(crate) bytes: u64,
    pub(crate) sha256: [u8; 32],
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodeError {
    #[error(
        "these are not the bytes that were expected: their digest is {found}, not {expected}; fetch it again"
    )]
    Digest { found: Digest, expected: Digest },
    #[error("the compiled plugin is larger than {} MiB", COMPILED_BYTES_MAX >> 20)]
    TooLarge,
    #[error("no memory for the compiled plugin: {0}")]
    Memory(std::io::Error),
}

impl Code {
    pub(crate) fn new(compiled: &[u8], expected: &Digest) -> Result<Self, CodeError> {
        if compiled.len() > COMPILED_BYTES_MAX {
            return Err(CodeError::TooLarge);
        }
        let found = Digest::of(compiled);
        if found != *expected {
            return Err(CodeError::Digest {
                found,
                expected: *expected,
            });
        }
        let file = sealed(compiled).map_err(CodeError::Memory)?;
        Ok(Self {
            file: Arc::new(file),
            bytes: compiled.len() as u64,
            sha256: found.into_bytes(),
        })
    }
}

fn sealed(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("iaso-plugin", flags)?);
    file.write_all(bytes)?;
    file.rewind()?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

/// Reads what [`Code`] holds, on the runner's side.
pub(crate) fn read(file: OwnedFd, bytes: u64) -> std::io::Result<Vec<u8>> {
    let too_large = || std::io::Error::other("larger than any compiled plugin");
    let size = usize::try_from(bytes).map_err(|_| too_large())?;
    if size > COMPILED_BYTES_MAX {
        return Err(too_large());
    }
    let mut code = Vec::new();
    // An allocation that fails elsewhere ends the process; this is the one whose size others choose.
    code.try_reserve_exact(size)
        .map_err(|_| std::io::Error::other("no memory for it"))?;
    code.resize(size, 0);
    // Not read(): the file's position is shared with whoever else has it.
    File::from(file).read_exact_at(&mut code, 0)?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_was_sealed_is_read_as_often_as_wanted_and_written_never() {
        let digest = Digest::of(b"code");
        let code = Code::new(b"code", &digest).expect("the digest is right");
        for _ in 0..2 {
            let file = code.file.try_clone().expect("a file");
            assert_eq!(read(file, 4).expect("there"), b"code");
        }
        let mut file = File::from(code.file.try_clone().expect("a file"));
        assert!(file.write_all(b"evil").is_err());
        assert!(file.set_len(0).is_err());
        let mut text = String::new();
        file.rewind().expect("a file");
        file.read_to_string(&mut text).expect("text");
        assert_eq!(text, "code");
    }

    #[test]
    fn other_bytes_than_expected_are_named() {
        let error = Code::new(b"code", &Digest::of(b"other")).expect_err("other bytes");
        assert!(error.to_string().contains("fetch it again"), "{error}");
    }
}
