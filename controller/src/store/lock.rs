//! One controller for each data directory, by an advisory lock that the kernel drops with the process.

use super::StoreError;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

#[derive(Debug)]
pub(super) struct Lock {
    _file: Flock<File>,
}

impl Lock {
    pub(super) fn take(data_dir: &Path) -> Result<Self, StoreError> {
        let error = |operation, source| StoreError::File {
            operation,
            path: data_dir.to_owned(),
            source,
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(|source| error("make the data directory", source))?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(data_dir.join("lock"))
            .map_err(|source| error("write in the data directory", source))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self { _file: file }),
            Err((_, Errno::EWOULDBLOCK)) => Err(StoreError::Locked {
                path: data_dir.to_owned(),
            }),
            Err((_, errno)) => Err(error("lock", errno.into())),
        }
    }
}
