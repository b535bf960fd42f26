//! The simulator: runs the real engine and the independent checker against a modelled world, and judges every act by the model's own truth.
//!
//! - [`scenario`] is what a run is made of; [`generate`] makes one from a seed.
//! - [`sim`] runs it, event by event; `truth`, `cloud`, `act` and `senses` are the world, `driver`, `decide` and `pursue` stand in for the
//!   controller's driver (`controller/src/driver/`).
//! - `judge`, `missed` and [`verdict`] are the independent reference; [`score`] adds many runs up.
//! - [`file`] reads a scenario that a person wrote, [`story`] tells how it went, and [`picture`] draws it.
//! - [`plant`] puts a bug into the engine, so that the reference can be seen to catch it.
//!
//! **Invariants**
//! - A scenario and a seed give the same run on every machine, with any number of threads.
//! - The reference calls nothing of the engine and nothing of the checker.
//!
//! Deliberately absent: real time, threads inside a run, the wire, and everything that the end-to-end tests show better.

mod act;
pub mod batch;
pub mod chronicle;
mod cloud;
mod decide;
mod driver;
pub mod file;
pub mod generate;
mod judge;
mod missed;
pub mod picture;
pub mod plant;
mod pursue;
mod queue;
mod reading;
pub mod rng;
pub mod scenario;
pub mod score;
mod senses;
pub mod sim;
pub mod story;
pub mod trace;
mod truth;
pub mod verdict;

pub use judge::Wrong;
