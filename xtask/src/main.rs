//! The menu of the project: every `cargo xtask` command.
//!
//! **Invariants**
//! - A fresh machine needs nothing but rustup: every command does its own set-up, and says what it installs.
//! - Nothing is written outside the target directory, the user's cache and what the system's package manager installs.

mod assets;
mod bench;
mod build;
mod demo;
mod languages;
mod model;
mod mutants;
mod process;
mod reference;
mod setup;
mod sim;
mod suite;
mod tidy;
mod wasm;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Everything there is to do in this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play the night of styx: a machine dies behind the provider's back, and comes back.
    Demo(demo::DemoArguments),
    /// Start a lab that stays: break it, and look on with `iaso`.
    Lab(demo::LabArguments),
    /// Set up and run every test.
    Test(suite::TestArguments),
    /// Have a real Kubernetes for the tests, made once, and print where it is.
    Assets,
    /// Write `deploy/kustomize/base/crds`: the kinds that the controller brings to Kubernetes.
    Crds,
    /// Build the shipped plugins into the target directory's `plugins/`.
    Plugins,
    /// Measure, each figure beside its baseline.
    Bench(bench::BenchArguments),
    /// Look at every state of the action protocol within bounds.
    Model(model::ModelArguments),
    /// Break the engine and its checker on purpose, and tell what no test notices.
    Mutants(mutants::MutantsArguments),
    /// Run the engine through generated nights against a modelled world, and print the score.
    Sim(sim::SimArguments),
    /// Check purity, sizes, documents, format and lints.
    Tidy(tidy::TidyArguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Lab(arguments) => demo::play(&arguments),
        Command::Test(arguments) => suite::run(&arguments),
        Command::Assets => assets::run(),
        Command::Crds => build::crds(),
        Command::Plugins => wasm::build_all().map(|_| ()),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Model(arguments) => model::run(&arguments),
        Command::Mutants(arguments) => mutants::run(&arguments),
        Command::Sim(arguments) => sim::run(&arguments),
        Command::Tidy(arguments) => tidy::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
