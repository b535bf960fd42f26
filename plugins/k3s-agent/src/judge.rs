//! What the sight means.

use iaso_plugin::capability::Unit;
use iaso_plugin::{Finding, Severity};

use crate::causes::Cause;
use crate::look::{Part, Sight};
use crate::settings::Settings;

/// What is wrong with the unit as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// The unit could not be looked at.
    Unseen(String),
    Missing(String),
    CrashLoop(String),
    /// Activating for longer than allowed, or stopping.
    Stuck(String),
    /// Activating, within patience.
    Starting(String),
    Down(String),
    /// Active since a moment, and not all of its parts answer yet.
    Settling(String),
    Active,
}

pub(crate) fn state_of(settings: &Settings, sight: &Sight, growth: Option<u64>) -> State {
    let unit = match &sight.unit {
        Ok(unit) => unit,
        Err(why) => return State::Unseen(why.to_string()),
    };
    match unit.load_state.as_str() {
        "not-found" => {
            return State::Missing(format!(
                "there is no unit {} on this host: install k3s, or correct `unit`",
                settings.unit
            ));
        }
        "masked" => {
            return State::Missing(format!(
                "{} is masked: `systemctl unmask {}` if it is to run",
                settings.unit, settings.unit
            ));
        }
        _ => {}
    }
    if unit.last_result == "start-limit-hit" && unit.active_state != "active" {
        return State::CrashLoop(
            "it failed so often that systemd has given up starting it".to_owned(),
        );
    }
    if let Some(grown) = growth.filter(|grown| *grown >= settings.crash_loop_restarts) {
        return State::CrashLoop(format!(
            "it was restarted {grown} times within {}",
            seconds(settings.crash_loop_window.as_millis())
        ));
    }
    let for_ms = unit.in_state_ms;
    let over =
        |limit: std::time::Duration| for_ms.is_some_and(|ms| u128::from(ms) > limit.as_millis());
    let long = for_ms
        .map(|ms| format!(" for {}", seconds(u128::from(ms))))
        .unwrap_or_default();
    match unit.active_state.as_str() {
        "active" | "reloading"
            if (sick(&sight.kubelet) || sick(&sight.containerd))
                && !over(settings.start_grace)
                && for_ms.is_some() =>
        {
            State::Settling(format!(
                "it is active{long}, and its parts may need {} to answer",
                seconds(settings.start_grace.as_millis())
            ))
        }
        "active" | "reloading" => State::Active,
        "activating" if over(settings.activating_max) => State::Stuck(format!(
            "it has been starting{long}, longer than {}",
            seconds(settings.activating_max.as_millis())
        )),
        "activating" => State::Starting(format!(
            "it is starting{long}, and may take {}",
            seconds(settings.activating_max.as_millis())
        )),
        other => State::Down(format!(
            "it is {other} ({}){long}{}",
            unit.sub_state,
            ended(unit)
        )),
    }
}

/// The findings of one look.
pub(crate) fn judge(settings: &Settings, sight: &Sight, growth: Option<u64>) -> Vec<Finding> {
    let state = state_of(settings, sight, growth);
    let cause = sight.cause.as_ref().map(|(cause, _)| cause);
    let remedies = remedies(&state, cause, sight);
    let mut findings = match &state {
        State::Unseen(why) => vec![finding(
            settings,
            "unknown",
            Severity::Unknown,
            format!("{} could not be looked at: {why}", settings.unit),
        )],
        State::Missing(why) => vec![finding(
            settings,
            "unit-missing",
            Severity::Critical,
            why.clone(),
        )],
        State::CrashLoop(why) => vec![
            caused(settings, cause, "crash-loop", Severity::Critical, why)
                .attribute("crash-loop", "true"),
        ],
        State::Stuck(why) => vec![caused(
            settings,
            cause,
            "stuck-activating",
            Severity::Critical,
            why,
        )],
        State::Down(why) => vec![caused(
            settings,
            cause.filter(|cause| cause.fatal),
            "down",
            Severity::Critical,
            why,
        )],
        State::Starting(why) => vec![starting(settings, cause, why)],
        State::Settling(_) | State::Active => active(settings, sight, &state, cause),
    };
    if let Some(first) = findings.first_mut() {
        if first.severity >= Severity::Warning && first.remedies.is_empty() {
            first.remedies = remedies.iter().map(|fix| (*fix).to_owned()).collect();
        }
        first.summary = sight.named(&first.summary);
        describe(first, sight, growth);
    }
    findings
}

/// The fixes that can help in this state; a fix that is not among them refuses.
pub(crate) fn remedies(
    state: &State,
    cause: Option<&Cause>,
    sight: &Sight,
) -> &'static [&'static str] {
    const BOTH: &[&str] = &["restart", "killall"];
    let by_cause = |otherwise: &'static [&'static str]| {
        cause
            .filter(|cause| cause.fatal)
            .map_or(otherwise, |cause| cause.remedies)
    };
    match state {
        State::Unseen(_) | State::Missing(_) | State::Starting(_) | State::Settling(_) => &[],
        // systemd restarts it already, again and again.
        State::CrashLoop(_) => match by_cause(&["killall"]) {
            [] => &[],
            _ => &["killall"],
        },
        State::Stuck(_) | State::Down(_) => by_cause(BOTH),
        State::Active => match cause {
            // The agent draws new certificates when it starts, so here a restart can help, as it cannot when it waits for the server.
            Some(cause) if cause.code == "certificate-expired" => &["restart"],
            Some(cause) if cause.fatal => cause.remedies,
            Some(_) | None if sick(&sight.kubelet) || sick(&sight.containerd) => BOTH,
            None if sick(&sight.agent_lb) => &["restart"],
            Some(_) | None => &[],
        },
    }
}

/// True when kubelet and containerd answer, or are not to be looked at.
pub(crate) fn parts_well(sight: &Sight) -> bool {
    let well = |part: &Part| matches!(part, Part::Well | Part::Off);
    well(&sight.kubelet) && well(&sight.containerd)
}

fn sick(part: &Part) -> bool {
    matches!(part, Part::Sick(_))
}

fn active(
    settings: &Settings,
    sight: &Sight,
    state: &State,
    cause: Option<&Cause>,
) -> Vec<Finding> {
    let young = matches!(state, State::Settling(_));
    let mut findings = Vec::new();
    let ailing = sick(&sight.kubelet) || sick(&sight.containerd);
    if let Some(cause) = cause {
        let severity = if cause.fatal && ailing && !young {
            Severity::Critical
        } else {
            Severity::Warning
        };
        findings.push(caused(settings, Some(cause), "", severity, "it is active"));
    }
    // With a cause named, what follows from it is evidence, and what would heal it is decided by the cause.
    let offer = remedies(state, cause, sight);
    let parts = [
        ("kubelet-unhealthy", Severity::Critical, &sight.kubelet),
        (
            "containerd-unreachable",
            Severity::Critical,
            &sight.containerd,
        ),
        (
            "load-balancer-unreachable",
            Severity::Warning,
            &sight.agent_lb,
        ),
    ];
    for (code, severity, part) in parts {
        match part {
            Part::Sick(why) if young => {
                let why =
                    format!("{why}; the unit is active only since a moment, so it may still come");
                findings.push(finding(settings, code, Severity::Warning, why));
            }
            Part::Sick(why) => findings.push(
                finding(
                    settings,
                    code,
                    severity,
                    format!("{} is active, but {why}", settings.unit),
                )
                .remedies(offer),
            ),
            Part::Unseen(why) => findings.push(finding(
                settings,
                "unknown",
                Severity::Unknown,
                format!("active alone proves nothing, and {why}"),
            )),
            Part::Well | Part::Off => {}
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            "k3s-agent.ok",
            &settings.unit,
            format!("{} is active and its parts answer", settings.unit),
        ));
    }
    findings
}

/// Within patience only a cause that waiting cannot remove is worth an alarm.
fn starting(settings: &Settings, cause: Option<&Cause>, why: &str) -> Finding {
    match cause {
        Some(cause) if cause.fatal && !cause.may_pass => {
            caused(settings, Some(cause), "", Severity::Critical, why)
        }
        Some(cause) => caused(settings, Some(cause), "", Severity::Warning, why),
        None => Finding::info(
            "k3s-agent.starting",
            &settings.unit,
            format!("{}: {why}", settings.unit),
        ),
    }
}

fn caused(
    settings: &Settings,
    cause: Option<&Cause>,
    code: &str,
    severity: Severity,
    why: &str,
) -> Finding {
    match cause {
        Some(cause) => finding(
            settings,
            cause.code,
            severity,
            format!("{}: {why}; {}: {}", settings.unit, cause.what, cause.advice),
        ),
        None => finding(
            settings,
            code,
            severity,
            format!("{}: {why}, and its log names no known cause", settings.unit),
        ),
    }
}

fn finding(settings: &Settings, code: &str, severity: Severity, summary: String) -> Finding {
    Finding::new(
        format!("k3s-agent.{code}"),
        severity,
        &settings.unit,
        summary,
    )
}

fn describe(finding: &mut Finding, sight: &Sight, growth: Option<u64>) {
    let mut add = |key: &str, value: String| finding.attributes.push((key.to_owned(), value));
    if let Ok(unit) = &sight.unit {
        add("active-state", unit.active_state.clone());
        add("sub-state", unit.sub_state.clone());
        add("last-result", unit.last_result.clone());
        add("restarts", unit.restarts.to_string());
    }
    if let Some(grown) = growth {
        add("restarts-in-window", grown.to_string());
    }
    if let Some((_, line)) = &sight.cause {
        add("line", line.message.chars().take(300).collect());
        add("line-at-unix-ms", line.at_unix_ms.to_string());
    }
    if let Some(why) = &sight.log_unseen {
        add("log-unseen", why.clone());
    }
}

fn ended(unit: &Unit) -> String {
    match unit.last_result.as_str() {
        "" | "success" => String::new(),
        result => format!(
            ", last ended with {result} (exit status {})",
            unit.exit_status
        ),
    }
}

fn seconds(ms: u128) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        s if s < 120 => format!("{s} s"),
        s => format!("{} min", s / 60),
    }
}
