//! Tells a Flux object that fails, is stuck, or is fought over, from one that works.
//!
//! **Invariants**
//! - What is at work counts only after its time, and what is suspended is so on purpose.
//! - An object whose conditions are about an older generation is at work, whatever they say.
//! - A kind that could not be looked at is unknown, whatever the others say.
//!
//! It looks at the cluster, not at this node: run it on one node (a server), not on all.
//!
//! Deliberately absent: reconciling by force. What fails, fails again; what fights, must be told apart by a person.

mod cause;
mod judge;
mod settings;

use iaso_plugin::{Check, Config, Finding, Host, Workloads};

use crate::judge::Sight;
use crate::settings::Settings;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct Flux;

impl<H: Host + Workloads> Check<H> for Flux {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        let now_ms = match host.info() {
            Ok(facts) => facts.now_unix_ms,
            Err(why) => {
                return Ok(vec![Finding::unknown(
                    "flux.unknown",
                    "flux",
                    format!("without the time nothing can be said to have taken too long: {why}"),
                )]);
            }
        };
        let mut sight = Sight::default();
        for namespace in &settings.namespaces {
            for kind in &settings.kinds {
                match host.conditions(kind.custom_resource(), namespace) {
                    Ok(found) => {
                        sight
                            .objects
                            .extend(found.into_iter().map(|object| (kind.name, object)));
                    }
                    Err(why) => {
                        let what = format!("{} in {namespace}", kind.custom_resource().resource);
                        sight.unseen.push((what, why.to_string()));
                    }
                }
            }
        }
        Ok(judge::judge(&settings, &sight, now_ms))
    }
}

iaso_plugin::export!(Flux: check);
