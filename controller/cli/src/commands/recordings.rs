//! Where recordings come from: the controller, or files.

use crate::client::Recording;
use crate::failure::Failure;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Write as _};
use std::path::{Path, PathBuf};

/// Largest recording that is held in memory; a larger one goes through a file.
const BYTES_MAX: usize = 512 << 20;

/// One recording, still compressed.
#[derive(Debug)]
pub(super) enum Source {
    /// On the disk.
    File(PathBuf),
    /// From the controller.
    Bytes(Vec<u8>),
}

impl Source {
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(file) => file.display().to_string(),
            Self::Bytes(_) => "the controller's recording".into(),
        }
    }

    pub(super) fn open(self) -> Result<Box<dyn BufRead>, Failure> {
        match self {
            Self::File(file) => match File::open(&file) {
                Ok(opened) => Ok(Box::new(BufReader::new(opened))),
                Err(source) => Err(Failure::Read { file, source }),
            },
            Self::Bytes(bytes) => Ok(Box::new(Cursor::new(bytes))),
        }
    }
}

pub(super) async fn collect(mut stream: Recording) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await? {
        bytes.extend(chunk);
        if bytes.len() > BYTES_MAX {
            return Err(Failure::Usage(
                "the recording is larger than 512 MiB: write it with --export FILE, and read it with --file FILE".into(),
            ));
        }
    }
    Ok(bytes)
}

/// Writes a recording as it comes: whole, or with what went wrong.
pub(super) async fn save(mut stream: Recording, file: &Path) -> Result<u64, Failure> {
    let failed = |source| Failure::Write {
        file: file.to_owned(),
        option: "--export",
        source,
    };
    let mut out = File::create(file).map_err(failed)?;
    let mut written = 0;
    while let Some(chunk) = stream.next().await? {
        out.write_all(&chunk).map_err(failed)?;
        written += chunk.len() as u64;
    }
    out.sync_all().map_err(failed)?;
    Ok(written)
}

/// A recording that cannot be used, with the whole chain of causes.
pub(super) fn unusable(name: &str, error: &dyn std::error::Error) -> Failure {
    let mut why = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        why.push_str(": ");
        why.push_str(&source.to_string());
        cause = source.source();
    }
    Failure::Recording {
        name: name.into(),
        why: why.into(),
    }
}
