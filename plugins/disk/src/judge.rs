//! What the numbers mean.

use std::time::Duration;

use iaso_plugin::{Finding, Severity};

use crate::history::History;
use crate::settings::{Mount, Settings};

const HERE: &str = "this host";

pub(crate) fn judge(settings: &Settings, mounts: &[Mount], history: &History) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut well = 0_usize;
    let mut fullest: Option<(u64, &str)> = None;
    for mount in mounts {
        let seen = of_mount(settings, mount, history);
        if !seen.is_empty() {
            findings.extend(seen);
            continue;
        }
        // A file system of no size, such as `proc`, cannot be full.
        if mount.disk.total_bytes > 0 {
            well += 1;
            let used = percent(mount.disk.available_bytes, mount.disk.total_bytes);
            if fullest.is_none_or(|(most, _)| used > most) {
                fullest = Some((used, &mount.disk.mount));
            }
        }
    }
    if findings.is_empty() {
        findings.push(match fullest {
            Some((used, mount)) => Finding::ok(
                "disk.ok",
                HERE,
                format!("{well} file systems have room; the fullest is {mount} at {used} %"),
            ),
            None => Finding::unknown(
                "disk.unknown",
                HERE,
                "this host tells of no file system that has a size",
            ),
        });
    }
    findings
}

fn of_mount(settings: &Settings, mount: &Mount, history: &History) -> Vec<Finding> {
    let disk = &mount.disk;
    let name = disk.mount.as_str();
    if disk.available_bytes > disk.total_bytes || disk.inodes_available > disk.inodes_total {
        let summary = "it claims to have more free than there is: its numbers mean nothing";
        return vec![Finding::unknown("disk.unknown", name, summary)];
    }
    if disk.read_only {
        return read_only(mount, history).into_iter().collect();
    }
    let mut findings = Vec::new();
    if disk.total_bytes > 0 {
        let used = percent(disk.available_bytes, disk.total_bytes);
        let full = level(
            used,
            settings.used_warn_percent,
            settings.used_critical_percent,
        );
        if let Some(severity) = full {
            findings.push(of_space(mount, used, severity));
        } else {
            findings.extend(of_growth(settings, mount, history.full_within(name)));
        }
    }
    // btrfs and others count none.
    if disk.inodes_total > 0 {
        let used = percent(disk.inodes_available, disk.inodes_total);
        let full = level(
            used,
            settings.inodes_warn_percent,
            settings.inodes_critical_percent,
        );
        if let Some(severity) = full {
            let summary = format!(
                "{used} % of its inodes are used ({} left): many small files; look for them with `du --inodes`{}",
                disk.inodes_available,
                holds(mount)
            );
            findings.push(Finding::new("disk.inodes", severity, name, summary));
        }
    }
    findings
}

fn of_space(mount: &Mount, used: u64, severity: Severity) -> Finding {
    let disk = &mount.disk;
    let eviction = if mount.holds.is_empty() {
        ""
    } else {
        "; under 5 % the kubelet of k3s begins to evict pods"
    };
    let summary = format!(
        "{used} % is used, {} left{eviction}{}: free space, or make it larger",
        size(disk.available_bytes),
        holds(mount)
    );
    Finding::new("disk.full", severity, &disk.mount, summary)
        .attribute("available-bytes", disk.available_bytes.to_string())
        .attribute("total-bytes", disk.total_bytes.to_string())
}

fn of_growth(settings: &Settings, mount: &Mount, full_within: Option<Duration>) -> Option<Finding> {
    let left = full_within.filter(|left| *left <= settings.full_within_warn)?;
    let severity = if left <= settings.full_within_critical {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let minutes = left.as_secs() / 60;
    let time = if minutes < 120 {
        format!("{minutes} minutes")
    } else {
        format!("{} hours", minutes / 60)
    };
    let summary = format!(
        "it is full in about {time} if it goes on as it did: {} left{}; find what grows",
        size(mount.disk.available_bytes),
        holds(mount)
    );
    let finding = Finding::new("disk.filling", severity, &mount.disk.mount, summary);
    Some(finding.attribute("full-within-minutes", minutes.to_string()))
}

fn read_only(mount: &Mount, history: &History) -> Option<Finding> {
    let name = mount.disk.mount.as_str();
    let why = if history.was_writable(name) {
        "it was writable, and is read-only now: the kernel does that after errors of the disk; look at `dmesg`, and save what it holds"
    } else if mount.holds.is_empty() {
        return None;
    } else {
        "it is mounted read-only, and the node must write there"
    };
    let summary = format!("{why}{}", holds(mount));
    Some(Finding::critical("disk.read-only", name, summary))
}

fn holds(mount: &Mount) -> String {
    if mount.holds.is_empty() {
        String::new()
    } else {
        format!(" (it holds {})", mount.holds.join(", "))
    }
}

fn level(used: u64, warn: u64, critical: u64) -> Option<Severity> {
    if used >= critical {
        Some(Severity::Critical)
    } else if used >= warn {
        Some(Severity::Warning)
    } else {
        None
    }
}

/// Used percent, rounded down; `total` is not zero, `available` at most `total`.
fn percent(available: u64, total: u64) -> u64 {
    let used = u128::from(total - available) * 100 / u128::from(total.max(1));
    u64::try_from(used).unwrap_or(100)
}

fn size(bytes: u64) -> String {
    if bytes >= 10 << 30 {
        format!("{} GiB", bytes >> 30)
    } else {
        format!("{} MiB", bytes >> 20)
    }
}
