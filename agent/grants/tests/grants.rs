//! What is granted, what never is, and what does not parse.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use iaso_grants::{GrantSet, Grants, Target};
use proptest::prelude::*;

fn parse(toml: &str) -> Grants {
    toml::from_str(toml).expect("good grants")
}

fn error(toml: &str) -> String {
    toml::from_str::<Grants>(toml)
        .expect_err("bad grants")
        .message()
        .to_owned()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The contract's own example.
const FULL: &str = r#"
    [check]
    host = true
    net.tcp  = [{ to = "10.0.0.0/8", ports = [6443, 10250] }, { to = "one.one.one.one", ports = [443] }]
    net.icmp = ["10.0.0.0/8", "*"]
    net.unix = ["/run/k3s/containerd/containerd.sock"]
    dns.servers = [{ to = "10.43.0.0/16", ports = [53] }]
    http = [{ to = "127.0.0.1", ports = [10248], methods = ["GET"] }]
    services.read = ["k3s-agent.service"]
    files.read = ["/var/lib/rancher/k3s/agent", "/etc/resolv.conf"]
    kube.pods = ["kube-system"]
    kube.services = ["kube-system", "default"]
    [fix]
    services.control = ["k3s-agent.service"]
    scripts = ["k3s-killall"]
    kube.delete_pods = ["kube-system"]
"#;

#[test]
fn the_documented_example_allows_what_it_says_and_no_more() {
    let Grants {
        check,
        fix,
        declined,
    } = parse(FULL);
    assert!(declined.is_empty());
    assert!(check.tcp(ip("10.1.2.3"), 6443).is_ok());
    assert!(check.tcp(ip("10.1.2.3"), 22).is_err());
    assert!(
        check
            .tcp(
                Target {
                    name: Some("One.One.One.One."),
                    address: ip("1.1.1.1")
                },
                443
            )
            .is_ok()
    );
    assert!(
        check.tcp(ip("1.1.1.1"), 443).is_err(),
        "the name was granted, not the address"
    );
    assert!(check.icmp(ip("1.1.1.1")).is_ok());
    assert!(check.dns(ip("10.43.0.10"), 53).is_ok());
    assert!(check.http(ip("127.0.0.1"), 10248, "GET").is_ok());
    assert!(check.http(ip("127.0.0.1"), 10248, "POST").is_err());
    assert!(
        check
            .file_read("/var/lib/rancher/k3s/agent/kubelet.kubeconfig")
            .is_ok()
    );
    assert!(
        check.file_read("/var/lib/rancher/k3s/agent-token").is_err(),
        "a path is not a string prefix"
    );
    assert!(
        check
            .file_read("/var/lib/rancher/k3s/agent/../server/token")
            .is_err()
    );
    assert!(check.kube_pods("kube-system").is_ok() && check.kube_pods("default").is_err());
    assert!(fix.service_control("k3s-agent.service").is_ok() && fix.script("k3s-killall").is_ok());
    assert!(fix.kube_delete_pods("kube-system").is_ok());
    assert!(
        fix.service_read("k3s-agent.service").is_err(),
        "a fix gets only what its own table says"
    );
}

#[test]
fn each_way_to_look_at_workloads_is_granted_by_itself() {
    let check = parse(
        r#"
        check.kube.pod_states = ["a"]
        check.kube.workloads = ["b"]
        check.kube.env_urls = ["c"]
        check.kube.conditions = ["d/kustomizations.kustomize.toolkit.fluxcd.io"]
        "#,
    )
    .check;
    for (namespace, expected) in [
        ("a", [true, false, false, false]),
        ("b", [false, true, false, false]),
        ("c", [false, false, true, false]),
        ("d", [false, false, false, true]),
        ("e", [false, false, false, false]),
    ] {
        let seen = [
            check.kube_pod_states(namespace).is_ok(),
            check.kube_workloads(namespace).is_ok(),
            check.kube_env_urls(namespace).is_ok(),
            check
                .kube_conditions("kustomize.toolkit.fluxcd.io", "kustomizations", namespace)
                .is_ok(),
        ];
        assert_eq!(seen, expected, "{namespace}");
        assert!(check.kube_pods(namespace).is_err());
    }
    for (group, resource, namespace) in [
        ("helm.toolkit.fluxcd.io", "kustomizations", "d"),
        ("kustomize.toolkit.fluxcd.io", "secrets", "d"),
        ("kustomize.toolkit.fluxcd.io", "d/kustomizations", ""),
    ] {
        assert!(check.kube_conditions(group, resource, namespace).is_err());
    }
}

#[test]
fn a_denial_names_the_missing_line_of_configuration() {
    let none = GrantSet::default();
    let words =
        |decision: iaso_grants::Decision| decision.expect_err("nothing is granted").to_string();
    assert_eq!(
        words(none.tcp(ip("10.0.0.7"), 22)),
        r#"needs grant `net.tcp = [{ to = "10.0.0.7", ports = [22] }]`"#
    );
    assert_eq!(
        words(none.icmp(ip("10.0.0.7"))),
        r#"needs grant `net.icmp = ["10.0.0.7"]`"#
    );
    assert_eq!(words(none.host_facts()), "needs grant `host = true`");
    assert_eq!(
        words(none.http(ip("::ffff:127.0.0.1"), 80, "GET")),
        r#"needs grant `http = [{ to = "127.0.0.1", ports = [80], methods = ["GET"] }]`"#
    );
    assert_eq!(
        words(none.service_control("a\"b.service")),
        r#"needs grant `services.control = ["a\"b.service"]`"#
    );
    let rebound = Target {
        name: Some("inside.example"),
        address: ip("127.0.0.1"),
    };
    assert!(
        words(none.tcp(rebound, 22)).contains("127.0.0.1"),
        "a grant by name would not help here"
    );
    let public = Target {
        name: Some("one.one.one.one"),
        address: ip("1.1.1.1"),
    };
    assert!(words(none.tcp(public, 443)).contains("one.one.one.one"));
}

#[test]
fn special_addresses_are_only_reached_when_named() {
    let special = [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "255.255.255.255",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:169.254.169.254",
        "::ffff:127.0.0.1",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::7f00:1",
        "2002:a9fe:a9fe::1",
        "2002:7f00:1::",
    ];
    for wide in ["*", "0.0.0.0/0", "::/0", "name.example"] {
        let grants = parse(&format!("check.net.tcp = [{{ to = \"{wide}\" }}]"));
        for address in special {
            let target = Target {
                name: Some("name.example"),
                address: ip(address),
            };
            assert!(
                grants.check.tcp(target, 80).is_err(),
                "`{wide}` let {address} through"
            );
        }
    }
    for address in special {
        let grants = parse(&format!("check.net.tcp = [{{ to = \"{address}\" }}]"));
        assert!(
            grants.check.tcp(ip(address), 80).is_ok(),
            "{address} was named"
        );
    }
}

#[test]
fn what_cannot_mean_what_was_meant_does_not_parse() {
    for (toml, words) in [
        (
            r#"check.net.tcp = [{ to = "10.0.0.7/8" }]"#,
            "did you mean `10.0.0.0/8`?",
        ),
        (
            r#"check.net.tcp = [{ to = "10.0.0.0/33" }]"#,
            "is not a network",
        ),
        (r#"check.net.tcp = [{ to = "" }]"#, "`to` is empty"),
        (
            r#"check.net.tcp = [{ to = "10.0.0" }]"#,
            "neither an address nor a name",
        ),
        (
            r#"check.net.tcp = [{ to = "*.example.org" }]"#,
            "neither an address nor a name",
        ),
        (
            r#"check.net.tcp = [{ to = "*", ports = [0] }]"#,
            "allows port 0",
        ),
        (
            r#"check.http = [{ to = "*", methods = [] }]"#,
            "`methods` is empty",
        ),
        (
            r#"check.http = [{ to = "*", methods = ["get"] }]"#,
            "not a method in capitals",
        ),
        (r#"check.net.unix = ["run/x.sock"]"#, "not an absolute path"),
        (
            r#"fix.files.read = ["/etc/../root"]"#,
            "not an absolute path",
        ),
        (
            r#"check.services.read = ["k3s-agent"]"#,
            "the full name of a unit",
        ),
        (
            r#"check.services.control = ["a.service"]"#,
            "move it to the plugin's `grants.fix`",
        ),
        (
            r#"check.scripts = ["x"]"#,
            "move it to the plugin's `grants.fix`",
        ),
        (
            r#"check.kube.delete_pods = ["x"]"#,
            "move it to the plugin's `grants.fix`",
        ),
        ("check.nett = 1", "unknown field `nett`"),
        ("look.host = true", "unknown field `look`"),
    ] {
        let said = error(toml);
        assert!(said.contains(words), "{toml}: {said}");
    }
    let many = vec!["\"*\""; 257].join(",");
    assert!(error(&format!("check.net.icmp = [{many}]")).contains("has 257 entries"));
}

#[test]
fn what_names_no_namespace_or_no_custom_resource_does_not_parse() {
    for (toml, words) in [
        (r#"check.kube.pods = ["*"]"#, "not a namespace"),
        (r#"check.kube.pod_states = ["*"]"#, "not a namespace"),
        (r#"check.kube.workloads = [""]"#, "not a namespace"),
        (r#"check.kube.env_urls = ["A"]"#, "not a namespace"),
        (
            r#"check.kube.conditions = ["apps"]"#,
            "not a namespace and a custom resource",
        ),
        (
            r#"check.kube.conditions = ["apps/secrets"]"#,
            "not a namespace and a custom resource",
        ),
        (
            r#"check.kube.conditions = ["apps/deployments.apps"]"#,
            "not a namespace and a custom resource",
        ),
        (
            r#"check.kube.conditions = ["*/kustomizations.kustomize.toolkit.fluxcd.io"]"#,
            "not a namespace and a custom resource",
        ),
    ] {
        let said = error(toml);
        assert!(said.contains(words), "{toml}: {said}");
    }
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
        any::<u32>().prop_map(|bits| IpAddr::V6(Ipv4Addr::from_bits(bits).to_ipv6_mapped())),
    ]
}

proptest! {
    /// Catches: a mapped address compared as v6, so that `::ffff:10.0.0.7` is denied what `10.0.0.7` may, or allowed what it may not.
    #[test]
    fn a_mapped_address_is_decided_as_the_address_it_is(bits in any::<u32>(), base in any::<u32>(), len in 0u8..=32) {
        let v4 = Ipv4Addr::from_bits(bits);
        let net = Ipv4Addr::from_bits(base.checked_shl(32 - u32::from(len)).unwrap_or(0));
        let grants = parse(&format!("check.net.tcp = [{{ to = \"{net}/{len}\" }}]"));
        let plain = grants.check.tcp(IpAddr::V4(v4), 80);
        prop_assert_eq!(plain, grants.check.tcp(IpAddr::V6(v4.to_ipv6_mapped()), 80));
    }

    /// Catches: `*` that covers link-local or loopback in any spelling of the address.
    #[test]
    fn anyone_is_never_the_host_itself_nor_its_metadata(low in 0u32..0x0100_0000, form in 0u8..5) {
        let all = parse("check.net.icmp = [\"*\"]");
        for base in [0x7f00_0000, 0xa9fe_0000 | (low & 0xffff)] {
            let v4 = Ipv4Addr::from_bits(base | (low & if base >> 24 == 0x7f { 0x00ff_ffff } else { 0xffff }));
            let [hi, lo] = [v4.to_bits() >> 16, v4.to_bits() & 0xffff].map(|half| u16::try_from(half).unwrap_or(0));
            let address = match form {
                0 => IpAddr::V4(v4),
                1 => IpAddr::V6(v4.to_ipv6_mapped()),
                2 => IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, hi, lo)),
                3 => IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, hi, lo)),
                _ => IpAddr::V6(Ipv6Addr::new(0x2002, hi, lo, 0, 0, 0, 0, 1)),
            };
            prop_assert!(all.check.icmp(address).is_err(), "{address}");
        }
    }

    /// Catches: a denial whose text, pasted into the configuration, would not help.
    #[test]
    fn the_grant_that_a_denial_names_is_the_one_that_was_missing(address in any_address(), port in 1u16..) {
        let denial = GrantSet::default().tcp(address, port).expect_err("nothing is granted");
        let granted = parse(&format!("check.{}", denial.grant()));
        prop_assert!(granted.check.tcp(address, port).is_ok(), "{denial}");
    }

    /// Catches: a field that is written in one form and read in another.
    #[test]
    fn grants_survive_the_wire(address in any_address(), port in 1u16..) {
        let grants = parse(&format!("check.net.tcp = [{{ to = \"{address}\", ports = [{port}] }}]\n{}", "fix.host = true"));
        let json = serde_json::to_string(&grants).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<Grants>(&json).expect("grants"), grants);
    }
}

#[test]
fn what_is_declined_must_be_an_interface() {
    assert_eq!(parse("declined = [\"scripts\"]").declined, ["scripts"]);
    let error = toml::from_str::<Grants>("declined = [\"script\"]").unwrap_err();
    assert!(error.to_string().contains("no interface"), "{error}");
}
