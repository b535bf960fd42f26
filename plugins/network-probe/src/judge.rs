//! What the sight means.

use iaso_plugin::{Finding, Severity};

use crate::look::{Answer, Kind, Sight, Target};
use crate::settings::Settings;

pub(crate) const RESTART: &str = "restart-networking";
const HERE: &str = "this host";

/// What is wrong with the network as a whole, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing answers.
    CutOff,
    NoDefaultRoute,
    /// The gateway and everything beyond it are silent; what is on the link answers.
    GatewayDown,
    /// All public anchors are silent, and others answer.
    NoInternet,
    Connected,
    /// Nothing could be looked at.
    Unseen,
}

impl Verdict {
    /// True when the fault may be this host's own.
    pub(crate) const fn is_own(self) -> bool {
        matches!(
            self,
            Self::CutOff | Self::NoDefaultRoute | Self::GatewayDown
        )
    }
}

pub(crate) fn verdict(settings: &Settings, sight: &Sight) -> Verdict {
    let reached = |kind: Option<Kind>| {
        count(sight, kind, |answer| {
            matches!(answer, Answer::Reached { .. })
        })
    };
    let silent =
        |kind: Option<Kind>| count(sight, kind, |answer| matches!(answer, Answer::Silent(_)));
    let all_silent = |kind| reached(Some(kind)) == 0 && silent(Some(kind)) > 0;
    let routeless =
        settings.require_default_route && sight.default_routes.as_ref().is_some_and(Vec::is_empty);
    // One silent target alone may just be down.
    let cut_off = reached(None) == 0 && silent(None) > 1;
    if routeless && reached(Some(Kind::Anchor)) == 0 {
        Verdict::NoDefaultRoute
    } else if cut_off {
        Verdict::CutOff
    } else if all_silent(Kind::Gateway) && all_silent(Kind::Anchor) {
        Verdict::GatewayDown
    } else if all_silent(Kind::Anchor) && reached(None) > 0 {
        Verdict::NoInternet
    } else if reached(None) == 0 && silent(None) == 0 {
        Verdict::Unseen
    } else {
        Verdict::Connected
    }
}

fn count(sight: &Sight, kind: Option<Kind>, is: impl Fn(&Answer) -> bool) -> usize {
    sight
        .targets
        .iter()
        .filter(|target| kind.is_none_or(|kind| target.kind == kind) && is(&target.answer))
        .count()
}

/// The findings of one look.
pub(crate) fn judge(settings: &Settings, sight: &Sight) -> Vec<Finding> {
    let verdict = verdict(settings, sight);
    let mut findings: Vec<Finding> = whole(verdict, sight)
        .into_iter()
        .map(|finding| offer(settings, finding))
        .collect();
    // When nothing answers, what each target does says nothing about the target.
    if !matches!(
        verdict,
        Verdict::CutOff | Verdict::NoDefaultRoute | Verdict::Unseen
    ) {
        findings.extend(
            sight
                .targets
                .iter()
                .filter_map(|target| of_target(settings, verdict, target)),
        );
    }
    if let Some(hole) = &sight.black_hole {
        let summary = format!(
            "packets of {} bytes to {} vanish without a word, {} bytes pass: lower the MTU of the link or the overlay to {}, or let ICMP \
             `fragmentation needed` through",
            hole.swallowed, hole.host, hole.passes, hole.passes
        );
        let finding = Finding::warning("network-probe.mtu-black-hole", &hole.host, summary);
        findings.push(
            finding
                .attribute("passes-bytes", hole.passes.to_string())
                .attribute("swallowed-bytes", hole.swallowed.to_string()),
        );
    }
    if findings.is_empty() {
        let reached = count(sight, None, |answer| {
            matches!(answer, Answer::Reached { .. })
        });
        findings.push(Finding::ok(
            "network-probe.ok",
            HERE,
            format!("{reached} of {} targets answer", sight.targets.len()),
        ));
    }
    if let Some(first) = findings.first_mut() {
        first.attributes.extend(evidence(sight));
    }
    findings
}

fn whole(verdict: Verdict, sight: &Sight) -> Option<Finding> {
    let silent = count(sight, None, |answer| matches!(answer, Answer::Silent(_)));
    let of = |kind| names(sight, kind);
    Some(match verdict {
        Verdict::CutOff => {
            let gateway = if of(Kind::Gateway).is_empty() {
                "no gateway could be asked"
            } else {
                "the gateway included"
            };
            let summary = format!(
                "this host is cut off: none of {silent} targets answers, {gateway}; look at its link, and at the hypervisor"
            );
            Finding::critical("network-probe.host-cut-off", HERE, summary)
        }
        Verdict::NoDefaultRoute => {
            let summary = "this host has no default route and reaches nothing public: look at its network configuration or DHCP";
            Finding::critical("network-probe.no-default-route", HERE, summary)
        }
        Verdict::GatewayDown => {
            let summary = format!(
                "the gateway {} and everything beyond it are silent, while others answer",
                of(Kind::Gateway)
            );
            Finding::critical("network-probe.gateway-down", of(Kind::Gateway), summary)
        }
        Verdict::NoInternet => {
            let summary = format!(
                "no public anchor answers ({}), while others do: look beyond the gateway, and at firewalls",
                of(Kind::Anchor)
            );
            Finding::critical(
                "network-probe.internet-unreachable",
                of(Kind::Anchor),
                summary,
            )
        }
        Verdict::Unseen => {
            let summary = "no target could be looked at: grant net.tcp and net.icmp for the targets, or configure others";
            Finding::unknown("network-probe.unknown", HERE, summary)
        }
        Verdict::Connected => return None,
    })
}

/// Only what may be this host's own fault, and only where the operator named the unit.
fn offer(settings: &Settings, finding: Finding) -> Finding {
    let own = [
        "network-probe.host-cut-off",
        "network-probe.no-default-route",
        "network-probe.gateway-down",
    ];
    if settings.networking_unit.is_empty() || !own.contains(&finding.code.as_str()) {
        finding
    } else {
        finding.remedy(RESTART)
    }
}

fn of_target(settings: &Settings, verdict: Verdict, target: &Target) -> Option<Finding> {
    let what = format!("{} {}", target.kind.as_str(), target.name);
    match &target.answer {
        // Told of already, or no fault: something beyond a silent gateway answers.
        Answer::Silent(_) if target.kind == Kind::Gateway => None,
        Answer::Silent(_)
            if target.kind == Kind::Anchor
                && matches!(verdict, Verdict::NoInternet | Verdict::GatewayDown) =>
        {
            None
        }
        Answer::Silent(how) if target.kind == Kind::Api => {
            let summary =
                format!("the {what} does not answer from here ({how}), while other targets do");
            Some(Finding::critical(
                "network-probe.api-server-unreachable",
                target.address.text(),
                summary,
            ))
        }
        Answer::Silent(how) => {
            let summary = format!(
                "{what} does not answer ({how}), while others do: look there, this host is connected"
            );
            Some(
                Finding::warning("network-probe.target-down", target.address.text(), summary)
                    .attribute("kind", target.kind.as_str()),
            )
        }
        Answer::Reached { lost_percent, .. } if *lost_percent >= settings.loss_warn_percent => {
            let summary = format!("{lost_percent} % of the pings to {what} are lost");
            Some(measured("network-probe.loss", target, summary))
        }
        Answer::Reached { latency, .. } if *latency >= settings.latency_warn => {
            let summary = format!("{what} answers only after {} ms", latency.as_millis());
            Some(measured("network-probe.latency", target, summary))
        }
        Answer::Reached { .. } | Answer::Unseen(_) => None,
    }
}

fn measured(code: &str, target: &Target, summary: String) -> Finding {
    Finding::new(code, Severity::Warning, target.address.text(), summary)
        .attribute("kind", target.kind.as_str())
}

fn names(sight: &Sight, kind: Kind) -> String {
    let names: Vec<&str> = sight
        .targets
        .iter()
        .filter(|target| target.kind == kind)
        .map(|target| target.name.as_str())
        .collect();
    names.join(", ")
}

/// What every target answered, and what was not looked at.
fn evidence(sight: &Sight) -> Vec<(String, String)> {
    let targets = sight.targets.iter().map(|target| {
        let answer = match &target.answer {
            Answer::Reached {
                latency,
                lost_percent: 0,
            } => format!("{} us", latency.as_micros()),
            Answer::Reached {
                latency,
                lost_percent,
            } => format!("{} us, {lost_percent} % lost", latency.as_micros()),
            Answer::Silent(how) => how.clone(),
            Answer::Unseen(why) => format!("not looked at: {why}"),
        };
        (
            format!("{} {}", target.kind.as_str(), target.address.text()),
            answer,
        )
    });
    let unseen = sight
        .unseen
        .iter()
        .map(|why| ("not looked at".to_owned(), why.clone()));
    targets.chain(unseen).collect()
}
