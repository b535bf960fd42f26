//! The whole controller in one process, over real gRPC, with a provider and agents that the tests play.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

mod audit;
mod bounds;
mod identity;
mod replay;
mod secrets;
mod story;
mod support;
