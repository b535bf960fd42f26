//! Both sides of TLS against each other, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step is a failed test"
)]

use iaso_identity::{
    Acceptor, Authority, CONTROLLER_NAME, Connection, Failure, NodeIdentity, NodeKey, Presented,
    Refusal, Request, Trouble, incoming, trouble, unix_now,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected as _;

const DAY: Duration = Duration::from_hours(24);

struct World {
    authority: Authority,
    acceptor: Arc<Acceptor>,
    at: SocketAddr,
    connections: ReceiverStream<std::io::Result<Connection>>,
    failures: mpsc::UnboundedReceiver<Failure>,
    _dir: TempDir,
}

fn authority(dir: &TempDir) -> Authority {
    Authority::open(dir.path(), unix_now()).unwrap()
}

async fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority(&dir);
    let served = authority.controller(&[], unix_now(), 90 * DAY).unwrap();
    let acceptor = Arc::new(Acceptor::new(&authority, served).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (failed, failures) = mpsc::unbounded_channel();
    let connections = incoming(listener, Arc::clone(&acceptor), move |failure| {
        failed.send(failure).unwrap();
    });
    World {
        authority,
        acceptor,
        at,
        connections,
        failures,
        _dir: dir,
    }
}

/// A certificate of this authority, issued then, for so long.
fn certified(authority: &Authority, issued: u64, lifetime: Duration) -> NodeIdentity {
    let key = NodeKey::generate().unwrap();
    let request = Request::read(&key.request().unwrap()).unwrap();
    let issued = authority.node(&request, "styx", issued, lifetime).unwrap();
    NodeIdentity::new(
        "styx".into(),
        authority.fingerprint(),
        &key,
        issued.certificate,
    )
}

impl World {
    async fn connect(
        &self,
        config: ClientConfig,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.at).await?;
        let name = ServerName::try_from(CONTROLLER_NAME).unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// What the server makes of a client.
    async fn sees(&mut self, config: ClientConfig) -> Presented {
        let _client = self.connect(config).await.unwrap();
        let connection = self.connections.next().await.unwrap().unwrap();
        connection.connect_info().presented
    }

    /// Why a client does not believe the server.
    async fn disbelieved(&self, config: ClientConfig) -> Trouble {
        let error = self.connect(config).await.err().unwrap();
        trouble(&error).unwrap()
    }
}

#[tokio::test]
async fn a_nodes_certificate_names_it_and_a_caller_without_one_is_nobody() {
    let mut world = world().await;
    let identity = certified(&world.authority, unix_now(), 30 * DAY);
    let Presented::Node(node) = world.sees(identity.client().unwrap()).await else {
        panic!("not believed");
    };
    assert_eq!(node.node, "styx");
    assert!(
        node.not_after > unix_now() + 29 * 86_400 && node.serial.len() == 32,
        "{node:?}"
    );
    let nobody = world.authority.fingerprint().client().unwrap();
    assert_eq!(world.sees(nobody).await, Presented::Nothing);
}

#[tokio::test]
async fn a_certificate_that_does_not_count_is_refused_by_name_and_not_taken_for_nobody() {
    let mut world = world().await;
    let now = unix_now();
    let cases = [
        (
            certified(&world.authority, now - 3 * 86_400, DAY),
            "certificate-expired",
        ),
        (
            certified(&world.authority, now + 3 * 86_400, DAY),
            "certificate-not-yet-valid",
        ),
    ];
    for (identity, kind) in cases {
        let Presented::Refused(refusal) = world.sees(identity.client().unwrap()).await else {
            panic!("{kind}: believed");
        };
        assert_eq!(refusal.kind(), kind);
    }
    // Another controller's node, that knows this controller's fingerprint.
    let dir = tempfile::tempdir().unwrap();
    let mut foreign = certified(&authority(&dir), now, DAY);
    foreign.controller = world.authority.fingerprint();
    let seen = world.sees(foreign.client().unwrap()).await;
    assert_eq!(seen, Presented::Refused(Refusal::WrongAuthority));
    for words in ["another controller", "iaso join-token NODE"] {
        assert!(Refusal::WrongAuthority.to_string().contains(words));
    }
}

#[tokio::test]
async fn a_clock_that_is_a_day_behind_is_tolerated_on_both_sides() {
    let mut world = world().await;
    // Issued by a clock that is 23 hours ahead of ours.
    let ahead = unix_now() + 23 * 3_600;
    let identity = certified(&world.authority, ahead, DAY);
    let seen = world.sees(identity.client().unwrap()).await;
    assert!(matches!(seen, Presented::Node(_)), "{seen:?}");
    world
        .acceptor
        .replace(world.authority.controller(&[], ahead, DAY).unwrap());
    let seen = world.sees(identity.client().unwrap()).await;
    assert!(matches!(seen, Presented::Node(_)), "{seen:?}");
}

#[tokio::test]
async fn a_controller_out_of_its_time_is_not_believed_and_the_clock_is_named() {
    let world = world().await;
    let client = || world.authority.fingerprint().client().unwrap();
    let now = unix_now();
    let renewed = |at, lifetime| world.authority.controller(&[], at, lifetime).unwrap();

    world.acceptor.replace(renewed(now + 3 * 86_400, DAY));
    let early = world.disbelieved(client()).await;
    assert!(
        matches!(early, Trouble::NotYetValid { by_secs } if by_secs > 86_400),
        "{early:?}"
    );
    assert!(early.to_string().contains("clock is behind"), "{early}");

    world.acceptor.replace(renewed(now - 3 * 86_400, DAY));
    let late = world.disbelieved(client()).await;
    assert!(
        matches!(late, Trouble::Expired { by_secs } if by_secs > 86_400),
        "{late:?}"
    );

    world.acceptor.replace(renewed(now, DAY));
    world.connect(client()).await.unwrap();
}

#[tokio::test]
async fn another_controller_and_a_node_that_plays_one_are_not_believed() {
    let (world, other) = (world().await, world().await);
    let expecting_other = other.authority.fingerprint().client().unwrap();
    assert_eq!(
        world.disbelieved(expecting_other).await,
        Trouble::OtherController
    );

    // A stolen node's certificate is of the right authority, and no controller's.
    let identity = certified(&world.authority, unix_now(), DAY);
    let key = identity_key(&identity);
    let served = rustls::sign::CertifiedKey::from_der(
        key.0,
        key.1,
        &rustls::crypto::ring::default_provider(),
    )
    .unwrap();
    world.acceptor.replace(served);
    let trouble = world
        .disbelieved(world.authority.fingerprint().client().unwrap())
        .await;
    assert!(
        matches!(trouble, Trouble::Other(_) | Trouble::OtherController),
        "{trouble:?}"
    );
}

type Chain = Vec<rustls::pki_types::CertificateDer<'static>>;

/// As a thief reads it from the disk.
fn identity_key(identity: &NodeIdentity) -> (Chain, rustls::pki_types::PrivateKeyDer<'static>) {
    use rustls::pki_types::pem::PemObject as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("i");
    identity.write(&path).unwrap();
    let text = std::fs::read(path).unwrap();
    (
        vec![rustls::pki_types::CertificateDer::from_pem_slice(&text).unwrap()],
        rustls::pki_types::PrivateKeyDer::from_pem_slice(&text).unwrap(),
    )
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_so_in_its_own_words_and_counted() {
    let mut world = world().await;
    for (said, answer) in [
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "this port speaks TLS"),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ] {
        let mut stream = TcpStream::connect(world.at).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        // The listener may hang up on what it has not read.
        let _ = stream.read_to_end(&mut heard).await;
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(
            heard.contains(answer) && heard.contains("use https://"),
            "{heard:?}"
        );
        let failure = world.failures.recv().await.unwrap();
        assert!(matches!(failure, Failure::Plaintext(_)), "{failure:?}");
    }
    // What only looks whether the port is open is no attempt at anything.
    drop(TcpStream::connect(world.at).await.unwrap());
    assert_eq!(world.failures.recv().await, Some(Failure::Gone));
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut world = world().await;
    world.at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read(&mut [0; 1_024]).await;
        }
    });
    let client = world.authority.fingerprint().client().unwrap();
    assert_eq!(world.disbelieved(client).await, Trouble::NotTls);
}
