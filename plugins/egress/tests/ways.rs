//! What the check says of the ways out in every state we know of.

use std::time::Duration;

use egress::Egress;
use iaso_plugin::Error;
use iaso_plugin::capability::{ConnectOutcome, Link, Route};
use iaso_plugin::testing::{MockHost, check, connect, lines, response};

const A: &str = "tcp 1.1.1.1:443";
const B: &str = "tcp 9.9.9.9:443";
const URL: &str = "https://id.example/trace";
const GET: &str = "GET https://id.example/trace";
const OK: &str = "ok ok the internet";

fn link(name: &str, up: bool, addresses: &[&str]) -> Link {
    Link {
        name: name.into(),
        up,
        mtu: 1280,
        addresses: addresses.iter().map(|one| (*one).to_owned()).collect(),
    }
}

fn route(destination: &str, interface: &str) -> Route {
    Route {
        destination: destination.into(),
        gateway: "192.0.2.1".into(),
        interface: interface.into(),
        metric: 0,
    }
}

fn went(outcome: &str) -> [Result<ConnectOutcome, Error>; 1] {
    [Ok(connect(outcome, Duration::from_millis(9)))]
}

/// Everything works, Tailscale too.
fn node() -> MockHost {
    MockHost::new()
        .on_connect("tcp *", went("connected"))
        .on_links(
            "links",
            [Ok(vec![
                link("eth0", true, &["192.0.2.7/24"]),
                link("tailscale0", true, &["100.64.0.2/32"]),
                link("wg0", true, &["10.9.0.1/24"]),
            ])],
        )
        .on_routes("routes", [Ok(vec![route("0.0.0.0/0", "eth0")])])
        .on_http(GET, [Ok(response(200, "fl=1\nip=192.0.2.7\nwarp=off\n"))])
}

fn expect(host: &MockHost, pairs: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(lines::<Egress>(host, pairs), expected);
}

fn summary(host: &MockHost, pairs: &[(&str, &str)]) -> String {
    check::<Egress>(host, pairs)
        .expect("a right configuration")
        .remove(0)
        .summary
}

#[test]
fn a_node_whose_ways_all_work_is_well() {
    expect(&node(), &[], &[OK]);
    let text = summary(&node(), &[("identity_url", URL)]);
    assert_eq!(
        text,
        "2 public addresses answer; others see 192.0.2.7; tailscale0 is up"
    );
    expect(&node().on_connect(A, went("refused")), &[], &[OK]);
}

#[test]
fn the_internet_gone_with_a_tunnel_up_is_told_from_a_node_cut_off() {
    let gone = node()
        .on_connect(A, went("timeout"))
        .on_connect(B, went("timeout"));
    expect(&gone, &[], &["no-internet critical the internet"]);
    let text = summary(&gone, &[]);
    assert!(
        text.contains("leads through eth0; tailscale0 works, so the node is not cut off"),
        "{text}"
    );
    let alone = gone.on_links("links", [Ok(vec![link("eth0", true, &["192.0.2.7/24"])])]);
    let text = summary(&alone.on_routes("routes", [Ok(vec![])]), &[]);
    assert!(text.ends_with("there is no default route"), "{text}");
}

#[test]
fn one_anchor_silent_is_that_anchor_and_a_family_is_named() {
    let one = node().on_connect(A, went("timeout"));
    expect(&one, &[], &["partial warning the internet"]);
    let v6 = node().on_connect("tcp 2606:4700::1111:443", went("unreachable"));
    let pairs = [("anchors", "1.1.1.1:443,[2606:4700::1111]:443")];
    assert!(
        summary(&v6, &pairs).contains("all of them IPv6"),
        "{}",
        summary(&v6, &pairs)
    );
    let v4 = node().on_connect(A, went("timeout"));
    assert!(summary(&v4, &pairs).contains("all of them IPv4"));
}

#[test]
fn anchors_that_are_blocked_are_not_taken_for_no_internet() {
    let host = node().on_connect("tcp *", went("timeout"));
    expect(
        &host,
        &[("identity_url", URL), ("tunnels", "")],
        &["anchors-blocked warning the internet"],
    );
}

#[test]
fn each_state_of_a_tunnel_has_its_word() {
    let pairs = [("tunnels", "tailscale0=100.64.0.1:6443")];
    let target = "tcp 100.64.0.1:6443";
    let links = |links: Vec<Link>| node().on_links("links", [Ok(links)]);
    expect(&node(), &pairs, &[OK]);
    for (host, expected) in [
        (links(vec![]), "tunnel-missing critical tailscale0"),
        (
            links(vec![link("tailscale0", false, &["100.64.0.2/32"])]),
            "tunnel-down critical tailscale0",
        ),
        (
            links(vec![link("tailscale0", true, &[])]),
            "tunnel-no-address critical tailscale0",
        ),
        (
            node().on_connect(target, went("unreachable")),
            "tunnel-unrouted critical tailscale0",
        ),
        (
            node().on_connect(target, went("timeout")),
            "tunnel-silent critical tailscale0",
        ),
        (
            node().on_connect(target, [Err(Error::Denied("net.tcp".into()))]),
            "unknown unknown tailscale0",
        ),
    ] {
        expect(&host, &pairs, &[expected]);
    }
    let two = [(
        "tunnels",
        "tailscale0=100.64.0.1:6443,tailscale0=100.64.0.3:22",
    )];
    let host = node().on_connect(target, went("timeout"));
    expect(&host, &two, &["tunnel-target-silent warning tailscale0"]);
    // Down, and yet reached: the finding says that another way leads there.
    let host = links(vec![link("tailscale0", false, &[])]);
    assert!(summary(&host, &pairs).contains("another way leads there"));
}

#[test]
fn a_route_is_asked_for_only_where_the_main_table_would_have_it() {
    expect(
        &node(),
        &[("tunnels", "wg0,tailscale0")],
        &["tunnel-unrouted warning wg0"],
    );
    let routed = node().on_routes("routes", [Ok(vec![route("10.9.0.0/24", "wg0")])]);
    expect(&routed, &[("tunnels", "wg0")], &[OK]);
    // Tunnels that nobody asked for are looked at when they are there.
    let bare = node().on_links("links", [Ok(vec![])]);
    expect(&bare, &[], &[OK]);
    let down = node().on_links("links", [Ok(vec![link("CloudflareWARP", false, &[])])]);
    expect(&down, &[], &["tunnel-down critical CloudflareWARP"]);
}

#[test]
fn an_address_that_moved_is_told_because_others_allow_by_address() {
    let pairs = [
        ("identity_url", URL),
        ("expect_addresses", "192.0.2.7,2001:db8::/48"),
    ];
    expect(&node(), &pairs, &[OK]);
    let moved = node().on_http(GET, [Ok(response(200, "ip=198.51.100.1\nwarp=on\n"))]);
    expect(
        &moved,
        &pairs,
        &["address-moved warning the address that others see"],
    );
    assert!(summary(&moved, &pairs).starts_with("others see 198.51.100.1 (WARP: on)"));
}

#[test]
fn without_an_expected_address_a_change_is_told_once() {
    let pairs = [("identity_url", URL)];
    let host = node().on_http(
        GET,
        [
            Ok(response(200, "192.0.2.7\n")),
            Ok(response(200, "{\"ip\": \"192.0.2.7\"}")),
            Ok(response(200, "198.51.100.1")),
        ],
    );
    expect(&host, &pairs, &[OK]);
    expect(&host, &pairs, &[OK]);
    expect(
        &host,
        &pairs,
        &[OK, "address-changed info the address that others see"],
    );
    expect(&host, &pairs, &[OK]);
    expect(&node().with_broken_state(), &pairs, &[OK]);
}

#[test]
fn a_connection_without_an_answer_is_asymmetric_and_silence_is_unknown() {
    let pairs = [("identity_url", URL)];
    let silent = node().on_http(GET, [Err(Error::Timeout)]);
    expect(&silent, &pairs, &["asymmetric critical the internet"]);
    let nobody = silent.on_connect("tcp id.example:443", went("timeout"));
    let unknown = "unknown unknown the address that others see";
    expect(&nobody, &pairs, &[unknown]);
    for answer in [
        Ok(response(503, "ip=192.0.2.7")),
        Ok(response(200, "<html>")),
        Err(Error::Denied("http".into())),
        Err(Error::Unavailable("refused".into())),
    ] {
        expect(&node().on_http(GET, [answer]), &pairs, &[unknown]);
    }
}

#[test]
fn what_was_not_granted_is_unknown() {
    let denied = || [Err(Error::Denied("net.tcp".into()))];
    let host = node().on_connect(A, denied()).on_connect(B, denied());
    expect(&host, &[], &["unknown unknown the internet"]);
    let blind = node().on_links("links", [Err(Error::Denied("host".into()))]);
    expect(&blind, &[], &["unknown unknown tunnels"]);
    expect(
        &node(),
        &[("anchors", ""), ("tunnels", "")],
        &["unknown unknown the internet"],
    );
}

#[test]
fn a_look_ends_within_its_budget() {
    let host = node().takes("tcp *", Duration::from_secs(2));
    let pairs = [("anchors", "1.1.1.1,9.9.9.9,8.8.8.8"), ("budget", "3s")];
    expect(&host, &pairs, &[OK]);
    assert_eq!(host.calls_to("tcp ").len(), 2);
}

#[test]
fn a_wrong_configuration_is_refused_in_words_that_help() {
    let wrong = |pairs: &[(&str, &str)], words: &str| {
        let text = lines::<Egress>(&node(), pairs).join("");
        assert!(
            text.starts_with("error: ") && text.contains(words),
            "{text}"
        );
    };
    wrong(&[("anchor", "x")], "unknown configuration key");
    wrong(&[("identity_url", "id.example")], "http or https URL");
    wrong(&[("expect_addresses", "192.0.2.7")], "needs `identity_url`");
    wrong(
        &[("identity_url", URL), ("expect_addresses", "home")],
        "not `home`",
    );
    wrong(
        &[("tunnels", "tailscale0=100.64.0.1")],
        "tailscale0=100.64.0.1:6443",
    );
    wrong(&[("tunnels", "a/b")], "not `a/b`");
}
