//! `iaso-sim`: runs generated scenarios and prints the score. `cargo xtask sim` builds and calls it.

use clap::{Parser, ValueEnum};
use iaso_sim::batch::{self, Batch};
use iaso_sim::generate;
use iaso_sim::plant::{ALL, Plant};
use iaso_sim::score::Score;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Runs the engine through many nights before it sees a real one.
#[derive(Debug, Parser)]
#[command(name = "iaso-sim", version)]
struct Arguments {
    /// How many scenarios
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    scenarios: u64,
    /// Their seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run only this one of them, and show its journal
    #[arg(long, value_name = "K")]
    seed_only: Option<u64>,
    /// Text for people, or one JSON object
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Threads; default: one for each core
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=512))]
    threads: Option<u16>,
    /// Put a bug into the engine, to see that it is caught
    #[arg(long, default_value = "none", value_parser = plant)]
    plant: Plant,
}

fn plant(text: &str) -> Result<Plant, String> {
    let found = ALL.iter().find(|(name, _)| *name == text);
    found.map(|(_, plant)| *plant).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        format!("choose one of: {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let score = match arguments.seed_only {
        Some(number) => one(&arguments, number),
        None => many(&arguments),
    };
    if score.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn many(arguments: &Arguments) -> Score {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let batch = Batch {
        scenarios: arguments.scenarios,
        seed: arguments.seed,
        threads: arguments.threads.map_or(cores, usize::from),
        plant: arguments.plant,
    };
    let begun = Instant::now();
    let told = Mutex::new(begun);
    let loud = std::io::stderr().is_terminal();
    let score = batch::run(&batch, |done| {
        let Ok(mut last) = told.lock() else {
            return;
        };
        if loud && last.elapsed() >= Duration::from_secs(2) {
            *last = Instant::now();
            eprintln!("{done} of {} scenarios", batch.scenarios);
        }
    });
    show(arguments, &score, begun.elapsed().as_secs_f64());
    score
}

fn one(arguments: &Arguments, number: u64) -> Score {
    let begun = Instant::now();
    let run = batch::one(arguments.seed, number, arguments.plant);
    let mut score = Score::default();
    score.add(number, &run);
    if arguments.format == Format::Text {
        let scenario = generate::scenario(arguments.seed, number);
        println!("{}", iaso_sim::trace::setting(&scenario));
        println!("{}", iaso_sim::trace::text(&run));
    }
    show(arguments, &score, begun.elapsed().as_secs_f64());
    score
}

fn show(arguments: &Arguments, score: &Score, took_s: f64) {
    for failure in &score.failures {
        eprintln!(
            "seed {}/{}: {}",
            arguments.seed, failure.number, failure.line
        );
    }
    let summary = score.summary(took_s);
    if arguments.format == Format::Json {
        match serde_json::to_string(&summary) {
            Ok(json) => println!("{json}"),
            Err(error) => eprintln!("iaso-sim: the score cannot be written: {error}"),
        }
        return;
    }
    print!("{}", iaso_sim::trace::summary(score, &summary, took_s));
}
