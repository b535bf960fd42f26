//! What is seen of the network from here, with nothing decided yet.

use std::time::Duration;

use iaso_plugin::capability::{ConnectOutcome, Ping, PingOutcome, Route};
use iaso_plugin::{Error, Host, Net};

use crate::settings::{Address, Settings};

/// Payloads that fill an MTU of 9000, 1500, 1480 (a PPP line), 1450 (VXLAN), 1420 (a VPN), 1370 (VXLAN in a VPN), 1280 and 576 bytes.
const LADDER: &[u32] = &[8972, 1472, 1452, 1422, 1392, 1342, 1252, 548];
/// IPv4 and ICMP headers.
const HEADERS: u32 = 28;

/// What a target is to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Gateway,
    Api,
    Peer,
    Anchor,
    Dns,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Api => "API server",
            Self::Peer => "peer",
            Self::Anchor => "public anchor",
            Self::Dns => "DNS server",
        }
    }
}

/// What one target answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Reached {
        latency: Duration,
        lost_percent: u64,
    },
    Silent(String),
    Unseen(String),
}

/// One target and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    /// What a person knows it by.
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) answer: Answer,
}

/// A path that swallows large packets without a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlackHole {
    pub(crate) host: String,
    pub(crate) passes: u32,
    pub(crate) swallowed: u32,
}

/// Everything that one look saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sight {
    /// None: the routing table could not be read.
    pub(crate) default_routes: Option<Vec<Route>>,
    pub(crate) targets: Vec<Target>,
    pub(crate) black_hole: Option<BlackHole>,
    /// Why something could not be looked at at all.
    pub(crate) unseen: Vec<String>,
}

pub(crate) fn look<H: Net + Host>(host: &H, settings: &Settings) -> Sight {
    let begun = host.monotonic();
    let left = || {
        settings
            .budget
            .saturating_sub(host.monotonic().saturating_sub(begun))
    };
    let mut sight = Sight::default();
    match host.routes() {
        Ok(routes) => sight.default_routes = Some(routes.into_iter().filter(is_default).collect()),
        Err(why) => sight.unseen.push(format!("routing table: {why}")),
    }
    let targets = targets(host, settings, &mut sight);
    for (kind, name, address) in targets {
        let answer = match left() {
            time if time < Duration::from_millis(10) => {
                Answer::Unseen("no time left within `budget`".to_owned())
            }
            time => ask(host, settings, &address, settings.timeout.min(time)),
        };
        sight.targets.push(Target {
            kind,
            name,
            address,
            answer,
        });
    }
    if settings.mtu {
        sight.black_hole = black_hole(host, settings, &sight, &left);
    }
    sight
}

fn is_default(route: &Route) -> bool {
    matches!(route.destination.as_str(), "0.0.0.0/0" | "::/0")
}

/// The nearest first, so that a budget that runs out has told the most.
fn targets<H: Host>(
    host: &H,
    settings: &Settings,
    sight: &mut Sight,
) -> Vec<(Kind, String, Address)> {
    let mut targets: Vec<(Kind, String, Address)> = Vec::new();
    let mut add = |kind: Kind, name: String, address: Address| {
        if !targets
            .iter()
            .any(|(known, _, other)| *known == kind && *other == address)
        {
            targets.push((kind, name, address));
        }
    };
    if settings.ping_gateway {
        for route in sight
            .default_routes
            .iter()
            .flatten()
            .filter(|route| !route.gateway.is_empty())
        {
            let address = Address {
                host: route.gateway.clone(),
                port: None,
            };
            add(Kind::Gateway, address.text(), address);
        }
    }
    if let Some(address) = &settings.api_server {
        add(Kind::Api, address.text(), address.clone());
    }
    for address in &settings.anchors {
        add(Kind::Anchor, address.text(), address.clone());
    }
    for (name, address) in peers(host, settings, &mut sight.unseen) {
        add(Kind::Peer, name, address);
    }
    match (&settings.dns_servers, host) {
        (Some(servers), _) => servers
            .iter()
            .for_each(|address| add(Kind::Dns, address.text(), address.clone())),
        (None, host) => match host.resolvers() {
            Ok(servers) => servers.into_iter().take(3).for_each(|server| {
                let address = Address {
                    host: server,
                    port: Some(53),
                };
                add(Kind::Dns, address.text(), address);
            }),
            Err(why) => sight.unseen.push(format!("name servers: {why}")),
        },
    }
    targets
}

fn peers<H: Host>(
    host: &H,
    settings: &Settings,
    unseen: &mut Vec<String>,
) -> Vec<(String, Address)> {
    let mut peers: Vec<(String, Address)> = settings
        .peers
        .iter()
        .map(|address| (address.text(), address.clone()))
        .collect();
    if settings.ask_peers {
        match host.peers() {
            Ok(known) => peers.extend(
                known
                    .into_iter()
                    .filter_map(|(name, text)| Some((name, Address::parse(&text)?))),
            ),
            // A host without a controller knows no peers, and that is no fault.
            Err(Error::Unavailable(_)) => {}
            Err(why) => unseen.push(format!("peers: {why}")),
        }
    }
    // In a large cluster each look takes others, from where the dice fall.
    if peers.len() > settings.peers_max {
        let by =
            usize::try_from(host.random() % u64::try_from(peers.len()).unwrap_or(1)).unwrap_or(0);
        peers.rotate_left(by);
        peers.truncate(settings.peers_max);
    }
    peers
}

fn ask<H: Net>(host: &H, settings: &Settings, address: &Address, timeout: Duration) -> Answer {
    let answer = match address.port {
        Some(port) => host
            .tcp_connect(&address.host, port, timeout)
            .map(connected),
        None => host
            .ping(&address.host, small(settings.ping_count, timeout))
            .map(pinged),
    };
    answer.unwrap_or_else(|why| match why {
        Error::Timeout => Answer::Silent("timeout".to_owned()),
        Error::Denied(_) | Error::TooLarge(_) | Error::Unavailable(_) | Error::Other(_) => {
            Answer::Unseen(why.to_string())
        }
    })
}

fn connected(seen: ConnectOutcome) -> Answer {
    match seen.outcome.as_str() {
        "connected" | "refused" => Answer::Reached {
            latency: Duration::from_micros(seen.elapsed_us),
            lost_percent: 0,
        },
        "unresolved" => Answer::Silent("its name does not resolve".to_owned()),
        _ => Answer::Silent(seen.outcome),
    }
}

fn pinged(seen: PingOutcome) -> Answer {
    if seen.received == 0 {
        return Answer::Silent(seen.outcome);
    }
    let lost = u64::from(seen.sent.saturating_sub(seen.received));
    Answer::Reached {
        latency: Duration::from_micros(seen.rtt_avg_us),
        lost_percent: lost * 100 / u64::from(seen.sent.max(1)),
    }
}

const fn small(count: u32, timeout: Duration) -> Ping {
    Ping {
        count,
        timeout,
        payload_bytes: 56,
        dont_fragment: false,
    }
}

/// Climbs down the ladder with a target that answers small pings. Silence above and an answer below is a black hole; a router that says
/// `too-big` is none, for the sender then learns the MTU.
fn black_hole<H: Net + Host>(
    host: &H,
    settings: &Settings,
    sight: &Sight,
    left: &dyn Fn() -> Duration,
) -> Option<BlackHole> {
    let reached = |target: &&Target| {
        matches!(
            target.answer,
            Answer::Reached {
                lost_percent: 0,
                ..
            }
        ) && !target.address.host.contains(':')
    };
    // The farthest path shows the most; what is only connected to is pinged here for the first time.
    let target = [Kind::Anchor, Kind::Peer, Kind::Gateway]
        .iter()
        .find_map(|kind| {
            sight
                .targets
                .iter()
                .filter(reached)
                .find(|target| target.kind == *kind && pings(host, settings, target, left))
        })?;
    let mut swallowed = None;
    let own_mtu = own_mtu(host, sight);
    for payload in LADDER
        .iter()
        .copied()
        .filter(|payload| payload + HEADERS <= own_mtu)
    {
        let time = settings.timeout.min(left());
        if time < Duration::from_millis(10) {
            return None;
        }
        let ping = Ping {
            count: 3,
            timeout: time,
            payload_bytes: payload,
            dont_fragment: true,
        };
        match host.ping(&target.address.host, ping) {
            Ok(seen) if seen.received > 0 => {
                return swallowed.map(|swallowed| BlackHole {
                    host: target.address.host.clone(),
                    passes: payload + HEADERS,
                    swallowed,
                });
            }
            Ok(seen) if seen.outcome == "timeout" => swallowed = Some(payload + HEADERS),
            Ok(seen) if seen.outcome == "too-big" => {}
            Ok(_) | Err(_) => return None,
        }
    }
    None
}

fn pings<H: Net>(
    host: &H,
    settings: &Settings,
    target: &Target,
    left: &dyn Fn() -> Duration,
) -> bool {
    let time = settings.timeout.min(left());
    let ping = Ping {
        count: 1,
        timeout: time,
        payload_bytes: 56,
        dont_fragment: true,
    };
    time >= Duration::from_millis(10)
        && host
            .ping(&target.address.host, ping)
            .is_ok_and(|seen| seen.received > 0 && seen.method != "udp")
}

/// The MTU of the link that the default route takes; 1500 when nobody tells.
fn own_mtu<H: Host>(host: &H, sight: &Sight) -> u32 {
    let interface = sight
        .default_routes
        .iter()
        .flatten()
        .min_by_key(|route| route.metric)
        .map(|route| route.interface.clone());
    let links = host.links().unwrap_or_default();
    links
        .into_iter()
        .find(|link| Some(&link.name) == interface.as_ref())
        .map_or(1500, |link| link.mtu)
}
