//! Asks HTTP endpoints as their users do, and believes an answer only when its body agrees.
//!
//! **Invariants**
//! - A status that is expected is not enough: a body that says error makes the answer a lie.
//! - What could not be asked, for want of a grant, of time or of an answer that can be judged, is unknown: neither well nor down.
//! - No finding repeats a body or a query string: either may carry a secret.
//!
//! Deliberately absent: expiry of TLS certificates (the interface `http` does not show them), headers to send, and methods besides GET.

mod body;
mod judge;
mod look;
mod settings;
mod url;

use iaso_plugin::{Check, Config, Finding, Host, Http, Net};

use crate::settings::Settings;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct ServiceHttp;

impl<H: Http + Net + Host> Check<H> for ServiceHttp {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        let seen = look::look(host, &settings);
        Ok(seen
            .iter()
            .map(|(target, answer)| judge::judge(&settings, target, answer))
            .collect())
    }
}

iaso_plugin::export!(ServiceHttp: check);
