//! Looks after the unit of the k3s agent.
//!
//! **Invariants**
//! - `active` alone is never taken for well: kubelet and containerd must answer.
//! - A restart is offered only where one can help; the same judgement decides what the check offers and what the fix refuses.
//! - A log line counts only if it is newer than the last successful start and about as new as the log itself.
//!
//! Deliberately absent: anything about the server, the disk or the kernel that does not show in this unit, its log or its sockets.

mod causes;
mod fixes;
mod history;
mod judge;
mod look;
mod settings;

use iaso_plugin::{
    Check, Config, Control, Finding, Fix, FixInfo, Host, Http, Net, Outcome, Plan, Scripts,
    Services, State,
};

use crate::settings::Settings;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct K3sAgent;

impl<H: Services + Http + Net + Host + State> Check<H> for K3sAgent {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        let sight = look::look(host, &settings);
        let growth = history::record(host, &settings, &sight);
        Ok(judge::judge(&settings, &sight, growth))
    }
}

impl<H: Services + Control + Scripts + Http + Net + Host + State> Fix<H> for K3sAgent {
    const FIXES: &'static [FixInfo] = fixes::FIXES;

    fn plan(host: &H, fix: &str, config: &Config) -> Result<Plan, String> {
        Ok(fixes::plan(host, &Settings::new(config)?, fix))
    }

    fn apply(host: &H, fix: &str, config: &Config, plan: &Plan) -> Result<Outcome, String> {
        Ok(fixes::apply(host, &Settings::new(config)?, fix, plan))
    }
}

iaso_plugin::export!(K3sAgent: check, fix);
