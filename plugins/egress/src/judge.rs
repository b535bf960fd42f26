//! What the ways out mean together.

use iaso_plugin::{Finding, Severity};

use crate::look::{Identity, Reach, Sight};
use crate::settings::Settings;
use crate::tunnel;

const INTERNET: &str = "the internet";
const ADDRESS: &str = "the address that others see";

pub(crate) fn judge(settings: &Settings, sight: &Sight) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    findings.extend(of_anchors(sight));
    findings.extend(of_identity(settings, &sight.identity));
    findings.extend(sight.tunnels.iter().filter_map(tunnel::judge));
    if !sight.unseen.is_empty() {
        let summary = format!("not looked at: {}", sight.unseen.join("; "));
        findings.push(Finding::unknown("egress.unknown", "tunnels", summary));
    }
    if findings
        .iter()
        .all(|finding| finding.severity == Severity::Info)
    {
        findings.insert(0, well(sight));
    }
    findings
}

fn count(anchors: &[(String, Reach)], is: fn(&Reach) -> bool) -> Vec<&str> {
    anchors
        .iter()
        .filter(|(_, reach)| is(reach))
        .map(|(name, _)| name.as_str())
        .collect()
}

fn of_anchors(sight: &Sight) -> Option<Finding> {
    let reached = count(&sight.anchors, |reach| *reach == Reach::Reached);
    let lost = count(&sight.anchors, |reach| {
        matches!(reach, Reach::Silent | Reach::NoRoute(_))
    });
    let unseen = sight.anchors.iter().find_map(|(name, reach)| match reach {
        Reach::Unseen(why) => Some(format!("{name}: {why}")),
        Reach::Reached | Reach::Silent | Reach::NoRoute(_) => None,
    });
    match (reached.is_empty(), lost.is_empty()) {
        (true, true) => unseen.map(|why| {
            let summary = format!("no public address could be tried: {why}");
            Finding::unknown("egress.unknown", INTERNET, summary)
        }),
        (true, false) => Some(no_egress(sight, &lost)),
        (false, true) => None,
        (false, false) => {
            let is_v6 = |name: &str| name.starts_with('[');
            let family = if lost.iter().all(|name| is_v6(name))
                && !reached.iter().any(|name| is_v6(name))
            {
                ": all of them IPv6, which does not get out while IPv4 does"
            } else if !lost.iter().any(|name| is_v6(name)) && reached.iter().all(|name| is_v6(name))
            {
                ": all of them IPv4, which does not get out while IPv6 does"
            } else {
                ": they, or the way to them"
            };
            let summary = format!(
                "{} answer, {} do not{family}",
                reached.join(", "),
                lost.join(", ")
            );
            Some(Finding::warning("egress.partial", INTERNET, summary))
        }
    }
}

fn no_egress(sight: &Sight, lost: &[&str]) -> Finding {
    let lost = lost.join(", ");
    if let Identity::Is { address, .. } = sight.identity {
        let summary = format!(
            "{lost} do not answer, and yet `identity_url` does, and sees {address}: there is a way out, and the anchors are blocked"
        );
        return Finding::warning("egress.anchors-blocked", INTERNET, summary);
    }
    let way = match &sight.default_ways {
        Ok(ways) if ways.is_empty() => "there is no default route".to_owned(),
        Ok(ways) => format!("the default route leads through {}", ways.join(", ")),
        Err(why) => format!("the routes are not known ({why})"),
    };
    let working: Vec<&str> = sight
        .tunnels
        .iter()
        .filter(|sight| tunnel::works(sight))
        .map(|sight| sight.tunnel.interface.as_str())
        .collect();
    let others = if working.is_empty() {
        String::new()
    } else {
        format!(
            "; {} works, so the node is not cut off: it is the public way alone",
            working.join(", ")
        )
    };
    let summary = format!("{lost} do not answer; {way}{others}");
    Finding::critical("egress.no-internet", INTERNET, summary)
}

fn of_identity(settings: &Settings, identity: &Identity) -> Option<Finding> {
    match identity {
        Identity::NotAsked => None,
        Identity::Unknown(why) => {
            let summary = format!("{} did not say it: {why}", settings.identity_url);
            Some(Finding::unknown("egress.unknown", ADDRESS, summary))
        }
        Identity::OnlyConnects(why) => {
            let summary = format!(
                "{} takes connections, and nothing comes after that ({why}): large packets or the way back are lost; compare the MTU of the default way and of tunnels",
                settings.identity_url
            );
            Some(Finding::critical("egress.asymmetric", INTERNET, summary))
        }
        Identity::Is {
            address,
            warp,
            before,
        } => {
            let warp = warp
                .as_ref()
                .map_or_else(String::new, |word| format!(" (WARP: {word})"));
            if !settings.expected.is_empty() && !settings.expects(*address) {
                let summary = format!(
                    "others see {address}{warp}, which is not among `expect_addresses`: an exit node, WARP or another way took over, and lists of allowed addresses (databases!) let connections in and refuse them after"
                );
                return Some(
                    Finding::warning("egress.address-moved", ADDRESS, summary)
                        .attribute("address", address.to_string()),
                );
            }
            let before = before.filter(|before| before != address)?;
            let summary = format!("others see {address}{warp} now, and saw {before} before");
            Some(
                Finding::info("egress.address-changed", ADDRESS, summary)
                    .attribute("address", address.to_string())
                    .attribute("before", before.to_string()),
            )
        }
    }
}

fn well(sight: &Sight) -> Finding {
    let mut parts = Vec::new();
    if !sight.anchors.is_empty() {
        parts.push(format!("{} public addresses answer", sight.anchors.len()));
    }
    if let Identity::Is { address, .. } = sight.identity {
        parts.push(format!("others see {address}"));
    }
    for sight in &sight.tunnels {
        let proof = if sight.targets.is_empty() {
            "is up"
        } else {
            "is up, and what is behind it answers"
        };
        parts.push(format!("{} {proof}", sight.tunnel.interface));
    }
    if parts.is_empty() {
        return Finding::unknown(
            "egress.unknown",
            INTERNET,
            "nothing is configured to be tried: name `anchors`",
        );
    }
    Finding::ok("egress.ok", INTERNET, parts.join("; "))
}
