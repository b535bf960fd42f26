//! Tells systemd how we are: one datagram to `$NOTIFY_SOCKET`. Without that variable nothing is sent.
//!
//! Source: `sd_notify(3)`. The unit needs `Type=notify`, and `WatchdogSec=` if it is to be killed when it hangs.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

/// Sends one state, such as `READY=1`.
pub fn send(state: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let path = path.to_string_lossy();
    let sent = address(&path)
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::debug!(%error, "systemd was not told {state}");
    }
}

fn address(path: &str) -> io::Result<SocketAddr> {
    match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(path),
    }
}

/// How often systemd wants to hear from us: half its limit. None: it does not watch.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    let micros: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros / 2))
}

/// Keeps the watchdog quiet for as long as the runtime gives this task its turn.
pub async fn watch() {
    let Some(interval) = watchdog_interval() else {
        return;
    };
    loop {
        send("WATCHDOG=1");
        tokio::time::sleep(interval).await;
    }
}
