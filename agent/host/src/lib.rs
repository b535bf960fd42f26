//! Runs plugins: compiled WebAssembly components that may only do what they were granted.
//!
//! The way of a call: the plugin, [`PluginHost`] (limits, no rights), [`Broker`] (the line between processes), [`GrantedBroker`] (grants,
//! one resolution), [`Capabilities`] (the rights).
//!
//! **Invariants**
//! - Every run has a fresh store; nothing survives it but what the plugin keeps through `state`.
//! - Whatever a plugin does, the run ends: by itself, or at its deadline, future and store dropped.
//! - An interface that is imported and not granted is refused at load; what is not imported is not linked.
//! - No compiler is linked in: plugins come compiled, and only bytes with the expected digest are loaded.

mod aot;
mod bindings;
mod bounds;
mod broker;
mod capabilities;
mod classify;
mod digest;
mod engine;
mod fault;
mod glue;
mod granted;
mod granted_kube;
mod granted_net;
mod host;
mod interface;
mod load;
mod plugin_state;
mod resolver;
mod run;
mod store;
mod strikes;
mod ticker;
pub mod types;

pub use bounds::{ATTRIBUTES_MAX, Bounded, FINDINGS_MAX, TEXT_BYTES_MAX};
pub use broker::{
    Broker, CallContext, CapError, DnsQuestion, HttpRequest, Job, Phase, Request, Response,
};
pub use capabilities::{Capabilities, CustomResource, DnsCall, HttpCall, PingCall, Resolver};
pub use digest::{BadDigest, Digest};
pub use engine::{
    Allocator, EngineError, HOST_TARGET, MEMORY_BYTES_MAX, PluginEngine, engine_config, engine_hash,
};
pub use fault::{FaultClass, PluginFault};
pub use granted::GrantedBroker;
pub use host::{HostConfig, LoadedPlugin, PluginHost};
pub use interface::{INTERFACE_VERSION, Interface, check_import_name};
pub use load::{COMPILED_BYTES_MAX, ImportedFunctions, check_imports};
pub use plugin_state::QUOTA_BYTES;
pub use resolver::SystemResolver;
pub use run::{LogLevel, LogLine, RunLimits, RunReport};
pub use strikes::{Admission, Standing, StrikePolicy, Strikes};
