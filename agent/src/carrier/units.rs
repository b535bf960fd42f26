//! What the carrier asks of systemd.

use std::time::Duration;

use async_trait::async_trait;
use iaso_host::{CapError, Job, types::Unit};

use crate::cap::systemd::Systemd;

/// The host's units.
#[async_trait]
pub trait Units: Send + Sync {
    /// Reads the unit files again.
    async fn reload(&self) -> Result<(), CapError>;
    /// Starts a unit anew; the job's result, `done` if it is up, `timeout` if that took longer.
    async fn restart(&self, unit: &str, within: Duration) -> Result<String, CapError>;
    /// Stops a unit; the job's result.
    async fn stop(&self, unit: &str, within: Duration) -> Result<String, CapError>;
    /// Kills what runs of a unit, unasked; an error if nothing does.
    async fn kill(&self, unit: &str) -> Result<(), CapError>;
    /// What it does now.
    async fn look(&self, unit: &str) -> Result<Unit, CapError>;
}

#[async_trait]
impl Units for Systemd {
    async fn reload(&self) -> Result<(), CapError> {
        Systemd::reload(self).await
    }

    async fn restart(&self, unit: &str, within: Duration) -> Result<String, CapError> {
        self.job(unit, Job::Restart, within).await
    }

    async fn stop(&self, unit: &str, within: Duration) -> Result<String, CapError> {
        self.job(unit, Job::Stop, within).await
    }

    async fn kill(&self, unit: &str) -> Result<(), CapError> {
        Systemd::kill(self, unit).await
    }

    async fn look(&self, unit: &str) -> Result<Unit, CapError> {
        self.status(unit, Duration::from_secs(10)).await
    }
}
