//! Compiles the configured plugins for the agents' engines, in a child process, and keeps the result.
//!
//! **Invariants**
//! - This process never compiles: `iaso-compile` does, under a deadline and killed with us.
//! - Keyed by component digest, engine hash and target: an agent only gets what its own engine can load.
//! - What could not be compiled for the machine's sake is tried again, at growing waits with a bound; why is told when it is news.
//! - A plugin that does not compile, or that nobody trusted signed, is not assigned; the reason is kept and shown, and other plugins are
//!   not delayed by it.
//! - What is compiled is what was judged: the compiler says which component it read.

mod compile;
mod heard;
mod trust;

use compile::{Failure, Workshop};
pub use heard::{Fault, Heard, Refused, Running};

use crate::config::PluginConfig;
use crate::text::hex;
use iaso_engine::fact::Role;
use iaso_package::Trust;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

/// Largest component, in bytes.
const COMPONENT_BYTES_MAX: u64 = 64 << 20;
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

type Compilations = BTreeMap<(String, Engine), Result<Compiled, Failure>>;

/// All plugins.
#[derive(Debug)]
pub struct Plugins {
    all: Vec<Plugin>,
    /// What agents say that they run.
    pub heard: Heard,
    workshop: Workshop,
    compiled: RwLock<Compilations>,
    /// A compilation failed that is to be tried again.
    failed: Notify,
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
            heard: Heard::default(),
            workshop: Workshop {
                cache: data_dir.join("plugins"),
                compiler,
            },
            compiled: RwLock::default(),
            failed: Notify::new(),
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
            if let Some((_, Err(failure))) = failure {
                let why = failure.words(Instant::now());
                refused.push((plugin.config.name.clone(), why));
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

    /// Compiles for this engine what is not compiled yet, and what is to be tried again. Returns the failures that are news: plugin and why.
    pub async fn ensure(self: &Arc<Self>, engine: &Engine) -> Vec<(String, String)> {
        let mut news = Vec::new();
        for plugin in self.all.iter().filter(|plugin| plugin.refusal.is_none()) {
            let key = (plugin.digest.clone(), engine.clone());
            let _turn = self.turn.lock().await;
            if self.serves_too_many(engine) {
                let why = format!(
                    "{ENGINES_MAX} kinds of agent engine are served already: update the agents to one version"
                );
                return vec![("*".into(), why)];
            }
            let before = match self.compilations().get(&key) {
                Some(Ok(_)) => continue,
                Some(Err(failure)) if failure.again.is_none_or(|at| at > Instant::now()) => {
                    continue;
                }
                Some(Err(failure)) => Some(failure.clone()),
                None => None,
            };
            let compiled = self
                .workshop
                .compile(&plugin.config.path, &plugin.digest, engine)
                .await;
            let compiled =
                compiled.map_err(|failed| Failure::new(failed, before.as_ref(), Instant::now()));
            if let Err(failure) = &compiled {
                if before.is_none_or(|before| before.why() != failure.why()) {
                    let why = failure.words(Instant::now());
                    news.push((plugin.config.name.clone(), why));
                }
                self.failed.notify_one();
            }
            self.compiled
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key, compiled);
        }
        news
    }

    fn compilations(&self) -> RwLockReadGuard<'_, Compilations> {
        self.compiled.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn serves_too_many(&self, engine: &Engine) -> bool {
        let compilations = self.compilations();
        let engines: BTreeSet<&Engine> = compilations.keys().map(|(_, engine)| engine).collect();
        engines.len() >= ENGINES_MAX && !engines.contains(engine)
    }

    /// Waits until a failed compilation is to be tried again, and tries all of them. Returns the failures that are news, and whether there is
    /// anything to assign that there was not before.
    pub async fn retry(self: &Arc<Self>) -> (Vec<(String, String)>, bool) {
        self.until_due().await;
        let before = self.compilations().values().flatten().count();
        let due: BTreeSet<Engine> = {
            let compilations = self.compilations();
            let failed = compilations
                .iter()
                .filter(|(_, compiled)| compiled.is_err());
            failed.map(|((_, engine), _)| engine.clone()).collect()
        };
        let mut news = Vec::new();
        for engine in due {
            news.extend(self.ensure(&engine).await);
        }
        let more = self.compilations().values().flatten().count() > before;
        (news, more)
    }

    async fn until_due(&self) {
        loop {
            let next = {
                let compilations = self.compilations();
                let failures = compilations.values().filter_map(|c| c.as_ref().err());
                failures.filter_map(|failure| failure.again).min()
            };
            let Some(next) = next else {
                self.failed.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(next) => return,
                () = self.failed.notified() => {}
            }
        }
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

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]
mod tests;
