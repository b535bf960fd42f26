//! Every known line, and which of several counts.

use super::{cause_of, latest};
use iaso_plugin::capability::JournalLine;
use std::time::Duration;

/// The cause that this line names; empty: none.
fn check(message: &str, expect: &str) {
    let code = cause_of(message).map_or("", |cause| cause.code);
    assert_eq!(code, expect, "{message}");
}

#[test]
fn every_known_line_about_the_server_names_its_cause() {
    check(
        r#"level=info msg="Waiting to retrieve agent configuration; server is not ready: Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server node-passwd entry""#,
        "node-password-rejected",
    );
    check(
        r#"level=fatal msg="Error: failed to validate token: token CA hash does not match the Cluster CA certificate hash: a != b""#,
        "ca-hash-mismatch",
    );
    check(
        r#"msg="failed to get CA certs: Get \"https://10.0.0.1:6443/cacerts\": x509: certificate signed by unknown authority""#,
        "ca-hash-mismatch",
    );
    check(
        "x509: certificate has expired or is not yet valid: current time 2027-01-01 is after 2026-12-31",
        "certificate-expired",
    );
    check(
        r#"failed to get CA certs: Get "https://127.0.0.1:6444/cacerts": read: connection reset by peer"#,
        "server-unreachable",
    );
    check(
        r#"failed to get CA certs: Get "https://127.0.0.1:6444/cacerts": EOF"#,
        "server-unreachable",
    );
    check(
        r#"Waiting to retrieve agent configuration; server is not ready: Get "https://127.0.0.1:6444/v1-k3s/config": dial tcp 127.0.0.1:6444: connect: connection refused"#,
        "server-unreachable",
    );
    check(
        r#"server is not ready: Get "https://127.0.0.1:6444/v1-k3s/readyz": 500 Internal Server Error"#,
        "server-not-ready",
    );
    check(
        "server is not ready: https://127.0.0.1:6444/v1-k3s/readyz: 503 Service Unavailable",
        "server-not-ready",
    );
    check(
        "write /var/lib/rancher/k3s/agent/etc/x: no space left on device",
        "disk-full",
    );
}

#[test]
fn every_known_line_about_this_host_names_its_cause() {
    check(
        "inotify_add_watch /sys/fs/cgroup: no space left on device",
        "inotify-exhausted",
    );
    check(
        "Failed to start cAdvisor: inotify_init: too many open files",
        "inotify-exhausted",
    );
    check(
        "nf_conntrack: nf_conntrack: table full, dropping packet",
        "conntrack-full",
    );
    check(
        r#"level=fatal msg="Failed to find memory cgroup, you may need to add cgroup_memory=1""#,
        "no-memory-cgroup",
    );
    check(
        "flannel exited: unable to find interface wg0",
        "flannel-interface-missing",
    );
    check("flannel exited: context canceled", "flannel-down");
    check(
        "open /run/flannel/subnet.env: no such file or directory",
        "flannel-down",
    );
    check(
        "skipping pod synchronization - PLEG is not healthy: pleg was last seen active 3m",
        "pleg-unhealthy",
    );
    check(
        "Host resolv.conf includes loopback or multicast nameservers",
        "loopback-resolv-conf",
    );
    check(
        "[FATAL] plugin/loop: Loop (127.0.0.1:5000 -> :53) detected for zone",
        "loopback-resolv-conf",
    );
    for harmless in [
        "",
        "Starting k3s agent v1.33.4",
        "Connected to proxy",
        "no such file or directory",
        "space left",
        "é",
    ] {
        check(harmless, "");
    }
}

#[test]
fn a_huge_line_is_cut_between_characters() {
    assert_eq!(cause_of(&"é".repeat(10_000)), None);
    assert_eq!(
        cause_of(&format!("Node password rejected{}", "é".repeat(10_000))).map(|cause| cause.code),
        Some("node-password-rejected")
    );
}

fn line(at_s: u64, message: &str) -> JournalLine {
    JournalLine {
        at_unix_ms: at_s * 1000,
        priority: 4,
        message: message.to_owned(),
    }
}

#[test]
fn only_what_is_new_since_the_start_counts_and_the_latest_fatal_wins() {
    let password = "Node password rejected";
    let refused = "failed to get CA certs: connection refused";
    let loopback = "Host resolv.conf includes loopback";
    let started = "Started k3s-agent.service - Lightweight Kubernetes.";
    let check = |lines: &[JournalLine], since: Option<u64>, expect: &str| {
        let got = latest(lines, "k3s-agent.service", since, Duration::from_mins(5));
        assert_eq!(got.map_or("", |(cause, _)| cause.code), expect, "{lines:?}");
    };
    check(&[], None, "");
    check(
        &[line(1, refused), line(2, password)],
        None,
        "node-password-rejected",
    );
    check(
        &[line(1, password), line(2, refused)],
        None,
        "server-unreachable",
    );
    check(
        &[line(1, password), line(2, loopback)],
        None,
        "node-password-rejected",
    );
    check(&[line(1, loopback)], None, "loopback-resolv-conf");
    check(&[line(1, password), line(2, started)], None, "");
    check(
        &[
            line(1, password),
            line(2, "Started Lightweight Kubernetes."),
        ],
        None,
        "",
    );
    check(
        &[line(1, password), line(2, started), line(3, refused)],
        None,
        "server-unreachable",
    );
    check(
        &[
            line(1, password),
            line(2, "Started something-else.service."),
        ],
        None,
        "node-password-rejected",
    );
    check(&[line(1, password), line(302, "quiet now")], None, "");
    check(
        &[line(1, password), line(301, "quiet now")],
        None,
        "node-password-rejected",
    );
    check(&[line(10, password)], Some(11_000), "");
    check(
        &[line(11, password)],
        Some(11_000),
        "node-password-rejected",
    );
}
