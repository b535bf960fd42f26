//! Probes: the controller's own, and those it asks other nodes' agents for. Who reaches whom is what tells a dead machine from a
//! cut one.
//!
//! **Invariants**
//! - A node is never asked about itself. Observers are drawn at random from the connected and healthy, so that no fixed pair hides a cut.
//! - A report counts only from an observer that was asked, about the targets it was asked about, while the round is open.
//! - An observer that does not answer says nothing.

mod icmp;
mod rounds;
mod tcp;

pub use rounds::{Rounds, Subject};
