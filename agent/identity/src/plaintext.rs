//! What a client that speaks no TLS is told, in a form that it can read.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const WORDS: &str = "this port speaks TLS: use https://";

/// Whether a first byte begins a TLS handshake.
pub(crate) fn is_tls(first: u8) -> bool {
    first == 0x16
}

/// Answers HTTP/2 with prior knowledge (as gRPC without TLS is) by a GOAWAY, anything else by HTTP/1.1 400. Whether it is read does not matter.
pub(crate) async fn tell(stream: &mut TcpStream) {
    let mut beginning = [0_u8; 3];
    let is_http2 = matches!(stream.peek(&mut beginning).await, Ok(3)) && &beginning == b"PRI";
    let answer = if is_http2 {
        goaway()
    } else {
        format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{WORDS}\n",
            WORDS.len() + 1
        )
        .into_bytes()
    };
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}

/// An empty SETTINGS frame, and a GOAWAY of `INADEQUATE_SECURITY` with the words as debug data.
fn goaway() -> Vec<u8> {
    let mut out = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = u8::try_from(8 + WORDS.len()).unwrap_or(8);
    out.extend([0, 0, length, 7, 0, 0, 0, 0, 0]);
    out.extend([0, 0, 0, 0, 0, 0, 0, 0x0c]);
    out.extend(WORDS.as_bytes());
    out
}
