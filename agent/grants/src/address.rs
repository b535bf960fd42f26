//! Who a grant is for: an address, a network, an exact name, or anyone; and which addresses are never "anyone".
//!
//! **Invariants**
//! - A v4 address written as v6 (mapped) is the v4 address.
//! - An address that carries a v4 address inside (compatible, NAT64, 6to4) is only covered when the inner one is covered too.
//! - A special address is only covered by a grant that lies wholly inside the special network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// Longest name or address a grant may hold.
const NAME_BYTES_MAX: usize = 253;

/// The peer that a grant covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum To {
    /// `*`: any address that is not special.
    Any,
    /// An address or a network.
    Net(IpNet),
    /// Exactly this name, in lower case and without a final dot; not its subdomains.
    Name(String),
}

/// Why a `to` is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToError {
    /// Nothing between the quotes.
    #[error("`to` is empty: write an address, a network such as `10.0.0.0/8`, a name, or `*`")]
    Empty,
    /// Looks like a network and is none.
    #[error("`{0}` is not a network: write it as `10.0.0.0/8` or `fd00::/8`")]
    BadNetwork(String),
    /// Host bits are set, so it is not clear what was meant.
    #[error("`{given}` has bits set beyond its prefix: did you mean `{meant}`?")]
    HostBits {
        /// As written.
        given: String,
        /// The network that it lies in.
        meant: String,
    },
    /// Neither an address nor a name.
    #[error("`{0}` is neither an address nor a name (wildcards inside a name are not known)")]
    BadName(String),
}

/// The address that a packet would really go to: a v4 address in its mapped v6 form becomes v4 again.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

impl To {
    /// Whether this covers `address`, which may have been asked for by `name`.
    #[must_use]
    pub fn covers(&self, name: Option<&str>, address: IpAddr) -> bool {
        let address = canonical(address);
        self.covers_one(name, address)
            && embedded_v4(address).is_none_or(|inner| self.covers_one(name, IpAddr::V4(inner)))
    }

    fn covers_one(&self, name: Option<&str>, address: IpAddr) -> bool {
        let special = special_network(address);
        match self {
            Self::Any => special.is_none(),
            // A network cannot vouch for what is inside a v4-in-v6 address unless it is that very address.
            Self::Net(net) if is_single(*net) && embeds(net.addr(), address) => true,
            Self::Net(net) => {
                net.contains(&address) && special.is_none_or(|special| special.contains(net))
            }
            Self::Name(granted) => {
                special.is_none() && name.is_some_and(|asked| normal_name(asked) == *granted)
            }
        }
    }

    /// Whether some address behind `name` could be covered; false means that the name need not even be looked up.
    #[must_use]
    pub fn may_cover_name(&self, name: &str) -> bool {
        match self {
            Self::Any | Self::Net(_) => true,
            Self::Name(granted) => normal_name(name) == *granted,
        }
    }
}

/// Lower case, without the dot that marks a name as complete.
fn normal_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn is_single(net: IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

/// Whether `outer`, written out in full by the operator, carries `inner`.
fn embeds(outer: IpAddr, inner: IpAddr) -> bool {
    embedded_v4(outer).is_some_and(|v4| IpAddr::V4(v4) == inner)
}

/// The v4 address that some v6 forms carry and that a translator on the way would reach.
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let [head @ .., hi, lo] = v6.segments();
    match head {
        // `::` and `::1` are themselves, not forms of 0.0.0.0 and 0.0.0.1.
        [0, 0, 0, 0, 0, 0] if hi != 0 || lo > 1 => Some(v4_of(hi, lo)),
        [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0 | 1, ..] => Some(v4_of(hi, lo)),
        [0x2002, hi, lo, ..] => Some(v4_of(hi, lo)),
        // Teredo hides the client's address by inverting it.
        [0x2001, 0, ..] => Some(v4_of(!hi, !lo)),
        _ => None,
    }
}

fn v4_of(hi: u16, lo: u16) -> Ipv4Addr {
    let [a, b] = hi.to_be_bytes();
    let [c, d] = lo.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

const SPECIAL_V4: [(Ipv4Addr, u8); 6] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // The metadata services of two clouds that do not use a link-local address.
    (Ipv4Addr::new(100, 100, 100, 200), 32),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    // Multicast, reserved and broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

const SPECIAL_V6: [(Ipv6Addr, u8); 5] = [
    (Ipv6Addr::UNSPECIFIED, 128),
    (Ipv6Addr::LOCALHOST, 128),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// The special network that `address` lies in, if any: itself, loopback, link-local, cloud metadata, multicast.
fn special_network(address: IpAddr) -> Option<IpNet> {
    match address {
        IpAddr::V4(v4) => SPECIAL_V4
            .iter()
            .filter_map(|&(base, len)| Ipv4Net::new(base, len).ok())
            .find(|net| net.contains(&v4))
            .map(IpNet::V4),
        IpAddr::V6(v6) => SPECIAL_V6
            .iter()
            .filter_map(|&(base, len)| Ipv6Net::new(base, len).ok())
            .find(|net| net.contains(&v6))
            .map(IpNet::V6),
    }
}

impl FromStr for To {
    type Err = ToError;

    fn from_str(text: &str) -> Result<Self, ToError> {
        if text.is_empty() {
            return Err(ToError::Empty);
        }
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.contains('/') {
            return parse_network(text).map(Self::Net);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Net(IpNet::from(canonical(address))));
        }
        parse_name(text).map(Self::Name)
    }
}

fn parse_network(text: &str) -> Result<IpNet, ToError> {
    let net = text
        .parse::<IpNet>()
        .map_err(|_| ToError::BadNetwork(text.to_owned()))?;
    if net.addr() != net.network() {
        return Err(ToError::HostBits {
            given: text.to_owned(),
            meant: net.trunc().to_string(),
        });
    }
    Ok(net)
}

/// A name has labels of letters, digits, `-` and `_`, and its last label is not a number (that would be a mistyped address).
fn parse_name(text: &str) -> Result<String, ToError> {
    let bad = || ToError::BadName(text.to_owned());
    let name = normal_name(text);
    let label_is_good = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last_is_number = name
        .rsplit('.')
        .next()
        .is_none_or(|l| l.bytes().all(|b| b.is_ascii_digit()));
    if name.len() > NAME_BYTES_MAX || last_is_number || !name.split('.').all(label_is_good) {
        return Err(bad());
    }
    Ok(name)
}

impl TryFrom<String> for To {
    type Error = ToError;

    fn try_from(text: String) -> Result<Self, ToError> {
        text.parse()
    }
}

impl From<To> for String {
    fn from(to: To) -> Self {
        to.to_string()
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Net(net) if is_single(*net) => write!(f, "{}", net.addr()),
            Self::Net(net) => write!(f, "{net}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}
