//! Looks at the protocol as far as one asks: `cargo run --release -p iaso-model -- --ticks 14 --starts 3`.

use clap::Parser;
use iaso_model::{Bounds, Bug, Protocol, check};
use std::process::ExitCode;

/// Looks at every state of the action protocol within the bounds.
#[derive(Parser)]
struct Arguments {
    /// Ticks of ten seconds.
    #[arg(long, default_value_t = 13)]
    ticks: u64,
    /// Controllers that ever start.
    #[arg(long, default_value_t = 3)]
    starts: u8,
    /// Orders delivered twice.
    #[arg(long, default_value_t = 1)]
    copies: u8,
    /// Restarts of the agent.
    #[arg(long, default_value_t = 1)]
    restarts: u8,
    /// Changes of who reaches whom.
    #[arg(long, default_value_t = 1)]
    flips: u8,
    /// Operations that fail.
    #[arg(long, default_value_t = 1)]
    failures: u8,
}

fn main() -> ExitCode {
    let a = Arguments::parse();
    let bounds = Bounds {
        ticks: a.ticks,
        starts: a.starts.saturating_sub(1),
        copies: a.copies,
        restarts: a.restarts,
        flips: a.flips,
        failures: a.failures,
    };
    let outcome = check(Protocol {
        bounds,
        bug: Bug::None,
    });
    println!(
        "{} states, depth {}, {:.1} s, {bounds:?}",
        outcome.states,
        outcome.depth,
        outcome.took.as_secs_f64()
    );
    for (property, steps) in &outcome.broken {
        println!("BROKEN: {property}");
        for step in steps {
            println!("  {step}");
        }
    }
    for property in &outcome.missing {
        println!("never happened: {property}");
    }
    if outcome.broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
