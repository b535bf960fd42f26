//! `iaso-agent`: the command line.

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use iaso_agent::{
    carrier,
    config::{Config, Overrides},
    once::{self, Format},
    service,
};
use tracing_subscriber::EnvFilter;

/// Looks after one Kubernetes node
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run as a service, or look once at this machine
    Run(Run),
    /// Run plugins for the agent that starts this
    #[command(hide = true)]
    Runner,
    /// Install the agent on the host of this container, update it, and take back what does not report
    Carrier(carrier::Visits),
    /// Read a configuration and say what is wrong with it
    CheckConfig {
        /// The configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Allow `status_listen`, which is not encrypted, on addresses that other machines can reach
        #[arg(long)]
        insecure: bool,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// The configuration; `--once` needs none
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Look at this machine now, print what was found, and end (exit 0: all well, 1: something found, 2: could not look)
    #[arg(long)]
    once: bool,
    /// Where the plugins are, for --once
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// How --once prints
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// This node's name
    #[arg(long)]
    node: Option<String>,
    /// The controller's URL
    #[arg(long, value_name = "URL")]
    controller: Option<String>,
    /// Where this node's join token is, while it has no certificate
    #[arg(long, value_name = "FILE")]
    join_token_file: Option<PathBuf>,
    /// Where the agent keeps what it must not forget
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Allow `status_listen`, which is not encrypted, on addresses that other machines can reach
    #[arg(long)]
    insecure: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::Runner) {
        // Before any thread: it locks itself in.
        return iaso_runner::child::main();
    }
    let quiet = matches!(&cli.command, Command::Run(run) if run.once);
    let level = EnvFilter::try_from_env("IASO_LOG")
        .unwrap_or_else(|_| EnvFilter::new(if quiet { "error" } else { "info" }));
    tracing_subscriber::fmt()
        .with_env_filter(level)
        // Colours are for people: a log file or the journal would keep them as noise.
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(execute(cli.command)));
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("iaso-agent: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Runner => Ok(ExitCode::from(2)), // `main` has sent it another way, before there was a runtime.
        Command::Carrier(visits) => Ok(ExitCode::from(carrier::run(&visits).await?)),
        Command::CheckConfig { config, insecure } => {
            let checked = Config::load(
                Some(&config),
                &Overrides {
                    insecure,
                    ..Overrides::default()
                },
            )?;
            println!("{}: good (node {})", config.display(), checked.node);
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(run) => {
            let state_dir = run
                .state_dir
                .or_else(|| (run.once && run.config.is_none()).then(once_dir));
            let flags = Overrides {
                node: run.node,
                controller: run.controller,
                join_token_file: run.join_token_file,
                state_dir,
                insecure: run.insecure,
            };
            let config = Config::load(run.config.as_deref(), &flags)?;
            if run.once {
                return Ok(ExitCode::from(
                    once::run(&config, run.plugins.as_deref(), run.format).await?,
                ));
            }
            service::run(config).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A look needs a place for compiled plugins, and may be taken by anybody: the user's own cache directory.
fn once_dir() -> PathBuf {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or(home);
    cache
        .unwrap_or_else(std::env::temp_dir)
        .join(format!("iaso-{}", nix::unistd::geteuid()))
}
