//! What the plugin says of a cluster's DNS in every state we know of.

use std::time::Duration;

use coredns::CoreDns;
use iaso_plugin::__private::{apply_fix, plan_fix, run_check};
use iaso_plugin::Error;
use iaso_plugin::capability::{Answer, Endpoint, Pod, Service};
use iaso_plugin::testing::{MockHost, answer};

const SERVICE: &str = "10.43.0.10:53";
const HERE: &str = "10.42.1.5:53";
const THERE: &str = "10.42.2.7:53";
const SILENT: Result<Answer, Error> = Err(Error::Timeout);

#[allow(
    clippy::unnecessary_wraps,
    reason = "it is one of the answers that a script takes"
)]
fn says(rcode: &str) -> Result<Answer, Error> {
    Ok(answer(
        rcode,
        if rcode == "NOERROR" {
            &["10.43.0.1"]
        } else {
            &[]
        },
    ))
}

fn endpoint(address: &str, protocol: &str) -> Endpoint {
    Endpoint {
        address: address.into(),
        port: 53,
        protocol: protocol.into(),
        node: String::new(),
        ready: true,
    }
}

fn pod(ip: &str, uid: &str) -> Pod {
    Pod {
        namespace: "kube-system".into(),
        name: "coredns-5d7".into(),
        uid: uid.into(),
        phase: "Running".into(),
        ready: false,
        terminating: false,
        restarts: 0,
        ip: ip.into(),
    }
}

/// One server that answers as it should.
fn good(host: MockHost, server: &str) -> MockHost {
    ["udp", "tcp"].iter().fold(host, |host, by| {
        host.on_dns(
            format!("dns {server} {by} A kubernetes.default.svc.cluster.local."),
            [says("NOERROR")],
        )
        .on_dns(
            format!("dns {server} {by} A example.com."),
            [says("NOERROR")],
        )
        .on_dns(format!("dns {server} {by} A iaso-*"), [says("NXDOMAIN")])
    })
}

/// The service and two endpoints, all well; the pod of the first runs on this node.
fn well() -> MockHost {
    let service = Service {
        cluster_ip: "10.43.0.10".into(),
        ports: vec![("dns".into(), 53, "UDP".into())],
    };
    let endpoints = ["10.42.1.5", "10.42.2.7"]
        .iter()
        .flat_map(|ip| [endpoint(ip, "UDP"), endpoint(ip, "TCP")])
        .collect();
    let host = MockHost::new()
        .on_service("service kube-system kube-dns", [Ok(service)])
        .on_endpoints("endpoints kube-system kube-dns", [Ok(endpoints)])
        .on_pods(
            "pods kube-system k8s-app=kube-dns",
            [Ok(vec![pod("10.42.1.5", "u1")])],
        );
    [SERVICE, HERE, THERE]
        .iter()
        .fold(host, |host, server| good(host, server))
}

/// As [`well`], but for these lines.
fn but(lines: &[(String, Result<Answer, Error>)]) -> MockHost {
    lines.iter().fold(well(), |host, (line, reply)| {
        host.on_dns(format!("dns {line}"), [reply.clone()])
    })
}

fn all_servers(rest: &str, reply: &Result<Answer, Error>) -> Vec<(String, Result<Answer, Error>)> {
    [SERVICE, HERE, THERE]
        .iter()
        .flat_map(|server| {
            ["udp", "tcp"].map(|by| (format!("{server} {by} A {rest}"), reply.clone()))
        })
        .collect()
}

fn config(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn check_with(host: &MockHost, pairs: &[(&str, &str)], expect: &[&str]) {
    let findings = run_check::<CoreDns, _>(host, config(pairs)).expect("a right configuration");
    let seen: Vec<String> = findings
        .iter()
        .map(|finding| {
            format!(
                "{} {} {}",
                finding.code.replacen("coredns.", "", 1),
                finding.severity,
                finding.subject
            )
        })
        .collect();
    assert_eq!(seen, expect);
    for finding in &findings {
        assert!(
            finding
                .attributes
                .contains(&("vantage".into(), "host-network".into())),
            "the vantage is always recorded"
        );
    }
}

fn check(host: &MockHost, expect: &[&str]) {
    check_with(host, &[], expect);
}

const NAME: &str = "kube-system/kube-dns";

#[test]
fn dns_that_answers_by_every_path_is_well() {
    let host = well();
    check(&host, &["ok ok kube-system/kube-dns"]);
    assert_eq!(
        host.calls_to("dns").len(),
        18,
        "three servers, two transports, three names"
    );
}

#[test]
fn every_name_asked_is_fully_qualified_and_the_absent_one_is_never_the_same() {
    let host = well();
    check(&host, &["ok ok kube-system/kube-dns"]);
    check(&host, &["ok ok kube-system/kube-dns"]);
    let calls = host.calls_to("dns");
    assert!(calls.iter().all(|call| call.ends_with('.')), "{calls:?}");
    let mut absent: Vec<&str> = calls
        .iter()
        .filter_map(|call| call.split(' ').find(|word| word.starts_with("iaso-")))
        .collect();
    absent.dedup();
    assert_eq!(absent.len(), 2);
}

#[test]
fn a_silent_service_address_with_good_endpoints_is_a_broken_service_path() {
    let host = but(&[(format!("{SERVICE} *"), SILENT)]);
    check(&host, &["service-path-broken critical 10.43.0.10:53"]);
}

#[test]
fn a_dead_endpoint_is_named_and_offers_its_pod_only_where_that_runs_here() {
    let host = but(&[(format!("{HERE} *"), SILENT)]);
    check(&host, &["endpoint-dead warning 10.42.1.5:53"]);
    let findings = run_check::<CoreDns, _>(&host, vec![]).expect("findings");
    assert_eq!(findings[0].remedies, ["delete-pod"]);

    let host = but(&[(
        format!("{THERE} *"),
        Err(Error::Unavailable("connection refused".into())),
    )]);
    check(&host, &["endpoint-dead warning 10.42.2.7:53"]);
    assert!(
        run_check::<CoreDns, _>(&host, vec![]).expect("findings")[0]
            .remedies
            .is_empty()
    );
}

#[test]
fn when_all_endpoints_are_dead_the_service_is_not_blamed() {
    let host = but(&[
        (format!("{SERVICE} *"), SILENT),
        (format!("{HERE} *"), SILENT),
        (format!("{THERE} *"), SILENT),
    ]);
    check(
        &host,
        &[
            "endpoint-dead critical 10.42.1.5:53",
            "endpoint-dead critical 10.42.2.7:53",
        ],
    );
}

#[test]
fn servfail_or_silence_on_the_external_name_only_is_a_broken_upstream() {
    for reply in [says("SERVFAIL"), SILENT, says("REFUSED")] {
        let host = but(&all_servers("example.com.", &reply));
        let expect =
            [SERVICE, HERE, THERE].map(|server| format!("upstream-broken critical {server}"));
        check(&host, &expect.each_ref().map(String::as_str));
    }
    let host = but(&[(format!("{HERE} udp A example.com."), says("SERVFAIL"))]);
    check(&host, &["upstream-broken warning 10.42.1.5:53"]);
}

#[test]
fn without_an_external_name_the_upstream_is_not_asked() {
    let host = but(&all_servers("example.com.", &says("SERVFAIL")));
    check_with(
        &host,
        &[("external_name", "")],
        &["ok ok kube-system/kube-dns"],
    );
}

#[test]
fn what_a_server_says_wrong_is_told_apart() {
    let one = |name: &str, reply: Result<Answer, Error>| {
        but(&["udp", "tcp"].map(|by| (format!("{HERE} {by} A {name}"), reply.clone())))
    };
    let cluster = "kubernetes.default.svc.cluster.local.";
    check(
        &one("*", says("REFUSED")),
        &["refused critical 10.42.1.5:53"],
    );
    check(
        &one(cluster, says("SERVFAIL")),
        &["servfail critical 10.42.1.5:53"],
    );
    check(
        &one("*", says("SERVFAIL")),
        &["servfail critical 10.42.1.5:53"],
    );
    check(
        &one("iaso-*", says("SERVFAIL")),
        &["servfail critical 10.42.1.5:53"],
    );
    check(
        &one("iaso-*", says("NOERROR")),
        &["wrong-answer critical 10.42.1.5:53"],
    );
    check(
        &one(cluster, says("NXDOMAIN")),
        &["wrong-answer critical 10.42.1.5:53"],
    );
    check(
        &one("example.com.", says("NXDOMAIN")),
        &["wrong-answer critical 10.42.1.5:53"],
    );
    check(&one("iaso-*", SILENT), &["timeout warning 10.42.1.5:53"]);
    check(
        &one("example.com.", Ok(answer("NOERROR", &[]))),
        &["ok ok kube-system/kube-dns"],
    );
}

#[test]
fn one_lost_packet_is_no_fault() {
    let line = format!("dns {HERE} udp A kubernetes.default.svc.cluster.local.");
    check(
        &well().on_dns(line, [SILENT, says("NOERROR")]),
        &["ok ok kube-system/kube-dns"],
    );
}

#[test]
fn udp_and_tcp_are_told_apart() {
    check(
        &but(&[(format!("{HERE} udp *"), SILENT)]),
        &["udp-only-broken warning 10.42.1.5:53"],
    );
    check(
        &but(&[(format!("{SERVICE} udp *"), SILENT)]),
        &["udp-only-broken warning 10.43.0.10:53"],
    );
    check(
        &but(&[(format!("{HERE} tcp *"), SILENT)]),
        &["timeout warning 10.42.1.5:53"],
    );
}

#[test]
fn no_ready_endpoint_is_named() {
    let unready = Endpoint {
        ready: false,
        ..endpoint("10.42.1.5", "UDP")
    };
    for endpoints in [vec![], vec![unready]] {
        let host =
            but(&[(format!("{SERVICE} *"), SILENT)]).on_endpoints("endpoints *", [Ok(endpoints)]);
        check(&host, &["no-endpoints critical kube-system/kube-dns"]);
    }
}

#[test]
fn without_kubernetes_the_configured_addresses_are_asked() {
    let host = good(MockHost::new(), SERVICE);
    check_with(
        &host,
        &[("service_ip", "10.43.0.10")],
        &["ok ok kube-system/kube-dns"],
    );
    let host = MockHost::new().on_dns("dns *", [SILENT]);
    check_with(
        &host,
        &[("service_ip", "10.43.0.10")],
        &["timeout critical 10.43.0.10:53"],
    );
    check_with(
        &host,
        &[("endpoints", "10.42.1.5,10.42.2.7:5353")],
        &[
            "endpoint-dead critical 10.42.1.5:53",
            "endpoint-dead critical 10.42.2.7:5353",
        ],
    );
}

#[test]
fn what_cannot_be_asked_is_unknown() {
    check(&MockHost::new(), &[&format!("unknown unknown {NAME}")]);
    let denied = Err(Error::Denied("dns.servers".into()));
    check(
        &but(&all_servers("*", &denied)),
        &[&format!("unknown unknown {NAME}")],
    );
}

#[test]
fn dead_servers_cost_no_more_than_the_budget() {
    let endpoints = (1..=30)
        .map(|n| endpoint(&format!("10.42.9.{n}"), "UDP"))
        .collect();
    let host = well()
        .on_endpoints("endpoints *", [Ok(endpoints)])
        .on_dns("dns *", [SILENT])
        .takes("dns *", Duration::from_secs(1));
    let before = host.now_unix_ms();
    let _ = run_check::<CoreDns, _>(&host, vec![]).expect("findings");
    assert!(
        host.now_unix_ms() - before < 9_000,
        "{} ms",
        host.now_unix_ms() - before
    );
}

#[test]
fn a_wrong_configuration_is_an_error_that_names_the_key() {
    for (key, value) in [
        ("service_ip", "kube-dns"),
        ("endpoints", "a:b"),
        ("cluster_domain", "a..b"),
        ("external_name", "a b"),
        ("colddown", "1s"),
    ] {
        let error = run_check::<CoreDns, _>(&well(), config(&[(key, value)])).expect_err("wrong");
        let known = error.contains(&format!("`{key}`"));
        assert!(known, "{error}");
    }
}

fn dead_here() -> MockHost {
    but(&[(format!("{HERE} *"), SILENT)])
}

fn plan(host: &MockHost, verdict: &str, reason: &str) {
    let plan = plan_fix::<CoreDns, _>(host, "delete-pod", vec![]).expect("a plan");
    assert_eq!(plan.verdict, verdict, "{}", plan.reason);
    assert!(
        plan.reason.contains(reason),
        "`{}` should say `{reason}`",
        plan.reason
    );
    assert!(host.calls_to("delete-pod").is_empty());
}

#[test]
fn only_this_nodes_pod_behind_a_dead_endpoint_would_be_deleted() {
    plan(&dead_here(), "apply", "coredns-5d7 runs here");
    plan(&well(), "nothing", "no endpoint is dead");
    plan(
        &but(&all_servers("example.com.", &says("SERVFAIL"))),
        "nothing",
        "upstream",
    );
    plan(
        &but(&[(format!("{SERVICE} *"), SILENT)]),
        "nothing",
        "service path",
    );
    plan(
        &but(&[(format!("{THERE} *"), SILENT)]),
        "refuse",
        "does not run here",
    );
    plan(
        &dead_here().on_pods("pods *", [Ok(vec![])]),
        "refuse",
        "does not run here",
    );
    plan(
        &dead_here().on_pods("pods *", [Err(Error::Denied("kube.pods".into()))]),
        "refuse",
        "kube.pods",
    );
    let going = Pod {
        terminating: true,
        ..pod("10.42.1.5", "u1")
    };
    plan(
        &dead_here().on_pods("pods *", [Ok(vec![going])]),
        "refuse",
        "already",
    );
    plan(
        &dead_here().on_endpoints(
            "endpoints *",
            [Err(Error::Unavailable("no kubeconfig".into()))],
        ),
        "refuse",
        "no kubeconfig",
    );
}

#[test]
fn a_pod_is_deleted_at_most_once_per_cooldown_and_not_without_a_memory() {
    let host = dead_here();
    let minute_ago = (host.now_unix_ms() - 60_000).to_string();
    let host = host.with_state("deleted-at", minute_ago.as_bytes());
    plan(&host, "refuse", "s ago");
    host.advance(Duration::from_mins(15));
    plan(&host, "apply", "dead");
    plan(&dead_here().with_broken_state(), "refuse", "cannot tell");
    plan(
        &dead_here().with_state("deleted-at", b"rubbish"),
        "refuse",
        "cannot be read",
    );
    let future = dead_here();
    let later = (future.now_unix_ms() + 3_600_000).to_string();
    plan(
        &future.with_state("deleted-at", later.as_bytes()),
        "refuse",
        "0 s ago",
    );
}

#[test]
fn the_deletion_names_the_uid_and_is_fixed_only_when_dns_answers() {
    let new = vec![endpoint("10.42.2.7", "UDP")];
    let both = vec![endpoint("10.42.1.5", "UDP"), endpoint("10.42.2.7", "UDP")];
    let host = dead_here()
        .on_delete_pod("delete-pod *", [Ok(())])
        .on_pods(
            "pods *",
            [
                Ok(vec![pod("10.42.1.5", "u1")]),
                Ok(vec![pod("10.42.1.5", "u1")]),
                Ok(vec![pod("", "u2")]),
            ],
        )
        .on_endpoints("endpoints *", [Ok(both.clone()), Ok(both), Ok(new)]);
    let outcome = apply_fix::<CoreDns, _>(&host, "delete-pod", vec![]).expect("an outcome");
    assert_eq!(outcome.outcome, "fixed", "{}", outcome.reason);
    assert_eq!(
        host.calls_to("delete-pod"),
        ["delete-pod kube-system coredns-5d7 u1"]
    );
    let calls = host.calls();
    let at = |start: &str| {
        calls
            .iter()
            .position(|call| call.starts_with(start))
            .expect("called")
    };
    assert!(
        at("state set deleted-at") < at("delete-pod"),
        "remembered before it is done"
    );
}

#[test]
fn a_deletion_that_does_not_help_or_is_not_granted_is_said_so() {
    let host = dead_here().on_delete_pod("delete-pod *", [Ok(())]);
    let outcome = apply_fix::<CoreDns, _>(&host, "delete-pod", config(&[("verify", "5s")]))
        .expect("an outcome");
    assert_eq!(outcome.outcome, "unchanged");
    assert!(host.calls_to("pause").len() <= 6, "the wait is bounded");
    let again = apply_fix::<CoreDns, _>(&host, "delete-pod", vec![]).expect("an outcome");
    assert_eq!(again.outcome, "refused");
    assert_eq!(host.calls_to("delete-pod").len(), 1);

    let host = dead_here().on_delete_pod(
        "delete-pod *",
        [Err(Error::Denied("kube.delete-pods".into()))],
    );
    let outcome = apply_fix::<CoreDns, _>(&host, "delete-pod", vec![]).expect("an outcome");
    assert_eq!(outcome.outcome, "failed");
    assert!(outcome.reason.contains("kube.delete-pods"));
}
