//! The operator's configuration of this plugin.

use std::net::IpAddr;
use std::time::Duration;

use iaso_plugin::{Config, split_endpoint};

use crate::url::endpoint;

pub(crate) const KEYS: &[&str] = &[
    "anchors",
    "identity_url",
    "expect_addresses",
    "tunnels",
    "timeout",
    "budget",
];

/// Interfaces that are looked at when `tunnels` is left out and they are there.
pub(crate) const KNOWN_TUNNELS: [&str; 2] = ["tailscale0", "CloudflareWARP"];

/// A network: an address and how many of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u32,
}

/// One tunnel that should work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tunnel {
    pub(crate) interface: String,
    /// Reached through it.
    pub(crate) targets: Vec<(String, u16)>,
    /// False: only looked at when it is there.
    pub(crate) is_wanted: bool,
}

/// Which ways out there should be.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) anchors: Vec<(String, u16)>,
    /// Answers with the address that it sees us come from, and where that is. Empty: not asked.
    pub(crate) identity_url: String,
    pub(crate) identity: Option<(String, u16)>,
    pub(crate) expected: Vec<Network>,
    pub(crate) tunnels: Vec<Tunnel>,
    pub(crate) timeout: Duration,
    pub(crate) budget: Duration,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let identity_url = config.text("identity_url", "").to_owned();
        let identity = endpoint(&identity_url);
        if !identity_url.is_empty() && identity.is_none() {
            return Err(format!(
                "configuration key `identity_url` must be an http or https URL, not `{identity_url}`"
            ));
        }
        let expected = config
            .list("expect_addresses", &[])?
            .iter()
            .map(|text| {
                Network::parse(text).ok_or_else(|| {
                    format!("configuration key `expect_addresses` must be addresses or networks, such as `192.0.2.7` or `2001:db8::/48`, not `{text}`")
                })
            })
            .collect::<Result<Vec<_>, String>>()?;
        if !expected.is_empty() && identity_url.is_empty() {
            return Err("`expect_addresses` needs `identity_url`: somebody must say from where we are seen to come".to_owned());
        }
        Ok(Self {
            anchors: config.endpoints("anchors", &["1.1.1.1:443", "9.9.9.9:443"], Some(443))?,
            identity_url,
            identity,
            expected,
            tunnels: tunnels(config)?,
            timeout: config.duration("timeout", Duration::from_secs(2))?,
            budget: config.duration("budget", Duration::from_secs(12))?,
        })
    }

    pub(crate) fn expects(&self, address: IpAddr) -> bool {
        self.expected.iter().any(|network| network.holds(address))
    }
}

fn tunnels(config: &Config) -> Result<Vec<Tunnel>, String> {
    let new = |interface: &str, is_wanted| Tunnel {
        interface: interface.to_owned(),
        targets: Vec::new(),
        is_wanted,
    };
    if config.get("tunnels").is_none() {
        return Ok(KNOWN_TUNNELS.iter().map(|name| new(name, false)).collect());
    }
    let mut tunnels: Vec<Tunnel> = Vec::new();
    for entry in config.list("tunnels", &[])? {
        let wrong = || {
            format!(
                "configuration key `tunnels` must be interfaces, or an interface and a target behind it such as `tailscale0=100.64.0.1:6443`, not `{entry}`"
            )
        };
        let (name, target) = match entry.split_once('=') {
            None => (entry.as_str(), None),
            Some((name, target)) => (name, Some(split_endpoint(target, None).ok_or_else(wrong)?)),
        };
        // As the kernel has it: at most 15 bytes, no space, no slash.
        let is_name = !name.is_empty()
            && name.len() <= 15
            && name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if !is_name {
            return Err(wrong());
        }
        if let Some(known) = tunnels.iter_mut().find(|tunnel| tunnel.interface == name) {
            known.targets.extend(target);
        } else {
            let mut tunnel = new(name, true);
            tunnel.targets.extend(target);
            tunnels.push(tunnel);
        }
    }
    Ok(tunnels)
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse::<IpAddr>().ok()?, Some(bits.parse().ok()?)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    fn holds(self, other: IpAddr) -> bool {
        // A shift by all bits is none that the processor knows.
        match (self.address, other) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differs = u32::from(ours) ^ u32::from(theirs);
                differs.checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differs = u128::from(ours) ^ u128::from(theirs);
                differs.checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn a_network_holds_what_its_bits_say() {
        let holds = |network: &str, address: &str| {
            Network::parse(network)
                .is_some_and(|network| network.holds(address.parse().expect("an address")))
        };
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.6"));
        assert!(holds("192.0.2.0/24", "192.0.2.255") && !holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("2001:db8::/48", "2001:db8:0:1::9") && !holds("2001:db8::/48", "2001:db9::"));
        assert!(holds("::/0", "2001:db8::"));
        for wrong in ["", "1.2.3", "1.2.3.4/33", "::/129", "1.2.3.4/x"] {
            assert!(Network::parse(wrong).is_none(), "{wrong}");
        }
    }
}
