//! What the check says of certificates in every state we know of. The fixtures were made with OpenSSL as k3s makes its own: a leaf, then
//! its authority.

use std::time::Duration;

use iaso_plugin::Error;
use iaso_plugin::capability::Chunk;
use iaso_plugin::testing::{MockHost, check, chunk, file_stat, lines};
use k3s_certs::K3sCerts;

/// 2026-06-01 to 2027-06-01; its authority until 2035-12-30. The mock's clock begins on 2027-01-15 at 08:00: 136 days and 16 hours before.
const LEAF: &[u8] = include_bytes!("fixtures/client-kubelet.crt");
const CA: &[u8] = include_bytes!("fixtures/client-ca.crt");
const CA_DER: &[u8] = include_bytes!("fixtures/client-ca.der");
/// It ended with the year 2023.
const EXPIRED: &[u8] = include_bytes!("fixtures/expired.crt");
/// Until 2099.
const FAR: &[u8] = include_bytes!("fixtures/far.crt");
const KUBELET: &str = "/var/lib/rancher/k3s/agent/client-kubelet.crt";
const ADMIN: &str = "/var/lib/rancher/k3s/server/tls/client-admin.crt";
const OK: &str = "ok ok this host";

fn with(files: &[(&str, &[u8])]) -> MockHost {
    let mut host = MockHost::new().on_stat("stat *", [Ok(file_stat("missing"))]);
    for (path, content) in files {
        host = host
            .on_stat(format!("stat {path}"), [Ok(file_stat("file"))])
            .on_read(format!("read {path}"), [Ok(chunk(content))]);
    }
    host
}

fn after_days(host: MockHost, days: u64) -> MockHost {
    host.advance(Duration::from_secs(days * 86_400));
    host
}

fn expect(host: &MockHost, expected: &[&str]) {
    assert_eq!(lines::<K3sCerts>(host, &[]), expected);
}

fn summary(host: &MockHost) -> String {
    check::<K3sCerts>(host, &[])
        .expect("a right configuration")
        .remove(0)
        .summary
}

#[test]
fn the_days_left_are_counted_to_the_day() {
    let host = with(&[(KUBELET, LEAF)]);
    expect(&host, &[OK]);
    let findings = check::<K3sCerts>(&host, &[]).expect("right");
    assert!(
        findings[0]
            .summary
            .contains("on 2027-06-01 (136 days left)"),
        "{}",
        findings[0].summary
    );
    assert!(
        findings[0]
            .attributes
            .contains(&("days_left".into(), "136".into()))
    );
}

#[test]
fn each_threshold_has_its_word() {
    let after = |days| after_days(with(&[(KUBELET, LEAF)]), days);
    expect(&after(46), &[OK]);
    expect(&after(47), &[&format!("renewal-due info {KUBELET}")]);
    expect(&after(106), &[&format!("renewal-due info {KUBELET}")]);
    expect(&after(107), &[&format!("expiring warning {KUBELET}")]);
    expect(&after(130), &[&format!("expiring critical {KUBELET}")]);
    expect(&after(137), &[&format!("expired critical {KUBELET}")]);
}

#[test]
fn what_helps_depends_on_who_owns_it() {
    let agent = summary(&with(&[(KUBELET, EXPIRED)]));
    assert!(
        agent.starts_with(
            "client-kubelet.crt ended on 2024-01-01 (1110 days ago); restart k3s-agent"
        ),
        "{agent}"
    );
    let server = summary(&with(&[(ADMIN, EXPIRED)]));
    assert!(server.contains("restart k3s, which renews"), "{server}");
}

#[test]
fn many_that_stand_alike_are_one_finding_and_both_roles_are_told_apart() {
    let directory = "/var/lib/rancher/k3s/agent";
    let paths: Vec<String> = [
        "client-k3s-controller",
        "client-kube-proxy",
        "client-kubelet",
        "serving-kubelet",
    ]
    .map(|name| format!("{directory}/{name}.crt"))
    .to_vec();
    let mut files: Vec<(&str, &[u8])> = paths.iter().map(|path| (path.as_str(), EXPIRED)).collect();
    files.push((ADMIN, EXPIRED));
    let lines = lines::<K3sCerts>(&with(&files), &[]);
    assert_eq!(
        lines,
        [
            format!("expired critical {ADMIN}"),
            format!("expired critical {}", paths[0])
        ]
    );
}

#[test]
fn an_authority_is_judged_apart_because_no_restart_renews_it() {
    let path = "/var/lib/rancher/k3s/agent/client-ca.crt";
    for content in [CA, CA_DER] {
        expect(&with(&[(path, content)]), &[OK]);
        let late = after_days(with(&[(path, content)]), 3000);
        expect(&late, &[&format!("ca-expiring warning {path}")]);
        assert!(summary(&late).contains("rotate-ca"));
        let over = after_days(with(&[(path, content)]), 3300);
        expect(&over, &[&format!("ca-expired critical {path}")]);
    }
    // The authority behind a leaf counts too.
    let behind = after_days(with(&[(KUBELET, LEAF)]), 3300);
    expect(
        &behind,
        &[
            &format!("expired critical {KUBELET}"),
            &format!("ca-expired critical {KUBELET}"),
        ],
    );
}

#[test]
fn a_clock_before_the_beginning_is_not_taken_for_an_end() {
    let mut facts = None;
    let host = with(&[(KUBELET, LEAF)]);
    if let Ok(now) = iaso_plugin::Host::info(&host) {
        facts = Some(now);
    }
    let mut facts = facts.expect("facts");
    facts.now_unix_ms = 1_700_000_000_000;
    let host = host.on_info("info", [Ok(facts)]);
    assert_eq!(
        lines::<K3sCerts>(&host, &[])[0],
        format!("not-yet-valid critical {KUBELET}")
    );
}

#[test]
fn a_file_that_is_no_certificate_is_named_with_what_helps() {
    let cut = &LEAF[..LEAF.len() / 4];
    let garbled = String::from_utf8_lossy(LEAF).replace("MII", "QQQ");
    for content in [
        b"".as_slice(),
        b"\n",
        b"hello",
        b"\xff\xfe",
        b"0\x82\x01\x00 cut",
        cut,
        garbled.as_bytes(),
    ] {
        let host = with(&[(KUBELET, content), (ADMIN, FAR)]);
        expect(&host, &[&format!("damaged critical {KUBELET}")]);
        assert!(
            summary(&host).contains("restart k3s-agent"),
            "{}",
            summary(&host)
        );
    }
}

#[test]
fn a_key_beside_the_certificate_is_passed_over() {
    let both = [
        b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
        FAR,
    ]
    .concat();
    expect(&with(&[(KUBELET, &both)]), &[OK]);
}

#[test]
fn what_cannot_be_read_is_unknown_and_never_well() {
    expect(&with(&[]), &["unknown unknown this host"]);
    for why in [
        Error::Denied("files.read".into()),
        Error::Timeout,
        Error::Unavailable("no".into()),
    ] {
        let denied = with(&[(ADMIN, FAR)]).on_stat(format!("stat {KUBELET}"), [Err(why.clone())]);
        expect(&denied, &["unknown unknown this host"]);
        let unread = with(&[(KUBELET, FAR)]).on_read(format!("read {KUBELET}"), [Err(why.clone())]);
        expect(&unread, &["unknown unknown this host"]);
        let timeless = with(&[(KUBELET, FAR)]).on_info("info", [Err(why)]);
        expect(&timeless, &["unknown unknown this host"]);
    }
    let long = Chunk {
        data: FAR.to_vec(),
        truncated: true,
    };
    let long = with(&[(KUBELET, FAR)]).on_read(format!("read {KUBELET}"), [Ok(long)]);
    expect(&long, &["unknown unknown this host"]);
}

#[test]
fn a_file_named_by_the_operator_must_be_there() {
    let extra = [("extra", "/etc/ssl/own.crt")];
    let host = with(&[(KUBELET, FAR)]);
    assert_eq!(
        lines::<K3sCerts>(&host, &extra),
        ["unknown unknown /etc/ssl/own.crt"]
    );
    let host = with(&[("/etc/ssl/own.crt", EXPIRED)]);
    assert_eq!(
        lines::<K3sCerts>(&host, &extra),
        ["expired critical /etc/ssl/own.crt"]
    );
}

#[test]
fn a_wrong_configuration_is_refused_in_words_that_help() {
    let wrong = |pairs: &[(&str, &str)], words: &str| {
        let text = lines::<K3sCerts>(&with(&[]), pairs).join("");
        assert!(
            text.starts_with("error: ") && text.contains(words),
            "{text}"
        );
    };
    wrong(&[("warn", "3")], "unknown configuration key");
    wrong(&[("agent_dir", "k3s")], "absolute path");
    wrong(&[("extra", "own.crt")], "absolute paths");
    wrong(&[("critical_days", "31")], "must not be over");
}
