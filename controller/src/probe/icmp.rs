//! One ICMP echo, by the datagram socket where the kernel allows it to us, else by a raw one.
//!
//! The echo carries eight random bytes, so that another program's answer is not taken for ours: raw sockets see every answer.

use iaso_engine::fact::{ProbeOutcome, ProbeResult};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::Instant;

const ECHO_V4: u8 = 8;
const ECHO_V6: u8 = 128;

/// Whether this machine lets us send echoes at all.
pub(super) fn allowed(address: IpAddr) -> bool {
    open(address).is_ok()
}

pub(super) async fn probe(address: IpAddr, timeout: Duration) -> ProbeResult {
    let begun = Instant::now();
    let outcome = match tokio::time::timeout(timeout, echo(address)).await {
        Ok(Ok(())) => ProbeOutcome::Reached,
        Ok(Err(error)) => class(&error),
        Err(_) => ProbeOutcome::Timeout,
    };
    let rtt = (outcome == ProbeOutcome::Reached)
        .then(|| u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
    ProbeResult {
        kind: "icmp".into(),
        outcome,
        rtt_us: rtt,
    }
}

fn class(error: &std::io::Error) -> ProbeOutcome {
    let kind = error.kind();
    if kind == ErrorKind::HostUnreachable || kind == ErrorKind::NetworkUnreachable {
        ProbeOutcome::Unreachable
    } else {
        // Not allowed, no buffers, …: nothing is known about the target.
        ProbeOutcome::Error
    }
}

fn open(address: IpAddr) -> std::io::Result<Socket> {
    let (domain, protocol) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))
        .or_else(|_| Socket::new(domain, Type::RAW, Some(protocol)))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

async fn echo(address: IpAddr) -> std::io::Result<()> {
    let socket = open(address)?;
    socket.connect(&SockAddr::from(SocketAddr::new(address, 0)))?;
    // Tokio has no type for raw sockets; its UDP one sends and receives on any datagram descriptor.
    let socket = UdpSocket::from_std(std::net::UdpSocket::from(socket))?;
    let mut mark = [0_u8; 8];
    getrandom::fill(&mut mark).map_err(|_| std::io::Error::other("no randomness"))?;
    let packet = request(address, mark);
    socket.send(&packet).await?;
    let mut buffer = [0_u8; 256];
    loop {
        let count = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..count).unwrap_or_default();
        if answer.windows(mark.len()).any(|window| window == mark) && !is_request(address, answer) {
            return Ok(());
        }
    }
}

fn request(address: IpAddr, mark: [u8; 8]) -> Vec<u8> {
    let kind = if address.is_ipv4() { ECHO_V4 } else { ECHO_V6 };
    let mut packet = vec![kind, 0, 0, 0, mark[0], mark[1], 0, 1];
    packet.extend(mark);
    if address.is_ipv4() {
        // ICMPv6 checksums cover the addresses and are the kernel's work.
        let sum = checksum(&packet).to_be_bytes();
        packet.splice(2..4, sum);
    }
    packet
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let high = u32::from(pair.first().copied().unwrap_or(0)) << 8;
        sum += high | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

/// Our own request comes back to a raw socket when the target is this machine.
fn is_request(address: IpAddr, packet: &[u8]) -> bool {
    // A raw IPv4 socket hands the IP header out too; its length is in its first byte.
    let header = match packet.first() {
        Some(first) if address.is_ipv4() && first >> 4 == 4 => usize::from(first & 0x0f) * 4,
        Some(_) | None => 0,
    };
    let kind = if address.is_ipv4() { ECHO_V4 } else { ECHO_V6 };
    packet.get(header) == Some(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_packet_with_its_checksum_is_zero() {
        let packet = request(IpAddr::from([127, 0, 0, 1]), [1, 2, 3, 4, 5, 6, 7, 9]);
        assert_eq!(checksum(&packet), 0);
    }

    #[tokio::test]
    async fn this_machine_answers_where_echoes_are_allowed() {
        let address = IpAddr::from([127, 0, 0, 1]);
        let outcome = probe(address, Duration::from_secs(5)).await.outcome;
        let expected = if allowed(address) {
            ProbeOutcome::Reached
        } else {
            ProbeOutcome::Error
        };
        assert_eq!(outcome, expected);
    }
}
