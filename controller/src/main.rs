//! The `iaso-controller` program: reads arguments, prints errors with their causes, and exits non-zero on any.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = iaso_controller::cli::Arguments::parse();
    match iaso_controller::cli::execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("iaso-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}
