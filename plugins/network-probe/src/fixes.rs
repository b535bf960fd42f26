//! `restart-networking`: only where the operator named the unit, and only for a fault that may be this host's own.

use std::time::Duration;

use iaso_plugin::{Control, FixInfo, Host, Net, Outcome, OutcomeKind, Plan, Services};

use crate::judge::{self, RESTART, Verdict};
use crate::look;
use crate::settings::Settings;

/// Looks after the restart; each takes at most `budget`.
const LOOKS: u32 = 3;

pub(crate) const FIXES: &[FixInfo] = &[FixInfo {
    name: RESTART,
    summary: "Restarts the unit that sets up this host's network, and looks again",
    disruptive: true,
}];

pub(crate) fn plan<H: Net + Host + Services>(host: &H, settings: &Settings) -> Plan {
    let unit = &settings.networking_unit;
    if unit.is_empty() {
        return Plan::refuse(
            "no unit is configured: set `networking_unit`, such as systemd-networkd.service, and grant it",
        );
    }
    let verdict = judge::verdict(settings, &look::look(host, settings));
    match verdict {
        Verdict::Connected => {
            return Plan::nothing(
                "this host is connected; a target that is down is not healed from here",
            );
        }
        Verdict::NoInternet => {
            return Plan::refuse("the gateway or others answer: the fault is beyond this host");
        }
        Verdict::Unseen => {
            return Plan::refuse(
                "no target could be looked at, so nothing is known: grant net.tcp and net.icmp first",
            );
        }
        Verdict::CutOff | Verdict::NoDefaultRoute | Verdict::GatewayDown => {}
    }
    match host.status(unit) {
        Ok(state) if state.load_state == "not-found" => Plan::refuse(format!(
            "there is no unit {unit} on this host: correct `networking_unit`"
        )),
        Ok(_) => Plan::apply(format!("this host's own network is at fault ({verdict:?})"))
            .step(format!("restart {unit}"))
            .step("look again"),
        Err(why) => Plan::refuse(format!("{unit} cannot be looked at: {why}")),
    }
}

pub(crate) fn apply<H: Net + Host + Services + Control>(
    host: &H,
    settings: &Settings,
    plan: &Plan,
) -> Outcome {
    let unit = &settings.networking_unit;
    let mut steps = Vec::new();
    match host.restart(unit, settings.restart_timeout) {
        Ok(result) if result == "done" || result == "timeout" => {
            steps.push(format!("restart {unit}: {result}"));
        }
        Ok(result) => {
            return Outcome::new(
                OutcomeKind::Failed,
                format!("systemd's job to restart {unit} ended as {result}"),
            );
        }
        Err(why) => {
            return Outcome::new(OutcomeKind::Failed, format!("cannot restart {unit}: {why}"));
        }
    }
    let mut seen = Verdict::Unseen;
    for _ in 0..LOOKS {
        host.pause(Duration::from_secs(1));
        seen = judge::verdict(settings, &look::look(host, settings));
        if !seen.is_own() && seen != Verdict::Unseen {
            steps.push("targets answer again".to_owned());
            return Outcome::new(OutcomeKind::Fixed, "this host is connected again")
                .steps(steps)
                .attribute("because", plan.reason.clone());
        }
    }
    steps.push(format!("looked {LOOKS} times"));
    Outcome::new(
        OutcomeKind::Unchanged,
        format!(
            "{unit} was restarted, and the network is as it was ({seen:?}): look outside this host"
        ),
    )
    .steps(steps)
}
