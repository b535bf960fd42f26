//! `iaso plugin …`: the author's loop, and what an operator sees of a plugin before it runs. No controller is asked.
//!
//! **Invariants**
//! - Nothing that comes out of a plugin's file or of its run reaches a terminal unescaped.
//! - A file is written whole or not at all, and a secret key only where nobody else can read it.

mod args;
mod files;
mod inspect;
mod keys;
mod render;

pub(crate) use args::PluginArgs;

use crate::args::Global;
use crate::exit::Exit;
use crate::failure::Failure;
use args::PluginCommand;

/// Runs one of them to its end.
pub(crate) fn run(global: &Global, what: &PluginArgs) -> Result<Exit, Failure> {
    match &what.command {
        PluginCommand::Inspect(what) => inspect::run(global, what),
        PluginCommand::Keygen(what) => keys::generate(global, what),
        PluginCommand::Sign(what) => keys::sign(global, what),
        PluginCommand::Verify(what) => keys::verify(global, what),
    }
}
