//! Connections that are opened and closed: is something listening there?

use std::{
    io,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use iaso_host::{CapError, types::ConnectOutcome};
use tokio::net::{TcpStream, UnixStream};

/// Whole microseconds since `start`.
pub(crate) fn elapsed_us(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Opens a TCP connection to exactly this address and closes it.
pub async fn tcp_connect(to: SocketAddr, timeout: Duration) -> ConnectOutcome {
    let start = Instant::now();
    let result = tokio::time::timeout(timeout, TcpStream::connect(to)).await;
    outcome(to.to_string(), start, result.map(|stream| stream.map(drop)))
}

/// Connects to the Unix socket at `path` and closes the connection.
pub async fn unix_connect(path: &Path, timeout: Duration) -> Result<ConnectOutcome, CapError> {
    let start = Instant::now();
    let result = tokio::time::timeout(timeout, UnixStream::connect(path)).await;
    if let Ok(Err(error)) = &result
        && matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
        )
    {
        return Err(super::os_error(
            &format!("socket {}", path.display()),
            error,
        ));
    }
    Ok(outcome(
        path.display().to_string(),
        start,
        result.map(|stream| stream.map(drop)),
    ))
}

fn outcome<E>(
    address: String,
    start: Instant,
    result: Result<io::Result<()>, E>,
) -> ConnectOutcome {
    let (outcome, detail) = match result {
        Ok(Ok(())) => ("connected", String::new()),
        Ok(Err(error)) => (classify(&error), error.to_string()),
        Err(_) => ("timeout", String::new()),
    };
    ConnectOutcome {
        outcome: outcome.into(),
        address,
        elapsed_us: elapsed_us(start),
        detail,
    }
}

/// `refused` proves that a kernel answered; everything else proves nothing.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the operating system has more kinds of error than matter here"
)]
pub(crate) fn classify(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => "refused",
        io::ErrorKind::TimedOut => "timeout",
        _ => "unreachable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_listener_is_connected_and_its_closed_port_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind");
        let address = listener.local_addr().expect("address");
        assert_eq!(tcp_connect(address, SHORT).await.outcome, "connected");
        drop(listener);
        assert_eq!(tcp_connect(address, SHORT).await.outcome, "refused");
    }

    #[tokio::test]
    async fn a_unix_socket_is_connected_refused_or_not_there() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("s");
        let missing = unix_connect(&path, SHORT).await;
        assert!(
            matches!(missing, Err(CapError::Unavailable(_))),
            "{missing:?}"
        );
        let listener = tokio::net::UnixListener::bind(&path).expect("bind");
        assert_eq!(
            unix_connect(&path, SHORT).await.expect("outcome").outcome,
            "connected"
        );
        drop(listener);
        assert_eq!(
            unix_connect(&path, SHORT).await.expect("outcome").outcome,
            "refused"
        );
    }
}
