//! Watches nodes, decides through the engine, journals, and acts: the controller as a library, so that tests run the real one.
//!
//! **Invariants**
//! - Nothing is executed before its intent is in the journal, and no plan is journaled that the independent checker vetoes.
//! - One task, the [`driver`], owns the world and the ledger; everybody else sends it facts or questions.
//! - A provider call that acts is sent at most once. After a crash its fate is asked for, never guessed.
//! - Only [`api`] knows protobuf types, only [`cluster`] knows Kubernetes types.
//! - Every queue, list, text and wait from outside has a bound.

pub mod api;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod driver;
pub mod identity;
pub mod people;
pub mod plugins;
pub mod probe;
pub mod provider;
pub mod recorder;
pub mod rejoin;
pub mod run;
pub mod sessions;
pub mod status;
pub mod store;
pub mod text;
