//! What the probe says of a network in every state we know of.

use std::time::Duration;

use iaso_plugin::__private::{apply_fix, plan_fix, run_check};
use iaso_plugin::Error;
use iaso_plugin::capability::{ConnectOutcome, Link, PingOutcome, Route};
use iaso_plugin::testing::{MockHost, connect, ping, unit};
use network_probe::NetworkProbe;

const MS: Duration = Duration::from_millis(1);

fn tcp(outcome: &str) -> [Result<ConnectOutcome, Error>; 1] {
    [Ok(connect(outcome, 9 * MS))]
}

fn pinged(received: u32) -> [Result<PingOutcome, Error>; 1] {
    [Ok(ping(5, received, 2 * MS))]
}

fn too_big() -> [Result<PingOutcome, Error>; 1] {
    [Ok(PingOutcome {
        outcome: "too-big".into(),
        ..ping(3, 0, MS)
    })]
}

fn route(destination: &str, gateway: &str) -> Route {
    Route {
        destination: destination.into(),
        gateway: gateway.into(),
        interface: "eth0".into(),
        metric: 100,
    }
}

/// Gateway, two peers, two anchors, one resolver: all answer.
fn well() -> MockHost {
    MockHost::new()
        .on_routes(
            "routes",
            [Ok(vec![
                route("10.0.0.0/24", ""),
                route("0.0.0.0/0", "10.0.0.254"),
            ])],
        )
        .on_links(
            "links",
            [Ok(vec![Link {
                name: "eth0".into(),
                up: true,
                mtu: 1500,
                addresses: vec![],
            }])],
        )
        .on_resolvers("resolvers", [Ok(vec!["10.0.0.53".into()])])
        .on_peers(
            "peers",
            [Ok(vec![
                ("tethys".into(), "10.0.0.1:7444".into()),
                ("calypso".into(), "10.0.0.3".into()),
            ])],
        )
        .on_ping("ping *", pinged(5))
        .on_connect("tcp *", tcp("connected"))
}

fn silent() -> MockHost {
    well()
        .on_ping("ping *", pinged(0))
        .on_connect("tcp *", tcp("timeout"))
}

fn config(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

const API: &[(&str, &str)] = &[("api_server", "10.0.0.9:6443")];

fn check(host: &MockHost, pairs: &[(&str, &str)], expect: &[&str]) {
    let findings =
        run_check::<NetworkProbe, _>(host, config(pairs)).expect("a right configuration");
    let seen: Vec<String> = findings
        .iter()
        .map(|finding| {
            format!(
                "{} {} {}",
                finding.code.replacen("network-probe.", "", 1),
                finding.severity,
                finding.subject
            )
        })
        .collect();
    assert_eq!(seen, expect);
}

#[test]
fn a_host_that_reaches_everything_is_well() {
    check(&well(), API, &["ok ok this host"]);
}

#[test]
fn refused_proves_reachability() {
    check(
        &well().on_connect("tcp *", tcp("refused")),
        API,
        &["ok ok this host"],
    );
}

#[test]
fn a_host_that_reaches_nothing_is_cut_off_and_no_target_is_blamed() {
    check(&silent(), API, &["host-cut-off critical this host"]);
    check(
        &silent().on_connect("tcp *", [Err(Error::Timeout)]),
        API,
        &["host-cut-off critical this host"],
    );
    let denied = silent().on_ping("ping *", [Err(Error::Denied("net.icmp".into()))]);
    check(&denied, API, &["host-cut-off critical this host"]);
}

#[test]
fn one_answer_is_enough_not_to_be_cut_off() {
    let host = silent().on_ping("ping 10.0.0.3 56", pinged(5));
    check(
        &host,
        API,
        &[
            "gateway-down critical 10.0.0.254",
            "api-server-unreachable critical 10.0.0.9:6443",
            "target-down warning 10.0.0.1:7444",
            "target-down warning 10.0.0.53:53",
        ],
    );
}

#[test]
fn one_silent_target_is_a_target_that_is_down() {
    check(
        &well().on_connect("tcp 10.0.0.1:7444", tcp("timeout")),
        &[],
        &["target-down warning 10.0.0.1:7444"],
    );
    check(
        &well().on_connect("tcp 10.0.0.1:7444", tcp("unreachable")),
        &[],
        &["target-down warning 10.0.0.1:7444"],
    );
    check(
        &well().on_connect("tcp 10.0.0.53:53", tcp("timeout")),
        &[],
        &["target-down warning 10.0.0.53:53"],
    );
    check(
        &well().on_connect("tcp 1.1.1.1:443", tcp("timeout")),
        &[],
        &["target-down warning 1.1.1.1:443"],
    );
    check(
        &well().on_connect("tcp 10.0.0.9:6443", tcp("timeout")),
        API,
        &["api-server-unreachable critical 10.0.0.9:6443"],
    );
    check(
        &well().on_connect("tcp a.b:1", tcp("unresolved")),
        &[("peers", "a.b:1")],
        &["target-down warning a.b:1"],
    );
}

#[test]
fn a_silent_gateway_that_forwards_is_no_fault() {
    check(
        &well().on_ping("ping 10.0.0.254*", pinged(0)),
        API,
        &["ok ok this host"],
    );
}

#[test]
fn the_internet_is_told_from_the_gateway() {
    let no_anchor = || {
        well()
            .on_connect("tcp 1.1.1.1:443", tcp("timeout"))
            .on_connect("tcp 9.9.9.9:443", tcp("timeout"))
    };
    check(
        &no_anchor(),
        API,
        &["internet-unreachable critical 1.1.1.1:443, 9.9.9.9:443"],
    );
    check(
        &no_anchor().on_ping("ping 10.0.0.254*", pinged(0)),
        API,
        &["gateway-down critical 10.0.0.254"],
    );
}

#[test]
fn no_default_route_is_named_unless_something_public_answers_or_none_is_wanted() {
    let routeless = |host: MockHost| host.on_routes("routes", [Ok(vec![route("10.0.0.0/24", "")])]);
    check(
        &routeless(silent()),
        API,
        &["no-default-route critical this host"],
    );
    check(&routeless(well()), API, &["ok ok this host"]);
    let lonely = [("require_default_route", "false"), ("anchors", "")];
    check(&routeless(well()), &lonely, &["ok ok this host"]);
}

#[test]
fn what_was_denied_or_impossible_is_not_down() {
    for why in [
        Error::Denied("net.tcp".into()),
        Error::Unavailable("no".into()),
        Error::Other("x".into()),
    ] {
        let host = well().on_connect("tcp *", [Err(why.clone())]);
        check(&host, API, &["ok ok this host"]);
        check(
            &host.on_ping("ping *", [Err(why)]),
            API,
            &["unknown unknown this host"],
        );
    }
}

#[test]
fn loss_and_latency_are_warned_of_at_their_limits() {
    check(
        &well().on_ping("ping 10.0.0.3 56", pinged(3)),
        &[],
        &["loss warning 10.0.0.3"],
    );
    check(
        &well().on_ping("ping 10.0.0.3 56", pinged(4)),
        &[],
        &["ok ok this host"],
    );
    check(
        &well().on_ping("ping 10.0.0.3 56", pinged(4)),
        &[("loss_warn_percent", "20")],
        &["loss warning 10.0.0.3"],
    );
    let slow = [Ok(connect("connected", 500 * MS))];
    check(
        &well().on_connect("tcp 10.0.0.1:7444", slow),
        &[],
        &["latency warning 10.0.0.1:7444"],
    );
}

#[test]
fn large_packets_that_vanish_are_a_black_hole_and_those_refused_in_words_are_not() {
    let swallowed = |sizes: &[u32], how: [Result<PingOutcome, Error>; 1]| {
        sizes.iter().fold(well(), |host, size| {
            host.on_ping(format!("ping 1.1.1.1 {size} df"), how.clone())
        })
    };
    check(
        &swallowed(&[1472, 1452], pinged(0)),
        &[],
        &["mtu-black-hole warning 1.1.1.1"],
    );
    check(
        &swallowed(&[1472, 1452], too_big()),
        &[],
        &["ok ok this host"],
    );
    check(&swallowed(&[], pinged(0)), &[], &["ok ok this host"]);
    check(
        &swallowed(&[1472], pinged(0)),
        &[("mtu", "false")],
        &["ok ok this host"],
    );
    let all = [1472, 1452, 1422, 1392, 1342, 1252, 548];
    check(&swallowed(&all, pinged(0)), &[], &["ok ok this host"]);
    let host = swallowed(&[1472, 1452], pinged(0));
    let findings = run_check::<NetworkProbe, _>(&host, vec![]).expect("a right configuration");
    assert!(
        findings[0]
            .attributes
            .contains(&("passes-bytes".into(), "1450".into())),
        "{:?}",
        findings[0].attributes
    );
    assert!(
        host.calls_to("ping 1.1.1.1 8972").is_empty(),
        "nothing larger than the link's own MTU is sent"
    );
}

#[test]
fn a_dead_network_costs_no_more_than_the_budget() {
    let host = silent()
        .takes("tcp *", Duration::from_secs(1))
        .takes("ping *", Duration::from_secs(1));
    let config = [("budget", "3s"), ("api_server", "10.0.0.9:6443")];
    check(&host, &config, &["host-cut-off critical this host"]);
    let asked = host.calls_to("tcp").len() + host.calls_to("ping").len();
    assert_eq!(asked, 3, "{:?}", host.calls());
}

#[test]
fn peers_beyond_the_limit_are_not_asked_in_one_look() {
    let many: Vec<(String, String)> = (1..=40)
        .map(|n| (format!("n{n}"), format!("10.1.0.{n}:7444")))
        .collect();
    let host = well().on_peers("peers", [Ok(many)]);
    check(&host, &[], &["ok ok this host"]);
    assert_eq!(host.calls_to("tcp 10.1.").len(), 5);
}

#[test]
fn a_wrong_configuration_is_an_error_that_names_the_key() {
    for (key, value) in [
        ("peer", "x"),
        ("peers", "http://x"),
        ("anchors", "1.1.1.1"),
        ("ping_count", "11"),
        ("mtu", "1500"),
        ("timeout", "1"),
    ] {
        let error =
            run_check::<NetworkProbe, _>(&well(), config(&[(key, value)])).expect_err("wrong");
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
}

const UNIT: &[(&str, &str)] = &[("networking_unit", "systemd-networkd.service")];

fn plan(host: &MockHost, pairs: &[(&str, &str)], verdict: &str, reason: &str) {
    let host_calls =
        plan_fix::<NetworkProbe, _>(host, "restart-networking", config(pairs)).expect("a plan");
    assert_eq!(host_calls.verdict, verdict, "{}", host_calls.reason);
    assert!(host_calls.reason.contains(reason), "{}", host_calls.reason);
    assert!(host.calls_to("restart").is_empty());
}

fn with_unit(host: MockHost) -> MockHost {
    host.on_status(
        "status systemd-networkd.service",
        [Ok(unit("systemd-networkd.service", "active", "running"))],
    )
}

#[test]
fn the_network_is_restarted_only_where_configured_granted_and_at_fault() {
    plan(&with_unit(silent()), &[], "refuse", "networking_unit");
    plan(&with_unit(silent()), UNIT, "apply", "CutOff");
    plan(&with_unit(well()), UNIT, "nothing", "connected");
    plan(
        &with_unit(well().on_connect("tcp 10.0.0.1:7444", tcp("timeout"))),
        UNIT,
        "nothing",
        "target",
    );
    plan(
        &with_unit(
            well()
                .on_connect("tcp 1.1.1.1*", tcp("timeout"))
                .on_connect("tcp 9.9*", tcp("timeout")),
        ),
        UNIT,
        "refuse",
        "beyond",
    );
    plan(
        &silent().on_status("status *", [Err(Error::Denied("services.read".into()))]),
        UNIT,
        "refuse",
        "services.read",
    );
}

#[test]
fn the_remedy_is_offered_only_when_the_unit_is_configured() {
    let remedies = |pairs| {
        run_check::<NetworkProbe, _>(&silent(), config(pairs)).expect("a right configuration")[0]
            .remedies
            .clone()
    };
    assert!(remedies(&[]).is_empty());
    assert_eq!(remedies(UNIT), ["restart-networking"]);
}

#[test]
fn a_restart_is_fixed_only_when_targets_answer_again() {
    let apply = |host: MockHost| {
        apply_fix::<NetworkProbe, _>(&host, "restart-networking", config(UNIT))
            .expect("an outcome")
            .outcome
    };
    let restartable = |host: MockHost| with_unit(host).on_job("restart *", [Ok("done".into())]);
    assert_eq!(apply(restartable(silent())), "unchanged");
    let back = silent()
        .on_ping(
            "ping 10.0.0.254 56",
            [Ok(ping(5, 0, MS)), Ok(ping(5, 5, MS))],
        )
        .on_connect(
            "tcp 1.1.1.1:443",
            [Ok(connect("timeout", MS)), Ok(connect("connected", MS))],
        );
    assert_eq!(apply(restartable(back)), "fixed");
    assert_eq!(
        apply(
            with_unit(silent())
                .on_job("restart *", [Err(Error::Denied("services.control".into()))])
        ),
        "failed"
    );
    assert_eq!(
        apply(with_unit(silent()).on_job("restart *", [Ok("failed".into())])),
        "failed"
    );
}
