//! Compiles the configured plugins for the agents' engines, in a child process, and keeps the result.
//!
//! **Invariants**
//! - This process never compiles: `iaso-compile` does, under a deadline and killed with us.
//! - Keyed by component digest, engine hash and target: an agent only gets what its own engine can load.
//! - A plugin that does not compile, or that nobody trusted signed, is not assigned; the reason is kept and shown, and other plugins are
//!   not delayed by it.
//! - What is compiled is what was judged: the compiler says which component it read.

mod trust;

use crate::config::PluginConfig;
use crate::text::{bounded, hex};
use iaso_engine::fact::Role;
use iaso_package::Trust;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::Mutex;

/// Largest component, in bytes.
const COMPONENT_BYTES_MAX: u64 = 64 << 20;
/// Largest compiled plugin, in bytes.
const COMPILED_BYTES_MAX: u64 = 256 << 20;
/// Longest compilation.
const COMPILE_MAX: Duration = Duration::from_mins(2);
/// Most pairs of engine hash and target that are compiled for: agents of a few versions, not whatever a stranger says.
const ENGINES_MAX: usize = 8;

/// An agent's engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Engine {
    /// Compatibility hash, hexadecimal.
    pub hash: String,
    /// Target triple.
    pub target: String,
}

/// One plugin as configured and read.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// Its configuration.
    pub config: PluginConfig,
    /// SHA-256 of the component, hexadecimal.
    pub digest: String,
    /// Why it is not handed out, whatever the compiler says of it.
    pub refusal: Option<String>,
}

/// A compiled plugin.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// Where its bytes lie.
    pub path: PathBuf,
    /// Their SHA-256, hexadecimal.
    pub digest: String,
}

/// What the compiler prints.
#[derive(Debug, Deserialize)]
struct Printed {
    engine_hash: String,
    digest: String,
    compiled_digest: String,
}

type Compilations = BTreeMap<(String, Engine), Result<Compiled, String>>;

/// All plugins.
#[derive(Debug)]
pub struct Plugins {
    all: Vec<Plugin>,
    cache: PathBuf,
    compiler: PathBuf,
    compiled: RwLock<Compilations>,
    // Two compilations at once would take memory and both cores from the loop that heals.
    turn: Mutex<()>,
}

/// A component that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// Not readable.
    #[error("cannot read plugin {name} from {}: check its path and permissions", path.display())]
    Read {
        /// Which.
        name: String,
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Too large.
    #[error("plugin {name} has {bytes} bytes: at most 64 MiB")]
    TooLarge {
        /// Which.
        name: String,
        /// Its size.
        bytes: u64,
    },
}

impl Plugins {
    /// Reads the components, and judges them where `trust` says whose may run.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(
        configs: &[PluginConfig],
        trust: Option<&Trust>,
        data_dir: &Path,
        compiler: PathBuf,
    ) -> Result<Self, PluginError> {
        let mut plugins = Vec::new();
        let mut judge = trust.map(|trust| trust::Judge::new(trust, data_dir));
        for config in configs {
            let fail = |source| PluginError::Read {
                name: config.name.clone(),
                path: config.path.clone(),
                source,
            };
            let bytes = std::fs::metadata(&config.path).map_err(fail)?.len();
            if bytes > COMPONENT_BYTES_MAX {
                return Err(PluginError::TooLarge {
                    name: config.name.clone(),
                    bytes,
                });
            }
            let component = std::fs::read(&config.path).map_err(fail)?;
            let expected = config.plugin.as_ref().unwrap_or(&config.name);
            let judged = judge
                .as_mut()
                .map(|judge| judge.judge(&component, &config.path, expected));
            if let Some(Ok(word)) = &judged {
                tracing::info!(plugin = config.name, word, "plugin trusted");
            }
            plugins.push(Plugin {
                config: config.clone(),
                digest: hex(&Sha256::digest(&component)),
                refusal: judged.and_then(Result::err),
            });
        }
        Ok(Self {
            all: plugins,
            cache: data_dir.join("plugins"),
            compiler,
            compiled: RwLock::default(),
            turn: Mutex::default(),
        })
    }

    /// The plugins for a role that are compiled for an engine.
    #[must_use]
    pub fn ready(&self, role: Role, engine: &Engine) -> Vec<(Plugin, Compiled)> {
        let compiled = self.compiled.read().unwrap_or_else(PoisonError::into_inner);
        let of_role = self.of_role(role);
        of_role
            .filter(|plugin| plugin.refusal.is_none())
            .filter_map(
                |plugin| match compiled.get(&(plugin.digest.clone(), engine.clone())) {
                    Some(Ok(done)) => Some((plugin.clone(), done.clone())),
                    Some(Err(_)) | None => None,
                },
            )
            .collect()
    }

    /// Plugins for a role that could not be compiled for any engine, with why.
    #[must_use]
    pub fn refused(&self, role: Role) -> Vec<(String, String)> {
        let compiled = self.compiled.read().unwrap_or_else(PoisonError::into_inner);
        let mut refused: Vec<(String, String)> = Vec::new();
        for plugin in self.of_role(role) {
            if let Some(why) = &plugin.refusal {
                refused.push((plugin.config.name.clone(), why.clone()));
                continue;
            }
            let failure = compiled
                .iter()
                .find(|((digest, _), result)| *digest == plugin.digest && result.is_err());
            if let Some((_, Err(why))) = failure {
                refused.push((plugin.config.name.clone(), why.clone()));
            }
        }
        refused
    }

    /// Plugins that are not handed out because nobody trusted vouches for them, with why.
    #[must_use]
    pub fn untrusted(&self) -> Vec<(String, String)> {
        let refusal = |plugin: &Plugin| Some((plugin.config.name.clone(), plugin.refusal.clone()?));
        self.all.iter().filter_map(refusal).collect()
    }

    fn of_role(&self, role: Role) -> impl Iterator<Item = &Plugin> {
        self.all.iter().filter(move |plugin| {
            plugin
                .config
                .roles
                .as_ref()
                .is_none_or(|roles| roles.contains(&role))
        })
    }

    /// The compiled bytes that `FetchPlugin` serves: only what was compiled here.
    #[must_use]
    pub fn find(&self, compiled_digest: &str) -> Option<Compiled> {
        let compiled = self.compiled.read().unwrap_or_else(PoisonError::into_inner);
        compiled
            .values()
            .flatten()
            .find(|done| done.digest == compiled_digest)
            .cloned()
    }

    /// Compiles what is not compiled yet for this engine. Returns the new failures: plugin and why.
    pub async fn ensure(self: &Arc<Self>, engine: &Engine) -> Vec<(String, String)> {
        let mut failures = Vec::new();
        for plugin in self.all.iter().filter(|plugin| plugin.refusal.is_none()) {
            let key = (plugin.digest.clone(), engine.clone());
            let _turn = self.turn.lock().await;
            let known = {
                let compiled = self.compiled.read().unwrap_or_else(PoisonError::into_inner);
                let engines: std::collections::BTreeSet<&Engine> =
                    compiled.keys().map(|(_, engine)| engine).collect();
                if engines.len() >= ENGINES_MAX && !engines.contains(engine) {
                    let why = format!(
                        "{ENGINES_MAX} kinds of agent engine are served already: update the agents to one version"
                    );
                    return vec![("*".into(), why)];
                }
                compiled.contains_key(&key)
            };
            if known {
                continue;
            }
            let result = self.compile(plugin, engine).await;
            if let Err(why) = &result {
                failures.push((plugin.config.name.clone(), why.clone()));
            }
            self.compiled
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key, result);
        }
        failures
    }

    async fn compile(&self, plugin: &Plugin, engine: &Engine) -> Result<Compiled, String> {
        if !is_word(&engine.hash) || !is_word(&engine.target) {
            return Err(
                "the agent's engine hash or target is not a plain word: update the agent".into(),
            );
        }
        let short = |text: &str, chars: usize| text.chars().take(chars).collect::<String>();
        let name = format!(
            "{}-{}-{}.cwasm",
            short(&plugin.digest, 32),
            short(&engine.hash, 32),
            engine.target
        );
        let output = self.cache.join(name);
        if let Some(found) = cached(&output).await {
            return Ok(found);
        }
        tokio::fs::create_dir_all(&self.cache)
            .await
            .map_err(|error| format!("cannot make {}: {error}", self.cache.display()))?;
        let fresh = output.with_extension("new");
        let child = Command::new(&self.compiler)
            .arg("--target")
            .arg(&engine.target)
            .arg("--output")
            .arg(&fresh)
            .arg(&plugin.config.path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                format!(
                    "cannot run the compiler {}: {error}; set `compiler`",
                    self.compiler.display()
                )
            })?;
        let ended = tokio::time::timeout(COMPILE_MAX, child.wait_with_output())
            .await
            .map_err(|_| format!("did not compile within {} s", COMPILE_MAX.as_secs()))?
            .map_err(|error| format!("the compiler could not be waited for: {error}"))?;
        if !ended.status.success() {
            return Err(bounded(
                String::from_utf8_lossy(&ended.stderr).trim(),
                1_024,
            ));
        }
        let printed: Printed = serde_json::from_slice(&ended.stdout).map_err(|error| {
            format!("the compiler's answer is not understood ({error}): is it of the same version?")
        })?;
        if printed.engine_hash != engine.hash {
            return Err(format!(
                "the compiler builds for engine {}, and the agent has {}: install the same version on both sides",
                short(&printed.engine_hash, 12),
                short(&engine.hash, 12)
            ));
        }
        if printed.digest != plugin.digest {
            // What was judged is not what lies there now.
            let _ = tokio::fs::remove_file(&fresh).await;
            return Err(format!(
                "{} changed since the controller started: restart the controller to take the new one",
                plugin.config.path.display()
            ));
        }
        keep(&fresh, &output, printed.compiled_digest).await
    }
}

/// The compiler's own engine, to compile before the first agent asks. `None` when it cannot be asked.
pub async fn own_engine(compiler: &Path) -> Option<Engine> {
    let child = Command::new(compiler)
        .arg("--engine-hash")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let ended = tokio::time::timeout(Duration::from_secs(10), child.wait_with_output())
        .await
        .ok()?
        .ok()?;
    let hash = String::from_utf8(ended.stdout).ok()?.trim().to_owned();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    (ended.status.success() && is_word(&hash)).then_some(Engine { hash, target })
}

/// Where the compiler is: as configured, beside this program, or in PATH.
#[must_use]
pub fn find_compiler(configured: Option<&Path>) -> PathBuf {
    if let Some(path) = configured {
        return path.to_owned();
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join("iaso-compile")));
    beside
        .filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("iaso-compile"))
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
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
#[allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]
mod tests;
