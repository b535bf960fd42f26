//! The program's arguments and what each of them does.

use crate::{cluster, config, people, run};
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use tracing_subscriber::EnvFilter;

/// Watches k3s nodes and recovers them.
#[derive(Debug, Parser)]
#[command(name = "iaso-controller", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller until SIGTERM or SIGINT.
    Run {
        /// Configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
        /// Allow `status_listen`, which is not encrypted, on other addresses than loopback: on trusted networks only.
        #[arg(long)]
        insecure: bool,
    },
    /// Operators and their tokens. As the user that the controller runs as.
    Operator {
        #[command(subcommand)]
        command: people::Command,
        /// Configuration file (TOML).
        #[arg(long, global = true, default_value = "/etc/iaso/controller.toml")]
        config: PathBuf,
    },
    /// Make a join token for a node: `iaso join-token` without a running controller.
    JoinToken {
        /// The node, as in [[nodes]].
        node: String,
        /// How long it may be used: 10m, 1h, 2d.
        #[arg(long, default_value = "1h", value_parser = people::span)]
        ttl: std::time::Duration,
        /// Configuration file (TOML).
        #[arg(long, default_value = "/etc/iaso/controller.toml")]
        config: PathBuf,
    },
    /// Print the definitions of the kinds that Iaso brings to Kubernetes, or write each to a file of its own.
    Crds {
        /// Directory to write them to.
        #[arg(long)]
        directory: Option<PathBuf>,
    },
    /// Read the configuration and say what was understood, without running anything.
    Check {
        /// Configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
        /// As for `run`.
        #[arg(long)]
        insecure: bool,
    },
}

/// Does what the arguments say.
///
/// # Errors
/// With what went wrong and what to do about it.
pub fn execute(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Run {
            config: path,
            insecure,
        } => {
            start_logging();
            let config = config::Config::load(&path, insecure)?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .context(
                    "cannot start the runtime: too many threads or open files on this machine?",
                )?;
            let result = runtime.block_on(run::run(config));
            // A blocking file or resolver call that hangs must not keep a stopped controller alive.
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
            result
        }
        Command::Operator { command, config } => {
            print_quietly(&people::operator(
                &config::Config::load(&config, true)?,
                command,
            )?);
            Ok(())
        }
        Command::JoinToken { node, ttl, config } => {
            print_quietly(&people::join_token(
                &config::Config::load(&config, true)?,
                &node,
                ttl,
            )?);
            Ok(())
        }
        Command::Crds { directory } => crds(directory.as_deref()),
        Command::Check {
            config: path,
            insecure,
        } => {
            let config = config::Config::load(&path, insecure)?;
            print_quietly(&config::describe(&config));
            Ok(())
        }
    }
}

fn crds(directory: Option<&Path>) -> anyhow::Result<()> {
    let manifests = cluster::manifests().context("a definition cannot be written")?;
    for manifest in manifests {
        match directory {
            None => print_quietly(&format!("---\n{}", manifest.text)),
            Some(directory) => {
                let path = directory.join(&manifest.file);
                std::fs::write(&path, &manifest.text).with_context(|| {
                    format!("cannot write {}: is the directory there?", path.display())
                })?;
            }
        }
    }
    Ok(())
}

fn print_quietly(text: &str) {
    use std::io::Write as _;
    // A reader that closed the pipe (`| head`) is no error of ours.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn start_logging() {
    let filter = EnvFilter::try_from_env("IASO_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second initialisation can only happen in a test process that has its own subscriber.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Colours are for people: a log file or the journal would keep them as noise.
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
}
