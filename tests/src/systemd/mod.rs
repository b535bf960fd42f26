//! Plays systemd for hosts that have none: `org.freedesktop.systemd1` on a private bus, over units that are run for real.
//!
//! It speaks the part that Iaso uses: `GetUnit`, `LoadUnit`, `StartUnit`, `StopUnit`, `RestartUnit`, `KillUnit`, `ListUnits`, `Reload`,
//! `JobRemoved`, and the properties that tell a unit's state. Service units only: no dependencies, no sockets, no timers.
//!
//! **Invariants**
//! - A job is answered at once and its end is signalled, as systemd does it.
//! - `Type=notify` is active only after the program said so; `Restart=` counts, waits and tries again.

mod bus;
mod ctl;
mod journal;
mod service;
mod unit_file;

pub use ctl::{SystemctlArguments, run as systemctl};
pub use journal::{JournalctlArguments, run as journalctl};
pub use service::Status;

use anyhow::{Context, Result};
use clap::Args;
use service::Supervisor;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// Arguments of `iaso-lab systemd`.
#[derive(Debug, Clone, Args)]
pub struct SystemdArguments {
    /// The host's root directory: units are in `etc/systemd/system`, logs go to `var/log/journal`.
    #[arg(long)]
    root: PathBuf,
    /// The bus to be found on.
    #[arg(long, env = "DBUS_SYSTEM_BUS_ADDRESS")]
    bus: String,
}

/// Starts what is enabled, and serves until SIGTERM.
pub async fn run(arguments: SystemdArguments) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let supervisor = Supervisor::new(arguments.root.clone());
    let connection = bus::serve(&arguments.bus, supervisor.clone()).await?;
    for unit in unit_file::enabled(&arguments.root)? {
        supervisor.start(&unit);
    }
    // Whoever boots this host waits for the line.
    println!("ready");
    terminated.recv().await;
    supervisor.stop_all().await;
    drop(connection);
    Ok(())
}

/// Tells whoever started this program, as `sd_notify` does. Nothing happens when nobody listens.
pub fn notify(state: &str) -> Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let bytes = path.as_encoded_bytes();
    let address = match bytes.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&path)?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(state.as_bytes(), &address)
        .context("cannot notify the service manager")?;
    Ok(())
}

#[cfg(test)]
mod tests;
