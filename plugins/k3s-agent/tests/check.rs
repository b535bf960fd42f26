//! What the check says of an agent in every state we know of.

mod common;

use std::time::Duration;

use common::{MINUTE, UNIT, check, check_with, codes, host, journal, well};
use iaso_plugin::Error;
use iaso_plugin::Severity::{self, Critical, Info, Warning};
use iaso_plugin::testing::{connect, unit};

const PASSWORD: &str = "Waiting to retrieve agent configuration; server is not ready: Node password rejected, duplicate hostname";
const READYZ: &str =
    "server is not ready: https://127.0.0.1:6444/v1-k3s/readyz: 500 Internal Server Error";
const UNREACHABLE: &str = "failed to get CA certs: Get \"https://127.0.0.1:6444/cacerts\": EOF";
const PLEG: &str =
    "skipping pod synchronization - PLEG is not healthy: pleg was last seen active 3m ago";

/// One state of the unit and its log, and the first finding: code, severity, remedies.
fn expect(
    active: &str,
    sub: &str,
    in_state_ms: u64,
    lines: &[&str],
    expect: (&str, Severity, &[&str]),
) {
    let mut unit = unit(UNIT, active, sub);
    unit.in_state_ms = Some(in_state_ms);
    let host = well()
        .on_status(format!("status {UNIT}"), [Ok(unit)])
        .on_journal(format!("journal {UNIT}"), [Ok(journal(lines))]);
    let host = if active == "active" {
        host
    } else {
        host.on_http("GET*", [Err(Error::Unavailable("refused".into()))])
    };
    let findings = check(&host);
    let first = findings.first().expect("a check always says something");
    assert_eq!(
        (first.code.as_str(), first.severity),
        (format!("k3s-agent.{}", expect.0).as_str(), expect.1),
        "{active} {lines:?}"
    );
    assert_eq!(first.remedies, expect.2, "{active} {lines:?}");
    assert_eq!(first.subject, UNIT);
}

const BOTH: &[&str] = &["restart", "killall"];
const NONE: &[&str] = &[];
const EXPIRED: &str = "x509: certificate has expired";

#[test]
fn each_state_of_the_unit_has_its_code() {
    let quiet = |active, sub, ms, code, severity, remedies| {
        expect(active, sub, ms, &[], (code, severity, remedies));
    };
    quiet("active", "running", 60 * MINUTE, "ok", Severity::Ok, NONE);
    quiet("inactive", "dead", MINUTE, "down", Critical, BOTH);
    quiet("failed", "failed", MINUTE, "down", Critical, BOTH);
    quiet("deactivating", "stop-sigterm", 1000, "down", Critical, BOTH);
    quiet("activating", "start", MINUTE, "starting", Info, NONE);
    quiet("activating", "start", 14 * MINUTE, "starting", Info, NONE);
    quiet(
        "activating",
        "start",
        16 * MINUTE,
        "stuck-activating",
        Critical,
        BOTH,
    );
}

#[test]
fn a_start_that_waits_is_named_by_what_it_waits_for() {
    let starting = |ms, lines: &[&str], code, severity| {
        expect("activating", "start", ms, lines, (code, severity, NONE));
    };
    starting(MINUTE, &[PASSWORD], "node-password-rejected", Critical);
    starting(MINUTE, &[READYZ], "server-not-ready", Warning);
    starting(16 * MINUTE, &[READYZ], "server-not-ready", Critical);
    starting(MINUTE, &[UNREACHABLE], "server-unreachable", Warning);
    starting(16 * MINUTE, &[UNREACHABLE], "server-unreachable", Critical);
    starting(
        16 * MINUTE,
        &[PASSWORD, UNREACHABLE],
        "server-unreachable",
        Critical,
    );
}

#[test]
fn a_unit_that_failed_is_named_by_its_cause_and_offers_what_can_help() {
    let failed = |line, code, remedies| {
        expect(
            "failed",
            "failed",
            MINUTE,
            &[line],
            (code, Critical, remedies),
        );
    };
    failed(EXPIRED, "certificate-expired", NONE);
    failed("write x: no space left on device", "disk-full", NONE);
    failed("flannel exited: context canceled", "flannel-down", BOTH);
    failed("Failed to find memory cgroup", "no-memory-cgroup", NONE);
    // What does not keep the agent from running does not explain that it is down.
    failed("Host resolv.conf includes loopback", "down", BOTH);
}

#[test]
fn a_running_agent_with_a_trouble_in_its_log_is_warned_of() {
    let running = |line, code, remedies| {
        expect(
            "active",
            "running",
            60 * MINUTE,
            &[line],
            (code, Warning, remedies),
        );
    };
    running(EXPIRED, "certificate-expired", &["restart"]);
    running(PLEG, "pleg-unhealthy", BOTH);
    running("nf_conntrack: table full", "conntrack-full", NONE);
    running(
        "Host resolv.conf includes loopback",
        "loopback-resolv-conf",
        NONE,
    );
}

#[test]
fn active_alone_proves_nothing() {
    let host = well().on_http(
        "GET*",
        [Err(Error::Unavailable("connection refused".into()))],
    );
    let findings = check(&host);
    assert_eq!(codes(&findings), ["k3s-agent.kubelet-unhealthy critical"]);
    assert_eq!(findings[0].remedies, ["restart", "killall"]);

    let host = well().on_http("GET*", [Ok(common::response(500, "pleg"))]);
    assert_eq!(
        codes(&check(&host)),
        ["k3s-agent.kubelet-unhealthy critical"]
    );

    let host = well().on_connect("unix *", [Ok(connect("refused", Duration::ZERO))]);
    assert_eq!(
        codes(&check(&host)),
        ["k3s-agent.containerd-unreachable critical"]
    );
}

#[test]
fn a_sick_kubelet_with_a_known_cause_offers_only_what_the_cause_allows() {
    let sick = |line: &str| {
        let host = well().on_journal(format!("journal {UNIT}"), [Ok(journal(&[line]))]);
        check(&host.on_http("GET*", [Ok(common::response(500, ""))]))
    };
    let findings = sick("write x: no space left on device");
    assert_eq!(
        codes(&findings),
        [
            "k3s-agent.disk-full critical",
            "k3s-agent.kubelet-unhealthy critical"
        ]
    );
    assert!(
        findings.iter().all(|finding| finding.remedies.is_empty()),
        "{findings:?}"
    );
    let findings = sick(PLEG);
    assert_eq!(findings[0].remedies, ["restart", "killall"]);
}

#[test]
fn just_after_the_start_silence_is_no_alarm_and_offers_nothing() {
    let mut young = unit(UNIT, "active", "running");
    young.in_state_ms = Some(5_000);
    let host = well()
        .on_status(format!("status {UNIT}"), [Ok(young)])
        .on_http("GET*", [Err(Error::Timeout)]);
    let findings = check(&host);
    assert_eq!(codes(&findings), ["k3s-agent.kubelet-unhealthy warning"]);
    assert!(findings[0].remedies.is_empty());
}

#[test]
fn what_was_not_looked_at_is_unknown_and_never_well() {
    let host = well().on_http("GET*", [Err(Error::Denied("http 127.0.0.1:10248".into()))]);
    assert_eq!(codes(&check(&host)), ["k3s-agent.unknown unknown"]);
    let host = host_without_units(Error::Unavailable("no systemd".into()));
    assert_eq!(codes(&check(&host)), ["k3s-agent.unknown unknown"]);
    let host = host_without_units(Error::Denied("services.read".into()));
    assert_eq!(codes(&check(&host)), ["k3s-agent.unknown unknown"]);
}

fn host_without_units(why: Error) -> iaso_plugin::testing::MockHost {
    host().on_status("status *", [Err(why)])
}

#[test]
fn a_unit_that_is_not_installed_or_masked_is_missing() {
    for state in ["not-found", "masked"] {
        let mut gone = unit(UNIT, "inactive", "dead");
        gone.load_state = state.to_owned();
        let findings = check(&well().on_status(format!("status {UNIT}"), [Ok(gone)]));
        assert_eq!(codes(&findings), ["k3s-agent.unit-missing critical"]);
        assert!(findings[0].remedies.is_empty());
    }
}

#[test]
fn an_old_line_of_a_running_agent_is_forgiven() {
    let host = well().on_journal(format!("journal {UNIT}"), [Ok(journal(&[PLEG]))]);
    host.advance(Duration::from_secs(301));
    assert_eq!(codes(&check(&host)), ["k3s-agent.ok ok"]);
}

#[test]
fn restarts_that_grow_between_looks_are_a_crash_loop_although_each_look_is_well() {
    let units = [0, 1, 3, 4].map(|restarts| {
        let mut unit = unit(UNIT, "active", "running");
        unit.restarts = restarts;
        Ok(unit)
    });
    let host = well().on_status(format!("status {UNIT}"), units);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.extend(codes(&check(&host)));
        host.advance(Duration::from_secs(30));
    }
    assert_eq!(
        seen,
        [
            "k3s-agent.ok ok",
            "k3s-agent.ok ok",
            "k3s-agent.crash-loop critical",
            "k3s-agent.crash-loop critical"
        ]
    );
    host.advance(Duration::from_secs(700));
    assert_eq!(
        codes(&check(&host)),
        ["k3s-agent.ok ok"],
        "outside the window it is over"
    );
}

#[test]
fn a_crash_loop_offers_killall_only_and_its_cause_names_it() {
    let mut looping = unit(UNIT, "failed", "failed");
    looping.last_result = "start-limit-hit".to_owned();
    let of = |lines: &[&str]| {
        let host = well().on_status(format!("status {UNIT}"), [Ok(looping.clone())]);
        check(&host.on_journal(format!("journal {UNIT}"), [Ok(journal(lines))]))
    };
    let findings = of(&[]);
    assert_eq!(codes(&findings), ["k3s-agent.crash-loop critical"]);
    assert_eq!(findings[0].remedies, ["killall"]);
    let findings = of(&["token CA hash does not match the Cluster CA certificate hash"]);
    assert_eq!(codes(&findings), ["k3s-agent.ca-hash-mismatch critical"]);
    assert!(findings[0].remedies.is_empty());
    assert!(
        findings[0]
            .attributes
            .contains(&("crash-loop".to_owned(), "true".to_owned()))
    );
}

#[test]
fn a_broken_memory_or_clock_or_log_does_not_end_the_check() {
    assert_eq!(
        codes(&check(&well().with_broken_state())),
        ["k3s-agent.ok ok"]
    );
    assert_eq!(
        codes(&check(
            &well().with_state("restarts", b"\xff rubbish 9:9:9")
        )),
        ["k3s-agent.ok ok"]
    );
    assert_eq!(
        codes(&check(&well().on_info("info", [Err(Error::Timeout)]))),
        ["k3s-agent.ok ok"]
    );
    let findings =
        check(&well().on_journal("journal *", [Err(Error::Denied("services.read".into()))]));
    assert_eq!(codes(&findings), ["k3s-agent.ok ok"]);
    assert!(
        findings[0]
            .attributes
            .iter()
            .any(|(key, _)| key == "log-unseen")
    );
}

#[test]
fn the_advice_names_the_node() {
    let host = well().on_status(
        format!("status {UNIT}"),
        [Ok(unit(UNIT, "activating", "start"))],
    );
    let findings = check(&host.on_journal("journal *", [Ok(journal(&[PASSWORD]))]));
    assert!(
        findings[0].summary.contains("styx.node-password.k3s"),
        "{}",
        findings[0].summary
    );
}

#[test]
fn unit_and_endpoints_are_the_operators() {
    let host = host()
        .on_status(
            "status k3s.service",
            [Ok(unit("k3s.service", "active", "running"))],
        )
        .on_journal("journal k3s.service", [Ok(vec![])])
        .on_connect(
            "tcp 127.0.0.1:6444",
            [Ok(connect("timeout", Duration::ZERO))],
        );
    let config = [
        ("unit", "k3s.service"),
        ("kubelet_healthz", ""),
        ("containerd_socket", ""),
        ("agent_lb", "127.0.0.1:6444"),
    ];
    let findings = check_with(&host, &config).expect("a right configuration");
    assert_eq!(
        codes(&findings),
        ["k3s-agent.load-balancer-unreachable warning"]
    );
    assert!(host.calls_to("GET").is_empty() && host.calls_to("unix").is_empty());
}

#[test]
fn a_wrong_configuration_is_an_error_that_names_the_key() {
    for (key, value) in [
        ("unti", "x"),
        ("activating_max", "15"),
        ("journal_lines", "0"),
        ("agent_lb", "a b"),
    ] {
        let error = check_with(&well(), &[(key, value)]).expect_err("wrong");
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
}
