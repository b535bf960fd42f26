//! Finds URLs in the environment of workloads whose port no Service has.
//!
//! `http://api` means port 80, whatever port the Service has; a client that is not told otherwise waits there until its timeout. Nothing in
//! Kubernetes looks at it.
//!
//! **Invariants**
//! - A URL is only judged against a Service that was read: what was not granted or not answered is unknown, and is named.
//! - Names that may be somebody else's (`example.com`) are judged only as `NAME.NAMESPACE` of a namespace that is looked at.
//!
//! Deliberately absent: connecting (`service-http` does), paths, and values from Secrets, which no plugin gets to see.

mod judge;
mod lookup;
mod settings;

use iaso_plugin::{Check, Config, Finding, Kube, Workloads};

use crate::lookup::Lookup;
use crate::settings::Settings;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct UrlLint;

impl<H: Kube + Workloads> Check<H> for UrlLint {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        let mut urls = Vec::new();
        let mut unseen = Vec::new();
        for namespace in &settings.namespaces {
            match host.env_urls(namespace) {
                Ok(found) => urls.extend(found),
                Err(why) => unseen.push((namespace.as_str(), why)),
            }
        }
        let mut lookup = Lookup::new(host, &settings);
        Ok(judge::judge(&settings, &urls, &unseen, &mut lookup))
    }
}

iaso_plugin::export!(UrlLint: check);
