//! The real `iaso-agent`, as a process, against a controller whose every word the test decides.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod alone;
mod hostile;
mod identity;
mod orders;
mod outbox;
mod runner;
mod strikes;
mod support;
mod versions;
