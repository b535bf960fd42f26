//! Tries every way out, with nothing decided yet.

use std::net::IpAddr;
use std::time::Duration;

use iaso_plugin::capability::{Link, Request, Route, ms};
use iaso_plugin::{Error, Host, Http, Net, State};

use crate::settings::{Settings, Tunnel};

const TIME_MIN: Duration = Duration::from_millis(10);
const KEY: &str = "address";
/// What says an address is short.
const BODY_BYTES_MAX: u32 = 4096;

/// What came of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Connected, or refused: somebody answered.
    Reached,
    Silent,
    /// The kernel knows no way there.
    NoRoute(String),
    Unseen(String),
}

/// From where the world sees us come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    NotAsked,
    Is {
        address: IpAddr,
        /// What Cloudflare says of WARP, if it was asked.
        warp: Option<String>,
        before: Option<IpAddr>,
    },
    /// The connection is made, and no answer comes.
    OnlyConnects(String),
    Unknown(String),
}

/// A tunnel's interface and what is behind it.
#[derive(Debug, Clone)]
pub(crate) struct TunnelSight {
    pub(crate) tunnel: Tunnel,
    /// None: there is no such interface.
    pub(crate) link: Option<Link>,
    /// By the main table; policy routing is not seen.
    pub(crate) is_routed: bool,
    pub(crate) targets: Vec<(String, Reach)>,
}

/// Everything that one look saw.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    pub(crate) anchors: Vec<(String, Reach)>,
    pub(crate) identity: Identity,
    pub(crate) tunnels: Vec<TunnelSight>,
    /// Interfaces of default routes; an error: not known.
    pub(crate) default_ways: Result<Vec<String>, String>,
    /// What could not be looked at.
    pub(crate) unseen: Vec<String>,
}

pub(crate) fn look<H: Host + Http + Net + State>(host: &H, settings: &Settings) -> Sight {
    let begun = host.monotonic();
    let left = || {
        let spent = host.monotonic().saturating_sub(begun);
        settings.timeout.min(settings.budget.saturating_sub(spent))
    };
    let connect = |(to, port): &(String, u16)| {
        let name = if to.contains(':') {
            format!("[{to}]:{port}")
        } else {
            format!("{to}:{port}")
        };
        (name, reach(host, to, *port, left()))
    };
    let mut unseen = Vec::new();
    let anchors = settings.anchors.iter().map(connect).collect();
    let routes = host.routes();
    let links = host.links();
    let tunnels = match &links {
        Ok(links) => settings
            .tunnels
            .iter()
            .filter_map(|tunnel| tunnel_sight(tunnel, links, routes.as_deref().ok()))
            .map(|mut sight| {
                sight.targets = sight.tunnel.targets.iter().map(connect).collect();
                sight
            })
            .collect(),
        Err(why) => {
            unseen.push(format!("interfaces: {why}"));
            Vec::new()
        }
    };
    Sight {
        anchors,
        identity: identity(host, settings, &left),
        tunnels,
        default_ways: routes.map_err(|why| why.to_string()).map(default_ways),
        unseen,
    }
}

fn reach<H: Net>(host: &H, to: &str, port: u16, time: Duration) -> Reach {
    if time < TIME_MIN {
        return Reach::Unseen("no time left within `budget`".to_owned());
    }
    match host.tcp_connect(to, port, time) {
        Ok(seen) => match seen.outcome.as_str() {
            "connected" | "refused" => Reach::Reached,
            "timeout" => Reach::Silent,
            "unreachable" => Reach::NoRoute(seen.detail),
            "unresolved" => Reach::Unseen("its name has no address".to_owned()),
            other => Reach::Unseen(format!("the connection ended as `{other}`")),
        },
        Err(Error::Timeout) => Reach::Silent,
        Err(
            why @ (Error::Denied(_) | Error::TooLarge(_) | Error::Unavailable(_) | Error::Other(_)),
        ) => Reach::Unseen(why.to_string()),
    }
}

fn tunnel_sight(tunnel: &Tunnel, links: &[Link], routes: Option<&[Route]>) -> Option<TunnelSight> {
    let link = links.iter().find(|link| link.name == tunnel.interface);
    if link.is_none() && !tunnel.is_wanted {
        return None;
    }
    let is_routed = routes
        .into_iter()
        .flatten()
        .any(|route| route.interface == tunnel.interface);
    Some(TunnelSight {
        tunnel: tunnel.clone(),
        link: link.cloned(),
        is_routed,
        targets: Vec::new(),
    })
}

fn default_ways(routes: Vec<Route>) -> Vec<String> {
    let mut ways: Vec<String> = routes
        .into_iter()
        .filter(|route| matches!(route.destination.as_str(), "0.0.0.0/0" | "::/0"))
        .map(|route| route.interface)
        .collect();
    ways.dedup();
    ways
}

fn identity<H: Http + Net + State>(
    host: &H,
    settings: &Settings,
    left: &impl Fn() -> Duration,
) -> Identity {
    let Some((to, port)) = &settings.identity else {
        return Identity::NotAsked;
    };
    let time = left();
    if time < TIME_MIN {
        return Identity::Unknown("no time left within `budget`".to_owned());
    }
    let answer = host.send(&Request {
        method: "GET".to_owned(),
        url: settings.identity_url.clone(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: ms(time),
        max_bytes: BODY_BYTES_MAX,
    });
    let answer = match answer {
        Ok(answer) if answer.status == 200 => answer,
        Ok(answer) => return Identity::Unknown(format!("it answers {}", answer.status)),
        Err(why @ Error::Timeout) => {
            return match reach(host, to, *port, left()) {
                Reach::Reached => Identity::OnlyConnects(why.to_string()),
                Reach::Silent | Reach::NoRoute(_) | Reach::Unseen(_) => {
                    Identity::Unknown(why.to_string())
                }
            };
        }
        Err(
            why @ (Error::Denied(_) | Error::TooLarge(_) | Error::Unavailable(_) | Error::Other(_)),
        ) => return Identity::Unknown(why.to_string()),
    };
    let text = String::from_utf8_lossy(&answer.body);
    let Some((address, warp)) = said(&text) else {
        return Identity::Unknown("its answer names no address".to_owned());
    };
    Identity::Is {
        address,
        warp,
        before: remembered(host, address),
    }
}

/// The address in an answer: alone, as `ip=…` in a line, or as `"ip": "…"`.
fn said(text: &str) -> Option<(IpAddr, Option<String>)> {
    let line = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key));
    let json = || {
        let (_, rest) = text.split_once("\"ip\"")?;
        let rest = rest.trim_start().strip_prefix(':')?.trim_start();
        rest.strip_prefix('"')?.split('"').next()
    };
    let address = text.trim().parse().ok();
    let address = address
        .or_else(|| line("ip=")?.trim().parse().ok())
        .or_else(|| json()?.parse().ok())?;
    let warp = line("warp=").map(|word| word.trim().chars().take(16).collect());
    Some((address, warp))
}

/// The address of the last look; this one is kept in its place.
fn remembered<H: State>(host: &H, address: IpAddr) -> Option<IpAddr> {
    let before = host
        .get(KEY)
        .ok()
        .flatten()
        .and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok());
    if before != Some(address) {
        // Not kept: the next look compares with nothing, and says nothing.
        let _ = host.set(KEY, address.to_string().as_bytes());
    }
    before
}
