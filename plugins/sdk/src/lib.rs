//! What a plugin of Iaso is written with.
//!
//! A plugin is a type that implements [`Check`], and [`Fix`] if it also acts, for every host that has the capabilities it names:
//!
//! ```
//! use std::time::Duration;
//! use iaso_plugin::{Check, Config, Finding, Net};
//!
//! struct Door;
//!
//! impl<H: Net> Check<H> for Door {
//!     const KEYS: &'static [&'static str] = &["timeout"];
//!
//!     fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
//!         let timeout = config.duration("timeout", Duration::from_secs(1))?;
//!         Ok(vec![match host.tcp_connect("192.0.2.1", 22, timeout) {
//!             Ok(seen) if seen.outcome == "connected" => Finding::ok("door.ok", "192.0.2.1:22", "the door is open"),
//!             Ok(seen) => Finding::critical("door.shut", "192.0.2.1:22", format!("the door is shut: {}", seen.outcome)),
//!             Err(why) => Finding::unknown("door.unknown", "192.0.2.1:22", format!("not looked at: {why}")),
//!         }])
//!     }
//! }
//!
//! iaso_plugin::export!(Door: check);
//! ```
//!
//! **Invariants**
//! - The bounds of the `impl` are the capabilities of the plugin: the component imports the functions it calls and no others, because
//!   [`Wasm`] is a type without size whose unused methods are never compiled.
//! - A key that [`Check::KEYS`] does not name is refused before the plugin runs.
//! - [`Fix::apply`] is called only after [`Fix::plan`] said `apply` in the same run.
//!
//! Deliberately absent: async, a clock other than the host's, and any way to reach past the capabilities.

extern crate self as iaso_plugin;

#[doc(hidden)]
pub mod bindings;
pub mod capability;
mod config;
mod error;
mod export;
mod finding;
mod fix;
#[cfg(feature = "testing")]
pub mod testing;
mod wasm;

pub use capability::{
    Control, Dns, Files, Host, Http, Kube, Log, Net, PodControl, Scripts, Services, State,
    Workloads,
};
pub use config::{Config, ConfigError, split_endpoint};
pub use error::Error;
pub use export::Check;
pub use finding::{Finding, Severity};
pub use fix::{Fix, FixInfo, Outcome, OutcomeKind, Plan, Verdict};
pub use wasm::Wasm;

/// What the macros need; not for authors.
#[doc(hidden)]
pub mod __private {
    pub use crate::export::{apply_fix, describe_fixes, plan_fix, run_check};
    pub use wit_bindgen::rt;
}
