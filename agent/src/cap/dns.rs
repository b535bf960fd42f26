//! One question to one name server: no cache, no search list, no retry.
//!
//! An answer counts only if it comes from that server, with our random identifier and our question.

use std::{io, net::SocketAddr, str::FromStr as _, time::Instant};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use iaso_host::{CapError, DnsCall, types::DnsAnswer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
};

use super::net::elapsed_us;

/// Most records that are handed on.
const RECORDS_MAX: usize = 64;
const UDP_BYTES_MAX: usize = 4096;

/// Asks once.
pub async fn query(call: &DnsCall) -> Result<DnsAnswer, CapError> {
    let question = question(call)?;
    let mut request = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    request.metadata.recursion_desired = true;
    request.add_query(question);
    let bytes = request
        .to_vec()
        .map_err(|error| CapError::Other(format!("cannot encode the question: {error}")))?;
    let start = Instant::now();
    let exchange = async {
        if call.tcp {
            by_tcp(call.server, &request, &bytes).await
        } else {
            by_udp(call.server, &request, &bytes).await
        }
    };
    match tokio::time::timeout(call.timeout, exchange).await {
        Ok(answer) => Ok(read_answer(&answer?, elapsed_us(start))),
        Err(_) => Err(CapError::Timeout),
    }
}

fn question(call: &DnsCall) -> Result<Query, CapError> {
    let bad = |what: &str, text: &str| CapError::Other(format!("`{text}` is not {what}"));
    let name = Name::from_ascii(&call.name).map_err(|_| bad("a domain name", &call.name))?;
    let kind = RecordType::from_str(&call.record_type)
        .map_err(|_| bad("a record type", &call.record_type))?;
    Ok(Query::query(name, kind))
}

async fn by_udp(server: SocketAddr, request: &Message, bytes: &[u8]) -> Result<Message, CapError> {
    let any: SocketAddr = if server.is_ipv4() {
        ([0u8; 4], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let failed = |error: io::Error| server_error(server, &error);
    // Each question has a socket of its own: its port is random, and the kernel drops what others send to it.
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    socket.send(bytes).await.map_err(failed)?;
    let mut buffer = vec![0; UDP_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(failed)?;
        let answer = buffer
            .get(..length)
            .and_then(|bytes| Message::from_vec(bytes).ok());
        // A forged or late answer is passed over; the right one may still come.
        if let Some(answer) = answer.filter(|answer| is_answer(request, answer)) {
            return Ok(answer);
        }
    }
}

async fn by_tcp(server: SocketAddr, request: &Message, bytes: &[u8]) -> Result<Message, CapError> {
    let failed = |error: io::Error| server_error(server, &error);
    let mut stream = TcpStream::connect(server).await.map_err(failed)?;
    let length =
        u16::try_from(bytes.len()).map_err(|_| CapError::TooLarge("the question".into()))?;
    let framed = [length.to_be_bytes().as_slice(), bytes].concat();
    stream.write_all(&framed).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await.map_err(failed)?;
    let answer = Message::from_vec(&buffer)
        .map_err(|error| CapError::Other(format!("{server} answered what is not DNS: {error}")))?;
    if is_answer(request, &answer) {
        return Ok(answer);
    }
    Err(CapError::Other(format!(
        "{server} answered another question than ours"
    )))
}

fn is_answer(request: &Message, answer: &Message) -> bool {
    let header = answer.metadata.id == request.metadata.id
        && answer.metadata.message_type == MessageType::Response;
    // A server that could not read the question may leave it out.
    let unread =
        answer.queries.is_empty() && answer.metadata.response_code != ResponseCode::NoError;
    header && (unread || answer.queries == request.queries)
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the operating system has more kinds of error than matter here"
)]
fn server_error(server: SocketAddr, error: &io::Error) -> CapError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            CapError::Unavailable(format!("{server} refuses: nothing listens there"))
        }
        io::ErrorKind::TimedOut => CapError::Timeout,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            CapError::Unavailable(format!("{server} is unreachable: {error}"))
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            CapError::Unavailable(format!("{server} closed the connection without an answer"))
        }
        _ => CapError::Other(format!("{server}: {error}")),
    }
}

fn read_answer(answer: &Message, elapsed_us: u64) -> DnsAnswer {
    DnsAnswer {
        rcode: rcode(answer.metadata.response_code),
        records: answer
            .answers
            .iter()
            .take(RECORDS_MAX)
            .map(|record| record.data.to_string())
            .collect(),
        truncated: answer.metadata.truncation,
        authoritative: answer.metadata.authoritative,
        elapsed_us,
    }
}

fn rcode(code: ResponseCode) -> String {
    match u16::from(code) {
        0 => "NOERROR".into(),
        1 => "FORMERR".into(),
        2 => "SERVFAIL".into(),
        3 => "NXDOMAIN".into(),
        4 => "NOTIMP".into(),
        5 => "REFUSED".into(),
        9 => "NOTAUTH".into(),
        other => format!("RCODE{other}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use hickory_proto::rr::{RData, Record, rdata::A};

    use super::*;

    fn call(server: SocketAddr, tcp: bool) -> DnsCall {
        let name = "kubernetes.default.svc.cluster.local.".into();
        DnsCall {
            server,
            name,
            record_type: "A".into(),
            tcp,
            timeout: Duration::from_secs(5),
        }
    }

    fn answer_to(request: &[u8]) -> Message {
        let request = Message::from_vec(request).expect("a question");
        let mut answer = Message::response(request.metadata.id, OpCode::Query);
        answer.metadata.authoritative = true;
        let name = request.queries[0].name().clone();
        answer.add_query(request.queries[0].clone());
        answer.add_answer(Record::from_rdata(
            name,
            5,
            RData::A(A(Ipv4Addr::new(10, 43, 0, 1))),
        ));
        answer
    }

    #[tokio::test]
    async fn by_udp_forged_answers_are_passed_over_and_the_right_one_is_taken() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
        let address = server.local_addr().expect("address");
        let serve = async {
            let mut buffer = [0; 512];
            let (length, from) = server.recv_from(&mut buffer).await.expect("question");
            let right = answer_to(&buffer[..length]);
            let mut wrong_id = right.clone();
            wrong_id.metadata.id = right.metadata.id.wrapping_add(1);
            let mut wrong_question = right.clone();
            wrong_question.queries[0].set_query_type(RecordType::TXT);
            for message in [wrong_id, wrong_question, right] {
                server
                    .send_to(&message.to_vec().expect("encode"), from)
                    .await
                    .expect("send");
            }
        };
        let call = call(address, false);
        let (answer, ()) = tokio::join!(query(&call), serve);
        let answer = answer.expect("an answer");
        assert_eq!(
            (answer.rcode.as_str(), answer.authoritative),
            ("NOERROR", true)
        );
        assert_eq!(answer.records, ["10.43.0.1"]);
    }

    #[tokio::test]
    async fn by_tcp_an_answer_is_read_to_its_length() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind");
        let address = listener.local_addr().expect("address");
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut buffer = vec![0; usize::from(stream.read_u16().await.expect("length"))];
            stream.read_exact(&mut buffer).await.expect("question");
            let mut answer = answer_to(&buffer);
            answer.metadata.response_code = ResponseCode::NXDomain;
            let bytes = answer.to_vec().expect("encode");
            stream
                .write_u16(u16::try_from(bytes.len()).expect("short"))
                .await
                .expect("length");
            stream.write_all(&bytes).await.expect("answer");
        };
        let call = call(address, true);
        let (answer, ()) = tokio::join!(query(&call), serve);
        assert_eq!(answer.expect("an answer").rcode, "NXDOMAIN");
    }

    #[tokio::test]
    async fn a_silent_server_times_out_and_a_closed_port_is_unavailable() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
        let address = silent.local_addr().expect("address");
        let short = DnsCall {
            timeout: Duration::from_millis(30),
            ..call(address, false)
        };
        assert_eq!(query(&short).await, Err(CapError::Timeout));
        drop(silent);
        for tcp in [false, true] {
            let refused = query(&call(address, tcp)).await;
            assert!(
                matches!(refused, Err(CapError::Unavailable(_))),
                "{refused:?}"
            );
        }
    }
}
