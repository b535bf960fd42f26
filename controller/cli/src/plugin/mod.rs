//! `iaso plugin …`: the author's loop, and what an operator sees of a plugin before it runs. No controller is asked.
//!
//! **Invariants**
//! - Nothing that comes out of a plugin's file or of its run reaches a terminal unescaped.
//! - A file is written whole or not at all, and a secret key only where nobody else can read it.

mod args;
mod desk;
mod files;
mod inspect;
mod keys;
mod play;
mod project;
mod render;

pub(crate) use args::PluginArgs;

use crate::args::Global;
use crate::exit::Exit;
use crate::failure::Failure;
use args::PluginCommand;

/// Runs one of them to its end.
pub(crate) fn run(global: &Global, what: &PluginArgs) -> Result<Exit, Failure> {
    match &what.command {
        PluginCommand::New(what) => project::new(global, what),
        PluginCommand::Build(what) => project::build(global, what),
        PluginCommand::Pack(what) => project::pack_file(global, what),
        PluginCommand::Test(what) => block_on(play::test(global, what)),
        PluginCommand::Bench(what) => block_on(play::measure(global, what)),
        PluginCommand::Inspect(what) => inspect::run(global, what),
        PluginCommand::Keygen(what) => keys::generate(global, what),
        PluginCommand::Sign(what) => keys::sign(global, what),
        PluginCommand::Verify(what) => keys::verify(global, what),
    }
}

/// One thread: what is measured is this one's time.
fn block_on(run: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let exit = runtime.block_on(run);
    // A recorded host's call may hang in a thread: it must not keep the process.
    runtime.shutdown_background();
    exit
}
