//! Decisions again: what was recorded of the world, replayed through the engine, and tried under another policy.
//!
//! **Invariants**
//! - [`decide::decide`] is what the controller's driver, the replay and the backtest all do with a situation: there is one of it.
//! - A recording is lines of JSON in gzip members: any part of it can be read with `zcat`, and a cut or damaged one is known as such.
//! - Everything read is bounded: lines, members, recordings, differences kept.
//! - No clock, no I/O but the reader and writer that are handed in.
//!
//! Deliberately absent: fetching and storing recordings (the controller's), showing them (the command's), and secrets: neither
//! observations nor journal entries ever hold one.

pub mod backtest;
pub mod bundle;
pub mod codec;
pub mod decide;
pub mod differ;
pub mod line;
pub mod replay;
