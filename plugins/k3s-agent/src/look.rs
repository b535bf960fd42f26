//! What is seen of the unit, with nothing decided yet.

use iaso_plugin::capability::{JournalLine, Unit};
use iaso_plugin::{Error, Host, Http, Net, Services};

use crate::causes::{self, Cause};
use crate::settings::Settings;

/// What one part of the agent answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Well,
    Sick(String),
    /// Looked at in vain: nothing is known.
    Unseen(String),
    /// Not looked at, by configuration.
    Off,
}

/// Everything that one look saw.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) unit: Result<Unit, Error>,
    /// Wall clock, if the host tells.
    pub(crate) now_unix_ms: Option<u64>,
    pub(crate) node: String,
    pub(crate) cause: Option<(Cause, JournalLine)>,
    /// Why the log could not be read.
    pub(crate) log_unseen: Option<String>,
    pub(crate) kubelet: Part,
    pub(crate) containerd: Part,
    pub(crate) agent_lb: Part,
}

impl Sight {
    /// Puts this node's name into an advice.
    pub(crate) fn named(&self, advice: &str) -> String {
        if self.node.is_empty() {
            advice.to_owned()
        } else {
            advice.replace("<node>", &self.node)
        }
    }
}

pub(crate) fn look<H: Services + Http + Net + Host>(host: &H, settings: &Settings) -> Sight {
    let facts = host.info().ok();
    let now_unix_ms = facts.as_ref().map(|facts| facts.now_unix_ms);
    let unit = host.status(&settings.unit);
    let (cause, log_unseen) = match host.journal(
        &settings.unit,
        settings.journal_lines,
        settings.journal_max_age,
    ) {
        Ok(lines) => {
            let active = unit
                .as_ref()
                .is_ok_and(|unit| unit.active_state == "active");
            let since = running_since(unit.as_ref().ok(), now_unix_ms);
            let cause = causes::latest(&lines, &settings.unit, since, settings.cause_max_age);
            (
                cause.filter(|(_, line)| !active || is_recent(line, now_unix_ms, settings)),
                None,
            )
        }
        Err(why) => (None, Some(why.to_string())),
    };
    Sight {
        kubelet: kubelet(host, settings),
        containerd: containerd(host, settings),
        agent_lb: agent_lb(host, settings),
        unit,
        now_unix_ms,
        node: facts.map(|facts| facts.node).unwrap_or_default(),
        cause,
        log_unseen,
    }
}

/// A running agent that has logged nothing more of a trouble has got over it; one that is down may have logged its last long ago.
fn is_recent(line: &JournalLine, now_unix_ms: Option<u64>, settings: &Settings) -> bool {
    let Some(now) = now_unix_ms else { return true };
    u128::from(now.saturating_sub(line.at_unix_ms)) <= settings.cause_max_age.as_millis()
}

fn running_since(unit: Option<&Unit>, now_unix_ms: Option<u64>) -> Option<u64> {
    let unit = unit.filter(|unit| unit.active_state == "active")?;
    // Two clocks are subtracted here, so a second is allowed for.
    Some(
        now_unix_ms?
            .saturating_sub(unit.in_state_ms?)
            .saturating_sub(1000),
    )
}

/// What kubelet says of itself.
pub(crate) fn kubelet<H: Http>(host: &H, settings: &Settings) -> Part {
    if settings.kubelet_healthz.is_empty() {
        return Part::Off;
    }
    match host.http_get(&settings.kubelet_healthz, settings.timeout) {
        Ok(response) if response.status == 200 => Part::Well,
        Ok(response) => {
            let body: String = String::from_utf8_lossy(&response.body)
                .chars()
                .filter(|letter| !letter.is_control())
                .take(120)
                .collect();
            Part::Sick(
                format!("kubelet answers {} {body}", response.status)
                    .trim_end()
                    .to_owned(),
            )
        }
        Err(Error::Denied(why)) => Part::Unseen(why),
        Err(why) => Part::Sick(format!("kubelet does not answer: {why}")),
    }
}

fn containerd<H: Net>(host: &H, settings: &Settings) -> Part {
    if settings.containerd_socket.is_empty() {
        return Part::Off;
    }
    connected(
        "containerd",
        host.unix_connect(&settings.containerd_socket, settings.timeout),
    )
}

fn agent_lb<H: Net>(host: &H, settings: &Settings) -> Part {
    match &settings.agent_lb {
        None => Part::Off,
        Some((address, port)) => connected(
            "the agent's load balancer",
            host.tcp_connect(address, *port, settings.timeout),
        ),
    }
}

fn connected(what: &str, answer: Result<iaso_plugin::capability::ConnectOutcome, Error>) -> Part {
    match answer {
        Ok(seen) if seen.outcome == "connected" => Part::Well,
        Ok(seen) => Part::Sick(
            format!("{what} does not answer: {} {}", seen.outcome, seen.detail)
                .trim_end()
                .to_owned(),
        ),
        Err(Error::Denied(why)) => Part::Unseen(why),
        Err(why) => Part::Sick(format!("{what} does not answer: {why}")),
    }
}
