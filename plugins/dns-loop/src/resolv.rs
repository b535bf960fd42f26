//! `resolv.conf`, and what k3s makes of it.

use std::net::IpAddr;

/// More servers are not looked at; the resolver library itself uses three.
const SERVERS_MAX: usize = 16;

/// The servers of a file, in their order; text that is no address stays as it is.
pub(crate) fn servers(text: &str) -> Vec<String> {
    text.lines()
        .map(str::trim)
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with([' ', '\t']))
        .filter_map(|rest| rest.split_whitespace().next())
        .take(SERVERS_MAX)
        .map(str::to_owned)
        .collect()
}

/// The address without its zone (`fe80::1%eth0`).
pub(crate) fn address(server: &str) -> Option<IpAddr> {
    server.split('%').next()?.parse().ok()
}

/// True when k3s hands the file to pods: every server is an address that a pod can reach, and there is one.
pub(crate) fn is_fit_for_pods(servers: &[String]) -> bool {
    !servers.is_empty()
        && servers
            .iter()
            .all(|server| address(server).is_some_and(is_global_unicast))
}

/// As Go's `IsGlobalUnicast` has it: private networks are in, loopback, link-local and multicast are out.
pub(crate) fn is_global_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_unspecified()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_unicast_link_local()
                || v6.is_multicast())
        }
    }
}

/// The `resolv-conf` of a k3s configuration: the kubelet's argument counts before k3s's own key.
pub(crate) fn configured(text: &str) -> Option<String> {
    let clean = |value: &str| {
        let value = value.split(" #").next().unwrap_or_default();
        let value = value.trim().trim_matches(['"', '\'', ',', ']', ' ']);
        value.starts_with('/').then(|| value.to_owned())
    };
    let lines = || {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
    };
    let argument = lines()
        .filter_map(|line| line.split_once("resolv-conf="))
        .find_map(|(_, rest)| clean(rest.split(['"', '\'', ',']).next()?));
    argument.or_else(|| {
        lines()
            .filter_map(|line| line.strip_prefix("resolv-conf:"))
            .find_map(clean)
    })
}

#[cfg(test)]
mod tests {
    use super::{configured, is_fit_for_pods, servers};

    #[test]
    fn servers_are_read_as_the_resolver_reads_them() {
        let text = "# nameserver 1.1.1.1\nnameserver 127.0.0.53\n nameserver\t2001:db8::1 x\nnameservers 9.9.9.9\nsearch a\n";
        assert_eq!(servers(text), ["127.0.0.53", "2001:db8::1"]);
    }

    #[test]
    fn a_file_is_fit_only_when_all_of_its_servers_are() {
        let fit = |list: &[&str]| {
            is_fit_for_pods(&list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
        };
        assert!(fit(&["1.1.1.1", "10.0.0.1", "2001:db8::1"]));
        for unfit in [
            &["1.1.1.1", "127.0.0.53"][..],
            &["169.254.20.10"],
            &["::1"],
            &["fe80::1%eth0"],
            &["224.0.0.1"],
            &["0.0.0.0"],
            &["dns.example"],
            &[],
        ] {
            assert!(!fit(unfit), "{unfit:?}");
        }
    }

    #[test]
    fn the_path_is_found_however_it_is_configured() {
        for (text, expected) in [
            ("resolv-conf: /a/b\n", Some("/a/b")),
            ("token: x\nresolv-conf: \"/a/b\" # why\n", Some("/a/b")),
            ("kubelet-arg:\n  - \"resolv-conf=/a/b\"\n", Some("/a/b")),
            (
                "resolv-conf: /own\nkubelet-arg: ['v=2', 'resolv-conf=/a/b']\n",
                Some("/a/b"),
            ),
            ("# resolv-conf: /a/b\n", None),
            ("resolv-conf: relative\n", None),
            ("", None),
        ] {
            assert_eq!(configured(text).as_deref(), expected, "{text}");
        }
    }
}
