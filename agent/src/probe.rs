//! Probes other nodes for the controller, and lets itself be probed.
//!
//! **Invariants**
//! - A round is bounded in targets, ports and time.
//! - Our own probe port reads nothing, says nothing and holds nobody: that is why it may listen on any address.
//! - `refused` is told apart from silence: it proves that the machine's kernel answers.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use iaso_host::{PingCall, types::ConnectOutcome};
use iaso_proto::v1;
use tokio::net::TcpListener;

use crate::cap::{icmp, net};

/// Most probes of one round.
const PROBES_MAX: usize = 256;
/// Most probes at once.
const AT_ONCE: usize = 32;
const TIMEOUT_MAX: Duration = Duration::from_secs(30);

enum Probe {
    Icmp,
    Tcp(u16),
}

/// Carries out one round.
pub async fn round(order: v1::ProbeOrder) -> v1::ProbeReport {
    let timeout = Duration::from_millis(u64::from(order.timeout_ms).max(1)).min(TIMEOUT_MAX);
    let wanted: Vec<(v1::ProbeTarget, Probe)> = order
        .targets
        .into_iter()
        .flat_map(|target| probes(&target))
        .take(PROBES_MAX)
        .collect();
    let results = stream::iter(wanted)
        .map(|(target, probe)| one(target, probe, timeout))
        .buffered(AT_ONCE)
        .collect()
        .await;
    v1::ProbeReport {
        round_id: order.round_id,
        results,
    }
}

fn probes(target: &v1::ProbeTarget) -> Vec<(v1::ProbeTarget, Probe)> {
    let tcp = target
        .tcp_ports
        .iter()
        .filter_map(|port| u16::try_from(*port).ok())
        .map(Probe::Tcp);
    let icmp = target.icmp.then_some(Probe::Icmp);
    tcp.chain(icmp)
        .map(|probe| (target.clone(), probe))
        .collect()
}

async fn one(target: v1::ProbeTarget, probe: Probe, timeout: Duration) -> v1::ProbeResult {
    let (kind, port) = match probe {
        Probe::Icmp => ("icmp", 0),
        Probe::Tcp(port) => ("tcp", port),
    };
    let blank = v1::ProbeResult {
        node: target.node.clone(),
        kind: kind.into(),
        port: port.into(),
        ..v1::ProbeResult::default()
    };
    let Ok(address) = target.address.parse::<IpAddr>() else {
        let detail = format!("`{}` is not an address", target.address);
        return v1::ProbeResult {
            outcome: "error".into(),
            detail,
            ..blank
        };
    };
    match probe {
        Probe::Tcp(port) => {
            let ConnectOutcome {
                outcome,
                elapsed_us,
                detail,
                ..
            } = net::tcp_connect(SocketAddr::new(address, port), timeout).await;
            let outcome = if outcome == "connected" {
                "reached".to_owned()
            } else {
                outcome
            };
            v1::ProbeResult {
                outcome,
                rtt_us: elapsed_us,
                detail,
                ..blank
            }
        }
        Probe::Icmp => {
            let call = PingCall {
                address,
                count: 1,
                timeout,
                payload_bytes: 32,
                dont_fragment: false,
            };
            match icmp::ping(&call).await {
                Ok(ping) if ping.outcome == "ok" => v1::ProbeResult {
                    outcome: "reached".into(),
                    rtt_us: ping.rtt_avg_us,
                    detail: ping.method,
                    ..blank
                },
                Ok(ping) => v1::ProbeResult {
                    outcome: ping.outcome,
                    detail: ping.method,
                    ..blank
                },
                Err(error) => v1::ProbeResult {
                    outcome: "error".into(),
                    detail: error.to_string(),
                    ..blank
                },
            }
        }
    }
}

/// Accepts and closes: the caller has its answer by being accepted.
pub async fn answer(listener: TcpListener) {
    loop {
        if listener.accept().await.is_err() {
            // Out of file descriptors, most likely: give others time to return theirs.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_round_tells_reached_refused_and_nonsense_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let open = listener.local_addr().expect("address").port();
        let gone = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind")
            .local_addr()
            .expect("address")
            .port();
        tokio::spawn(answer(listener));
        let target = |node: &str, address: &str, ports: &[u16], icmp| v1::ProbeTarget {
            node: node.into(),
            address: address.into(),
            tcp_ports: ports.iter().map(|port| u32::from(*port)).collect(),
            icmp,
        };
        let targets = vec![
            target("a", "127.0.0.1", &[open, gone], true),
            target("b", "nonsense", &[22], false),
        ];
        let report = round(v1::ProbeOrder {
            round_id: "r".into(),
            targets,
            timeout_ms: 5_000,
        })
        .await;
        let seen: Vec<_> = report
            .results
            .iter()
            .map(|result| (result.kind.as_str(), result.outcome.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("tcp", "reached"),
                ("tcp", "refused"),
                ("icmp", "reached"),
                ("tcp", "error")
            ]
        );
    }

    #[tokio::test]
    async fn who_calls_the_probe_port_is_told_nothing_and_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let at = listener.local_addr().expect("address");
        tokio::spawn(answer(listener));
        let mut caller = tokio::net::TcpStream::connect(at).await.expect("accepted");
        let mut said = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut caller, &mut said);
        let ended = tokio::time::timeout(Duration::from_secs(5), read).await;
        assert_eq!(ended.expect("let go").expect("closed in order"), 0);
    }
}
