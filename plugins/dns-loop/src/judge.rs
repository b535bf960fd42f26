//! What the servers mean for the cluster DNS.

use iaso_plugin::{Finding, Severity};

use crate::ask::Reply;
use crate::look::{CHOICES, ClusterDns, GENERATED, Place, Sight, Source};
use crate::settings::Settings;

/// The resolver library takes no more, and the kubelet passes no more on.
const SERVERS_OF_PODS_MAX: usize = 3;

/// What is known of the cluster DNS.
enum Symptom {
    Works,
    /// It fails on a name of the internet; in what way.
    Fails(String),
    Unknown,
}

pub(crate) fn judge(settings: &Settings, sight: &Sight) -> Vec<Finding> {
    let symptom = symptom(sight.cluster_dns.as_ref());
    let mut findings = of_file(sight);
    for (server, place) in &sight.servers {
        findings.extend(of_server(settings, sight, server, place, &symptom));
    }
    findings.extend(of_silence(settings, sight));
    if sight.servers.len() > SERVERS_OF_PODS_MAX {
        let summary = format!(
            "it names {} servers, and pods get the first {SERVERS_OF_PODS_MAX} only; the kubelet warns of it at every pod",
            sight.servers.len()
        );
        findings.push(Finding::info(
            "dns-loop.too-many-servers",
            sight.source.path(),
            summary,
        ));
    }
    if findings
        .iter()
        .all(|finding| finding.severity == Severity::Info)
    {
        findings.insert(0, well(sight));
    }
    findings
        .into_iter()
        .map(|finding| finding.attribute("resolv_conf", sight.source.path()))
        .collect()
}

fn symptom(cluster_dns: Option<&ClusterDns>) -> Symptom {
    let Some(ClusterDns { external, own_name }) = cluster_dns else {
        return Symptom::Unknown;
    };
    match external {
        Reply::Knows => Symptom::Works,
        Reply::Unseen(_) => Symptom::Unknown,
        Reply::Fails(_) | Reply::Silent => {
            let own = match own_name {
                Reply::Knows => "while it knows the cluster's own names",
                Reply::Fails(_) | Reply::Silent | Reply::Unseen(_) => {
                    "nor anything else: CoreDNS ends itself when its `loop` plugin sees a loop"
                }
            };
            Symptom::Fails(format!(
                "the cluster DNS does not resolve names of the internet ({}) {own}",
                external.text()
            ))
        }
    }
}

fn of_file(sight: &Sight) -> Vec<Finding> {
    let path = sight.source.path();
    if !sight.is_there {
        let summary = "the kubelet is told to give this file to pods, and it is not there: no pod starts; correct `resolv-conf`, or start what writes the file (systemd-resolved)";
        return vec![Finding::critical("dns-loop.file-missing", path, summary)];
    }
    if sight.servers.is_empty() {
        let summary = "it names no server: CoreDNS has nobody to forward to; name one, or give the kubelet another file (`resolv-conf`)";
        return vec![Finding::critical("dns-loop.no-server", path, summary)];
    }
    if sight.source == Source::Generated {
        let summary = format!(
            "neither {} nor {} names servers that pods can reach, so k3s gives them {GENERATED} alone: internal names stay unknown, and where {GENERATED} is blocked all names do; write a file with your servers and name it with `resolv-conf`",
            CHOICES[0], CHOICES[1]
        );
        return vec![Finding::warning(
            "dns-loop.generated-server",
            "resolv.conf of pods",
            summary,
        )];
    }
    Vec::new()
}

fn of_server(
    settings: &Settings,
    sight: &Sight,
    server: &str,
    place: &Place,
    symptom: &Symptom,
) -> Option<Finding> {
    let path = sight.source.path();
    let (code, what, helps) = match place {
        Place::Loopback => (
            "loopback-server",
            format!("{path} gives pods {server}{}, which in a pod is the pod itself", whose(server)),
            format!(
                "give the kubelet the file with the real servers, which systemd-resolved keeps in {} (`resolv-conf` in /etc/rancher/k3s/config.yaml)",
                CHOICES[1]
            ),
        ),
        Place::ClusterDns => (
            "cluster-dns-server",
            format!("{path} gives pods {server}, the cluster DNS, which then forwards to itself"),
            "take it out of the node's servers (systemd-resolved: `DNS=`), or limit it to the cluster's domain, and give the kubelet a file without it".to_owned(),
        ),
        Place::LinkLocal => (
            "link-local-server",
            format!("{path} gives pods {server}, which only this node reaches; where a DNS cache of the cluster listens there, it leads back to the cluster DNS"),
            "give the kubelet a file without it (`resolv-conf`)".to_owned(),
        ),
        Place::Own(Reply::Fails(_) | Reply::Silent) => (
            "own-server",
            format!("{path} gives pods {server}, an address of this node, and what listens there does not resolve {}", settings.external_name),
            "see where it forwards to: to the cluster DNS closes a circle".to_owned(),
        ),
        Place::NoAddress => {
            let summary = format!("`{server}` in {path} is no address: it is of no use to anybody");
            return Some(Finding::warning("dns-loop.no-address", server, summary));
        }
        Place::Own(Reply::Knows | Reply::Unseen(_)) | Place::Elsewhere(_) => return None,
    };
    Some(match symptom {
        Symptom::Fails(how) => Finding::critical(
            "dns-loop.loop",
            server,
            format!("{what}, and {how}: a loop; {helps}; then restart CoreDNS, which keeps the file that it began with"),
        )
        .attribute("way", code),
        Symptom::Works => Finding::warning(
            format!("dns-loop.{code}"),
            server,
            format!("{what}; names resolve still, by another server or until CoreDNS begins anew; {helps}"),
        ),
        Symptom::Unknown => Finding::warning(
            format!("dns-loop.{code}"),
            server,
            format!("{what}; whether names resolve is not known; {helps}"),
        ),
    })
}

/// Who usually listens on an address of the loopback.
fn whose(server: &str) -> &'static str {
    match server {
        "127.0.0.53" | "127.0.0.54" => " (the stub of systemd-resolved)",
        "127.0.2.2" | "127.0.2.3" => " (the proxy of Cloudflare WARP)",
        "127.0.0.1" | "::1" => " (a forwarder such as dnsmasq)",
        _ => "",
    }
}

/// Servers elsewhere that do not answer.
fn of_silence(settings: &Settings, sight: &Sight) -> Option<Finding> {
    let asked: Vec<(&str, &Reply)> = sight
        .servers
        .iter()
        .filter_map(|(server, place)| match place {
            Place::Elsewhere(reply @ (Reply::Knows | Reply::Fails(_) | Reply::Silent)) => {
                Some((server.as_str(), reply))
            }
            Place::Elsewhere(Reply::Unseen(_))
            | Place::Loopback
            | Place::ClusterDns
            | Place::Own(_)
            | Place::LinkLocal
            | Place::NoAddress => None,
        })
        .collect();
    let failing: Vec<String> = asked
        .iter()
        .filter(|(_, reply)| **reply != Reply::Knows)
        .map(|(server, reply)| format!("{server} ({})", reply.text()))
        .collect();
    let severity = match failing.len() {
        0 => return None,
        all if all == sight.servers.len() => Severity::Critical,
        _ => Severity::Warning,
    };
    let summary = format!(
        "asked from this node, {} of {} servers do not resolve {}: {}; no loop, but the way to them, or they themselves",
        failing.len(),
        sight.servers.len(),
        settings.external_name,
        failing.join(", ")
    );
    Some(Finding::new(
        "dns-loop.server-silent",
        severity,
        sight.source.path(),
        summary,
    ))
}

fn well(sight: &Sight) -> Finding {
    let servers: Vec<&str> = sight
        .servers
        .iter()
        .map(|(server, _)| server.as_str())
        .collect();
    let why = match &sight.source {
        Source::Given(_) => "as the kubelet is told",
        Source::Chosen(_) | Source::Generated => "as k3s chooses",
    };
    let mut summary = format!(
        "pods get the servers of {} ({why}): {}; none leads back to the cluster DNS",
        sight.source.path(),
        servers.join(", ")
    );
    let unasked = sight.servers.iter().any(|(_, place)| {
        matches!(
            place,
            Place::Own(Reply::Unseen(_)) | Place::Elsewhere(Reply::Unseen(_))
        )
    });
    if unasked {
        summary.push_str(" by its address; not all could be asked");
    }
    if !sight.unseen.is_empty() {
        let unseen = sight.unseen.join("; ");
        return Finding::unknown(
            "dns-loop.unknown",
            sight.source.path(),
            format!("{summary}; not looked at: {unseen}"),
        );
    }
    Finding::ok("dns-loop.ok", sight.source.path(), summary)
}
