//! `iaso-agent carrier`: visits the host again and again.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{CarrierError, Layout, Outcome, Patience, Payload, carry, remove};
use crate::cap::systemd::Systemd;

/// Between two visits: a changed `ConfigMap` is in its files after about as long.
const VISIT_EVERY: Duration = Duration::from_mins(1);

/// What is carried, and where to.
#[derive(Debug, Args)]
pub struct Visits {
    /// A directory with what goes to the host: programs, `iaso-agent.service`, configuration; may be given several times
    #[arg(long, value_name = "DIR", required_unless_present = "remove")]
    from: Vec<PathBuf>,
    /// Where the host's /opt/iaso, /etc/systemd/system, /var/lib/iaso and /run/dbus are mounted
    #[arg(long, value_name = "DIR", default_value = "/host")]
    host_root: PathBuf,
    /// Take the unit and all files of the agent off the host
    #[arg(long)]
    remove: bool,
    /// One visit, then end (exit 0: as it should be, 1: a version was taken back or is refused, 2: could not)
    #[arg(long)]
    once: bool,
    /// How long a new version may take until it is ready
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=600))]
    ready_secs: u64,
    /// How long it must then run without ending
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = clap::value_parser!(u64).range(1..=600))]
    steady_secs: u64,
}

/// Visits the host until SIGTERM, or once; the answer is the exit code.
///
/// # Errors
/// With `--once`: what could not be done. Else only that there are no signal handlers; the rest is logged, and tried again.
pub async fn run(visits: &Visits) -> anyhow::Result<u8> {
    let mut terminate = signal(SignalKind::terminate())?;
    let socket = visits.host_root.join("run/dbus/system_bus_socket");
    let systemd = Systemd::new(Some(format!("unix:path={}", socket.display())));
    loop {
        let visited = visit(visits, &systemd).await;
        if visits.once {
            return Ok(visited?);
        }
        if let Err(error) = visited {
            tracing::error!(error = %format!("{:#}", anyhow::Error::from(error)), "the host was not visited to the end: it is tried again");
        }
        // A visit is not broken off: what it began is gone on with by the next carrier if the kubelet does not wait.
        tokio::select! {
            _ = terminate.recv() => return Ok(0),
            () = tokio::time::sleep(VISIT_EVERY) => {}
        }
    }
}

async fn visit(visits: &Visits, systemd: &Systemd) -> Result<u8, CarrierError> {
    let layout = Layout::new(visits.host_root.clone());
    let patience = Patience {
        ready_within: Duration::from_secs(visits.ready_secs),
        steady_for: Duration::from_secs(visits.steady_secs),
    };
    if visits.remove {
        remove(&layout, systemd, patience).await?;
        tracing::info!("nothing of Iaso is left on this host: the DaemonSet can go");
        return Ok(0);
    }
    let payload = Payload::read(&visits.from)?;
    match carry(&layout, &payload, systemd, patience).await? {
        Outcome::Unchanged(version) => tracing::debug!(%version, "the host has this version"),
        Outcome::Installed(version) => tracing::info!(%version, "the agent reports"),
        Outcome::TakenBack { failed, why, runs } => {
            let runs = runs.map_or_else(|| "none".to_owned(), |version| version.to_string());
            tracing::error!(%failed, %why, %runs, "a version was taken back: it is not tried again");
            return Ok(1);
        }
        Outcome::Refused { version, why } => {
            tracing::warn!(%version, %why, "this version was taken back before: carry another one");
            return Ok(1);
        }
    }
    Ok(0)
}
