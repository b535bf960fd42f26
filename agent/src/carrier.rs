//! Carries the agent from a container to its host: installs it as a unit, updates it, and takes an update back that does not report.
//!
//! **Invariants**
//! - A version is switched to as a whole, and only after every byte of it is on the disk. Before it is switched to, it is recorded as pending.
//! - A pending version has reported, or has been taken back, before anything else is done; over any number of ends of the carrier too.
//! - A version that was taken back is not tried again by itself, and why is kept on the host.
//! - A unit that the carrier did not install is neither replaced nor removed. Routes and firewall rules are not touched.
//! - That the carrier ends changes nothing on the host: removal is an act of its own (`docs/adr/0019-the-carrier-is-told-to-remove.md`).
//!
//! "Reports" is systemd's word: the unit is `Type=notify`, so its start is done when the agent has said so, and it must then stay the same
//! process for a while. No port and no file that could be stale takes part in it.

mod layout;
mod units;
mod visits;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use iaso_host::CapError;

pub use layout::{Layout, Payload, Version};
pub use units::Units;
pub use visits::{Visits, run};

use crate::disk::DiskError;

/// The unit on the host.
pub const UNIT: &str = "iaso-agent.service";
/// Between two looks at a unit that is on trial.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a new version may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until it has said that it is ready.
    pub ready_within: Duration,
    /// For which it then stays the same process.
    pub steady_for: Duration,
}

/// Why the carrier could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// What is to be installed is not right.
    #[error("cannot install from {}: {what}", path.display())]
    Payload {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// A unit of the same name that somebody else installed.
    #[error("{} was not installed by the carrier: remove it, or leave this host out of the DaemonSet", path.display())]
    Foreign {
        /// The unit's file.
        path: PathBuf,
    },
    /// The host's disk.
    #[error("the host's files cannot be changed")]
    Disk(#[from] DiskError),
    /// The host's systemd.
    #[error("systemd on the host did not {operation}")]
    Systemd {
        /// As a verb.
        operation: &'static str,
        /// Its word.
        source: CapError,
    },
    /// A new version failed, and so did the one before it.
    #[error(
        "{failed} was taken back ({why}), and {previous} does not report either ({again}): look at `journalctl -u iaso-agent` on the host"
    )]
    NothingReports {
        /// The new version.
        failed: Version,
        /// Why it was taken back.
        why: String,
        /// The version before it.
        previous: Version,
        /// Why that one does not report.
        again: String,
    },
}

/// How a visit to the host ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This version was there, and runs.
    Unchanged(Version),
    /// This version is new, and reports.
    Installed(Version),
    /// The new version did not report.
    TakenBack {
        /// The version that failed.
        failed: Version,
        /// Why.
        why: String,
        /// What runs again; none: there was nothing before it, and nothing is left of it but this word.
        runs: Option<Version>,
    },
    /// The version was taken back at an earlier visit, and is not tried again.
    Refused {
        /// The version.
        version: Version,
        /// Why it was taken back then.
        why: String,
    },
}

/// Brings the host to the payload's version, and waits until it reports or has been taken back.
///
/// # Errors
/// The payload, the disk or systemd does not allow it, or no version reports.
pub async fn carry(
    layout: &Layout,
    payload: &Payload,
    units: &dyn Units,
    patience: Patience,
) -> Result<Outcome, CarrierError> {
    layout.refuse_foreign_unit()?;
    if let Some(pending) = layout.pending()? {
        let outcome = resume(layout, &pending, units, patience).await?;
        if pending == *payload.version() {
            return Ok(outcome);
        }
    }
    let version = payload.version();
    if let Some(why) = layout.refused(version)? {
        return Ok(Outcome::Refused {
            version: version.clone(),
            why,
        });
    }
    if layout.current()?.as_ref() == Some(version) && layout.holds(payload)? {
        return keep_up(layout, version, units, patience).await;
    }
    layout.store(payload)?;
    layout.set_pending(version)?;
    try_out(layout, version, units, patience).await
}

/// Stops the unit and takes everything off the host that the carrier and the agent put there.
///
/// # Errors
/// The unit is somebody else's, cannot be stopped, or the disk refuses: what is left is removed by the next call.
pub async fn remove(
    layout: &Layout,
    units: &dyn Units,
    patience: Patience,
) -> Result<(), CarrierError> {
    layout.refuse_foreign_unit()?;
    if layout.unit_installed()? {
        let result = units
            .stop(UNIT, patience.ready_within)
            .await
            .map_err(systemd("stop the unit"))?;
        if result != "done" {
            return Err(systemd("stop the unit")(CapError::Other(result)));
        }
    }
    layout.remove_unit()?;
    reload(units).await?;
    layout.remove_files()?;
    Ok(())
}

/// What is installed is what is wanted: it is started if it does not run.
async fn keep_up(
    layout: &Layout,
    version: &Version,
    units: &dyn Units,
    patience: Patience,
) -> Result<Outcome, CarrierError> {
    let seen = units.look(UNIT).await.map_err(systemd("show the unit"))?;
    if seen.active_state != "active" {
        tracing::warn!(%version, state = %seen.active_state, "the unit does not run: it is started");
        layout.install_unit(version)?;
        if let Trial::Fails(why) = start(units, patience).await? {
            tracing::warn!(%version, %why, "the unit does not report");
        }
    }
    Ok(Outcome::Unchanged(version.clone()))
}

/// What the carrier was doing when it ended.
async fn resume(
    layout: &Layout,
    pending: &Version,
    units: &dyn Units,
    patience: Patience,
) -> Result<Outcome, CarrierError> {
    if let Some(why) = layout.refused(pending)? {
        tracing::info!(version = %pending, "taking it back was interrupted: it is gone on with");
        return take_back(layout, pending, why, units, patience).await;
    }
    tracing::info!(version = %pending, "its trial was interrupted: it begins anew");
    try_out(layout, pending, units, patience).await
}

async fn try_out(
    layout: &Layout,
    version: &Version,
    units: &dyn Units,
    patience: Patience,
) -> Result<Outcome, CarrierError> {
    layout.switch(version, layout.previous(version)?.as_ref())?;
    match start(units, patience).await? {
        Trial::Reports => {
            layout.clear_pending()?;
            layout.prune()?;
            Ok(Outcome::Installed(version.clone()))
        }
        Trial::Fails(why) => {
            tracing::warn!(%version, %why, "the new version does not report: it is taken back");
            // The verdict first: an end between it and the switch is gone on with, not judged anew.
            layout.refuse(version, &why)?;
            take_back(layout, version, why, units, patience).await
        }
    }
}

async fn take_back(
    layout: &Layout,
    failed: &Version,
    why: String,
    units: &dyn Units,
    patience: Patience,
) -> Result<Outcome, CarrierError> {
    let previous = layout.previous(failed)?;
    // One that does not hear SIGTERM would hold the old version up for its whole stop timeout. Most have ended already: no process, no matter.
    if let Err(error) = units.kill(UNIT).await {
        tracing::debug!(%error, "nothing of the failed version was left to kill");
    }
    let trial = if let Some(previous) = &previous {
        layout.switch(previous, None)?;
        start(units, patience).await?
    } else {
        // The unit goes even if it cannot be stopped: it must not come back at the next boot.
        let stopped = units.stop(UNIT, patience.ready_within).await;
        layout.remove_unit()?;
        stopped.map_err(systemd("stop the unit"))?;
        reload(units).await?;
        layout.switch_off()?;
        Trial::Reports
    };
    // Also if nothing reports: the next version must get its chance.
    layout.clear_pending()?;
    match (trial, previous) {
        (Trial::Fails(again), Some(previous)) => Err(CarrierError::NothingReports {
            failed: failed.clone(),
            why,
            previous,
            again,
        }),
        (Trial::Reports | Trial::Fails(_), runs) => Ok(Outcome::TakenBack {
            failed: failed.clone(),
            why,
            runs,
        }),
    }
}

/// What systemd saw of a version. That systemd could not be asked is an error instead: it says nothing of the version.
enum Trial {
    Reports,
    Fails(String),
}

/// Starts what is installed anew, and watches whether it reports.
async fn start(units: &dyn Units, patience: Patience) -> Result<Trial, CarrierError> {
    reload(units).await?;
    let result = units
        .restart(UNIT, patience.ready_within)
        .await
        .map_err(systemd("start the unit"))?;
    match result.as_str() {
        "done" => steady(units, patience.steady_for).await,
        "timeout" => Ok(Trial::Fails(format!(
            "it was not ready within {} s",
            patience.ready_within.as_secs()
        ))),
        other => Ok(Trial::Fails(format!("its start ended as `{other}`"))),
    }
}

async fn reload(units: &dyn Units) -> Result<(), CarrierError> {
    units
        .reload()
        .await
        .map_err(systemd("read its units again"))
}

async fn steady(units: &dyn Units, how_long: Duration) -> Result<Trial, CarrierError> {
    let until = tokio::time::Instant::now() + how_long;
    let mut first = None;
    loop {
        let seen = units.look(UNIT).await.map_err(systemd("show the unit"))?;
        if seen.active_state != "active" {
            return Ok(Trial::Fails(format!(
                "it became {} ({}, exit status {}) after it was ready",
                seen.active_state, seen.last_result, seen.exit_status
            )));
        }
        if *first.get_or_insert(seen.main_pid) != seen.main_pid {
            let why = "it ended and was started again after it was ready";
            return Ok(Trial::Fails(why.into()));
        }
        if tokio::time::Instant::now() >= until {
            return Ok(Trial::Reports);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn systemd(operation: &'static str) -> impl Fn(CapError) -> CarrierError {
    move |source| CarrierError::Systemd { operation, source }
}
