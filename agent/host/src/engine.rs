//! The one wasmtime configuration, shared by the host that loads compiled plugins and by `iaso-compile`, which makes them.
//!
//! **Invariants**
//! - Whatever decides whether compiled code may be loaded is in [`PROFILE`]; the engine hash covers all of it and wasmtime's version.
//! - The same compiled plugin loads under the pooling and under the on-demand allocator.
//!
//! wasmtime offers its own compatibility hash only where the compiler is linked in, which this crate must not be; wasmtime checks
//! the settings once more, one by one, when it loads.

use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, ModuleVersionStrategy,
    PoolingAllocationConfig,
};

use crate::digest::Digest;

/// The target of plugins for this very machine.
#[cfg(target_arch = "x86_64")]
pub const HOST_TARGET: &str = "x86_64-unknown-linux-gnu";
/// The target of plugins for this very machine.
#[cfg(target_arch = "aarch64")]
pub const HOST_TARGET: &str = "aarch64-unknown-linux-gnu";

/// What compiled code depends on, with the reason for each where it is not wasmtime's default.
#[derive(Debug, Clone, Copy)]
struct Profile {
    /// Raised by hand when something changes that the other fields do not show.
    revision: u32,
    /// The address space set aside for one memory. wasmtime's 4 GiB make a pool of 16 map 129 GiB, which an address-space limit refuses;
    /// this costs a bounds check for each access and loads under either allocator.
    memory_reservation_bytes: u64,
    /// Turns small overruns into faults instead of checks.
    memory_guard_bytes: u64,
    /// How deep a plugin may recurse.
    wasm_stack_bytes: usize,
    /// The stack that a plugin runs on, host calls included.
    async_stack_bytes: usize,
}

const PROFILE: Profile = Profile {
    revision: 1,
    memory_reservation_bytes: MEMORY_BYTES_MAX as u64,
    memory_guard_bytes: 64 << 10,
    wasm_stack_bytes: 512 << 10,
    async_stack_bytes: 1 << 20,
};

/// The largest memory that any plugin can have, whatever its limits say.
pub const MEMORY_BYTES_MAX: usize = 64 << 20;

/// A component made of more parts than this is refused when it is loaded.
pub(crate) const CORE_INSTANCES_MAX: u32 = 64;
/// Memories of one plugin; see [`CORE_INSTANCES_MAX`].
pub(crate) const MEMORIES_MAX: u32 = 4;
/// Tables of one plugin; see [`CORE_INSTANCES_MAX`].
pub(crate) const TABLES_MAX: u32 = 8;
/// Entries of all tables of one plugin.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 20_000;

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A target that this build does not know.
    #[error("target `{target}` is not known: {reason}")]
    Target {
        /// As given.
        target: String,
        /// In wasmtime's words.
        reason: String,
    },
    /// The machine refuses what the engine needs.
    #[error("cannot start the plugin engine on this machine: {0}")]
    Refused(String),
}

/// The configuration for `target`, with the on-demand allocator.
pub fn engine_config(target: &str) -> Result<Config, EngineError> {
    let refused = |e: wasmtime::Error| EngineError::Target {
        target: target.to_owned(),
        reason: format!("{e:#}"),
    };
    let mut config = Config::new();
    config.target(target).map_err(refused)?;
    let version = ModuleVersionStrategy::Custom(engine_hash(target).to_string());
    config.module_version(version).map_err(refused)?;
    config
        .epoch_interruption(true)
        .memory_init_cow(true)
        .memory_reservation(PROFILE.memory_reservation_bytes)
        .memory_guard_size(PROFILE.memory_guard_bytes)
        .memory_reservation_for_growth(0)
        .max_wasm_stack(PROFILE.wasm_stack_bytes)
        .async_stack_size(PROFILE.async_stack_bytes)
        .signals_based_traps(true)
        .concurrency_support(false)
        .gc_support(false)
        .shared_memory(false)
        .wasm_gc(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false)
        .wasm_stack_switching(false);
    Ok(config)
}

/// What a compiled plugin must have been compiled for, for `target`: wasmtime's exact version and our settings.
#[must_use]
pub fn engine_hash(target: &str) -> Digest {
    let mut hasher = Sha(Sha256::new());
    hasher.write(b"iaso-engine\0");
    // Hashes wasmtime's full version, which it does not offer as a constant.
    ModuleVersionStrategy::WasmtimeVersion.hash(&mut hasher);
    let Profile { revision, .. } = PROFILE;
    hasher.write(format!("{revision}\0{PROFILE:?}\0{target}").as_bytes());
    Digest::from_bytes(hasher.0.finalize().into())
}

/// Feeds a [`Hash`] to SHA-256.
struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0 // Nobody asks: the digest is taken from the inner hasher.
    }
}

/// How instances get their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocator {
    /// From a pool mapped once: the fastest.
    Pooled,
    /// One mapping for each: slower, and all that a tight address-space limit leaves.
    OnDemand,
}

/// An engine that plugins can be loaded into: no thread runs yet, and no byte of a plugin was looked at.
///
/// Apart from [`crate::PluginHost`] so that a process can open what an engine needs, lock itself in, and only then go on.
pub struct PluginEngine {
    pub(crate) engine: Engine,
    pub(crate) allocator: Allocator,
    pub(crate) runs_max: u32,
}

impl PluginEngine {
    /// For `runs_max` runs at once.
    pub fn new(runs_max: u32) -> Result<Self, EngineError> {
        let runs_max = runs_max.clamp(1, 1024);
        let (engine, allocator) = start_engine(runs_max)?;
        Ok(Self {
            engine,
            allocator,
            runs_max,
        })
    }

    /// How plugins get their memory on this machine.
    #[must_use]
    pub fn allocator(&self) -> Allocator {
        self.allocator
    }
}

/// Starts an engine for `runs_max` plugins at once: pooled if the machine lets it, else on demand, with a warning.
fn start_engine(runs_max: u32) -> Result<(Engine, Allocator), EngineError> {
    let mut pooled = engine_config(HOST_TARGET)?;
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(runs_max)));
    match Engine::new(&pooled) {
        Ok(engine) => Ok((engine, Allocator::Pooled)),
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "no memory pool for plugins: each run will be several times slower; raise the address-space limit (RLIMIT_AS)"
            );
            start_on_demand().map(|engine| (engine, Allocator::OnDemand))
        }
    }
}

fn start_on_demand() -> Result<Engine, EngineError> {
    Engine::new(&engine_config(HOST_TARGET)?).map_err(|e| EngineError::Refused(format!("{e:#}")))
}

fn pool(runs_max: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(runs_max)
        .total_core_instances(runs_max.saturating_mul(CORE_INSTANCES_MAX))
        .total_stacks(runs_max)
        .total_memories(runs_max.saturating_mul(MEMORIES_MAX))
        .total_tables(runs_max.saturating_mul(TABLES_MAX))
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(MEMORY_BYTES_MAX)
        .linear_memory_keep_resident(64 << 10)
        .async_stack_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}
