//! What the answers mean together.

use iaso_plugin::{Finding, Severity};

use crate::ask::{Probe, Reply};
use crate::look::{Server, Sight, TRANSPORTS};
use crate::settings::Settings;

pub(crate) const DELETE_POD: &str = "delete-pod";

/// The findings of one look.
pub(crate) fn judge(settings: &Settings, sight: &Sight) -> Vec<Finding> {
    let mut findings = Vec::new();
    if sight.no_endpoints {
        let summary = format!(
            "{} has no ready endpoint: no CoreDNS pod runs and is ready; look at its Deployment and its nodes",
            settings.service
        );
        findings.push(Finding::critical(
            "coredns.no-endpoints",
            subject(settings),
            summary,
        ));
    }
    let endpoints = || sight.servers.iter().filter(|server| !server.is_service);
    let dead = endpoints().filter(|server| server.is_dead()).count();
    let any_good =
        endpoints().any(|server| TRANSPORTS.iter().any(|transport| server.answers(transport)));
    for server in &sight.servers {
        match server {
            server if server.is_dead() && !server.is_service => {
                findings.push(endpoint_dead(sight, server, dead == endpoints().count()));
            }
            server if server.is_dead() => {
                findings.extend(service_silent(sight, server, any_good, dead > 0));
            }
            server => findings.extend(answering(settings, server)),
        }
    }
    let asked = sight.servers.iter().any(|server| {
        server
            .replies
            .values()
            .any(|reply| !matches!(reply, Reply::Unseen(_)))
    });
    if findings.is_empty() && !asked {
        let why = sight
            .unseen
            .first()
            .cloned()
            .or_else(|| first_unseen(sight))
            .unwrap_or_else(|| "nobody to ask".to_owned());
        let summary = format!(
            "the cluster's DNS could not be asked ({why}): grant it, or set `service_ip` and `endpoints`"
        );
        findings.push(Finding::unknown(
            "coredns.unknown",
            subject(settings),
            summary,
        ));
    }
    if findings.is_empty() {
        let summary = format!(
            "{} DNS servers answer as they should, over UDP and TCP",
            sight.servers.len()
        );
        findings.push(Finding::ok("coredns.ok", subject(settings), summary));
    }
    if let Some(first) = findings.first_mut() {
        first.attributes.extend(evidence(sight));
    }
    findings
        .into_iter()
        .map(|finding| finding.attribute("vantage", "host-network"))
        .collect()
}

fn subject(settings: &Settings) -> String {
    format!("{}/{}", settings.namespace, settings.service)
}

fn endpoint_dead(sight: &Sight, server: &Server, all: bool) -> Finding {
    let severity = if all {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let summary = format!(
        "the CoreDNS endpoint {} answers neither over UDP nor over TCP",
        server.name()
    );
    let finding = Finding::new("coredns.endpoint-dead", severity, server.name(), summary);
    match sight.dead_pod() {
        Some((dead, pod)) if dead.address == server.address => finding
            .attribute("pod", pod.name.clone())
            .remedy(DELETE_POD),
        Some(_) | None => finding,
    }
}

/// A silent service address says something of its own only when someone behind it is known to answer, or nobody is known.
fn service_silent(
    sight: &Sight,
    server: &Server,
    any_good: bool,
    any_dead: bool,
) -> Option<Finding> {
    if any_good {
        let summary = format!(
            "{} is silent while its endpoints answer: the way of services is broken (kube-proxy, its rules)",
            server.name()
        );
        return Some(Finding::critical(
            "coredns.service-path-broken",
            server.name(),
            summary,
        ));
    }
    if any_dead || sight.no_endpoints {
        return None;
    }
    let summary = format!(
        "{} does not answer, and no endpoint is known to tell whether CoreDNS or the way to it is at fault",
        server.name()
    );
    Some(Finding::critical("coredns.timeout", server.name(), summary))
}

/// What is wrong with a server that answers at least one transport.
fn answering(settings: &Settings, server: &Server) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = server.name();
    if server.is_silent("udp") && server.answers("tcp") {
        findings.push(udp_broken(server));
    } else if server.is_silent("tcp") && server.answers("udp") {
        let summary = format!("{name} answers over UDP, but not over TCP: long answers will fail");
        findings.push(
            Finding::warning("coredns.timeout", &name, summary).attribute("transport", "tcp"),
        );
    }
    // The better transport of each probe counts here: what differs between the two was said above.
    let has = |probe: Probe, is: &dyn Fn(&Reply) -> bool| {
        TRANSPORTS
            .iter()
            .filter_map(|by| server.reply(by, probe))
            .any(is)
    };
    let all = |probe: Probe, is: &dyn Fn(&Reply) -> bool| {
        has(probe, is) && !has(probe, &|reply| reply.is_answer() && !is(reply))
    };
    let add =
        |code: &str, summary: String| Finding::critical(format!("coredns.{code}"), &name, summary);
    if has(Probe::Cluster, &|reply| *reply == Reply::Refused) {
        findings.push(add(
            "refused",
            format!("{name} refuses to answer: an access rule, or not the cluster's DNS"),
        ));
    } else if has(Probe::Cluster, &|reply| *reply == Reply::ServFail)
        || has(Probe::Absent, &|reply| *reply == Reply::ServFail)
    {
        findings.push(add(
            "servfail",
            format!(
                "{name} fails on names of the cluster itself: CoreDNS may not reach the API server"
            ),
        ));
    } else if let Some(summary) = wrong(settings, server, &has) {
        findings.push(add("wrong-answer", summary));
    } else if has(Probe::Cluster, &|reply| *reply == Reply::Records)
        && has(Probe::External, &is_upstream_fault)
    {
        // Lost on one transport only, it is as likely a lost packet as a broken upstream.
        let severity = if all(Probe::External, &is_upstream_fault) {
            Severity::Critical
        } else {
            Severity::Warning
        };
        let summary = format!(
            "{name} knows the cluster but not {}: the upstream of CoreDNS is broken",
            settings.external_name
        );
        findings.push(Finding::new(
            "coredns.upstream-broken",
            severity,
            &name,
            summary,
        ));
    } else if has(Probe::Absent, &Reply::is_silence) {
        let summary = format!("{name} answers some questions and lets others time out");
        findings.push(Finding::warning("coredns.timeout", &name, summary));
    }
    findings
}

fn is_upstream_fault(reply: &Reply) -> bool {
    matches!(
        reply,
        Reply::ServFail | Reply::Refused | Reply::Timeout | Reply::OtherRcode(_)
    )
}

/// Asks whether a reply to this probe, by any transport, is such a one.
type Has<'a> = dyn Fn(Probe, &dyn Fn(&Reply) -> bool) -> bool + 'a;

fn wrong(settings: &Settings, server: &Server, has: &Has<'_>) -> Option<String> {
    let name = server.name();
    let cluster = format!("kubernetes.default.svc.{}", settings.cluster_domain);
    if has(Probe::Absent, &|reply| {
        matches!(reply, Reply::Records | Reply::Empty)
    }) {
        return Some(format!(
            "{name} answers for a name that must not exist: a wildcard, or not the cluster's DNS"
        ));
    }
    if has(Probe::Cluster, &|reply| {
        matches!(reply, Reply::NxDomain | Reply::Empty | Reply::OtherRcode(_))
    }) {
        return Some(format!(
            "{name} does not know {cluster}: not the cluster's DNS, or another cluster domain"
        ));
    }
    if has(Probe::External, &|reply| *reply == Reply::NxDomain) {
        let external = &settings.external_name;
        return Some(format!(
            "{name} says that {external} does not exist: its upstream lies, or `external_name` is wrong"
        ));
    }
    None
}

fn udp_broken(server: &Server) -> Finding {
    let name = server.name();
    let summary = if server.is_service {
        format!(
            "{name} answers over TCP, but not over UDP, from the host's network; pods may be fine (k3s#6664), else checksum offload, MTU or conntrack"
        )
    } else {
        format!("{name} answers over TCP, but not over UDP: checksum offload, MTU or conntrack")
    };
    Finding::warning("coredns.udp-only-broken", &name, summary).attribute("transport", "udp")
}

fn first_unseen(sight: &Sight) -> Option<String> {
    sight
        .servers
        .iter()
        .flat_map(|server| server.replies.values())
        .find_map(|reply| match reply {
            Reply::Unseen(why) => Some(why.clone()),
            Reply::Records
            | Reply::Empty
            | Reply::NxDomain
            | Reply::ServFail
            | Reply::Refused
            | Reply::OtherRcode(_)
            | Reply::Timeout
            | Reply::Unreachable(_) => None,
        })
}

/// Every answer of every server, in one attribute each.
fn evidence(sight: &Sight) -> Vec<(String, String)> {
    let servers = sight.servers.iter().map(|server| {
        let replies: Vec<String> = server
            .replies
            .iter()
            .map(|((transport, probe), reply)| {
                format!("{transport} {probe:?}: {}", reply.text()).to_lowercase()
            })
            .collect();
        let role = if server.is_service {
            "service"
        } else {
            "endpoint"
        };
        (format!("{role} {}", server.name()), replies.join("; "))
    });
    servers
        .chain(
            sight
                .unseen
                .iter()
                .map(|why| ("not looked at".to_owned(), why.clone())),
        )
        .collect()
}
