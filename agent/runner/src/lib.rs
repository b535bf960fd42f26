//! Plugins run in a process of their own: this crate is that process, and the side of the agent that holds the rights.
//!
//! The way of a call: the plugin, [`child`] (wasmtime, no rights, locked in by [`sandbox`]), a socket ([`message`] in [`frame`]s), [`Runner`]
//! (who may ask at all, until when), and the agent's own [`iaso_host::Broker`] (grants, rights).
//!
//! **Invariants**
//! - The child is locked in before it sees the first byte of a plugin, and says which layers of the lock hold.
//! - The child is never believed: who asks, in which phase and until when is what this side noted when it started the run; answers are
//!   cut to size; a frame that breaks the protocol ends the child.
//! - Whatever the child does, every run ends: with its report, at its deadline and a little, or with the child.
//! - A child that ends costs the runs in flight, and is replaced after a wait.
//!
//! Left out: what a plugin may do (`iaso-grants`), and how it is run (`iaso-host`).

mod blame;
pub mod child;
mod code;
pub mod frame;
mod life;
pub mod message;
mod plugin;
mod remote;
pub mod sandbox;
mod socket;
mod supervisor;

pub use plugin::Plugin;
pub use sandbox::{Layer, Layers, Limits};
pub use supervisor::{Runner, Settings, State, Status};
