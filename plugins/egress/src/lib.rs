//! Tells a broken way out from a tunnel that is down, and names an address that moved.
//!
//! **Invariants**
//! - Each way is judged by itself, and a finding says which of the others work: "the internet is gone, the tunnel is up" is not "the node is gone".
//! - A refused connection proves that the way works.
//! - What was not granted or not answered is unknown; an address that could not be learnt has not moved.
//!
//! Deliberately absent: routes and firewall rules are never touched; policy routing (which Tailscale and WARP use) is not visible to a
//! plugin, so that only a target behind a tunnel proves that it is routed.

mod judge;
mod look;
mod settings;
mod tunnel;
mod url;

use iaso_plugin::{Check, Config, Finding, Host, Http, Net, State};

use crate::settings::Settings;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct Egress;

impl<H: Host + Http + Net + State> Check<H> for Egress {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        Ok(judge::judge(&settings, &look::look(host, &settings)))
    }
}

iaso_plugin::export!(Egress: check);
