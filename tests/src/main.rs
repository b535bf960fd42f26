//! `iaso-lab`: the demonstration, and the parts that the lab's hosts run.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use iaso_tests::{demo, hosts, kubelet, play, systemd};
use nix::sys::signal::Signal;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

/// Iaso's laboratory.
#[derive(Debug, Parser)]
#[command(name = "iaso-lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays the night of styx, from the cut to the report.
    Demo(demo::DemoArguments),
    /// A lab that stays: break things here, look on with `iaso` in another shell.
    Play(play::PlayArguments),
    /// Plays k3s-agent.service on a lab's host.
    Kubelet(kubelet::KubeletArguments),
    /// Plays systemd on a host that has none.
    Systemd(systemd::SystemdArguments),
    /// Plays systemctl there.
    Systemctl(systemd::SystemctlArguments),
    /// Plays journalctl there.
    Journalctl(systemd::JournalctlArguments),
    /// Takes TCP connections and says nothing, as a port that is open.
    Listen {
        /// Where.
        at: std::net::SocketAddr,
    },
    /// Runs a program that is killed when its parent dies.
    Tether {
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, required = true)]
        words: Vec<String>,
    },
    /// Removes what a killed lab left.
    Clean,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("iaso-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    if let Command::Tether { words } = command {
        return tether(&words);
    }
    if let Command::Journalctl(arguments) = &command {
        systemd::journalctl(arguments)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async move {
        match command {
            Command::Demo(arguments) => return demo::run(arguments).await,
            Command::Play(arguments) => return play::run(arguments).await,
            Command::Kubelet(arguments) => kubelet::run(arguments).await?,
            Command::Systemd(arguments) => systemd::run(arguments).await?,
            Command::Systemctl(arguments) => systemd::systemctl(&arguments).await?,
            Command::Listen { at } => listen(at).await?,
            Command::Clean => hosts::clean().await?,
            Command::Journalctl(_) | Command::Tether { .. } => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn listen(at: std::net::SocketAddr) -> Result<()> {
    let listener = tokio::net::TcpListener::bind(at)
        .await
        .with_context(|| format!("cannot listen on {at}"))?;
    systemd::notify("READY=1")?;
    loop {
        drop(listener.accept().await);
    }
}

/// The bond is set by the child itself: no unsafe code between fork and exec in the parent.
fn tether(words: &[String]) -> Result<ExitCode> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("cannot bind to the parent's life")?;
    if nix::unistd::getppid().as_raw() == 1 {
        // The parent died before the bond was made.
        return Ok(ExitCode::FAILURE);
    }
    let (program, rest) = words.split_first().context("no program")?;
    let error = std::process::Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("cannot run {program}"))
}
