//! Runs a plugin against a host that answers from a script: for its author's tests, and to measure it.
//!
//! The way of a call is the agent's own ([`iaso_host::GrantedBroker`] checks the grants, resolves names, bounds numbers); only the rights
//! behind it are scripted. Between plugin and broker stands [`Stage`], which knows each call as a line, and can make it fail.
//!
//! **Invariants**
//! - What is not scripted is unavailable and told: a forgotten answer is seen.
//! - What the manifest does not ask for is denied, as it would be on a node.
//! - The same fixture and the same component give the same calls and the same verdict. The plugin's clock and its dice are real, and the only exception.
//!
//! Deliberately absent: the compiler (the component comes compiled), and real rights ([`Recorder`] is handed them).

mod answer;
mod bench;
mod fault;
mod fixture;
mod line;
mod play;
mod record;
mod script;
mod stage;

pub use bench::{Bench, Measured, bench};
pub use fault::Fault;
pub use fixture::{Expect, Fixture, FixtureError, Run};
pub use line::line_of;
pub use play::{Ended, FaultReport, Played, Subject, SubjectError, faults, play};
pub use record::{Recorder, Recording};
