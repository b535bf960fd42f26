//! The network of process hosts: TCP forwarders whose *cut* behaves as a cut, not as a refusal.
//!
//! **Invariants**
//! - While a link is down, new connections time out (the accept queue is kept full, so the kernel drops the SYN) and established flows stall
//!   in both directions; nothing is refused, reset or closed.
//! - A flow goes on where it stopped when the link comes back.
//! - Traffic *from* a host is stopped by its own link, too: the caller is found by its process.

use crate::callers;
use anyhow::{Context, Result};
use nix::sys::socket::Backlog;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Waiting connections that a healthy listener may have.
const BACKLOG: i32 = 128;
/// How long the kernel gets to answer on loopback before a connection attempt counts as dropped.
const DROPPED_AFTER: Duration = Duration::from_millis(40);
/// Most connections used to fill a queue.
const FILLERS_MAX: usize = 8;

/// The links of all hosts, by name.
#[derive(Debug, Clone, Default)]
pub struct Links {
    by_host: Arc<Mutex<BTreeMap<String, watch::Sender<bool>>>>,
}

impl Links {
    /// The link of one host; up when it is first asked for.
    #[must_use]
    pub fn of(&self, host: &str) -> watch::Sender<bool> {
        let mut links = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
        links
            .entry(host.to_owned())
            .or_insert_with(|| watch::channel(true).0)
            .clone()
    }
}

/// One forwarder; ends when dropped.
#[derive(Debug)]
pub struct Wire {
    task: JoinHandle<()>,
}

impl Wire {
    /// Forwards `outside` to `inside` while `link` is up. `link` is `None` for the outside world, which nobody cuts.
    pub fn lay(
        outside: SocketAddr,
        inside: SocketAddr,
        link: Option<watch::Receiver<bool>>,
        links: Links,
    ) -> Result<Self> {
        let listener = listen(outside)
            .with_context(|| format!("cannot listen on {outside}: is another lab running?"))?;
        let own = link.unwrap_or_else(|| watch::channel(true).1);
        let task = tokio::spawn(serve(listener, inside, own, links));
        Ok(Self { task })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn listen(at: SocketAddr) -> Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(at),
        socket2::Type::STREAM,
        None,
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into())?)
}

async fn serve(
    listener: TcpListener,
    inside: SocketAddr,
    mut link: watch::Receiver<bool>,
    links: Links,
) {
    loop {
        if !*link.borrow_and_update() {
            let fillers = clog(&listener).await;
            if link.wait_for(|up| *up).await.is_err() {
                // The host is gone for good: stay silent for ever.
                std::future::pending::<()>().await;
            }
            unclog(&listener, fillers).await;
        }
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, caller)) = accepted else { continue };
                let links = links.clone();
                let link = link.clone();
                tokio::spawn(async move {
                    let from = caller_link(&stream, caller, &links).await;
                    forward(stream, inside, [Some(link), from]).await;
                });
            }
            // An outside wire has no link of its own: nobody holds the sender, and nothing changes.
            Ok(()) = link.changed() => {}
        }
    }
}

async fn caller_link(
    stream: &TcpStream,
    caller: SocketAddr,
    links: &Links,
) -> Option<watch::Receiver<bool>> {
    let local = stream.local_addr().ok()?;
    let host = tokio::task::spawn_blocking(move || callers::host_of_connection(caller, local))
        .await
        .ok()??;
    Some(links.of(&host).subscribe())
}

/// Fills the accept queue, so that the kernel drops every further SYN.
async fn clog(listener: &TcpListener) -> Vec<TcpStream> {
    let mut fillers = Vec::new();
    shrink(listener, 0);
    let Ok(at) = listener.local_addr() else {
        return fillers;
    };
    while fillers.len() < FILLERS_MAX {
        match tokio::time::timeout(DROPPED_AFTER, TcpStream::connect(at)).await {
            Ok(Ok(stream)) => fillers.push(stream),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    fillers
}

/// Empties the queue: what waited in it belonged to the time of the cut.
async fn unclog(listener: &TcpListener, fillers: Vec<TcpStream>) {
    drop(fillers);
    while let Ok(Ok(stale)) = tokio::time::timeout(Duration::ZERO, listener.accept()).await {
        drop(stale);
    }
    shrink(listener, BACKLOG);
}

fn shrink(listener: &TcpListener, backlog: i32) {
    if let Ok(backlog) = Backlog::new(backlog) {
        // On a socket that listens already this only changes the queue's length.
        if let Err(error) = nix::sys::socket::listen(listener, backlog) {
            tracing::warn!(%error, "cannot change the accept queue of a wire");
        }
    }
}

async fn forward(
    outside: TcpStream,
    inside: SocketAddr,
    mut links: [Option<watch::Receiver<bool>>; 2],
) {
    passable(&mut links).await;
    let Ok(machine) = TcpStream::connect(inside).await else {
        // The machine's kernel answers, the port is closed: as near to a refusal as an accepted connection can come.
        let _ = socket2::SockRef::from(&outside).set_linger(Some(Duration::ZERO));
        return;
    };
    let (outside_read, outside_write) = outside.into_split();
    let (machine_read, machine_write) = machine.into_split();
    tokio::join!(
        pump(outside_read, machine_write, links.clone()),
        pump(machine_read, outside_write, links),
    );
}

/// Copies until the end of the stream; stalls, end of stream included, while a link is down.
async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut links: [Option<watch::Receiver<bool>>; 2],
) {
    let mut buffer = vec![0_u8; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        passable(&mut links).await;
        let Some(data) = buffer.get(..read).filter(|data| !data.is_empty()) else {
            let _ = to.shutdown().await;
            return;
        };
        if to.write_all(data).await.is_err() {
            return;
        }
    }
}

async fn passable(links: &mut [Option<watch::Receiver<bool>>; 2]) {
    loop {
        for link in links.iter_mut().flatten() {
            if link.wait_for(|up| *up).await.is_err() && !*link.borrow() {
                std::future::pending::<()>().await;
            }
        }
        if links.iter().flatten().all(|link| *link.borrow()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Instant;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let at = listener.local_addr().expect("address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        at
    }

    fn spare() -> SocketAddr {
        let listener =
            std::net::TcpListener::bind((Ipv4Addr::new(127, 0, 77, 200), 0)).expect("bind");
        listener.local_addr().expect("address")
    }

    async fn say(stream: &mut TcpStream, word: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(word).await?;
        let mut answer = vec![0; word.len()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_cut_wire_times_out_and_stalls_and_a_healed_one_goes_on() {
        let links = Links::default();
        let link = links.of("styx");
        let at = spare();
        let wire = Wire::lay(at, echo().await, Some(link.subscribe()), links).expect("wire");
        let mut flow = TcpStream::connect(at).await.expect("connect");
        assert_eq!(say(&mut flow, b"before").await.expect("echo"), b"before");

        link.send_replace(false);
        // The queue is full as soon as an attempt is dropped; until then attempts may still be queued, which is no answer either.
        let cut = Instant::now();
        loop {
            let attempt = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(at));
            if attempt.await.is_err() {
                break;
            }
            assert!(cut.elapsed() < Duration::from_secs(5), "never clogged");
        }
        let stalled = tokio::time::timeout(Duration::from_millis(200), say(&mut flow, b"during"));
        assert!(
            stalled.await.is_err(),
            "an established flow must stall, not fail"
        );

        link.send_replace(true);
        let mut answer = vec![0; 6];
        flow.read_exact(&mut answer).await.expect("goes on");
        assert_eq!(answer, b"during");
        // An attempt that fell into the old queue is dropped with it: the next one is led through.
        crate::until(Duration::from_secs(5), "a new connection", || async {
            let Ok(Ok(mut anew)) =
                tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(at)).await
            else {
                return false;
            };
            say(&mut anew, b"after")
                .await
                .is_ok_and(|answer| answer == b"after")
        })
        .await
        .expect("led through");
        drop(wire);
    }
}
