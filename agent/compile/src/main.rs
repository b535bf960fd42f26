//! Compiles one plugin in a process of its own, which may be killed at any time: the only program that links the compiler.
//!
//! Exit 0 and one line of JSON on success; exit 2 and one line on stderr when the component is at fault; 1 when the machine is.

mod compile;
mod limits;
mod look;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use compile::CompileError;

/// Compiles a plugin (a WebAssembly component) for the agent
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Machine to compile for
    #[arg(long, default_value = iaso_host::HOST_TARGET)]
    target: String,
    /// Where the compiled plugin goes; replaced in one step
    #[arg(long, required_unless_present = "engine_hash")]
    output: Option<PathBuf>,
    /// Print what compiled plugins must match to be loaded by this version, and nothing else
    #[arg(long, conflicts_with_all = ["output", "component"])]
    engine_hash: bool,
    /// The component
    #[arg(required_unless_present = "engine_hash")]
    component: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", one_line(&error));
            error.exit_code()
        }
    }
}

fn run(args: &Args) -> Result<String, CompileError> {
    match (&args.component, &args.output) {
        (Some(component), Some(output)) => {
            limits::set()?;
            let made = compile::compile(component, output, &args.target)?;
            serde_json::to_string(&made).map_err(|source| CompileError::Report { source })
        }
        _ => Ok(iaso_host::engine_hash(&args.target).to_string()),
    }
}

/// The error with all its causes, on one line whatever they contain.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
