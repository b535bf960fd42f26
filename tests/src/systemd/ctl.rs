//! `systemctl`, as far as an installer needs it.

use super::unit_file;
use anyhow::{Context, Result, bail};
use clap::Args;
use futures::StreamExt;
use std::path::PathBuf;
use zbus::Connection;
use zbus::OwnedObjectPath;

/// Arguments of `iaso-lab systemctl`.
#[derive(Debug, Clone, Args)]
pub struct SystemctlArguments {
    /// The host's root directory.
    #[arg(long)]
    root: PathBuf,
    /// The bus.
    #[arg(long, env = "DBUS_SYSTEM_BUS_ADDRESS")]
    bus: String,
    /// With `enable`: start as well.
    #[arg(long)]
    now: bool,
    /// Do not wait for the job.
    #[arg(long)]
    no_block: bool,
    /// `enable`, `start`, `stop`, `restart`, `daemon-reload`.
    command: String,
    /// Which units.
    units: Vec<String>,
}

/// Runs one command.
pub async fn run(arguments: &SystemctlArguments) -> Result<()> {
    if arguments.command == "daemon-reload" {
        return Ok(());
    }
    for unit in &arguments.units {
        let unit = full_name(unit);
        let method = match arguments.command.as_str() {
            "enable" => {
                enable(arguments, &unit)?;
                if !arguments.now {
                    continue;
                }
                "StartUnit"
            }
            "start" => "StartUnit",
            "stop" => "StopUnit",
            "restart" => "RestartUnit",
            other => bail!("the lab's systemctl does not know {other:?}"),
        };
        job(arguments, method, &unit).await?;
    }
    Ok(())
}

fn full_name(unit: &str) -> String {
    if unit.contains('.') {
        unit.to_owned()
    } else {
        format!("{unit}.service")
    }
}

fn enable(arguments: &SystemctlArguments, unit: &str) -> Result<()> {
    let directory = unit_file::directory(&arguments.root);
    if !directory.join(unit).is_file() {
        bail!("Failed to enable unit: Unit file {unit} does not exist.");
    }
    let wants = directory.join("multi-user.target.wants");
    std::fs::create_dir_all(&wants)?;
    let link = wants.join(unit);
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(directory.join(unit), &link).context("cannot enable the unit")
}

async fn job(arguments: &SystemctlArguments, method: &str, unit: &str) -> Result<()> {
    let connection: Connection = zbus::connection::Builder::address(arguments.bus.as_str())
        .build()
        .await
        .context("cannot reach the bus")?;
    let manager = zbus::Proxy::new(
        &connection,
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
    )
    .await?;
    let mut removed = manager.receive_signal("JobRemoved").await?;
    let queued: OwnedObjectPath = manager.call(method, &(unit, "replace")).await?;
    if arguments.no_block {
        return Ok(());
    }
    while let Some(signal) = removed.next().await {
        let (_, path, _, result): (u32, OwnedObjectPath, String, String) =
            signal.body().deserialize()?;
        if path == queued {
            if result == "done" {
                return Ok(());
            }
            bail!("Job for {unit} failed: {result}");
        }
    }
    bail!("the bus went away before the job for {unit} ended")
}
