//! Components into compiled plugins, by a child process, kept by component and engine.
//!
//! **Invariants**
//! - The cache is a private directory: what lies in it is loaded as code.
//! - A name in the cache holds the component's digest, the engine's and the compiled bytes' own: other bytes are compiled anew.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use iaso_host::{Digest, HOST_TARGET, engine_hash};
use tokio::process::Command;

use crate::disk::{self, DiskError};

const COMPONENT_BYTES_MAX: u64 = 64 << 20;
const COMPILE_TIMEOUT: Duration = Duration::from_mins(3);

/// Why there is no compiled plugin.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// No such component.
    #[error("there is no plugin at {}", .0.display())]
    Missing(PathBuf),
    /// The compiler cannot be started.
    #[error("cannot start the plugin compiler {}: {why}; name it with `compiler` in the configuration, or put it beside iaso-agent", program.display())]
    NoCompiler {
        /// Which program.
        program: PathBuf,
        /// Why.
        why: String,
    },
    /// The compiler found fault with the component.
    #[error("{0}")]
    Refused(String),
}

/// A plugin ready to be loaded.
#[derive(Debug)]
pub struct Compiled {
    /// Of the component.
    pub component: Digest,
    /// Of `bytes`.
    pub digest: Digest,
    /// Compiled code.
    pub bytes: Vec<u8>,
}

/// The compiler: as configured, else beside this binary, else by PATH.
#[must_use]
pub fn compiler(configured: Option<&Path>) -> PathBuf {
    let beside = || {
        let path = std::env::current_exe().ok()?.with_file_name("iaso-compile");
        path.is_file().then_some(path)
    };
    configured
        .map(Path::to_owned)
        .or_else(beside)
        .unwrap_or_else(|| "iaso-compile".into())
}

/// Compiles `component`, or takes it from `cache`.
pub async fn compile(
    component: &Path,
    cache: &Path,
    program: &Path,
) -> Result<Compiled, CompileError> {
    let source = disk::read_bounded(component, COMPONENT_BYTES_MAX)?
        .ok_or_else(|| CompileError::Missing(component.to_owned()))?;
    disk::private_dir(cache)?;
    let digest = Digest::of(&source);
    let stem = format!("{digest}-{}", engine_hash(HOST_TARGET));
    if let Some((found, bytes)) = cached(cache, &stem) {
        return Ok(Compiled {
            component: digest,
            digest: found,
            bytes,
        });
    }
    // What is compiled is what was hashed, whatever happens to the component's own file meanwhile.
    let input = cache.join(format!("{stem}.{:08x}.wasm", rand::random::<u32>()));
    let output = input.with_extension("cwasm.new");
    disk::write_atomic(&input, &source)?;
    let made = run(program, &input, &output).await;
    // Left behind it would only take room.
    let _ = fs::remove_file(&input);
    made?;
    let bytes =
        disk::read_bounded(&output, iaso_host::COMPILED_BYTES_MAX as u64)?.unwrap_or_default();
    let compiled = Digest::of(&bytes);
    disk::write_atomic(&cache.join(format!("{stem}-{compiled}.cwasm")), &bytes)?;
    let _ = fs::remove_file(&output);
    Ok(Compiled {
        component: digest,
        digest: compiled,
        bytes,
    })
}

fn cached(cache: &Path, stem: &str) -> Option<(Digest, Vec<u8>)> {
    fs::read_dir(cache).ok()?.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let digest: Digest = name
            .strip_prefix(stem)?
            .strip_prefix('-')?
            .strip_suffix(".cwasm")?
            .parse()
            .ok()?;
        let bytes =
            disk::read_bounded(&entry.path(), iaso_host::COMPILED_BYTES_MAX as u64).ok()??;
        (Digest::of(&bytes) == digest).then_some((digest, bytes))
    })
}

async fn run(program: &Path, input: &Path, output: &Path) -> Result<(), CompileError> {
    let child = Command::new(program)
        .args(["--target", HOST_TARGET, "--output"])
        .args([output, input])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let finished = tokio::time::timeout(COMPILE_TIMEOUT, child)
        .await
        .map_err(|_| {
            CompileError::Refused(format!(
                "the compiler was not done within {COMPILE_TIMEOUT:?}"
            ))
        })?
        .map_err(|error| CompileError::NoCompiler {
            program: program.to_owned(),
            why: error.to_string(),
        })?;
    if finished.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&finished.stderr);
    let text = said
        .trim()
        .lines()
        .last()
        .unwrap_or("the compiler gave no reason")
        .chars()
        .take(1000)
        .collect();
    Err(CompileError::Refused(text))
}
