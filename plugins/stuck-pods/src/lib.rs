//! Names pods of this node that do not come or go, with the cause that Kubernetes knows.
//!
//! **Invariants**
//! - A pod counts only after its time: a grace that has not passed, an image that is just being pulled, are no faults.
//! - A namespace that could not be looked at is unknown, whatever the others say.
//!
//! Deliberately absent: deleting by force. A pod that does not end may still be running, and whoever deletes it by force says that it is not.

mod cause;
mod judge;
mod settings;

use iaso_plugin::{Check, Config, Finding, Host, Workloads};

use crate::settings::Settings;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct StuckPods;

impl<H: Host + Workloads> Check<H> for StuckPods {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        let now_ms = match host.info() {
            Ok(facts) => facts.now_unix_ms,
            Err(why) => {
                return Ok(vec![Finding::unknown(
                    "stuck-pods.unknown",
                    "this node",
                    format!("without the time nothing can be said to have taken too long: {why}"),
                )]);
            }
        };
        let mut pods = Vec::new();
        let mut unseen = Vec::new();
        for namespace in &settings.namespaces {
            match host.pod_states(namespace) {
                Ok(found) => pods.extend(found),
                Err(why) => unseen.push((namespace.as_str(), why)),
            }
        }
        Ok(judge::judge(&settings, &pods, &unseen, now_ms))
    }
}

iaso_plugin::export!(StuckPods: check);
