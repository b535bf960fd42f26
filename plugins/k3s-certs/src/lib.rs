//! Reads the certificates of k3s on this node's disk: which end when, and what renews them.
//!
//! **Invariants**
//! - What could not be read is unknown and is named; it is never counted among the certificates that are well.
//! - A file that is not there is no fault: what k3s writes differs by role and version. A node without any is unknown.
//! - A certificate authority is judged apart from what it signed: a restart renews the one and never the other.
//!
//! Deliberately absent: signatures and chains (k3s itself refuses those that do not fit), the certificate that a port really serves
//! (`service-http` sees that), and renewing: it takes a restart, which is the fix of `k3s-agent`.

mod certificate;
mod judge;
mod look;
mod settings;

use iaso_plugin::{Check, Config, Files, Finding, Host};

use crate::settings::Settings;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct K3sCerts;

impl<H: Files + Host> Check<H> for K3sCerts {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        Ok(match host.info() {
            Ok(facts) => judge::judge(
                &settings,
                &look::look(host, &settings),
                facts.now_unix_ms / 1000,
            ),
            Err(why) => vec![Finding::unknown(
                "k3s-certs.unknown",
                "this host",
                format!("without the time nothing can be said to have ended: {why}"),
            )],
        })
    }
}

iaso_plugin::export!(K3sCerts: check);
