//! The client's side of TLS: a controller is believed when its authority has the fingerprint that the token named.

use crate::{CONTROLLER_NAME, Fingerprint, NodeIdentity, provider, signature};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

/// Longest chain of causes that is looked through.
const CAUSES_MAX: usize = 16;

/// Why no connection can be prepared.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The key or certificate of this node.
    #[error(
        "this node's certificate or key is damaged: enrol it anew with a fresh join token (`iaso join-token NODE`)"
    )]
    Identity,
    /// rustls refused.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// Connects, and waits until it is connected.
///
/// # Errors
/// When nobody is there, or it is not the controller that was named.
pub async fn connect(
    endpoint: &Endpoint,
    config: ClientConfig,
) -> Result<Channel, tonic::transport::Error> {
    endpoint
        .connect_with_connector(Connector::new(config))
        .await
}

/// Connects when the first call is made, and again after a loss.
#[must_use]
pub fn connect_lazy(endpoint: &Endpoint, config: ClientConfig) -> Channel {
    endpoint.connect_with_connector_lazy(Connector::new(config))
}

impl NodeIdentity {
    /// TLS with this node's certificate.
    ///
    /// # Errors
    /// When the certificate or its key is damaged.
    pub fn client(&self) -> Result<ClientConfig, ClientError> {
        let damaged = |_| ClientError::Identity;
        let certificate =
            CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(damaged)?;
        let key = PrivateKeyDer::from_pem_slice(self.key().as_bytes()).map_err(damaged)?;
        let config = builder(self.controller)?
            .with_client_auth_cert(vec![certificate], key)
            .map_err(|_| ClientError::Identity)?;
        Ok(with_alpn(config))
    }
}

impl Fingerprint {
    /// TLS to the controller with this fingerprint, without a certificate of one's own.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn client(self) -> Result<ClientConfig, ClientError> {
        Ok(with_alpn(builder(self)?.with_no_client_auth()))
    }
}

fn builder(
    fingerprint: Fingerprint,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, ClientError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(ClientError::Setup)?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { fingerprint })))
}

fn with_alpn(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Whoever answers is another controller than the one that was named.
#[derive(Debug, thiserror::Error)]
#[error("its authority has another fingerprint than {0}")]
struct OtherController(Fingerprint);

/// Takes the authority with this fingerprint from the chain, and verifies the rest against it and nothing else.
#[derive(Debug)]
struct Pinned {
    fingerprint: Fingerprint,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates
            .iter()
            .find(|certificate| Fingerprint::of(certificate) == self.fingerprint)
            .ok_or_else(|| {
                let other = OtherError(Arc::new(OtherController(self.fingerprint)));
                rustls::Error::InvalidCertificate(CertificateError::Other(other))
            })?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
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

/// Makes TLS connections for a channel.
#[derive(Clone)]
struct Connector {
    tls: TlsConnector,
}

impl Connector {
    fn new(config: ClientConfig) -> Self {
        Self {
            tls: TlsConnector::from(Arc::new(config)),
        }
    }
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<TlsStream<TcpStream>>>> + Send>>;

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let tls = self.tls.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(CONTROLLER_NAME).map_err(io::Error::other)?;
            Ok(TokioIo::new(tls.connect(name, stream).await?))
        })
    }
}

/// What was wrong with TLS, when that is why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Whoever answers is another controller than the one that was named.
    OtherController,
    /// This machine's clock, or the controller's, is far behind.
    NotYetValid {
        /// By so many seconds beyond what is tolerated.
        by_secs: u64,
    },
    /// This machine's clock is far ahead, or the controller stood still for weeks.
    Expired {
        /// By so many seconds.
        by_secs: u64,
    },
    /// What answers there speaks something else.
    NotTls,
    /// Anything else, in rustls' words.
    Other(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherController => f.write_str(
                "what answers there is another controller than the one that the token was made by: correct the address, or have a token made by the controller that is there",
            ),
            Self::NotYetValid { by_secs } => write!(
                f,
                "the controller's certificate is not valid yet, by {by_secs} s: this machine's clock is behind; set it (`timedatectl`, NTP)"
            ),
            Self::Expired { by_secs } => write!(
                f,
                "the controller's certificate ended {by_secs} s ago: this machine's clock is ahead (`timedatectl`, NTP), or the controller must be restarted to renew it"
            ),
            Self::NotTls => f.write_str(
                "what answers there does not speak TLS: the address must be the controller's `listen`, not `status_listen`",
            ),
            Self::Other(words) => write!(f, "no TLS with what answers there: {words}"),
        }
    }
}

/// Looks for TLS in the causes of an error; `None`: it failed for another reason.
#[must_use]
pub fn trouble(error: &(dyn Error + 'static)) -> Option<Trouble> {
    let mut next = Some(error);
    for _ in 0..CAUSES_MAX {
        let error = next?;
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(words(tls));
        }
        // An io::Error hides what it wraps from `source`.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(tls) = wrapped.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(words(tls));
        }
        next = error.source();
    }
    None
}

fn words(error: &rustls::Error) -> Trouble {
    if let rustls::Error::InvalidMessage(_) = error {
        return Trouble::NotTls;
    }
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return Trouble::Other(error.to_string());
    };
    if let CertificateError::Other(OtherError(other)) = certificate
        && other.is::<OtherController>()
    {
        return Trouble::OtherController;
    }
    if let CertificateError::NotValidYetContext { time, not_before } = certificate {
        let by_secs = not_before.as_secs().saturating_sub(time.as_secs());
        return Trouble::NotYetValid { by_secs };
    }
    if let CertificateError::ExpiredContext { time, not_after } = certificate {
        let by_secs = time.as_secs().saturating_sub(not_after.as_secs());
        return Trouble::Expired { by_secs };
    }
    Trouble::Other(error.to_string())
}
