//! The command line.

mod offline;

pub(crate) use offline::{PolicyCheckArgs, PolicyCommand, SimulateArgs};

use crate::exit;
use crate::plugin::PluginArgs;
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;
use std::time::Duration;

/// Longest name on the command line, in bytes: a DNS name's bound.
const NAME_BYTES_MAX: usize = 253;
/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1_024;

/// Sees what Iaso sees, asks why, and decides where a person must.
#[derive(Debug, Parser)]
#[command(name = "iaso", version, after_help = exit::HELP, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// Where the controller listens
    #[arg(
        long,
        global = true,
        env = "IASO_CONTROLLER",
        default_value = "https://127.0.0.1:7443",
        value_name = "URL"
    )]
    pub(crate) controller: String,
    /// The operator's token; else /var/lib/iaso-controller/operator.token, then ~/.config/iaso/operator.token
    #[arg(long, global = true, env = "IASO_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Tables for people, JSON for scripts
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// Colours; auto: only on a terminal, and not where `NO_COLOR` is set
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
    /// How long the controller may take to answer
    #[arg(long, global = true, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600), value_name = "SECS")]
    pub(crate) timeout_secs: u64,
}

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All nodes, and what is wrong with each (1 when one is not well)
    Nodes,
    /// One node: its signals, findings, broken plugins, and what it waits for
    Node {
        /// Its name
        #[arg(value_parser = name)]
        name: String,
    },
    /// Incidents, the latest first
    Incidents {
        /// Only those in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// One incident and its timeline
    Incident {
        /// Its id
        #[arg(value_parser = name)]
        id: String,
        #[command(flatten)]
        follow: Follow,
    },
    /// An incident's report
    Report {
        /// The incident's id
        #[arg(value_parser = name)]
        id: String,
        /// Markdown or JSON
        #[arg(long, value_enum, default_value_t = ReportFormat::Md)]
        format: ReportFormat,
        /// Write it here, byte for byte, instead of to the terminal
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Allow what an incident awaits approval for
    Approve(Decision),
    /// Refuse what an incident awaits approval for
    Deny(Decision),
    /// Hold everything disruptive, on one node or on all
    Pause {
        /// The node; none: all
        #[arg(value_parser = name)]
        node: Option<String>,
        /// Why; the journal keeps it
        #[arg(long, value_parser = reason)]
        reason: String,
        /// Who says so; else the user of this shell
        #[arg(long, value_parser = name)]
        who: Option<String>,
    },
    /// End a pause
    Resume {
        /// The node; none: the pause of all
        #[arg(value_parser = name)]
        node: Option<String>,
        /// Why; the journal keeps it
        #[arg(long, value_parser = reason)]
        reason: Option<String>,
        /// Who says so; else the user of this shell
        #[arg(long, value_parser = name)]
        who: Option<String>,
    },
    /// The journal
    Events {
        /// Only what came after this sequence
        #[arg(long, default_value_t = 0, value_name = "SEQ")]
        since: u64,
        /// Only those of one incident
        #[arg(long, value_name = "ID", value_parser = name)]
        incident: Option<String>,
        #[command(flatten)]
        follow: Follow,
    },
    /// Why this, why not that, and what a node waits for
    Explain {
        /// The node
        #[arg(value_parser = name)]
        node: String,
    },
    /// An incident's decisions again, by the engine in this command, against what was journaled (1 when they differ or are incomplete)
    Replay(ReplayArgs),
    /// Another policy on what was recorded: what it would have done differently, and whether that would have been right
    Backtest(BacktestArgs),
    /// A policy, without a controller
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// What would happen: a scenario of faults, through the engine and its checker, without a controller (1 when it is not as expected)
    Simulate(SimulateArgs),
    /// Plugins: write, build, test and sign one; see what one may do before it runs
    Plugin(PluginArgs),
    /// A token with which a node gets its first certificate, once (admins)
    JoinToken {
        /// The node
        #[arg(value_parser = name)]
        node: String,
        /// How long it may be used: 90s, 10m, 1h, 7d at most
        #[arg(long, default_value = "1h", value_parser = span)]
        ttl: Duration,
    },
    /// Take a node's certificates and unused join tokens back, and end its session (admins)
    Revoke {
        /// The node
        #[arg(value_parser = name)]
        node: String,
        /// Why; the journal keeps it
        #[arg(long, value_parser = reason)]
        reason: String,
    },
    /// A completion script for a shell, on standard output
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Stays for what comes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Follow {
    /// Stay, and show what comes; ends when the incident is closed or parked
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// With --follow: give up after so long without the controller
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(0..=86_400), value_name = "SECS")]
    pub(crate) reconnect_secs: u64,
}

/// What is tried on what.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BacktestArgs {
    /// The policy: a TOML file with its keys, alone or under [policy]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// On what the controller recorded since then: 36h, 7d, or a time as 2026-11-24T23:00:00Z
    #[arg(
        long,
        default_value = "30d",
        value_name = "WHEN",
        conflicts_with = "recordings"
    )]
    pub(crate) since: String,
    /// On a recording that was exported, instead of asking the controller; may be given again
    #[arg(long = "recording", value_name = "FILE")]
    pub(crate) recordings: Vec<PathBuf>,
}

/// What is replayed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReplayArgs {
    /// The incident's id
    #[arg(value_parser = name, required_unless_present = "file")]
    pub(crate) incident: Option<String>,
    /// Read a recording that was exported, instead of asking the controller
    #[arg(long, value_name = "FILE", conflicts_with_all = ["incident", "export"])]
    pub(crate) file: Option<PathBuf>,
    /// Write the recording here, byte for byte, instead of replaying it
    #[arg(long, value_name = "FILE")]
    pub(crate) export: Option<PathBuf>,
}

/// Yes or no to one incident's next step.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Decision {
    /// The incident's id
    #[arg(value_parser = name)]
    pub(crate) incident: String,
    /// Why; the journal keeps it
    #[arg(long, value_parser = reason)]
    pub(crate) reason: Option<String>,
    /// Who says so; else the user of this shell
    #[arg(long, value_parser = name)]
    pub(crate) who: Option<String>,
}

/// An incident's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// Iaso is at it.
    Open,
    /// A person must decide.
    Parked,
    /// Over.
    Closed,
}

impl State {
    /// The protocol's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Parked => "parked",
            Self::Closed => "closed",
        }
    }
}

/// A report's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people.
    Md,
    /// For scripts.
    Json,
}

impl ReportFormat {
    /// The protocol's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Md => "md",
            Self::Json => "json",
        }
    }
}

fn name(given: &str) -> Result<String, String> {
    bounded(given, NAME_BYTES_MAX)
}

fn span(given: &str) -> Result<Duration, String> {
    let unit = match given.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        Some(_) | None => 0,
    };
    let count = given
        .get(..given.len().saturating_sub(1))
        .map(str::parse::<u64>);
    match count {
        Some(Ok(count @ 1..=1_000_000)) if unit > 0 => Ok(Duration::from_secs(count * unit)),
        Some(_) | None => Err("write a number and s, m, h or d, such as 1h".to_owned()),
    }
}

fn reason(given: &str) -> Result<String, String> {
    bounded(given, REASON_BYTES_MAX)
}

fn bounded(given: &str, bytes_max: usize) -> Result<String, String> {
    if given.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    if given.len() > bytes_max {
        return Err(format!(
            "is {} bytes long, at most {bytes_max} are allowed",
            given.len()
        ));
    }
    if given.chars().any(char::is_control) {
        return Err("must not hold control characters or line breaks".to_owned());
    }
    Ok(given.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_is_too_long_or_empty_is_refused_in_words() {
        assert_eq!(name("styx"), Ok("styx".to_owned()));
        assert_eq!(name(" "), Err("must not be empty".to_owned()));
        assert_eq!(
            name(&"n".repeat(254)),
            Err("is 254 bytes long, at most 253 are allowed".to_owned())
        );
        assert!(reason("a\u{1b}[2J").is_err());
    }
}
