//! What a tunnel's interface and targets mean.

use iaso_plugin::{Finding, Severity};

use crate::look::{Reach, TunnelSight};
use crate::settings::KNOWN_TUNNELS;

/// True when it carries packets, as far as can be seen.
pub(crate) fn works(sight: &TunnelSight) -> bool {
    let is_up = sight
        .link
        .as_ref()
        .is_some_and(|link| link.up && !link.addresses.is_empty());
    let proven = sight
        .targets
        .iter()
        .any(|(_, reach)| *reach == Reach::Reached);
    is_up && (proven || sight.targets.is_empty())
}

pub(crate) fn judge(sight: &TunnelSight) -> Option<Finding> {
    of_link(sight)
        .or_else(|| of_targets(sight))
        .or_else(|| of_routes(sight))
}

fn found(sight: &TunnelSight, code: &str, severity: Severity, summary: String) -> Finding {
    let code = format!("egress.{code}");
    Finding::new(code, severity, &sight.tunnel.interface, summary)
}

fn of_link(sight: &TunnelSight) -> Option<Finding> {
    let name = &sight.tunnel.interface;
    let helps = helps(name);
    let is_reached = sight
        .targets
        .iter()
        .any(|(_, reach)| *reach == Reach::Reached);
    let yet = if is_reached {
        "; what should be behind it is reached, so another way leads there"
    } else {
        ""
    };
    let (code, summary) = match &sight.link {
        None => (
            "tunnel-missing",
            format!("there is no interface {name}{yet}: {helps}"),
        ),
        Some(link) if !link.up => (
            "tunnel-down",
            format!("the interface is down{yet}: {helps}"),
        ),
        Some(link) if link.addresses.is_empty() => (
            "tunnel-no-address",
            format!("the interface is up and has no address, so it is not joined{yet}: {helps}"),
        ),
        Some(_) => return None,
    };
    Some(found(sight, code, Severity::Critical, summary))
}

fn of_targets(sight: &TunnelSight) -> Option<Finding> {
    let helps = helps(&sight.tunnel.interface);
    let mut silent: Vec<&str> = Vec::new();
    let mut unseen = None;
    for (target, reach) in &sight.targets {
        match reach {
            Reach::Reached => {}
            Reach::NoRoute(why) => {
                let summary = format!(
                    "it is up with an address, and the kernel knows no way to {target} behind it ({why}): its routes are missing; {helps}"
                );
                return Some(found(sight, "tunnel-unrouted", Severity::Critical, summary));
            }
            Reach::Silent => silent.push(target),
            Reach::Unseen(why) => unseen = Some((target, why)),
        }
    }
    if !silent.is_empty() {
        let is_all = silent.len() == sight.targets.len();
        let (code, severity, helps) = if is_all {
            ("tunnel-silent", Severity::Critical, helps)
        } else {
            (
                "tunnel-target-silent",
                Severity::Warning,
                "not all of them are silent, so it is those",
            )
        };
        let silent = silent.join(", ");
        let summary = format!(
            "it is up with an address, and nothing comes back from {silent} behind it: {helps}"
        );
        return Some(found(sight, code, severity, summary));
    }
    unseen.map(|(target, why)| {
        let summary =
            format!("it is up with an address; whether it carries is not known: {target}: {why}");
        found(sight, "unknown", Severity::Unknown, summary)
    })
}

fn of_routes(sight: &TunnelSight) -> Option<Finding> {
    let name = sight.tunnel.interface.as_str();
    let is_by_policy = KNOWN_TUNNELS.contains(&name);
    if !sight.targets.is_empty() || sight.is_routed || is_by_policy {
        return None;
    }
    let summary = format!(
        "it is up with an address, and no route leads through it: {}, or name a target behind it in `tunnels`",
        helps(name)
    );
    Some(found(sight, "tunnel-unrouted", Severity::Warning, summary))
}

fn helps(name: &str) -> &'static str {
    match name {
        "tailscale0" => {
            "see `tailscale status` and the unit tailscaled.service; an expired node key needs a new login"
        }
        "CloudflareWARP" => "see `warp-cli status` and the unit warp-svc.service",
        _ => "see the service that makes it",
    }
}
