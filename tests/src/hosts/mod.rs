//! The lab's hosts: machines that can be cut off, frozen, switched off and recreated, whatever they are made of.
//!
//! **Invariants**
//! - A cut lies outside the machine: no reboot lifts it. A recreate does, as a new machine gets a new port.
//! - A recreate leaves nothing of the old disk, and runs the post-install script for real.

mod image;
mod life;
mod machines;
pub mod nspawn;
pub mod process;

pub use image::{Script, render};
pub use life::Life;
pub use machines::HostMachines;

use anyhow::Result;
use async_trait::async_trait;
use clap::ValueEnum;
use std::net::IpAddr;

/// What hosts are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HostKind {
    /// Processes on loopback, with a systemd of the lab's: anywhere, without root.
    Process,
    /// systemd-nspawn containers on a bridge: needs root.
    Nspawn,
}

/// One machine.
#[async_trait]
pub trait Host: Send + Sync {
    /// Its name, which is also its node's.
    fn name(&self) -> &str;
    /// Where the outside world finds it.
    fn address(&self) -> IpAddr;
    /// When and how often it was powered on and recreated.
    fn life(&self) -> &Life;
    /// Boots what is on the disk; nothing when it runs.
    async fn power_on(&self) -> Result<()>;
    /// Pulls the plug.
    async fn power_off(&self) -> Result<()>;
    /// Cuts its network at the hypervisor.
    async fn cut(&self) -> Result<()>;
    /// Joins it again.
    async fn heal(&self) -> Result<()>;
    /// Stops every program where it is, as a hung machine.
    async fn freeze(&self) -> Result<()>;
    /// Lets them go on.
    async fn thaw(&self) -> Result<()>;
    /// Kills a unit's program and keeps systemd from starting it again by itself.
    async fn kill_unit(&self, unit: &str) -> Result<()>;
    /// Stops a unit's program where it is, as a hung one.
    async fn freeze_unit(&self, unit: &str) -> Result<()>;
    /// `ActiveState`, `MainPID` of a unit.
    async fn unit(&self, unit: &str) -> Result<(String, u32)>;
    /// The first half of a recreate: the disk is empty and nothing runs.
    async fn wipe(&self) -> Result<()>;
    /// An empty disk, a new port, and the script at first boot.
    async fn recreate(&self, script: &str) -> Result<()>;
    /// The last lines of its logs, for a failure report.
    async fn logs(&self) -> String;
}

/// Removes what a killed lab left behind.
pub async fn clean() -> Result<()> {
    crate::guard::clean_stale().await
}
