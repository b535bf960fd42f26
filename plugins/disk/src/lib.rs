//! Tells file systems that are full, filling up, out of inodes or suddenly read-only.
//!
//! **Invariants**
//! - A prediction needs two stretches of time that agree: one large image pulled is not a disk that fills up.
//! - Numbers that cannot be (more free than there is) make a mount unknown, not well.
//! - A file system that was never writable is no fault unless it holds one of `paths`.
//!
//! Deliberately absent: what fills it (the interface has no sizes of directories), and deleting anything.

mod history;
mod judge;
mod settings;

use iaso_plugin::{Check, Config, Finding, Host, State};

use crate::settings::Settings;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct Disk;

impl<H: Host + State> Check<H> for Disk {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        let disks = match host.disks() {
            Ok(disks) => disks,
            Err(why) => {
                let summary = format!("the file systems could not be looked at: {why}");
                return Ok(vec![Finding::unknown("disk.unknown", "this host", summary)]);
            }
        };
        let mounts = settings.chosen(disks);
        let history = history::record(host, &settings, &mounts);
        Ok(judge::judge(&settings, &mounts, &history))
    }
}

iaso_plugin::export!(Disk: check);
