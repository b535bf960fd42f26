//! The server's side of TLS: everybody may connect, and who is there is said with the connection.
//!
//! **Invariants**
//! - A certificate counts only if its sender proved to have the key, it comes from our authority, is in its time, and names one node.
//! - A certificate that does not count is no lesser identity: the connection carries the refusal, and every call is refused with it in words.
//!   A failed handshake could only send an alert, which tells nobody what to do.
//! - Handshakes are bounded in number and time.

use crate::{Authority, AuthorityError, name, provider, signature};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Handshakes at once; further connections wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 256;
/// How long one may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Connections that may wait to be served.
const CONNECTIONS_QUEUED_MAX: usize = 64;

/// A certificate that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCertificate {
    /// Whom it speaks for.
    pub node: String,
    /// Hexadecimal.
    pub serial: String,
    /// In Unix seconds.
    pub not_after: u64,
}

/// Why a certificate does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It ended.
    Expired {
        /// So many seconds ago.
        by_secs: u64,
    },
    /// It begins later.
    NotYetValid {
        /// In so many seconds.
        by_secs: u64,
    },
    /// Another authority's.
    WrongAuthority,
    /// Ours, and of no node.
    NoNode,
}

impl Refusal {
    /// The word for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "certificate-expired",
            Self::NotYetValid { .. } => "certificate-not-yet-valid",
            Self::WrongAuthority => "certificate-wrong-authority",
            Self::NoNode => "certificate-no-node",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { by_secs } => write!(f, "the certificate ended {by_secs} s ago: enrol the node anew with a fresh join token (`iaso join-token NODE`)"),
            Self::NotYetValid { by_secs } => write!(f, "the certificate begins in {by_secs} s: the controller's clock went back; set it"),
            Self::WrongAuthority => f.write_str("the certificate is of another controller: enrol the node here with a join token of this one (`iaso join-token NODE`)"),
            Self::NoNode => f.write_str("the certificate names no node: enrol the node anew with a fresh join token (`iaso join-token NODE`)"),
        }
    }
}

/// What a client presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// No certificate.
    Nothing,
    /// One that counts.
    Node(NodeCertificate),
    /// One that does not.
    Refused(Refusal),
}

/// Who is at the other end of a connection; in the extensions of each of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// What it presented.
    pub presented: Presented,
}

/// Takes connections in.
pub struct Acceptor {
    tls: TlsAcceptor,
    served: Arc<Served>,
    judge: Arc<dyn ClientCertVerifier>,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    /// Serves this certificate, and believes this authority.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(authority: &Authority, served: CertifiedKey) -> Result<Self, AuthorityError> {
        let mut roots = RootCertStore::empty();
        roots
            .add(authority.certificate().clone())
            .map_err(AuthorityError::Serve)?;
        let judge = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| AuthorityError::Serve(rustls::Error::General(error.to_string())))?;
        let served = Arc::new(Served(RwLock::new(Arc::new(served))));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&served) as Arc<_>;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(AuthorityError::Serve)?
            .with_client_cert_verifier(Arc::new(AskedFor))
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Each connection proves anew who it is.
        config.send_tls13_tickets = 0;
        Ok(Self {
            tls: TlsAcceptor::from(Arc::new(config)),
            served,
            judge,
        })
    }

    /// Serves this certificate from the next connection on.
    pub fn replace(&self, served: CertifiedKey) {
        *self
            .served
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
    }

    /// The connection, or what speaks no TLS.
    async fn take(
        &self,
        stream: TcpStream,
        address: SocketAddr,
    ) -> Result<Result<Connection, TcpStream>, Failure> {
        let mut first = [0_u8; 1];
        let read = stream.peek(&mut first).await.map_err(|_| Failure::Gone)?;
        if read == 0 {
            return Err(Failure::Gone);
        }
        let [first] = first;
        if !crate::plaintext::is_tls(first) {
            return Ok(Err(stream));
        }
        // Small messages go out at once.
        let _ = stream.set_nodelay(true);
        let stream = self
            .tls
            .accept(stream)
            .await
            .map_err(|error| Failure::Handshake(address, error.to_string()))?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let presented = judge(self.judge.as_ref(), chain, UnixTime::now());
        let peer = Peer { address, presented };
        Ok(Ok(Connection { stream, peer }))
    }
}

fn judge(judge: &dyn ClientCertVerifier, chain: &[CertificateDer<'_>], now: UnixTime) -> Presented {
    let Some((end_entity, intermediates)) = chain.split_first() else {
        return Presented::Nothing;
    };
    if let Err(error) = judge.verify_client_cert(end_entity, intermediates, now) {
        return Presented::Refused(refusal(&error));
    }
    named(end_entity).map_or(Presented::Refused(Refusal::NoNode), Presented::Node)
}

fn refusal(error: &rustls::Error) -> Refusal {
    if let rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) =
        error
    {
        let by_secs = time.as_secs().saturating_sub(not_after.as_secs());
        return Refusal::Expired { by_secs };
    }
    if let rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
        time,
        not_before,
    }) = error
    {
        let by_secs = not_before.as_secs().saturating_sub(time.as_secs());
        return Refusal::NotYetValid { by_secs };
    }
    Refusal::WrongAuthority
}

/// Exactly one name, of a node.
fn named(der: &CertificateDer<'_>) -> Option<NodeCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
        return None;
    };
    Some(NodeCertificate {
        node: name::node_name(uri)?.to_owned(),
        serial: crate::fingerprint::hex(certificate.raw_serial()),
        not_after: u64::try_from(certificate.validity().not_after.timestamp()).ok()?,
    })
}

/// The certificate that is served now.
#[derive(Debug)]
struct Served(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.0.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

/// Asks for a certificate, and has the possession of its key proven; [`judge`] says what it is worth.
#[derive(Debug)]
struct AskedFor;

impl ClientCertVerifier for AskedFor {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        signature::refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        signature::verify_tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        signature::schemes()
    }
}

/// Why a connection did not come to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It speaks no TLS.
    Plaintext(SocketAddr),
    /// TLS failed.
    Handshake(SocketAddr, String),
    /// It took too long.
    Slow(SocketAddr),
    /// It went away before it said anything, as probes do.
    Gone,
}

/// A connection, and who is there.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Connections of a listener, until nobody takes them any more. `failed` is told of every one that did not come to be.
pub fn incoming(
    listener: TcpListener,
    acceptor: Arc<Acceptor>,
    failed: impl Fn(Failure) + Send + Sync + 'static,
) -> ReceiverStream<io::Result<Connection>> {
    let (out, connections) = mpsc::channel(CONNECTIONS_QUEUED_MAX);
    let (places, failed) = (Arc::new(Semaphore::new(HANDSHAKES_MAX)), Arc::new(failed));
    tokio::spawn(async move {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                () = out.closed() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, address)) = accepted else {
                // Out of file descriptors, most likely: give others time to return theirs.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (acceptor, failed, out) = (Arc::clone(&acceptor), Arc::clone(&failed), out.clone());
            tokio::spawn(async move {
                let _place = place;
                match tokio::time::timeout(HANDSHAKE_MAX, acceptor.take(stream, address)).await {
                    // The server has stopped: nobody to serve it.
                    Ok(Ok(Ok(connection))) => drop(out.send(Ok(connection)).await),
                    Ok(Ok(Err(mut plain))) => {
                        failed(Failure::Plaintext(address));
                        let told = crate::plaintext::tell(&mut plain);
                        // Whether it is read does not matter.
                        let _ = tokio::time::timeout(HANDSHAKE_MAX, told).await;
                    }
                    Ok(Err(failure)) => failed(failure),
                    Err(_) => failed(Failure::Slow(address)),
                }
            });
        }
    });
    ReceiverStream::new(connections)
}
