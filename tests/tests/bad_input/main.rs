//! Bad input, given to the real programs: a clear error with what to do, the right exit code, and nothing lost.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value that is not there is null, which fails the assertion"
)]

mod agents;
mod configuration;
mod operator;
mod setup;
