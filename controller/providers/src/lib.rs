//! The machines behind the nodes: one trait, [`Provider`], and one module for each company that rents them out.
//!
//! **Invariants**
//! - No error means "the operation failed". Only [`OperationState::Failed`], read from the provider, does.
//! - A call that acts is sent at most once. When its answer is lost the error is [`ProviderError::Ambiguous`], and
//!   [`Provider::actions`] tells what really happened.
//! - Nothing from outside is unbounded: bodies, pages, waits and retries all have a limit.
//! - A password never reaches a log: [`Secret`] hides its content and is zeroed when dropped.
//!
//! Deliberately absent: decisions. Whether a machine may be rebooted or recreated is the engine's business.

mod error;
pub mod hostinger;
mod none;
mod provider;
mod reboot;
mod secret;
pub mod secrets;
mod types;

pub use error::{Answer, Fields, ProviderError, TransportReason};
pub use none::NoProvider;
pub use provider::Provider;
pub use reboot::{RebootProof, reboot_proof};
pub use secret::{PASSWORD_CHARS, RandomnessError, Secret, draw_password};
pub use types::{
    Capabilities, FirstBoot, IdError, Machine, MachineId, MachineState, Metrics, Operation,
    OperationId, OperationState, PasswordFlow, RecreateCapabilities, RecreateSpec, Recreation,
    Sample, Script, ScriptId,
};
