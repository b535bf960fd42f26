//! Echo requests: a raw ICMP socket where that is allowed, else a datagram ICMP socket, else a UDP packet to a closed port.
//!
//! The method that was used is part of the outcome: by UDP, silence may only mean that a firewall drops it.
//!
//! Sources: RFC 792, RFC 4443 (echo, unreachable, too big); `icmp(7)`, `ip(7)` for the socket options.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use iaso_host::{CapError, PingCall, types::PingOutcome};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

mod packet;

use packet::{Family, Probe, Verdict};

/// A port that traceroute uses: hardly anything listens there.
const UDP_PORT: u16 = 33_434;
const REPLY_BYTES_MAX: usize = 9216;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Raw,
    Datagram,
    Udp,
}

impl Method {
    fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "icmp-raw",
            Self::Datagram => "icmp-datagram",
            Self::Udp => "udp",
        }
    }
}

/// What one request came to.
enum Reply {
    Echo(Duration),
    Silent,
    Unreachable,
    TooBig,
}

/// Sends the requests one after the other, each with an equal share of the time.
pub async fn ping(call: &PingCall) -> Result<PingOutcome, CapError> {
    let (socket, method) = open(call)?;
    let started = Instant::now();
    let mut pinger = Pinger {
        socket,
        method,
        call,
        ident: rand::random(),
    };
    let mut outcome = Tally::default();
    for sequence in 0..call.count {
        let left = call.timeout.saturating_sub(started.elapsed());
        let share = left / (call.count - sequence).max(1);
        if left.is_zero() {
            break;
        }
        let number = u16::try_from(sequence).unwrap_or(u16::MAX);
        match pinger.one(number, share).await {
            Ok(reply) => outcome.add(&reply),
            Err(error) => outcome.add(&pinger.after_error(&error)?),
        }
    }
    Ok(outcome.finish(call.address, method))
}

struct Pinger<'a> {
    socket: UdpSocket,
    method: Method,
    call: &'a PingCall,
    ident: u16,
}

impl Pinger<'_> {
    async fn one(&mut self, sequence: u16, share: Duration) -> io::Result<Reply> {
        let family = Family::of(self.call.address);
        let probe = Probe::new(
            family,
            self.ident,
            sequence,
            self.call.payload_bytes as usize,
        );
        let sent = Instant::now();
        if self.method == Method::Udp {
            self.socket.send(probe.payload()).await?;
        } else {
            self.socket
                .send_to(&probe.encode(), SocketAddr::new(self.call.address, 0))
                .await?;
        }
        match tokio::time::timeout(share, self.reply(&probe, sent)).await {
            Ok(reply) => reply,
            Err(_) => Ok(Reply::Silent),
        }
    }

    async fn reply(&self, probe: &Probe, sent: Instant) -> io::Result<Reply> {
        let mut buffer = vec![0; REPLY_BYTES_MAX];
        loop {
            let (length, from) = self.socket.recv_from(&mut buffer).await?;
            let elapsed = sent.elapsed();
            if self.method == Method::Udp {
                return Ok(Reply::Echo(elapsed));
            }
            let bytes = buffer.get(..length).unwrap_or_default();
            // A raw IPv4 socket hands out the IP header too.
            let message = match (self.method, probe.family()) {
                (Method::Raw, Family::V4) => packet::after_ip_header(bytes),
                _ => Some(bytes),
            };
            let Some(message) = message else { continue };
            match probe.judge(message, self.method == Method::Raw) {
                Verdict::Echo if same_host(from.ip(), self.call.address) => {
                    return Ok(Reply::Echo(elapsed));
                }
                Verdict::Unreachable => return Ok(Reply::Unreachable),
                Verdict::TooBig => return Ok(Reply::TooBig),
                Verdict::Echo | Verdict::NotOurs => {}
            }
        }
    }

    /// What the kernel knows already, and for UDP the refusal that proves that the host answers.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the operating system has more kinds of error than matter here"
    )]
    fn after_error(&self, error: &io::Error) -> Result<Reply, CapError> {
        match error.kind() {
            io::ErrorKind::ConnectionRefused if self.method == Method::Udp => {
                Ok(Reply::Echo(Duration::ZERO))
            }
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable => Ok(Reply::Unreachable),
            _ if error.raw_os_error() == Some(nix::libc::EMSGSIZE) => Ok(Reply::TooBig),
            io::ErrorKind::PermissionDenied => Ok(Reply::Unreachable),
            _ => Err(CapError::Other(format!(
                "ping {}: {error}",
                self.call.address
            ))),
        }
    }
}

fn same_host(from: IpAddr, to: IpAddr) -> bool {
    from.to_canonical() == to.to_canonical()
}

fn open(call: &PingCall) -> Result<(UdpSocket, Method), CapError> {
    let (domain, protocol) = match call.address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let attempts = [
        (Type::RAW, protocol, Method::Raw),
        (Type::DGRAM, protocol, Method::Datagram),
        (Type::DGRAM, Protocol::UDP, Method::Udp),
    ];
    let mut last = None;
    for (kind, protocol, method) in attempts {
        match Socket::new(domain, kind, Some(protocol))
            .and_then(|socket| prepare(socket, method, call))
        {
            Ok(socket) => return Ok((socket, method)),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map(|error| error.to_string()).unwrap_or_default();
    Err(CapError::Unavailable(format!(
        "no socket to ping with: {why}"
    )))
}

fn prepare(socket: Socket, method: Method, call: &PingCall) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    if call.dont_fragment {
        match call.address {
            IpAddr::V4(_) => sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO)?,
            IpAddr::V6(_) => sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DO)?,
        }
    }
    let socket = UdpSocket::from_std(std::net::UdpSocket::from(std::os::fd::OwnedFd::from(
        socket,
    )))?;
    if method == Method::Udp {
        let to = SocketAddr::new(call.address, UDP_PORT);
        let connected: std::net::UdpSocket = socket.into_std()?;
        connected.connect(to)?;
        return UdpSocket::from_std(connected);
    }
    Ok(socket)
}

#[derive(Default)]
struct Tally {
    sent: u32,
    times: Vec<Duration>,
    unreachable: bool,
    too_big: bool,
}

impl Tally {
    fn add(&mut self, reply: &Reply) {
        self.sent += 1;
        match reply {
            Reply::Echo(time) => self.times.push(*time),
            Reply::Silent => {}
            Reply::Unreachable => self.unreachable = true,
            Reply::TooBig => self.too_big = true,
        }
    }

    fn finish(self, address: IpAddr, method: Method) -> PingOutcome {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let sum: Duration = self.times.iter().sum();
        let count = u32::try_from(self.times.len()).unwrap_or(u32::MAX);
        let outcome = match () {
            () if count > 0 => "ok",
            () if self.too_big => "too-big",
            () if self.unreachable => "unreachable",
            () => "timeout",
        };
        PingOutcome {
            sent: self.sent,
            received: count,
            rtt_min_us: self.times.iter().min().copied().map_or(0, us),
            rtt_avg_us: us(sum.checked_div(count).unwrap_or_default()),
            rtt_max_us: self.times.iter().max().copied().map_or(0, us),
            method: method.as_str().into(),
            outcome: outcome.into(),
            address: address.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(payload_bytes: u32, dont_fragment: bool) -> PingCall {
        let address = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        PingCall {
            address,
            count: 3,
            timeout: Duration::from_secs(3),
            payload_bytes,
            dont_fragment,
        }
    }

    #[tokio::test]
    async fn the_host_itself_answers_every_request() {
        let outcome = ping(&call(56, false)).await.expect("loopback answers");
        assert_eq!(
            (outcome.outcome.as_str(), outcome.sent, outcome.received),
            ("ok", 3, 3),
            "{outcome:?}"
        );
        assert!(
            outcome.rtt_min_us <= outcome.rtt_avg_us && outcome.rtt_avg_us <= outcome.rtt_max_us
        );
    }

    #[tokio::test]
    async fn a_large_packet_that_may_not_be_split_fits_the_loopback() {
        let outcome = ping(&call(8_972, true)).await.expect("loopback answers");
        assert_eq!(outcome.outcome, "ok", "{outcome:?}");
    }

    #[tokio::test]
    async fn without_the_right_to_icmp_a_refused_udp_packet_proves_that_the_host_answers() {
        let call = call(8, false);
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("socket");
        let socket = prepare(socket, Method::Udp, &call).expect("prepare");
        let mut pinger = Pinger {
            socket,
            method: Method::Udp,
            call: &call,
            ident: 1,
        };
        let error = pinger
            .one(0, call.timeout)
            .await
            .err()
            .expect("the closed port refuses");
        assert!(
            matches!(pinger.after_error(&error), Ok(Reply::Echo(_))),
            "{error}"
        );
    }
}
