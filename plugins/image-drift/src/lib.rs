//! Finds pods that run another image than what is asked for.
//!
//! **Invariants**
//! - A roll-out takes its time: what differs counts only when it has differed in every look for `grace`.
//! - Where a controller is paused, or has not seen the last change, its pods are behind on purpose or not yet.
//! - A digest is compared with digests only; a tag says nothing of what is in it.
//!
//! Deliberately absent: registries (is there a newer image?) and Git: what should be asked for is the operator's word (`expect`).

mod compare;
mod judge;
mod memory;
mod settings;

use iaso_plugin::{Check, Config, Finding, Host, State, Workloads};

use crate::memory::Memory;
use crate::settings::Settings;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct ImageDrift;

impl<H: Host + State + Workloads> Check<H> for ImageDrift {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        let now_ms = match host.info() {
            Ok(facts) => facts.now_unix_ms,
            Err(why) => {
                return Ok(vec![Finding::unknown(
                    "image-drift.unknown",
                    "this node",
                    format!("without the time nothing can be said to last: {why}"),
                )]);
            }
        };
        let mut drifts = Vec::new();
        let mut unseen = Vec::new();
        let mut pods_count = 0;
        for namespace in &settings.namespaces {
            let seen = host
                .pod_states(namespace)
                .and_then(|pods| Ok((pods, host.workloads(namespace)?)));
            match seen {
                Ok((pods, workloads)) => {
                    pods_count += pods.len();
                    drifts.extend(compare::compare(&settings, &pods, &workloads));
                }
                Err(why) => unseen.push((namespace.as_str(), why)),
            }
        }
        let mut memory = Memory::load(host);
        let lasting = memory.lasting(&drifts, now_ms);
        let kept = memory.save(host);
        Ok(judge::judge(
            &settings,
            &judge::Sight {
                drifts: lasting,
                pods_count,
                unseen,
                forgets: kept.err(),
            },
        ))
    }
}

iaso_plugin::export!(ImageDrift: check);
