//! `restart`, and the rung between a restart and a reboot: `killall`.

use std::time::Duration;

use iaso_plugin::{
    Control, Error, FixInfo, Host, Http, Net, Outcome, OutcomeKind, Plan, Scripts, Services, State,
};

use crate::history;
use crate::judge::{self, State as Judged};
use crate::look::{self, Part, Sight};
use crate::settings::Settings;

const RESTART: &str = "restart";
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) const FIXES: &[FixInfo] = &[
    FixInfo {
        name: RESTART,
        summary: "Restarts the agent's unit and waits until kubelet is well; pods go on running",
        disruptive: false,
    },
    FixInfo {
        name: "killall",
        summary: "Runs k3s-killall, which ends every pod of this node, and starts the unit again",
        disruptive: true,
    },
];

pub(crate) fn plan<H: Services + Http + Net + Host + State>(
    host: &H,
    settings: &Settings,
    fix: &str,
) -> Plan {
    let sight = look::look(host, settings);
    let state = judge::state_of(settings, &sight, history::peek(host, settings, &sight));
    let cause = sight.cause.as_ref().map(|(cause, _)| cause);
    let offered = judge::remedies(&state, cause, &sight).contains(&fix);
    let cooldown = settings.restart_cooldown.as_millis();
    match (&state, cause) {
        (Judged::Unseen(why), _) => {
            Plan::refuse(format!("{} cannot be looked at: {why}", settings.unit))
        }
        (Judged::Missing(why), _) => Plan::refuse(why.clone()),
        (Judged::Active, _) if judge::parts_well(&sight) && !offered => {
            Plan::nothing(format!("{} is active and its parts answer", settings.unit))
        }
        (_, Some(cause)) if cause.fatal && !offered && cause.remedies.is_empty() => {
            Plan::refuse(sight.named(&format!("{}: {}", cause.what, cause.advice)))
        }
        (Judged::Starting(why) | Judged::Settling(why), _) => {
            Plan::refuse(format!("{why}; wait, a restart would only begin it again"))
        }
        (Judged::CrashLoop(why), _) if !offered => Plan::refuse(format!(
            "{why}: systemd restarts it already; `killall` may help"
        )),
        (Judged::Active, _) if !offered => Plan::refuse(unhelped(&sight)),
        // Waiting for the server looks the same after every restart: once is a try, twice is a loop.
        (Judged::Stuck(why), _)
            if fix == RESTART
                && history::since_own_restart(host, &sight)
                    .is_some_and(|ms| u128::from(ms) < cooldown) =>
        {
            Plan::refuse(format!(
                "{why}, and it was restarted less than {} s ago already: look at the server",
                cooldown / 1000
            ))
        }
        (Judged::CrashLoop(why) | Judged::Stuck(why) | Judged::Down(why), _) => steps(
            settings,
            fix,
            Plan::apply(format!("{}: {why}", settings.unit)),
        ),
        (Judged::Active, _) => steps(
            settings,
            fix,
            Plan::apply(format!(
                "{} is active, but does not do its work: {}",
                settings.unit,
                unhelped(&sight)
            )),
        ),
    }
}

fn unhelped(sight: &Sight) -> String {
    let parts = [&sight.kubelet, &sight.containerd, &sight.agent_lb];
    let why = parts.iter().find_map(|part| match part {
        Part::Sick(why) => Some(why.clone()),
        Part::Unseen(why) => Some(format!("part of it could not be looked at: {why}")),
        Part::Well | Part::Off => None,
    });
    why.or_else(|| {
        sight
            .cause
            .as_ref()
            .map(|(cause, _)| format!("{}: {}", cause.what, cause.advice))
    })
    .unwrap_or_default()
}

fn steps(settings: &Settings, fix: &str, plan: Plan) -> Plan {
    let plan = if fix == RESTART {
        plan.step(format!("restart {}", settings.unit))
    } else {
        plan.step(format!("run the script {}", settings.killall_script))
            .step(format!("start {}", settings.unit))
    };
    plan.step(format!(
        "wait up to {} s for kubelet",
        settings.health_timeout.as_secs()
    ))
}

pub(crate) fn apply<H>(host: &H, settings: &Settings, fix: &str, plan: &Plan) -> Outcome
where
    H: Services + Control + Scripts + Http + Net + Host + State,
{
    let mut steps = Vec::new();
    history::note_own_restart(host, host.info().ok().map(|facts| facts.now_unix_ms));
    let job = if fix == RESTART {
        host.restart(&settings.unit, settings.restart_timeout)
    } else {
        match killall(host, settings, &mut steps) {
            Ok(()) => host.start(&settings.unit, settings.restart_timeout),
            Err(why) => return Outcome::new(OutcomeKind::Failed, why).steps(steps),
        }
    };
    let verb = if fix == RESTART { "restart" } else { "start" };
    match job.as_deref() {
        // A job that has not ended goes on without us: k3s waits for its server as long as it takes.
        Ok(result @ ("done" | "timeout")) => {
            steps.push(format!("{verb} {}: {result}", settings.unit));
        }
        Ok(result) => {
            steps.push(format!("{verb} {}: {result}", settings.unit));
            return Outcome::new(
                OutcomeKind::Failed,
                format!(
                    "systemd's job to {verb} {} ended as {result}",
                    settings.unit
                ),
            )
            .steps(steps);
        }
        Err(why) => {
            return Outcome::new(
                OutcomeKind::Failed,
                format!("cannot {verb} {}: {why}", settings.unit),
            )
            .steps(steps);
        }
    }
    await_health(host, settings, steps).attribute("because", plan.reason.clone())
}

/// A script that fails half-way has stopped the unit, so the unit is started again whatever the script says; only one that never ran ends here.
fn killall<H: Scripts>(
    host: &H,
    settings: &Settings,
    steps: &mut Vec<String>,
) -> Result<(), String> {
    let name = &settings.killall_script;
    match host.run(name, settings.restart_timeout) {
        Ok(done) => {
            let end: String = done.output.trim().chars().rev().take(200).collect();
            let end: String = end.chars().rev().collect();
            steps.push(
                format!("{name}: exit code {} {end}", done.exit_code)
                    .trim_end()
                    .to_owned(),
            );
            Ok(())
        }
        Err(Error::Timeout) => {
            steps.push(format!("{name}: not done in time"));
            Ok(())
        }
        Err(why) => Err(format!("cannot run {name}: {why}")),
    }
}

/// Fixed only when the unit is active and kubelet says that it is well.
fn await_health<H: Services + Http + Host>(
    host: &H,
    settings: &Settings,
    mut steps: Vec<String>,
) -> Outcome {
    let begun = host.monotonic();
    let mut last = String::from("not looked at");
    // The clock bounds the wait, the count bounds it again should the clock stand still.
    for _ in 0..=settings.health_timeout.as_secs().saturating_add(1) {
        last = match (host.status(&settings.unit), look::kubelet(host, settings)) {
            (Ok(unit), Part::Well | Part::Off) if unit.active_state == "active" => {
                let took = host.monotonic().saturating_sub(begun).as_secs();
                steps.push(format!("kubelet well after {took} s"));
                return Outcome::new(
                    OutcomeKind::Fixed,
                    format!("{} is active and kubelet is well", settings.unit),
                )
                .steps(steps);
            }
            (Ok(unit), Part::Sick(why) | Part::Unseen(why)) => {
                format!("the unit is {}, {why}", unit.active_state)
            }
            (Ok(unit), Part::Well | Part::Off) => format!("the unit is {}", unit.active_state),
            (Err(why), _) => format!("the unit cannot be looked at: {why}"),
        };
        if host.monotonic().saturating_sub(begun) >= settings.health_timeout {
            break;
        }
        host.pause(PAUSE);
    }
    steps.push(format!(
        "waited {} s for kubelet",
        settings.health_timeout.as_secs()
    ));
    Outcome::new(
        OutcomeKind::Failed,
        format!("{} did not get well in time: {last}", settings.unit),
    )
    .steps(steps)
}
