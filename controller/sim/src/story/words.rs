//! The model's truth in words.

use crate::scenario::{Fault, RecreateManner, Scenario, Strike, Trouble};
use crate::sim::Run;
use crate::story::Moment;

/// A fault, for people.
pub(super) fn fault(strike: &Strike) -> String {
    let text = match strike.fault {
        Fault::Cut => "link cut outside the machine",
        Fault::Hang => "the machine hangs",
        Fault::PowerOff => "powered off",
        Fault::K3sDown => "k3s-agent down",
        Fault::KubeletSilent => "kubelet silent",
        Fault::Check => "a check fails",
        Fault::AgentDead => "agent dead",
        Fault::Stalled => "stalled: only its kernel answers",
        Fault::PluginBroken => "a plugin is broken",
        Fault::Sluggish(percent) => return format!("{percent} % late or lost"),
        Fault::Path { .. } => "partial partition",
        Fault::ZoneSplit => "zone cut off",
        Fault::Blind { .. } => "its own probes fail",
        Fault::ControllerCut { provider: true } => "controller cut off, from the provider too",
        Fault::ControllerCut { provider: false } => "controller cut off from the nodes",
        Fault::ApiDown => "API server down",
        Fault::ApiOverload => "API server overloaded: no lease is renewed",
        Fault::LeaseFrozen => "lease frozen",
        Fault::ReadyLatched => "Ready latched at false",
        Fault::ProviderTrouble(trouble) => return format!("provider answers {}", answer(trouble)),
        Fault::Suspended => "suspended by the provider",
        Fault::Locked => "locked by the provider",
        Fault::SaysRunning => "provider says running",
        Fault::SaysStopped => "provider says stopped",
        Fault::SecretStore => "secret store down",
        Fault::Journal => "journal cannot be written",
        Fault::Paused => "paused by a person",
        Fault::Crash { .. } => "controller away",
    };
    text.to_owned()
}

fn answer(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Unauthorized => "401",
        Trouble::Forbidden => "403",
        Trouble::NotFound => "404",
        Trouble::RateLimited => "429",
        Trouble::Server => "5xx",
        Trouble::Silence => "nothing",
    }
}

/// What heals a fault, for people.
fn heals(strike: &Strike) -> String {
    let heal = &strike.heal;
    let mut all: Vec<String> = Vec::new();
    all.extend(heal.fix.as_ref().map(|fix| format!("fix {fix}")));
    for (name, yes) in [
        ("start", heal.start),
        ("reboot", heal.reboot),
        ("recreate", heal.recreate),
    ] {
        all.extend(yes.then(|| name.to_owned()));
    }
    if all.is_empty() {
        "nothing that Iaso can do heals it".into()
    } else {
        format!("healed by {}", all.join(" or "))
    }
}

/// What really happened, in the order of time.
pub(super) fn truth(scenario: &Scenario, run: &Run) -> Vec<Moment> {
    let moment = |at, text| Moment {
        at_ms: at,
        truth: true,
        kind: "truth".into(),
        text,
    };
    let name = |ix: usize| scenario.nodes.get(ix).map_or("?", |n| n.name.as_str());
    let mut all = Vec::new();
    for strike in scenario.strikes.iter().filter(|s| s.at <= run.ended) {
        let nodes: Vec<&str> = strike.nodes.iter().map(|ix| name(ix.0)).collect();
        let whose = if nodes.is_empty() {
            String::new()
        } else {
            format!("{}: ", nodes.join(", "))
        };
        let ends = match (strike.until, strike.fault.is_global()) {
            (Some(_), _) => "passes by itself".to_owned(),
            (None, true) => "stays".to_owned(),
            (None, false) => heals(strike),
        };
        all.push(moment(
            strike.at,
            format!("{whose}{} ({ends})", fault(strike)),
        ));
        if let Some(until) = strike.until.filter(|u| *u <= run.ended) {
            all.push(moment(until, format!("{whose}{}: over", fault(strike))));
        }
    }
    let mut before = std::collections::BTreeMap::new();
    for turn in &run.chronicle.nodes {
        let well = before.insert(turn.node, turn.well).unwrap_or(true);
        if turn.well && !well {
            all.push(moment(
                turn.at,
                format!("{} is well again", name(turn.node)),
            ));
        }
    }
    for (at, up) in run.chronicle.controller.iter().filter(|(at, _)| *at > 0) {
        let text = if *up {
            "the controller starts"
        } else {
            "the controller dies"
        };
        all.push(moment(*at, text.to_owned()));
    }
    let provider = run
        .happenings
        .iter()
        .filter(|(_, text)| text.contains("provider"));
    all.extend(provider.map(|(at, text)| moment(*at, text.clone())));
    if scenario.provider.recreate == RecreateManner::ComesUpBare {
        let text = "the provider's machines come up bare: the script never runs".to_owned();
        all.push(moment(0, text));
    }
    all.sort_by_key(|moment| moment.at_ms);
    all
}
