//! The network of process hosts: TCP forwarders whose *cut* behaves as a cut, not as a refusal.
//!
//! **Invariants**
//! - While a link is down, new connections time out (the accept queue is kept full, so the kernel drops the SYN) and established flows stall
//!   in both directions; nothing is refused, reset or closed.
//! - A flow goes on where it stopped when the link comes back, unless a machine at either end lost its power meanwhile: what a dead machine
//!   had said never arrives, and its flows are reset, as its next kernel would.
//! - Traffic *from* a host is stopped by its own link, too: the caller is found by its process. Nobody's connection is led nowhere.
//!
//! What it cannot show: a host that is cut off itself still sees its connections to others begin; they only carry nothing.

use crate::callers::{self, Caller};
use anyhow::{Context, Result};
use nix::sys::socket::Backlog;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Waiting connections that a healthy listener may have.
const BACKLOG: i32 = 128;
/// How long the kernel gets to answer on loopback before a connection attempt counts as dropped.
const DROPPED_AFTER: Duration = Duration::from_millis(40);
/// Most connections used to fill a queue.
const FILLERS_MAX: usize = 8;

/// A machine's port at the hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Frames pass.
    pub up: bool,
    /// How often the machine behind it lost its power: a flow does not outlive that.
    pub power_losses: u32,
}

/// The ports of all hosts, by name.
#[derive(Debug, Clone, Default)]
pub struct Links {
    by_host: Arc<Mutex<BTreeMap<String, watch::Sender<Port>>>>,
}

impl Links {
    /// The port of one host; up when it is first asked for.
    #[must_use]
    pub fn of(&self, host: &str) -> watch::Sender<Port> {
        let mut links = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
        links
            .entry(host.to_owned())
            .or_insert_with(|| watch::channel(PLUGGED).0)
            .clone()
    }
}

const PLUGGED: Port = Port {
    up: true,
    power_losses: 0,
};

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
        link: Option<watch::Receiver<Port>>,
        links: Links,
    ) -> Result<Self> {
        let listener = listen(outside)
            .with_context(|| format!("cannot listen on {outside}: is another lab running?"))?;
        let own = link.unwrap_or_else(|| watch::channel(PLUGGED).1);
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
    mut link: watch::Receiver<Port>,
    links: Links,
) {
    loop {
        if !link.borrow_and_update().up {
            let fillers = clog(&listener).await;
            if link.wait_for(|port| port.up).await.is_err() {
                // The host is gone for good: stay silent for ever.
                std::future::pending::<()>().await;
            }
            unclog(&listener, fillers).await;
        }
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, caller)) = accepted else { continue };
                let links = links.clone();
                let mut way = Way::default();
                way.passes(link.clone());
                tokio::spawn(async move {
                    if lead(&stream, caller, &mut way, &links).await {
                        forward(stream, inside, way).await;
                    } else {
                        reset(&stream);
                    }
                });
            }
            // An outside wire has no link of its own: nobody holds the sender, and nothing changes.
            Ok(()) = link.changed() => {}
        }
    }
}

/// Waits until a new connection's way is open; whether there is still somebody to lead.
async fn lead(stream: &TcpStream, caller: SocketAddr, way: &mut Way, links: &Links) -> bool {
    match caller_of(stream, caller).await {
        Caller::Host(host) => way.passes(links.of(&host).subscribe()),
        Caller::Outside => {}
        Caller::Gone => return false,
    }
    let stalled = !way.is_open();
    way.open().await;
    // An attempt that was given up during a cut would never have got through it.
    way.intact() && !(stalled && caller_of(stream, caller).await == Caller::Gone)
}

async fn caller_of(stream: &TcpStream, caller: SocketAddr) -> Caller {
    let Ok(local) = stream.local_addr() else {
        return Caller::Gone;
    };
    let looked = tokio::task::spawn_blocking(move || callers::caller_of(caller, local));
    looked.await.unwrap_or(Caller::Gone)
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

/// The ports that a flow passes, and how they were when it began.
#[derive(Debug, Clone, Default)]
struct Way {
    ports: Vec<(watch::Receiver<Port>, u32)>,
}

impl Way {
    fn passes(&mut self, port: watch::Receiver<Port>) {
        let losses = port.borrow().power_losses;
        self.ports.push((port, losses));
    }

    /// Every machine on it has had power all the time.
    fn intact(&self) -> bool {
        self.ports
            .iter()
            .all(|(port, losses)| port.borrow().power_losses == *losses)
    }

    fn is_open(&self) -> bool {
        self.ports.iter().all(|(port, _)| port.borrow().up)
    }

    /// Waits until all ports are up.
    async fn open(&mut self) {
        loop {
            for (port, _) in &mut self.ports {
                if port.wait_for(|port| port.up).await.is_err() && !port.borrow().up {
                    std::future::pending::<()>().await;
                }
            }
            if self.is_open() {
                return;
            }
        }
    }

    /// Waits until a machine has lost its power and the ports are up again.
    async fn severed(&mut self) {
        loop {
            self.open().await;
            if !self.intact() {
                return;
            }
            let changes = self.ports.iter_mut().map(|(port, _)| {
                Box::pin(async {
                    if port.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                })
            });
            futures::future::select_all(changes).await;
        }
    }
}

/// The machine's kernel answers, and there is no such flow or port: as near to a refusal as an accepted connection can come.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn forward(mut outside: TcpStream, inside: SocketAddr, way: Way) {
    let Ok(mut machine) = TcpStream::connect(inside).await else {
        return reset(&outside);
    };
    let severed = {
        let (outside_read, outside_write) = outside.split();
        let (machine_read, machine_write) = machine.split();
        let both = async {
            tokio::join!(
                pump(outside_read, machine_write, way.clone()),
                pump(machine_read, outside_write, way.clone()),
            );
        };
        let mut watched = way.clone();
        tokio::select! {
            () = both => false,
            () = watched.severed() => true,
        }
    };
    if severed {
        reset(&outside);
        reset(&machine);
    }
}

/// Copies until the end of the stream; stalls, end of stream included, while a port is down.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut way: Way) {
    let mut buffer = vec![0_u8; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        way.open().await;
        if !way.intact() {
            // Whoever watches the way ends both directions.
            return std::future::pending().await;
        }
        let Some(data) = buffer.get(..read).filter(|data| !data.is_empty()) else {
            let _ = to.shutdown().await;
            return;
        };
        if to.write_all(data).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Instant;
    use tokio::sync::mpsc;

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

    fn plug(port: &watch::Sender<Port>, up: bool) {
        port.send_modify(|port| port.up = up);
    }

    fn lose_power(port: &watch::Sender<Port>) {
        port.send_modify(|port| {
            *port = Port {
                up: false,
                power_losses: port.power_losses + 1,
            }
        });
    }

    /// A program of host styx that connects, says a word, and then does this.
    fn program_of_styx(at: SocketAddr, then: &str) -> std::process::Child {
        let (ip, port) = (at.ip(), at.port());
        let script = format!("exec 3<>/dev/tcp/{ip}/{port}; printf stale >&3; echo said; {then}");
        let mut program = std::process::Command::new("bash")
            .args(["-c", &script])
            .env(callers::HOST_VARIABLE, "styx")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("bash");
        let mut said = [0; 5];
        let out = program.stdout.as_mut().expect("piped");
        std::io::Read::read_exact(out, &mut said).expect("connected");
        program
    }

    /// Hears what comes through.
    async fn listener() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let at = listener.local_addr().expect("address");
        let (words, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let words = words.clone();
                tokio::spawn(async move {
                    let mut buffer = [0; 64];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        let word = buffer.get(..length).unwrap_or_default();
                        let _ = words.send(String::from_utf8_lossy(word).into_owned());
                    }
                });
            }
        });
        (at, heard)
    }

    async fn next(heard: &mut mpsc::UnboundedReceiver<String>) -> String {
        let next = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await;
        next.expect("nothing comes through").expect("open")
    }

    /// A word of the outside world comes through, twice: whatever was on the wire before has come through by then, or never will.
    async fn only_new_words(at: SocketAddr, heard: &mut mpsc::UnboundedReceiver<String>) {
        for _ in 0..2 {
            let mut stream = TcpStream::connect(at).await.expect("connect");
            stream.write_all(b"new").await.expect("said");
            assert_eq!(next(heard).await, "new");
        }
        assert!(heard.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_program_that_was_killed_before_it_was_found_is_not_taken_for_the_outside_world() {
        let ((inside, mut heard), links, at) = (listener().await, Links::default(), spare());
        plug(&links.of("styx"), false);
        let _wire = Wire::lay(at, inside, None, links).expect("wire");
        // Nothing is awaited until it is dead: the wire cannot look before.
        let mut program = program_of_styx(at, "exit");
        program.wait().expect("ended");
        only_new_words(at, &mut heard).await;
    }

    #[tokio::test]
    async fn what_a_cut_host_began_and_gave_up_does_not_come_through_when_it_is_joined_again() {
        let ((inside, mut heard), links, at) = (listener().await, Links::default(), spare());
        let port = links.of("styx");
        plug(&port, false);
        let _wire = Wire::lay(at, inside, None, links).expect("wire");
        let mut given_up = program_of_styx(at, "read forever <&3");
        only_new_words(at, &mut heard).await;
        given_up.kill().expect("killed");
        given_up.wait().expect("ended");
        plug(&port, true);
        only_new_words(at, &mut heard).await;
    }

    #[tokio::test]
    async fn a_flow_of_a_machine_that_lost_its_power_is_reset_and_its_last_words_are_lost() {
        let ((inside, mut heard), links, at) = (listener().await, Links::default(), spare());
        let port = links.of("styx");
        let _wire = Wire::lay(at, inside, Some(port.subscribe()), links).expect("wire");
        let mut flow = TcpStream::connect(at).await.expect("connect");
        flow.write_all(b"before").await.expect("said");
        assert_eq!(next(&mut heard).await, "before");
        lose_power(&port);
        flow.write_all(b" and after").await.expect("buffered");
        plug(&port, true);
        let ended = tokio::time::timeout(Duration::from_secs(10), flow.read(&mut [0; 1])).await;
        assert!(ended.expect("goes on for ever").is_err());
        only_new_words(at, &mut heard).await;
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

        plug(&link, false);
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

        plug(&link, true);
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
