//! A TCP connect: reached, refused, silence, or no way.

use iaso_engine::fact::{ProbeOutcome, ProbeResult};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

pub(super) async fn probe(address: SocketAddr, timeout: Duration) -> ProbeResult {
    let begun = Instant::now();
    let outcome = match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        Ok(Ok(_)) => ProbeOutcome::Reached,
        Ok(Err(error)) => class(&error),
        Err(_) => ProbeOutcome::Timeout,
    };
    let rtt = (outcome == ProbeOutcome::Reached)
        .then(|| u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
    ProbeResult {
        kind: format!("tcp/{}", address.port()),
        outcome,
        rtt_us: rtt,
    }
}

fn class(error: &std::io::Error) -> ProbeOutcome {
    let kind = error.kind();
    if kind == ErrorKind::ConnectionRefused || kind == ErrorKind::ConnectionReset {
        // A reset comes from the other kernel too.
        ProbeOutcome::Refused
    } else if kind == ErrorKind::TimedOut {
        ProbeOutcome::Timeout
    } else if kind == ErrorKind::HostUnreachable || kind == ErrorKind::NetworkUnreachable {
        ProbeOutcome::Unreachable
    } else {
        ProbeOutcome::Error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_is_reached_and_a_closed_port_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let timeout = Duration::from_secs(5);
        assert_eq!(probe(address, timeout).await.outcome, ProbeOutcome::Reached);
        drop(listener);
        assert_eq!(probe(address, timeout).await.outcome, ProbeOutcome::Refused);
    }
}
