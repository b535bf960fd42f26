//! `iaso completions SHELL`: needs no controller.

use crate::args::Args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use clap::CommandFactory as _;
use clap_complete::Shell;

pub(super) fn run(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "iaso", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
