//! Asks the cluster's DNS by every path, and says which of them is broken.
//!
//! **Invariants**
//! - The service address and each endpoint are asked apart, over UDP and TCP apart: what differs between them names the fault.
//! - A name that must not exist must be denied: a server that knows everything is the wrong one.
//! - Only this node's pod is ever deleted, only when its own endpoint is the dead one, and at most once per cooldown.
//!
//! The vantage is the host's network, which every finding records: UDP from a host to the service address can fail where pods are fine
//! (k3s#6664). Deliberately absent: asking from inside a pod.

mod ask;
mod fixes;
mod judge;
mod look;
mod settings;

use iaso_plugin::{
    Check, Config, Dns, Finding, Fix, FixInfo, Host, Kube, Outcome, Plan, PodControl, State,
};

use crate::settings::Settings;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct CoreDns;

impl<H: Dns + Kube + Host> Check<H> for CoreDns {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        Ok(judge::judge(&settings, &look::look(host, &settings)))
    }
}

impl<H: Dns + Kube + Host + PodControl + State> Fix<H> for CoreDns {
    const FIXES: &'static [FixInfo] = fixes::FIXES;

    fn plan(host: &H, _fix: &str, config: &Config) -> Result<Plan, String> {
        Ok(fixes::plan(host, &Settings::new(config)?))
    }

    fn apply(host: &H, _fix: &str, config: &Config, plan: &Plan) -> Result<Outcome, String> {
        Ok(fixes::apply(host, &Settings::new(config)?, plan))
    }
}

iaso_plugin::export!(CoreDns: check, fix);
