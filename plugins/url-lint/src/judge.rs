//! Which URLs lead where nothing listens.

use std::collections::{BTreeMap, BTreeSet};

use iaso_plugin::capability::EnvUrl;
use iaso_plugin::{Error, Finding, Kube};

use crate::lookup::{Lookup, Named, Ports};
use crate::settings::Settings;

/// Findings for single variables; more are counted.
const FINDINGS_MAX: usize = 24;

pub(crate) fn judge<H: Kube>(
    settings: &Settings,
    urls: &[EnvUrl],
    unseen: &[(&str, Error)],
    lookup: &mut Lookup<'_, H>,
) -> Vec<Finding> {
    let mut judged = 0_usize;
    let mut unknown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut findings: Vec<Finding> = Vec::new();
    // The pods of one workload say the same: it is told once.
    let mut told: BTreeSet<(&str, &str, &str, &str)> = BTreeSet::new();
    for url in urls {
        if settings.ignore.contains(&url.variable) {
            continue;
        }
        if let Some((_, why)) = url.attributes.iter().find(|(key, _)| key == "unread") {
            unknown.entry(why.clone()).or_default().insert(place(url));
            continue;
        }
        match lookup.named(&url.host, &url.namespace) {
            Named::Other => {}
            Named::Unseen(why) => {
                unknown.entry(why).or_default().insert(place(url));
            }
            Named::Absent(namespace, name) => {
                judged += 1;
                let key = (
                    url.namespace.as_str(),
                    url.container.as_str(),
                    url.variable.as_str(),
                    url.host.as_str(),
                );
                if told.insert(key) {
                    findings.push(absent(url, &namespace, &name));
                }
            }
            Named::Service(ports) => {
                judged += 1;
                let key = (
                    url.namespace.as_str(),
                    url.container.as_str(),
                    url.variable.as_str(),
                    url.host.as_str(),
                );
                if let Some(finding) = of_port(url, &ports)
                    && told.insert(key)
                {
                    findings.push(finding);
                }
            }
        }
    }
    let more = findings.len().saturating_sub(FINDINGS_MAX);
    findings.truncate(FINDINGS_MAX);
    if more > 0 {
        let summary = format!("{more} variables more lead nowhere than are named here");
        findings.push(Finding::warning("url-lint.more", "this node", summary));
    }
    findings.extend(of_unknown(&unknown, unseen));
    if findings.is_empty() {
        let summary = format!(
            "{} URLs in the environment of this node's pods; {judged} lead to Services, and to ports that those have",
            urls.len()
        );
        findings.push(Finding::ok("url-lint.ok", "this node", summary));
    }
    findings
}

fn place(url: &EnvUrl) -> String {
    format!("{}/{} {}", url.namespace, url.pod, url.variable)
}

fn finding(url: &EnvUrl, code: &str, summary: String) -> Finding {
    let source = url.attributes.iter().find(|(key, _)| key == "source");
    Finding::warning(format!("url-lint.{code}"), place(url), summary)
        .attribute("container", url.container.clone())
        .attribute(
            "source",
            source.map_or_else(String::new, |(_, source)| source.clone()),
        )
}

fn absent(url: &EnvUrl, namespace: &str, name: &str) -> Finding {
    let summary = format!(
        "it names {}, and namespace {namespace} has no Service {name}: correct the name, or name the namespace (`{name}.NAMESPACE`)",
        url.host
    );
    finding(url, "no-such-service", summary)
}

fn of_port(url: &EnvUrl, service: &Ports) -> Option<Finding> {
    // Without ports of its own there is nothing to compare with.
    if service.ports.is_empty() {
        return None;
    }
    let asked = url.port.or_else(|| default_port(&url.scheme))?;
    if service.ports.contains(&asked) {
        return None;
    }
    let has: Vec<String> = service.ports.iter().map(u16::to_string).collect();
    let has = has.join(", ");
    let example = format!("{}://{}:{}", url.scheme, url.host, service.ports.first()?);
    Some(if url.port.is_none() {
        let summary = format!(
            "it names no port, so that {} means {asked}, and Service {} has {has} only: clients wait there in vain; write `{example}`",
            url.scheme, service.name
        );
        finding(url, "port-missing", summary)
    } else {
        let summary = format!(
            "it names port {asked}, and Service {} has {has} only (a port of the Service, not of its containers): write `{example}`",
            service.name
        );
        finding(url, "wrong-port", summary)
    })
}

/// The port that a client takes when none is named.
fn default_port(scheme: &str) -> Option<u16> {
    Some(match scheme {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        "postgres" | "postgresql" => 5432,
        "mysql" | "mariadb" => 3306,
        "redis" | "rediss" | "valkey" => 6379,
        "mongodb" => 27017,
        "amqp" => 5672,
        "amqps" => 5671,
        "nats" => 4222,
        "ldap" => 389,
        "ldaps" => 636,
        _ => return None,
    })
}

fn of_unknown(
    unknown: &BTreeMap<String, BTreeSet<String>>,
    unseen: &[(&str, Error)],
) -> Vec<Finding> {
    let namespaces = unseen.iter().map(|(namespace, why)| {
        let summary = format!("the environment of its pods could not be looked at: {why}");
        Finding::unknown("url-lint.unknown", *namespace, summary)
    });
    let reasons = unknown.iter().take(FINDINGS_MAX).map(|(why, places)| {
        let first = places.first().map_or("", String::as_str);
        let summary = format!("{} variables could not be judged: {why}", places.len());
        Finding::unknown("url-lint.unknown", first, summary)
    });
    namespaces.chain(reasons).collect()
}
