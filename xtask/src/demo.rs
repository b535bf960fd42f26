//! The demonstration: builds everything, then hands over to the lab.

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

/// Sets up, builds, plays.
pub(crate) fn run(arguments: &DemoArguments) -> Result<()> {
    setup::ensure(&setup::COMPILER)?;
    setup::ensure(&setup::BUS)?;
    if arguments.hosts == Hosts::Nspawn {
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
    lab.current_dir(root())
        .arg("demo")
        .args([
            "--hosts",
            if arguments.hosts == Hosts::Process {
                "process"
            } else {
                "nspawn"
            },
        ])
        .args([
            "--format",
            if arguments.format == Format::Json {
                "json"
            } else {
                "text"
            },
        ])
        .arg("--out")
        .arg(&arguments.out);
    programs.tell(&mut lab, &plugins);
    let status = lab.status().context("cannot start the lab")?;
    if !status.success() {
        bail!(
            "the demonstration did not end well ({status}); its logs are in {}",
            arguments.out.display()
        );
    }
    Ok(())
}
