//! Compares this host's clock with several others, and says who keeps it.
//!
//! **Invariants**
//! - One source is no proof: its own clock may be wrong. Without `quorum` sources that agree, the clock is unknown.
//! - A skew counts only beyond what the measurement cannot tell: a `Date` has whole seconds, and the answer took its time.
//! - A service that is running proves nothing about the clock, nor a right clock anything about the service: each is told by itself.
//!
//! Deliberately absent: setting the clock, and NTP itself (the interface has no UDP).

mod date;
mod judge;
mod look;
mod settings;

use iaso_plugin::{Check, Config, Files, Finding, Host, Http, Services};

use crate::settings::Settings;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct ClockSkew;

impl<H: Http + Host + Services + Files> Check<H> for ClockSkew {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        Ok(judge::judge(&settings, &look::look(host, &settings)))
    }
}

iaso_plugin::export!(ClockSkew: check);
