//! `iaso`: the operator's command.
//!
//! **Invariants**
//! - Nothing that came from the controller reaches a terminal unescaped: see [`text`].
//! - Only [`client`] knows protobuf types; [`render`] is pure and never does I/O.
//! - Every exit code is one of [`exit::Exit`] and is documented in `--help`.
//! - A token is shown to the controller that it names, and to no other.
//!
//! Deliberately absent: state of any kind between two calls.

mod args;
mod client;
mod commands;
mod exit;
mod failure;
mod model;
mod output;
mod plugin;
mod render;
mod target;
mod text;
mod token;
mod verdict;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::run(args) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.reader_is_gone() {
                output::complain(&format!("iaso: {failure}"));
            }
            failure.exit().into()
        }
    }
}
