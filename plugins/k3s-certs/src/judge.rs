//! What the dates mean, and what helps.

use std::collections::BTreeMap;

use iaso_plugin::{Finding, Severity};

use crate::certificate::{Certificate, day};
use crate::look::{Content, Owner, Seen};
use crate::settings::Settings;

const HERE: &str = "this host";
const DAY_S: u64 = 86_400;
/// Names in one sentence.
const NAMED_MAX: usize = 4;
/// Findings for single files; more are counted.
const DAMAGED_MAX: usize = 8;

/// How a certificate stands, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Expired,
    NotYetValid,
    Critical,
    Warning,
    RenewalDue,
    Well,
}

/// Certificates that are told of together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    standing: Standing,
    is_ca: bool,
    owner: Owner,
}

/// One certificate with the file that holds it.
#[derive(Debug, Clone)]
struct Held<'a> {
    path: &'a str,
    certificate: &'a Certificate,
}

pub(crate) fn judge(settings: &Settings, seen: &[Seen], now_s: u64) -> Vec<Finding> {
    let mut findings = of_files(seen);
    let mut groups: BTreeMap<Group, Vec<Held<'_>>> = BTreeMap::new();
    for file in seen {
        let Content::Certificates(all) = &file.content else {
            continue;
        };
        for certificate in all {
            let group = Group {
                standing: standing(settings, certificate, now_s),
                is_ca: certificate.is_ca,
                owner: file.owner,
            };
            let path = file.path.as_str();
            groups
                .entry(group)
                .or_default()
                .push(Held { path, certificate });
        }
    }
    let all: Vec<Held<'_>> = groups.values().flatten().cloned().collect();
    for (group, mut held) in groups {
        held.sort_by_key(|held| held.certificate.ends_s);
        findings.extend(of_group(settings, group, &held, now_s));
    }
    let soonest = all.iter().min_by_key(|held| held.certificate.ends_s);
    match soonest {
        Some(soonest) if findings.is_empty() => {
            let summary = format!(
                "{} certificates are valid; {} is the first to end, on {} ({})",
                all.len(),
                soonest.path,
                day(soonest.certificate.ends_s),
                left(soonest.certificate, now_s)
            );
            let finding = Finding::ok("k3s-certs.ok", HERE, summary);
            findings.push(attributes(finding, soonest, all.len(), now_s));
        }
        None if findings.is_empty() => findings.push(Finding::unknown(
            "k3s-certs.unknown",
            HERE,
            format!(
                "no certificate of k3s is in {} or {}: k3s has not started here yet, or has another --data-dir (keys `agent_dir`, `server_dir`)",
                shown(&settings.agent_dir),
                shown(&settings.server_dir)
            ),
        )),
        Some(_) | None => {}
    }
    findings
}

fn standing(settings: &Settings, certificate: &Certificate, now_s: u64) -> Standing {
    let Some(left_s) = certificate.ends_s.checked_sub(now_s) else {
        return Standing::Expired;
    };
    if certificate.begins_s > now_s {
        return Standing::NotYetValid;
    }
    let within = |days: u64| left_s <= days * DAY_S;
    if within(settings.critical_days) {
        Standing::Critical
    } else if certificate.is_ca && within(settings.ca_warn_days)
        || !certificate.is_ca && within(settings.warn_days)
    {
        Standing::Warning
    } else if !certificate.is_ca && within(settings.renewal_days) {
        Standing::RenewalDue
    } else {
        Standing::Well
    }
}

/// Files that are no certificate, are missing, or could not be read.
fn of_files(seen: &[Seen]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut unseen: Vec<(&str, &str)> = Vec::new();
    for file in seen {
        match &file.content {
            Content::Damaged(why) if findings.len() < DAMAGED_MAX => {
                let summary = format!(
                    "{why}: k3s cannot use it; move it and the key beside it away and {}",
                    restart(file.owner)
                );
                findings.push(Finding::critical("k3s-certs.damaged", &file.path, summary));
            }
            Content::Missing => {
                let summary = "the file named in `extra` is not there";
                findings.push(Finding::unknown("k3s-certs.unknown", &file.path, summary));
            }
            Content::Unseen(why) => unseen.push((&file.path, why)),
            Content::Damaged(_) | Content::Certificates(_) => {}
        }
    }
    if let Some((first, why)) = unseen.first() {
        let summary = format!(
            "{} files could not be read, {first} among them: {why}",
            unseen.len()
        );
        findings.push(Finding::unknown("k3s-certs.unknown", HERE, summary));
    }
    findings
}

fn of_group(settings: &Settings, group: Group, held: &[Held<'_>], now_s: u64) -> Option<Finding> {
    let Group {
        standing,
        is_ca,
        owner,
    } = group;
    let first = held.first()?;
    let (what, ends) = (names(held), day(first.certificate.ends_s));
    let left = left(first.certificate, now_s);
    let renews = if is_ca {
        "k3s never renews its authorities by itself: plan `k3s certificate rotate-ca`".to_owned()
    } else {
        renews(settings, owner)
    };
    let (code, severity, summary) = match standing {
        Standing::Well => return None,
        Standing::Expired if is_ca => (
            "ca-expired",
            Severity::Critical,
            format!(
                "{what} ended on {ends}, and with it everything that it signed; {renews}, or correct this host's clock"
            ),
        ),
        Standing::Expired => (
            "expired",
            Severity::Critical,
            format!(
                "{what} ended on {ends} ({left}); {renews}; where the date is wrong, it is this host's clock"
            ),
        ),
        Standing::NotYetValid => (
            "not-yet-valid",
            Severity::Critical,
            format!(
                "{what} is valid from {} on only: this host's clock is behind, or was ahead when it was made",
                day(first.certificate.begins_s)
            ),
        ),
        Standing::Critical | Standing::Warning => (
            if is_ca { "ca-expiring" } else { "expiring" },
            if standing == Standing::Critical {
                Severity::Critical
            } else {
                Severity::Warning
            },
            format!("{what} ends on {ends} ({left}); {renews}"),
        ),
        Standing::RenewalDue => (
            "renewal-due",
            Severity::Info,
            format!(
                "{what} ends on {ends} ({left}): the next start of k3s renews it, and nothing before that does"
            ),
        ),
    };
    let finding = Finding::new(format!("k3s-certs.{code}"), severity, first.path, summary);
    Some(attributes(finding, first, held.len(), now_s))
}

fn attributes(finding: Finding, first: &Held<'_>, count: usize, now_s: u64) -> Finding {
    let days = i128::from(first.certificate.ends_s) - i128::from(now_s);
    finding
        .attribute("ends", day(first.certificate.ends_s))
        .attribute("days_left", days.div_euclid(i128::from(DAY_S)).to_string())
        .attribute("subject", first.certificate.name.clone())
        .attribute("count", count.to_string())
}

fn renews(settings: &Settings, owner: Owner) -> String {
    let within = settings.renewal_days;
    match owner {
        Owner::Server => format!(
            "restart k3s, which renews at its start what ends within {within} days, and restart the agents after it"
        ),
        Owner::Agent => {
            "restart k3s-agent, which gets new ones at its start (a server whose own have ended must be restarted first)"
                .to_owned()
        }
        Owner::Extra => "renew it".to_owned(),
    }
}

fn restart(owner: Owner) -> &'static str {
    match owner {
        Owner::Server => {
            "restart k3s, which makes a new one (an authority must come from a backup)"
        }
        Owner::Agent => "restart k3s-agent, which gets a new one from the server",
        Owner::Extra => "put a good one in its place",
    }
}

/// `a.crt`, or `a.crt, b.crt and 3 more`.
fn names(held: &[Held<'_>]) -> String {
    let short = |path: &'_ str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let mut names: Vec<String> = Vec::new();
    for held in held {
        let name = short(held.path);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    let names = names.join(", ");
    if more == 0 {
        names
    } else {
        format!("{names} and {more} more")
    }
}

fn left(certificate: &Certificate, now_s: u64) -> String {
    match certificate.ends_s.checked_sub(now_s) {
        Some(left_s) => format!("{} days left", left_s / DAY_S),
        None => format!(
            "{} days ago",
            now_s.saturating_sub(certificate.ends_s) / DAY_S
        ),
    }
}

fn shown(directory: &str) -> &str {
    if directory.is_empty() {
        "(not looked at)"
    } else {
        directory
    }
}
