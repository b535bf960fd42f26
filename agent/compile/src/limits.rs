//! Bounds on this process, set before anything of the component is read.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::compile::CompileError;

/// Processor seconds: the largest plugin seen (Python, 18 MB) takes 14.
const CPU_SECS: u64 = 120;
/// Address space: the same plugin peaks at 320 MB of memory.
const ADDRESS_BYTES: u64 = 4 << 30;
/// The compiled plugin, at most.
const FILE_BYTES: u64 = iaso_host::COMPILED_BYTES_MAX as u64;
/// A handful is used.
const OPEN_FILES: u64 = 64;

/// Lowers the limits; one that is lower already stays.
pub(crate) fn set() -> Result<(), CompileError> {
    for (resource, name, most) in [
        (Resource::RLIMIT_CPU, "processor time", CPU_SECS),
        (Resource::RLIMIT_AS, "address space", ADDRESS_BYTES),
        (Resource::RLIMIT_FSIZE, "file size", FILE_BYTES),
        (Resource::RLIMIT_NOFILE, "open files", OPEN_FILES),
        (Resource::RLIMIT_CORE, "core dumps", 0),
    ] {
        let failed = |errno: nix::Error| CompileError::Limit {
            name,
            source: errno.into(),
        };
        let (soft, hard) = getrlimit(resource).map_err(failed)?;
        setrlimit(resource, soft.min(most), hard.min(most)).map_err(failed)?;
    }
    Ok(())
}
