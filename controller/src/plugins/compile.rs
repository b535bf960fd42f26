//! One component into compiled code, by the compiler's own program, kept beside what was compiled before.
//!
//! **Invariants**
//! - What fails for the machine's sake is tried again, at growing waits with a bound; what the component is at fault for is not.

use super::{Compiled, Engine, is_word};
use crate::text::{bounded, hex};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::Instant;

/// Largest compiled plugin, in bytes.
const COMPILED_BYTES_MAX: u64 = 256 << 20;
/// Longest compilation.
const COMPILE_MAX: Duration = Duration::from_mins(2);
/// The first wait before it is tried again.
const AGAIN_FIRST: Duration = Duration::from_secs(2);
/// The longest: a compilation takes a core for seconds.
const AGAIN_MAX: Duration = Duration::from_mins(10);
/// The compiler's exit code when another component would help.
const COMPONENT_AT_FAULT: i32 = 2;

/// Where it is done.
#[derive(Debug)]
pub(super) struct Workshop {
    /// What was compiled.
    pub(super) cache: PathBuf,
    /// The program.
    pub(super) compiler: PathBuf,
}

/// Why a compilation came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failed {
    /// Only another component would help.
    Component(String),
    /// It may pass.
    Machine(String),
}

/// A compilation that came to nothing, and what comes of it.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    why: String,
    tries: u32,
    /// When it is tried again; none: not for this component.
    pub(super) again: Option<Instant>,
}

impl Failure {
    /// After a failure, with what was known before.
    pub(super) fn new(failed: Failed, before: Option<&Self>, now: Instant) -> Self {
        let tries = before.map_or(1, |before| before.tries.saturating_add(1));
        let (why, again) = match failed {
            Failed::Component(why) => (why, None),
            Failed::Machine(why) => (why, Some(now + wait_after(tries))),
        };
        Self { why, tries, again }
    }

    /// What went wrong, without how often.
    pub(super) fn why(&self) -> &str {
        &self.why
    }

    /// Why there is nothing, and whether that will change, for a person.
    pub(super) fn words(&self, now: Instant) -> String {
        let Self { why, tries, again } = self;
        match again {
            None => why.clone(),
            Some(again) => {
                let secs = again.saturating_duration_since(now).as_secs();
                format!("{why} (tried {tries} times, and again in {secs} s)")
            }
        }
    }
}

fn wait_after(tries: u32) -> Duration {
    let doubled = 1_u32.checked_shl(tries.saturating_sub(1));
    doubled
        .and_then(|times| AGAIN_FIRST.checked_mul(times))
        .map_or(AGAIN_MAX, |wait| wait.min(AGAIN_MAX))
}

/// What the compiler prints.
#[derive(Debug, Deserialize)]
struct Printed {
    engine_hash: String,
    digest: String,
    compiled_digest: String,
}

impl Workshop {
    /// Compiles a component whose digest was judged, or takes what was compiled before.
    pub(super) async fn compile(
        &self,
        component: &Path,
        judged: &str,
        engine: &Engine,
    ) -> Result<Compiled, Failed> {
        if !is_word(&engine.hash) || !is_word(&engine.target) {
            let why = "the agent's engine hash or target is not a plain word: update the agent";
            return Err(Failed::Component(why.into()));
        }
        let name = format!(
            "{}-{}-{}.cwasm",
            short(judged, 32),
            short(&engine.hash, 32),
            engine.target
        );
        let output = self.cache.join(name);
        if let Some(found) = cached(&output).await {
            return Ok(found);
        }
        tokio::fs::create_dir_all(&self.cache)
            .await
            .map_err(|error| {
                Failed::Machine(format!("cannot make {}: {error}", self.cache.display()))
            })?;
        let fresh = output.with_extension("new");
        let printed = self.run(component, &fresh, engine).await?;
        if printed.engine_hash != engine.hash {
            return Err(Failed::Machine(format!(
                "the compiler builds for engine {}, and the agent has {}: install the same version on both sides",
                short(&printed.engine_hash, 12),
                short(&engine.hash, 12)
            )));
        }
        if printed.digest != judged {
            // What was judged is not what lies there now.
            let _ = tokio::fs::remove_file(&fresh).await;
            return Err(Failed::Machine(format!(
                "{} changed since the controller started: restart the controller to take the new one",
                component.display()
            )));
        }
        keep(&fresh, &output, printed.compiled_digest)
            .await
            .map_err(Failed::Machine)
    }

    async fn run(
        &self,
        component: &Path,
        output: &Path,
        engine: &Engine,
    ) -> Result<Printed, Failed> {
        let machine = |why: String| Failed::Machine(why);
        let child = Command::new(&self.compiler)
            .arg("--target")
            .arg(&engine.target)
            .arg("--output")
            .arg(output)
            .arg(component)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                machine(format!(
                    "cannot run the compiler {}: {error}; set `compiler`",
                    self.compiler.display()
                ))
            })?;
        let ended = tokio::time::timeout(COMPILE_MAX, child.wait_with_output())
            .await
            .map_err(|_| {
                machine(format!(
                    "did not compile within {} s",
                    COMPILE_MAX.as_secs()
                ))
            })?
            .map_err(|error| machine(format!("the compiler could not be waited for: {error}")))?;
        if !ended.status.success() {
            let said = bounded(String::from_utf8_lossy(&ended.stderr).trim(), 1_024);
            return Err(match ended.status.code() {
                Some(COMPONENT_AT_FAULT) => Failed::Component(said),
                Some(_) => Failed::Machine(said),
                None => machine(format!("the compiler was ended ({}): {said}", ended.status)),
            });
        }
        serde_json::from_slice(&ended.stdout).map_err(|error| {
            machine(format!(
                "the compiler's answer is not understood ({error}): is it of the same version?"
            ))
        })
    }
}

fn short(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

/// What an earlier run of the controller compiled, if its bytes are still what they were.
async fn cached(path: &Path) -> Option<Compiled> {
    let expected = tokio::fs::read_to_string(path.with_extension("sha256"))
        .await
        .ok()?;
    let digest = digest_of(path).await.ok()?;
    (digest == expected.trim()).then(|| Compiled {
        path: path.to_owned(),
        digest,
    })
}

async fn keep(fresh: &Path, path: &Path, expected: String) -> Result<Compiled, String> {
    let disk = |error: std::io::Error| {
        format!(
            "cannot keep the compiled plugin {}: {error}",
            path.display()
        )
    };
    let digest = digest_of(fresh).await.map_err(disk)?;
    if digest != expected {
        return Err(
            "the compiled bytes are not what the compiler said it wrote: look at the disk".into(),
        );
    }
    tokio::fs::rename(fresh, path).await.map_err(disk)?;
    tokio::fs::write(path.with_extension("sha256"), &digest)
        .await
        .map_err(disk)?;
    Ok(Compiled {
        path: path.to_owned(),
        digest,
    })
}

async fn digest_of(path: &Path) -> std::io::Result<String> {
    let size = tokio::fs::metadata(path).await?.len();
    if size > COMPILED_BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "{size} bytes are more than a compiled plugin has"
        )));
    }
    Ok(hex(&Sha256::digest(tokio::fs::read(path).await?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_to_a_bound_and_a_component_at_fault_is_not_tried_again() {
        let now = Instant::now();
        let machine = || Failed::Machine("no memory".into());
        let mut failure = Failure::new(machine(), None, now);
        let mut waits = Vec::new();
        for _ in 0..40 {
            waits.extend(failure.again.map(|again| (again - now).as_secs()));
            failure = Failure::new(machine(), Some(&failure), now);
        }
        assert_eq!(waits.len(), 40);
        assert!(waits.starts_with(&[2, 4, 8, 16]) && waits.ends_with(&[600, 600]));
        assert_eq!(
            failure.words(now),
            "no memory (tried 41 times, and again in 600 s)"
        );
        let failed = Failed::Component("not a component".into());
        assert_eq!(Failure::new(failed, None, now).again, None);
    }
}
