//! HTTP requests to an address that was checked: no redirect, no proxy, no second resolution, a bounded body.

use std::{error::Error as _, time::Instant};

use iaso_host::{CapError, HttpCall, types::HttpResponse};
use reqwest::{Client, Method, Response, Url, redirect::Policy};

use super::net::elapsed_us;

/// Most headers of the answer that are handed on.
const HEADERS_MAX: usize = 64;
/// Longest header value that is handed on.
const HEADER_BYTES_MAX: usize = 4096;

/// Sends one request and reads its answer, all within the call's timeout.
pub async fn send(call: HttpCall) -> Result<HttpResponse, CapError> {
    let start = Instant::now();
    match tokio::time::timeout(call.timeout, exchange(call, start)).await {
        Ok(answer) => answer,
        Err(_) => Err(CapError::Timeout),
    }
}

async fn exchange(call: HttpCall, start: Instant) -> Result<HttpResponse, CapError> {
    let url = Url::parse(call.url.as_str())
        .map_err(|error| CapError::Other(format!("not a URL: {error}")))?;
    let client = client(&call, &url)?;
    let method = Method::from_bytes(call.method.as_bytes())
        .map_err(|_| CapError::Other(format!("`{}` is not an HTTP method", call.method)))?;
    let mut request = client.request(method, url).body(call.body);
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    let mut answer = request
        .send()
        .await
        .map_err(|error| failed(call.connect_to, &error))?;
    let headers = headers(&answer);
    let max = call.max_bytes as usize;
    let mut body = Vec::new();
    let mut truncated = false;
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| failed(call.connect_to, &error))?
    {
        let room = max - body.len();
        body.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
        if chunk.len() > room {
            truncated = true;
            break;
        }
    }
    Ok(HttpResponse {
        status: answer.status().as_u16(),
        headers,
        body,
        truncated,
        elapsed_us: elapsed_us(start),
    })
}

/// A client of its own for each request: no connection, cookie or name outlives it.
fn client(call: &HttpCall, url: &Url) -> Result<Client, CapError> {
    // A second installation fails, and means that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("iaso-agent/", env!("CARGO_PKG_VERSION")));
    if let Some(name) = url.domain() {
        builder = builder.resolve(name, call.connect_to);
    }
    if url.scheme() == "http" {
        // Reading the system's certificates takes longer than the request.
        builder = builder.tls_certs_only([]);
    }
    builder
        .build()
        .map_err(|error| CapError::Unavailable(format!("no TLS on this host: {}", chain(&error))))
}

fn headers(answer: &Response) -> Vec<(String, String)> {
    answer
        .headers()
        .iter()
        .take(HEADERS_MAX)
        .filter(|(_, value)| value.len() <= HEADER_BYTES_MAX)
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}

fn failed(to: std::net::SocketAddr, error: &reqwest::Error) -> CapError {
    if error.is_timeout() {
        return CapError::Timeout;
    }
    let text = chain(error);
    if error.is_connect() {
        return CapError::Unavailable(format!("cannot connect to {to}: {text}"));
    }
    CapError::Other(format!("{to}: {text}"))
}

/// The innermost cause: the outer ones only repeat the URL, which may carry what is not for a log.
fn chain(error: &reqwest::Error) -> String {
    let mut source = error.source();
    let mut text = None;
    while let Some(cause) = source {
        text = Some(cause.to_string());
        source = cause.source();
    }
    text.unwrap_or_else(|| "the request failed".into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn serve_once(listener: TcpListener, answer: &'static str) -> String {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("request"));
        }
        stream.write_all(answer.as_bytes()).await.expect("answer");
        String::from_utf8(request).expect("text")
    }

    fn call(url: &str, connect_to: std::net::SocketAddr) -> HttpCall {
        HttpCall {
            method: "GET".into(),
            url: url.parse().expect("a URL"),
            connect_to,
            headers: vec![("x-a".into(), "b".into())],
            body: Vec::new(),
            timeout: Duration::from_secs(5),
            max_bytes: 4,
        }
    }

    #[tokio::test]
    async fn it_connects_to_the_checked_address_follows_nothing_and_cuts_the_body() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let to = listener.local_addr().expect("address");
        let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 6\r\n\r\nabcdef";
        let url = format!("http://checked.invalid:{}/healthz", to.port());
        let (got, request) = tokio::join!(send(call(&url, to)), serve_once(listener, answer));
        let got = got.expect("an answer");
        assert_eq!(
            (got.status, got.body.as_slice(), got.truncated),
            (302, b"abcd".as_slice(), true)
        );
        assert!(
            request.contains("host: checked.invalid") && request.contains("x-a: b"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn a_closed_port_is_unavailable_and_a_silent_server_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let to = listener.local_addr().expect("address");
        let url = format!("http://{to}/");
        let short = HttpCall {
            timeout: Duration::from_millis(50),
            ..call(&url, to)
        };
        assert_eq!(send(short).await, Err(CapError::Timeout));
        drop(listener);
        let refused = send(call(&url, to)).await;
        assert!(
            matches!(&refused, Err(CapError::Unavailable(text)) if text.contains("refused")),
            "{refused:?}"
        );
    }
}
