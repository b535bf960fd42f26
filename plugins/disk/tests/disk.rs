//! What the check says of file systems in every state we know of.

use std::time::Duration;

use disk::Disk;
use iaso_plugin::Error;
use iaso_plugin::capability;
use iaso_plugin::testing::{MockHost, lines};

const GIB: u64 = 1 << 30;
const HOUR: Duration = Duration::from_hours(1);

fn mount(mount: &str, used_percent: u64) -> capability::Disk {
    capability::Disk {
        mount: mount.into(),
        total_bytes: 100 * GIB,
        available_bytes: (100 - used_percent) * GIB,
        inodes_total: 1000,
        inodes_available: 900,
        read_only: false,
    }
}

fn has(disks: &[capability::Disk]) -> MockHost {
    MockHost::new().on_disks("disks", [Ok(disks.to_vec())])
}

fn check(host: &MockHost, expect: &[&str]) {
    assert_eq!(lines::<Disk>(host, &[]), expect);
}

#[test]
fn room_is_well_and_the_thresholds_are_exact() {
    check(
        &has(&[mount("/", 84), mount("/data", 10)]),
        &["ok ok this host"],
    );
    check(&has(&[mount("/", 85)]), &["full warning /"]);
    check(&has(&[mount("/", 95)]), &["full critical /"]);
    check(&has(&[mount("/", 100)]), &["full critical /"]);
}

#[test]
fn inodes_can_be_used_up_while_there_is_space() {
    let left = |inodes_available| capability::Disk {
        inodes_available,
        ..mount("/", 10)
    };
    check(&has(&[left(100)]), &["inodes warning /"]);
    check(&has(&[left(0)]), &["inodes critical /"]);
    let uncounted = capability::Disk {
        inodes_total: 0,
        inodes_available: 0,
        ..mount("/", 10)
    };
    check(&has(&[uncounted]), &["ok ok this host"]);
}

#[test]
fn the_finding_names_what_of_k3s_it_holds() {
    let host = has(&[
        mount("/", 10),
        mount("/var/lib/rancher", 96),
        mount("/var/lib/rancher2", 10),
    ]);
    let findings = iaso_plugin::testing::check::<Disk>(&host, &[]).expect("a right configuration");
    assert_eq!(findings.len(), 1);
    assert!(
        findings[0].summary.contains("/var/lib/rancher/k3s"),
        "{}",
        findings[0].summary
    );
    assert!(
        findings[0].summary.contains("evict"),
        "{}",
        findings[0].summary
    );
}

#[test]
fn read_only_is_a_fault_where_the_node_writes_or_where_it_was_writable() {
    let read_only = |name: &str| capability::Disk {
        read_only: true,
        ..mount(name, 100)
    };
    check(
        &has(&[
            mount("/", 1),
            read_only("/mnt/iso"),
            read_only("/snap/core/1"),
        ]),
        &["ok ok this host"],
    );
    check(&has(&[read_only("/")]), &["read-only critical /"]);
    let remounted = MockHost::new().on_disks(
        "disks",
        [
            Ok(vec![mount("/", 1), mount("/data", 1)]),
            Ok(vec![mount("/", 1), read_only("/data")]),
        ],
    );
    check(&remounted, &["ok ok this host"]);
    check(&remounted, &["read-only critical /data"]);
}

/// Looks every hour; the last answer is what counts.
fn over_hours(used_percent: &[u64]) -> Vec<String> {
    let answers = used_percent.iter().map(|used| Ok(vec![mount("/", *used)]));
    let host = MockHost::new().on_disks("disks", answers);
    let mut last = Vec::new();
    for _ in used_percent {
        last = lines::<Disk>(&host, &[]);
        host.advance(HOUR);
    }
    last
}

#[test]
fn a_disk_that_fills_up_is_told_hours_before() {
    assert_eq!(over_hours(&[40, 50, 60, 70]), ["filling critical /"]);
    assert_eq!(over_hours(&[40, 43, 46, 49]), ["filling warning /"]);
    assert_eq!(over_hours(&[40, 40, 41, 41]), ["ok ok this host"]);
}

#[test]
fn one_large_pull_or_a_single_look_predicts_nothing() {
    assert_eq!(over_hours(&[20, 60, 60, 60, 60]), ["ok ok this host"]);
    assert_eq!(over_hours(&[70, 60, 50, 40]), ["ok ok this host"]);
    assert_eq!(over_hours(&[70]), ["ok ok this host"]);
}

#[test]
fn a_clock_set_back_or_a_memory_that_is_garbage_is_forgotten() {
    let future = has(&[mount("/", 50)]).with_state("free", b"/\t9900000000000:99:w");
    check(&future, &["ok ok this host"]);
    for garbage in [&b"\xff\xfe"[..], b"/\t1:2", b"/\t5:1:w 3:1:w", b"/"] {
        check(
            &has(&[mount("/", 50)]).with_state("free", garbage),
            &["ok ok this host"],
        );
    }
    check(
        &has(&[mount("/", 50)]).with_broken_state(),
        &["ok ok this host"],
    );
}

#[test]
fn the_memory_stays_small() {
    let mounts: Vec<capability::Disk> = (0..300)
        .map(|n| mount(&format!("/m{n}/{}", "x".repeat(300)), 50))
        .collect();
    let host = has(&mounts);
    for _ in 0..50 {
        check(&host, &["ok ok this host"]);
        host.advance(Duration::from_mins(1));
    }
    let bytes = host.state("free").expect("a memory").len();
    assert!(bytes < 32 << 10, "{bytes} bytes");
}

#[test]
fn absurd_or_missing_numbers_are_unknown() {
    let absurd = capability::Disk {
        available_bytes: 101 * GIB,
        ..mount("/", 0)
    };
    check(&has(&[absurd]), &["unknown unknown /"]);
    check(&has(&[]), &["unknown unknown this host"]);
    let sizeless = capability::Disk {
        total_bytes: 0,
        available_bytes: 0,
        inodes_total: 0,
        inodes_available: 0,
        ..mount("/", 0)
    };
    check(&has(&[sizeless]), &["unknown unknown this host"]);
    let huge = capability::Disk {
        total_bytes: u64::MAX,
        available_bytes: 0,
        ..mount("/", 0)
    };
    check(&has(&[huge]), &["full critical /"]);
    for why in [
        Error::Denied("host".into()),
        Error::Timeout,
        Error::Other("x".into()),
    ] {
        check(
            &MockHost::new().on_disks("disks", [Err(why)]),
            &["unknown unknown this host"],
        );
    }
}

#[test]
fn a_wrong_configuration_is_refused_in_words_that_help() {
    let wrong = |pairs: &[(&str, &str)], words: &str| {
        let text = lines::<Disk>(&has(&[mount("/", 1)]), pairs).join("");
        assert!(
            text.starts_with("error: ") && text.contains(words),
            "{text}"
        );
    };
    wrong(&[("path", "/")], "unknown configuration key `path`");
    wrong(&[("paths", "var")], "absolute paths, not `var`");
    wrong(&[("used_warn_percent", "96")], "a warning must come before");
    wrong(&[("used_warn_percent", "101")], "from 1 to 100");
}
