//! Plays CoreDNS on one address, over UDP and TCP, with the faults that CoreDNS has.

use anyhow::{Context, Result};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The cluster's own zone.
const ZONE: &str = "cluster.local.";
/// The one service that the zone has.
const KNOWN: &str = "kubernetes.default.svc.cluster.local.";

/// How it is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsFault {
    /// It is well.
    None,
    /// It answers nothing, on either transport.
    Silent,
    /// Its upstream is gone: SERVFAIL for external names only.
    UpstreamGone,
    /// It refuses everything.
    Refused,
    /// It answers NXDOMAIN for names that exist.
    WrongNxdomain,
    /// It answers names that do not exist.
    Wildcard,
}

/// A running server; ends when dropped.
#[derive(Debug)]
pub struct DnsServer {
    fault: watch::Sender<DnsFault>,
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl DnsServer {
    /// Starts one.
    pub async fn start(bind: SocketAddr) -> Result<Self> {
        let tcp = TcpListener::bind(bind)
            .await
            .with_context(|| format!("cannot listen on {bind}/tcp for DNS"))?;
        let address = tcp.local_addr()?;
        let udp = UdpSocket::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}/udp for DNS"))?;
        let (fault, seen) = watch::channel(DnsFault::None);
        let tasks = [
            tokio::spawn(serve_udp(Arc::new(udp), seen.clone())),
            tokio::spawn(serve_tcp(tcp, seen)),
        ];
        Ok(Self {
            fault,
            address,
            tasks,
        })
    }

    /// Breaks or mends it.
    pub fn set(&self, fault: DnsFault) {
        self.fault.send_replace(fault);
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, fault: watch::Receiver<DnsFault>) {
    let mut packet = vec![0_u8; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut packet).await else {
            continue;
        };
        let answer = packet
            .get(..length)
            .and_then(|question| answer(question, *fault.borrow()));
        if let Some(answer) = answer {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, fault: watch::Receiver<DnsFault>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_stream(stream, fault.clone()));
    }
}

async fn serve_stream(mut stream: TcpStream, fault: watch::Receiver<DnsFault>) {
    while let Ok(length) = stream.read_u16().await {
        let mut question = vec![0_u8; usize::from(length)];
        if stream.read_exact(&mut question).await.is_err() {
            return;
        }
        let answer = answer(&question, *fault.borrow());
        let Some(answer) = answer else { continue };
        let Ok(length) = u16::try_from(answer.len()) else {
            return;
        };
        let framed = [length.to_be_bytes().as_slice(), &answer].concat();
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}

fn answer(question: &[u8], fault: DnsFault) -> Option<Vec<u8>> {
    if fault == DnsFault::Silent {
        return None;
    }
    let asked = Message::from_vec(question).ok()?;
    let query = asked.queries.first()?.clone();
    let name = query.name().to_ascii().to_lowercase();
    let mut message = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = asked.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.authoritative = name.ends_with(ZONE);
    message.metadata.response_code = code(&name, fault);
    if message.metadata.response_code == ResponseCode::NoError
        && query.query_type() == RecordType::A
    {
        let address = if name == KNOWN {
            Ipv4Addr::new(10, 43, 0, 1)
        } else {
            Ipv4Addr::new(192, 0, 2, 1)
        };
        let record = Record::from_rdata(query.name().clone(), 5, RData::A(A(address)));
        message.add_answer(record);
    }
    message.add_query(query);
    message.to_vec().ok()
}

fn code(name: &str, fault: DnsFault) -> ResponseCode {
    let inside = name.ends_with(ZONE);
    let exists = name == KNOWN || (!inside && !name.ends_with(".invalid."));
    match fault {
        DnsFault::Refused => ResponseCode::Refused,
        DnsFault::UpstreamGone if !inside => ResponseCode::ServFail,
        DnsFault::WrongNxdomain if inside => ResponseCode::NXDomain,
        DnsFault::Wildcard => ResponseCode::NoError,
        DnsFault::None | DnsFault::Silent | DnsFault::UpstreamGone | DnsFault::WrongNxdomain => {
            if exists {
                ResponseCode::NoError
            } else {
                ResponseCode::NXDomain
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Query;
    use hickory_proto::rr::Name;

    fn ask(name: &str, fault: DnsFault) -> Option<(ResponseCode, usize)> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        let name = Name::from_ascii(name).expect("name");
        message.add_query(Query::query(name, RecordType::A));
        let bytes = answer(&message.to_vec().expect("encoded"), fault)?;
        let answer = Message::from_vec(&bytes).expect("decoded");
        assert_eq!(answer.metadata.id, 7);
        Some((answer.metadata.response_code, answer.answers.len()))
    }

    #[test]
    fn each_fault_breaks_what_it_says_and_nothing_else() {
        let names = [KNOWN, "example.com.", "nothing.default.svc.cluster.local."];
        let well = Some((ResponseCode::NoError, 1));
        let none = Some((ResponseCode::NXDomain, 0));
        let failed = Some((ResponseCode::ServFail, 0));
        let refused = Some((ResponseCode::Refused, 0));
        for (fault, expected) in [
            (DnsFault::None, [well, well, none]),
            (DnsFault::Silent, [None, None, None]),
            (DnsFault::UpstreamGone, [well, failed, none]),
            (DnsFault::Refused, [refused, refused, refused]),
            (DnsFault::WrongNxdomain, [none, well, none]),
            (DnsFault::Wildcard, [well, well, well]),
        ] {
            assert_eq!(names.map(|name| ask(name, fault)), expected, "{fault:?}");
        }
    }
}
