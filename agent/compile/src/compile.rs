//! Component in, compiled plugin out.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use iaso_host::{COMPILED_BYTES_MAX, Digest, EngineError, engine_config, engine_hash};
use serde::Serialize;
use wasmtime::Engine;

use crate::look::look;

/// The largest component; the largest one seen has 18 MB.
const COMPONENT_BYTES_MAX: u64 = 64 << 20;

/// What was made.
#[derive(Debug, Serialize)]
pub(crate) struct Made {
    engine_hash: Digest,
    digest: Digest,
    compiled_digest: Digest,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileError {
    #[error("{0}")]
    Component(String),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot limit the {name} of this process")]
    Limit {
        name: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write the result as JSON")]
    Report {
        #[source]
        source: serde_json::Error,
    },
}

impl CompileError {
    /// 2 when another component would help, 1 when it would not.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Component(_) => ExitCode::from(2),
            Self::Engine(_)
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Limit { .. }
            | Self::Report { .. } => ExitCode::FAILURE,
        }
    }
}

/// Compiles `component` for `target` and puts the result in place of `output` in one step.
pub(crate) fn compile(component: &Path, output: &Path, target: &str) -> Result<Made, CompileError> {
    let engine = engine(target)?;
    let bytes = read_bounded(component)?;
    look(&bytes)?;
    let compiled = engine.precompile_component(&bytes).map_err(|error| {
        let cause = error.root_cause();
        CompileError::Component(format!(
            "the component cannot be compiled for this agent: {cause}"
        ))
    })?;
    if compiled.len() > COMPILED_BYTES_MAX {
        let (len, most) = (compiled.len() >> 20, COMPILED_BYTES_MAX >> 20);
        return Err(CompileError::Component(format!(
            "the compiled plugin has {len} MiB, at most {most} are allowed"
        )));
    }
    replace(output, &compiled).map_err(|source| CompileError::Write {
        path: output.to_owned(),
        source,
    })?;
    Ok(Made {
        engine_hash: engine_hash(target),
        digest: Digest::of(&bytes),
        compiled_digest: Digest::of(&compiled),
    })
}

fn engine(target: &str) -> Result<Engine, CompileError> {
    let refused = |e: wasmtime::Error| EngineError::Target {
        target: target.to_owned(),
        reason: format!("{e:#}"),
    };
    Ok(Engine::new(&engine_config(target)?).map_err(refused)?)
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, CompileError> {
    let mut bytes = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|source| CompileError::Read {
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() as u64 > COMPONENT_BYTES_MAX {
        let most = COMPONENT_BYTES_MAX >> 20;
        return Err(CompileError::Component(format!(
            "the component is larger than {most} MiB: strip its debug information"
        )));
    }
    Ok(bytes)
}

/// A reader sees the old file or the new one, never a part, even after a power cut.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(dir)?.sync_all()
}
