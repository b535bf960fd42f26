//! The demonstration, and a lab to play with: builds everything, then hands over to the lab.

use crate::process::root;
use crate::{build, setup, wasm};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::Command;

/// How the hosts of the demonstration are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Hosts {
    /// Processes on loopback: anywhere, without root.
    Process,
    /// Containers with a real systemd on a bridge: needs root on Linux.
    Nspawn,
}

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A timeline to read.
    Text,
    /// One JSON object at the end.
    Json,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// How the hosts are made.
    #[arg(long, value_enum, default_value = "process")]
    hosts: Hosts,
    /// What comes out on standard output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where the report and the logs are kept.
    #[arg(long, default_value = "iaso-demo")]
    out: PathBuf,
}

/// Arguments of `lab`.
#[derive(Debug, Args)]
pub(crate) struct LabArguments {
    /// How the hosts are made.
    #[arg(long, value_enum, default_value = "process")]
    hosts: Hosts,
    /// The mode of a recreation: `auto`, `approve` or `observe`.
    #[arg(long, default_value = "approve")]
    recreate: String,
}

/// Sets up, builds, and hands the terminal over.
pub(crate) fn play(arguments: &LabArguments) -> Result<()> {
    let mut lab = lab("play", arguments.hosts)?;
    lab.args(["--recreate", &arguments.recreate]);
    let status = lab.status().context("cannot start the lab")?;
    if !status.success() {
        bail!("the lab did not end well ({status})");
    }
    Ok(())
}

/// The lab's program with its first arguments, when all that it needs is built.
fn lab(command: &str, hosts: Hosts) -> Result<Command> {
    setup::ensure(&setup::COMPILER)?;
    setup::ensure(&setup::BUS)?;
    if hosts == Hosts::Nspawn {
        if !setup::is_root() {
            bail!(
                "--hosts nspawn boots containers and needs root: run as root, or use --hosts process"
            );
        }
        setup::ensure(&setup::HOSTS)?;
    }
    let plugins = wasm::build_all()?;
    let programs = build::programs()?;
    let mut lab = Command::new(programs.directory.join("iaso-lab"));
    lab.current_dir(root()).arg(command).args([
        "--hosts",
        match hosts {
            Hosts::Process => "process",
            Hosts::Nspawn => "nspawn",
        },
    ]);
    programs.tell(&mut lab, &plugins);
    Ok(lab)
}

/// Sets up, builds, plays.
pub(crate) fn run(arguments: &DemoArguments) -> Result<()> {
    let mut lab = lab("demo", arguments.hosts)?;
    lab.args([
        "--format",
        if arguments.format == Format::Json {
            "json"
        } else {
            "text"
        },
    ])
    .arg("--out")
    .arg(&arguments.out);
    let status = lab.status().context("cannot start the lab")?;
    if !status.success() {
        bail!(
            "the demonstration did not end well ({status}); its logs are in {}",
            arguments.out.display()
        );
    }
    Ok(())
}
