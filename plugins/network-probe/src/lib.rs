//! Tells a host that is cut off from a target that is down.
//!
//! **Invariants**
//! - A refused connection proves reachability: something there answered.
//! - A target that could not be looked at, for want of a grant or of time, is not down.
//! - A silent gateway is no fault while something beyond it answers: many drop echo requests.
//!
//! Deliberately absent: DNS answers (the plugin `coredns` asks those), and any change of routes or firewall rules.

mod fixes;
mod judge;
mod look;
mod settings;

use iaso_plugin::{
    Check, Config, Control, Finding, Fix, FixInfo, Host, Net, Outcome, Plan, Services,
};

use crate::settings::Settings;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct NetworkProbe;

impl<H: Net + Host> Check<H> for NetworkProbe {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        Ok(judge::judge(&settings, &look::look(host, &settings)))
    }
}

impl<H: Net + Host + Services + Control> Fix<H> for NetworkProbe {
    const FIXES: &'static [FixInfo] = fixes::FIXES;

    fn plan(host: &H, _fix: &str, config: &Config) -> Result<Plan, String> {
        Ok(fixes::plan(host, &Settings::new(config)?))
    }

    fn apply(host: &H, _fix: &str, config: &Config, plan: &Plan) -> Result<Outcome, String> {
        Ok(fixes::apply(host, &Settings::new(config)?, plan))
    }
}

iaso_plugin::export!(NetworkProbe: check, fix);
