//! Files of the host, to read. Paths come resolved and checked; no link is followed any more, in no part of the path.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use iaso_host::{
    CapError,
    types::{Chunk, Stat},
};
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};

/// Most bytes of one read.
pub const READ_BYTES_MAX: u32 = 1 << 20;

/// What is at `path`.
pub fn stat(path: &Path) -> Result<Stat, CapError> {
    let file = match open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Stat {
                kind: "missing".into(),
                size: 0,
                modified_unix_ms: 0,
                mode: 0,
            });
        }
        Err(error) => return Err(told(path, &error)),
    };
    let meta = file.metadata().map_err(|error| told(path, &error))?;
    let kind = meta.file_type();
    let word = match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "directory",
        () if kind.is_socket() => "socket",
        () if kind.is_symlink() => "symlink",
        () if kind.is_fifo() => "fifo",
        () => "device",
    };
    let modified_ms = meta
        .mtime()
        .saturating_mul(1000)
        .saturating_add(meta.mtime_nsec() / 1_000_000);
    Ok(Stat {
        kind: word.into(),
        size: meta.size(),
        modified_unix_ms: u64::try_from(modified_ms).unwrap_or(0),
        mode: meta.mode() & 0o7777,
    })
}

/// A part of a regular file.
pub fn read(path: &Path, offset: u64, max_bytes: u32) -> Result<Chunk, CapError> {
    // A FIFO must not make us wait, nor a terminal become ours.
    let file = open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .map_err(|error| told(path, &error))?;
    let meta = file.metadata().map_err(|error| told(path, &error))?;
    if !meta.is_file() {
        return Err(CapError::Unavailable(format!(
            "{} is not a regular file",
            path.display()
        )));
    }
    let wanted = max_bytes.min(READ_BYTES_MAX) as usize;
    // One byte more than wanted tells whether more follows; sizes of files in /proc are not to be believed.
    let mut data = vec![0; wanted + 1];
    let mut filled = 0;
    while let Some(room) = data.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(told(path, &error)),
        }
    }
    data.truncate(filled.min(wanted));
    Ok(Chunk {
        data,
        truncated: filled > wanted,
    })
}

fn open(path: &Path, flags: OFlag) -> io::Result<File> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(AT_FDCWD, path, how)
        .map(File::from)
        .map_err(io::Error::from)
}

fn told(path: &Path, error: &io::Error) -> CapError {
    if error.raw_os_error() == Some(nix::libc::ELOOP) {
        return CapError::Unavailable(format!(
            "{} became a symbolic link since it was checked",
            path.display()
        ));
    }
    super::os_error(&path.display().to_string(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_became_a_link_after_the_check_is_not_followed() {
        let root = tempfile::tempdir().expect("temporary directory");
        let root = root.path().canonicalize().expect("real");
        std::fs::create_dir(root.join("real")).expect("mkdir");
        std::fs::write(root.join("real/secret"), "s").expect("write");
        std::os::unix::fs::symlink(root.join("real"), root.join("link")).expect("symlink");
        for path in ["link/secret", "link"] {
            let path = root.join(path);
            assert!(
                matches!(read(&path, 0, 10), Err(CapError::Unavailable(_))),
                "{}",
                path.display()
            );
        }
        assert_eq!(
            read(&root.join("real/secret"), 0, 10).expect("plain").data,
            b"s"
        );
    }

    #[test]
    fn a_part_is_read_and_says_whether_more_follows() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().canonicalize().expect("real").join("f");
        std::fs::write(&path, "abcdef").expect("write");
        let part = read(&path, 2, 3).expect("read");
        assert_eq!(
            (part.data.as_slice(), part.truncated),
            (b"cde".as_slice(), true)
        );
        let rest = read(&path, 3, 3).expect("read");
        assert_eq!(
            (rest.data.as_slice(), rest.truncated),
            (b"def".as_slice(), false)
        );
        assert!(
            read(Path::new("/proc/cpuinfo"), 0, 4096).is_ok_and(|chunk| !chunk.data.is_empty())
        );
    }

    #[test]
    fn what_is_there_is_named_and_what_is_not_is_missing() {
        let root = tempfile::tempdir().expect("temporary directory");
        let root = root.path().canonicalize().expect("real");
        let _socket = std::os::unix::net::UnixListener::bind(root.join("s")).expect("bind");
        let kind = |name: &str| stat(&root.join(name)).expect("stat").kind;
        assert_eq!(
            (
                kind("s").as_str(),
                kind("gone").as_str(),
                stat(&root).expect("stat").kind.as_str()
            ),
            ("socket", "missing", "directory")
        );
        nix::unistd::mkfifo(&root.join("p"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        assert_eq!(kind("p"), "fifo");
        assert!(
            read(&root.join("p"), 0, 1).is_err(),
            "a FIFO neither hangs nor reads"
        );
    }
}
