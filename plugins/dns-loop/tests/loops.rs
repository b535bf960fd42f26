//! What the check says of name servers in every state we know of.

use dns_loop::DnsLoop;
use iaso_plugin::Error;
use iaso_plugin::capability::Link;
use iaso_plugin::testing::{MockHost, answer, check, chunk, file_stat, lines};

const ETC: &str = "/etc/resolv.conf";
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
const CONFIG: &str = "/etc/rancher/k3s/config.yaml";
const STUB: &str = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n";
const ASK_CLUSTER: &str = "dns 10.43.0.10:53 udp A example.com.";

/// A node without files, whose servers know the external name.
fn node() -> MockHost {
    MockHost::new()
        .on_stat("stat *", [Ok(file_stat("missing"))])
        .on_links(
            "links",
            [Ok(vec![Link {
                name: "eth0".into(),
                up: true,
                mtu: 1500,
                addresses: vec!["100.64.0.2/10".into(), "fd7a::2/48".into()],
            }])],
        )
        .on_dns("dns *", [Ok(answer("NOERROR", &["192.0.2.1"]))])
}

fn with(host: MockHost, path: &str, text: &str) -> MockHost {
    host.on_stat(format!("stat {path}"), [Ok(file_stat("file"))])
        .on_read(format!("read {path}"), [Ok(chunk(text))])
}

fn failing(host: MockHost) -> MockHost {
    host.on_dns(ASK_CLUSTER, [Ok(answer("SERVFAIL", &[]))])
}

fn expect(host: &MockHost, expected: &[&str]) {
    assert_eq!(lines::<DnsLoop>(host, &[]), expected);
}

#[test]
fn the_stub_of_systemd_resolved_is_passed_over_for_the_file_behind_it() {
    let host = with(
        with(node(), ETC, STUB),
        RESOLVED,
        "nameserver 9.9.9.9\nnameserver 1.1.1.1\n",
    );
    expect(&host, &[&format!("ok ok {RESOLVED}")]);
    let plain = with(node(), ETC, "nameserver 192.168.0.1\n");
    expect(&plain, &[&format!("ok ok {ETC}")]);
}

#[test]
fn a_stub_given_to_the_kubelet_is_a_loop_once_names_fail() {
    let given = with(node(), CONFIG, "resolv-conf: /etc/resolv.conf\n");
    let host = with(given, ETC, STUB);
    expect(&host, &["loopback-server warning 127.0.0.53"]);
    expect(&failing(host), &["loop critical 127.0.0.53"]);
}

#[test]
fn the_file_named_in_the_configuration_of_the_plugin_counts_first() {
    let host = failing(with(node(), "/x", "nameserver 127.0.2.2\n"));
    let findings = check::<DnsLoop>(&host, &[("resolv_conf", "/x")]).expect("right");
    assert_eq!(findings[0].code, "dns-loop.loop");
    assert!(
        findings[0].summary.contains("Cloudflare WARP") && findings[0].summary.contains("SERVFAIL"),
        "{}",
        findings[0].summary
    );
    assert!(host.calls_to(&format!("read {CONFIG}")).is_empty());
}

#[test]
fn the_cluster_dns_among_the_nodes_servers_forwards_to_itself() {
    let host = with(
        with(node(), ETC, STUB),
        RESOLVED,
        "nameserver 10.43.0.10\nnameserver 1.1.1.1\n",
    );
    expect(&host, &["cluster-dns-server warning 10.43.0.10"]);
    let dead = failing(host).on_dns(
        "dns 10.43.0.10:53 udp A kubernetes.default.svc.cluster.local.",
        [Err(Error::Timeout)],
    );
    let findings = check::<DnsLoop>(&dead, &[]).expect("right");
    assert_eq!(findings[0].code, "dns-loop.loop");
    assert!(
        findings[0].summary.contains("ends itself"),
        "{}",
        findings[0].summary
    );
    // With another address of the cluster DNS it is a server like others.
    assert_eq!(
        lines::<DnsLoop>(&dead, &[("cluster_dns", "10.96.0.10")]),
        [format!("server-silent warning {RESOLVED}")]
    );
}

#[test]
fn a_forwarder_on_this_node_counts_only_when_it_does_not_resolve() {
    let host = with(node(), ETC, "nameserver 100.64.0.2\n");
    expect(&host, &[&format!("ok ok {ETC}")]);
    let silent = host.on_dns("dns 100.64.0.2:53 *", [Err(Error::Timeout)]);
    expect(&silent, &["own-server warning 100.64.0.2"]);
    expect(&failing(silent), &["loop critical 100.64.0.2"]);
}

#[test]
fn without_a_fit_file_k3s_gives_pods_a_server_of_its_own() {
    let generated = "generated-server warning resolv.conf of pods";
    expect(&with(node(), ETC, STUB), &[generated]);
    expect(&with(with(node(), ETC, STUB), RESOLVED, STUB), &[generated]);
    expect(&node(), &[generated]);
    // One unfit server makes the file unfit.
    expect(
        &with(node(), ETC, "nameserver 1.1.1.1\nnameserver ::1\n"),
        &[generated],
    );
    let blocked = with(node(), ETC, STUB).on_dns("dns 8.8.8.8:53 *", [Err(Error::Timeout)]);
    expect(
        &blocked,
        &[generated, "server-silent critical the file that k3s wrote"],
    );
}

#[test]
fn a_file_that_is_given_and_useless_is_named() {
    let given = |path: &str| with(node(), CONFIG, &format!("resolv-conf: {path}\n"));
    expect(&given("/gone"), &["file-missing critical /gone"]);
    expect(
        &with(given("/empty"), "/empty", "search a\n"),
        &["no-server critical /empty"],
    );
    expect(
        &with(
            given("/odd"),
            "/odd",
            "nameserver dns.example\nnameserver 169.254.20.10\n",
        ),
        &[
            "no-address warning dns.example",
            "link-local-server warning 169.254.20.10",
        ],
    );
}

#[test]
fn a_server_elsewhere_that_is_silent_is_no_loop() {
    let host = with(node(), ETC, "nameserver 9.9.9.9\nnameserver 1.1.1.1\n")
        .on_dns("dns 9.9.9.9:53 *", [Err(Error::Timeout)]);
    expect(&host, &[&format!("server-silent warning {ETC}")]);
    let both = failing(host.on_dns("dns 1.1.1.1:53 *", [Ok(answer("REFUSED", &[]))]));
    expect(&both, &[&format!("server-silent critical {ETC}")]);
}

#[test]
fn more_servers_than_pods_get_are_told() {
    let text = "nameserver 9.9.9.9\nnameserver 1.1.1.1\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n";
    expect(
        &with(node(), ETC, text),
        &[
            &format!("ok ok {ETC}"),
            &format!("too-many-servers info {ETC}"),
        ],
    );
}

#[test]
fn what_cannot_be_looked_at_is_unknown_and_never_free_of_loops() {
    let unknown = "unknown unknown resolv.conf of pods";
    for why in [Error::Denied("files.read".into()), Error::Timeout] {
        expect(&node().on_stat("stat *", [Err(why.clone())]), &[unknown]);
        let host = with(node(), ETC, "").on_read(format!("read {ETC}"), [Err(why.clone())]);
        expect(&host, &[unknown]);
        let plain = || with(node(), ETC, "nameserver 9.9.9.9\n");
        let no_config = plain().on_read(format!("read {CONFIG}"), [Err(why.clone())]);
        expect(&no_config, &[&format!("unknown unknown {ETC}")]);
        let no_links = plain().on_links("links", [Err(why)]);
        expect(&no_links, &[&format!("unknown unknown {ETC}")]);
    }
    // Not granted to ask: a way back is still seen by its address.
    let mute = with(
        with(node(), CONFIG, "resolv-conf: /etc/resolv.conf\n"),
        ETC,
        STUB,
    )
    .on_dns("dns *", [Err(Error::Denied("dns.servers".into()))]);
    let findings = check::<DnsLoop>(&mute, &[]).expect("right");
    assert_eq!(findings[0].code, "dns-loop.loopback-server");
    assert!(
        findings[0]
            .summary
            .contains("whether names resolve is not known"),
        "{}",
        findings[0].summary
    );
}

#[test]
fn a_wrong_configuration_is_refused_in_words_that_help() {
    let wrong = |pairs: &[(&str, &str)], words: &str| {
        let text = lines::<DnsLoop>(&node(), pairs).join("");
        assert!(
            text.starts_with("error: ") && text.contains(words),
            "{text}"
        );
    };
    wrong(&[("file", "/x")], "unknown configuration key");
    wrong(&[("resolv_conf", "x")], "absolute path");
    wrong(&[("cluster_dns", "kube-dns")], "an IP address");
    wrong(&[("external_name", "example.com")], "ending in a dot");
}
