//! The controller's own certificate authority.
//!
//! **Invariants**
//! - Its key is in one file, 0600, made at first start, and in no log and no answer.
//! - Of a request only the public key is taken, after the proof that the sender has the private one.

use crate::files::{self, FileError};
use crate::{CLOCK_TOLERANCE, CONTROLLER_NAME, Fingerprint, NameError, name, provider};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
    SerialNumber,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::time::Duration;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// An authority lives as long as the cluster it was made for: ten years.
const AUTHORITY_LIFETIME: Duration = Duration::from_hours(24 * 3_650);
/// Largest request for a certificate, in bytes.
const REQUEST_BYTES_MAX: usize = 8 << 10;

/// Why the authority cannot be used, or issues nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its files.
    #[error("cannot use the certificate authority")]
    File(#[from] FileError),
    /// The certificate is there and its key is not.
    #[error("the certificate authority has lost its key {}: restore it from a backup; without it, move {} aside, and every node must enrol anew", key.display(), certificate.display())]
    NoKey {
        /// What is there.
        certificate: PathBuf,
        /// What is not.
        key: PathBuf,
    },
    /// A file is no key or no certificate.
    #[error("{} is damaged: restore it from a backup", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// It could not be made.
    #[error("a certificate cannot be made")]
    Make(#[source] rcgen::Error),
    /// The name of the controller's certificate.
    #[error("{0:?} is no host name or address: correct identity.names")]
    ServerName(String),
    /// The request.
    #[error(
        "the request for a certificate cannot be used: it is damaged, or its signature is wrong"
    )]
    Request,
    /// The node's name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No randomness.
    #[error("the operating system gave no randomness for a serial number: {0}")]
    Randomness(getrandom::Error),
    /// rustls does not take what was made.
    #[error("the controller's certificate cannot be served")]
    Serve(#[source] rustls::Error),
}

/// A request for a certificate that was read and whose signature is right.
pub struct Request {
    params: CertificateSigningRequestParams,
    key: Fingerprint,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({})", self.key)
    }
}

impl Request {
    /// Reads a PKCS #10 request in DER.
    ///
    /// # Errors
    /// When it is too large, damaged, or not signed by its own key.
    pub fn read(der: &[u8]) -> Result<Self, AuthorityError> {
        if der.len() > REQUEST_BYTES_MAX {
            return Err(AuthorityError::Request);
        }
        let params =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))
                .map_err(|_| AuthorityError::Request)?;
        let key = Fingerprint::of(&params.public_key.subject_public_key_info());
        Ok(Self { params, key })
    }

    /// The public key, to tell one requester from another.
    #[must_use]
    pub fn key(&self) -> Fingerprint {
        self.key
    }
}

/// A certificate of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// PEM.
    pub certificate: String,
    /// Hexadecimal.
    pub serial: String,
    /// Seconds since the Unix epoch.
    pub not_after: u64,
}

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.fingerprint())
    }
}

impl Authority {
    /// Reads the authority of a directory (`ca.pem`, `ca.key`), or makes it when there is none. `now`: Unix seconds.
    ///
    /// # Errors
    /// When its files are damaged, incomplete, or may be read by others.
    pub fn open(directory: &Path, now: u64) -> Result<Self, AuthorityError> {
        let (certificate, key) = (directory.join("ca.pem"), directory.join("ca.key"));
        let pair = match files::read(&key, true)? {
            Some(text) => KeyPair::from_pem(&text)
                .map_err(|source| AuthorityError::Damaged { path: key, source })?,
            None if certificate.exists() => return Err(AuthorityError::NoKey { certificate, key }),
            None => {
                let pair = KeyPair::generate().map_err(AuthorityError::Make)?;
                files::write(&key, &pair.serialize_pem())?;
                pair
            }
        };
        // A key without a certificate is what a crash in between leaves: nobody has seen it yet.
        let pem = if let Some(text) = files::read(&certificate, false)? {
            text
        } else {
            let made = authority_params(now)
                .self_signed(&pair)
                .map_err(AuthorityError::Make)?;
            files::write(&certificate, &made.pem())?;
            made.pem()
        };
        let damaged = |source| AuthorityError::Damaged {
            path: certificate.clone(),
            source,
        };
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| damaged(rcgen::Error::CouldNotParseCertificate))?;
        let issuer = Issuer::from_ca_cert_der(&der, pair).map_err(damaged)?;
        Ok(Self {
            issuer,
            certificate: der,
        })
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// When its certificate ends, in Unix seconds.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        let read = X509Certificate::from_der(&self.certificate);
        let ends = read.map(|(_, certificate)| certificate.validity().not_after.timestamp());
        ends.ok()
            .and_then(|secs| u64::try_from(secs).ok())
            .unwrap_or(0)
    }

    /// What tokens carry.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// A new key and certificate for the controller itself, with these further host names and addresses.
    ///
    /// # Errors
    /// When a name is none.
    pub fn controller(
        &self,
        names: &[String],
        now: u64,
        lifetime: Duration,
    ) -> Result<CertifiedKey, AuthorityError> {
        let mut params = leaf_params(now, lifetime, ExtendedKeyUsagePurpose::ServerAuth)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Iaso controller");
        for name in std::iter::once(CONTROLLER_NAME).chain(names.iter().map(String::as_str)) {
            let san = match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) if is_host(name) => SanType::DnsName(
                    name.try_into()
                        .map_err(|_| AuthorityError::ServerName(name.to_owned()))?,
                ),
                Err(_) => return Err(AuthorityError::ServerName(name.to_owned())),
            };
            params.subject_alt_names.push(san);
        }
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let made = params
            .signed_by(&key, &self.issuer)
            .map_err(AuthorityError::Make)?;
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        // The authority's certificate goes along: clients know it by its fingerprint only.
        let chain = vec![made.der().clone(), self.certificate.clone()];
        CertifiedKey::from_der(chain, private, &provider()).map_err(AuthorityError::Serve)
    }

    /// A certificate for the key of the request, which speaks for `node` and nobody else.
    ///
    /// # Errors
    /// When the name is none.
    pub fn node(
        &self,
        request: &Request,
        node: &str,
        now: u64,
        lifetime: Duration,
    ) -> Result<Issued, AuthorityError> {
        let uri = name::node_uri(node)?;
        let mut params = leaf_params(now, lifetime, ExtendedKeyUsagePurpose::ClientAuth)?;
        let uri = uri.as_str().try_into().map_err(AuthorityError::Make)?;
        params.subject_alt_names.push(SanType::URI(uri));
        let serial = params
            .serial_number
            .as_ref()
            .map(SerialNumber::to_bytes)
            .unwrap_or_default();
        let made = params
            .signed_by(&request.params.public_key, &self.issuer)
            .map_err(AuthorityError::Make)?;
        Ok(Issued {
            certificate: made.pem(),
            serial: crate::fingerprint::hex(&serial),
            not_after: now.saturating_add(lifetime.as_secs()),
        })
    }
}

fn is_host(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    (1..=253).contains(&name.len()) && name.chars().all(plain)
}

fn authority_params(now: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Iaso certificate authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params, now, AUTHORITY_LIFETIME);
    params
}

fn leaf_params(
    now: u64,
    lifetime: Duration,
    purpose: ExtendedKeyUsagePurpose,
) -> Result<CertificateParams, AuthorityError> {
    let mut serial = [0_u8; 16];
    getrandom::fill(&mut serial).map_err(AuthorityError::Randomness)?;
    // Positive, and of one length: DER would cut a leading zero.
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, now, lifetime);
    Ok(params)
}

fn validity(params: &mut CertificateParams, now: u64, lifetime: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(CLOCK_TOLERANCE.as_secs()));
    params.not_after = epoch + Duration::from_secs(now) + lifetime;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NodeKey, unix_now};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_authority_is_made_once_and_its_key_is_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Authority::open(dir.path(), unix_now()).expect("made");
        let again = Authority::open(dir.path(), unix_now()).expect("read");
        assert_eq!(first.fingerprint(), again.fingerprint());
        let left = first.not_after() - unix_now();
        assert!(left.abs_diff(AUTHORITY_LIFETIME.as_secs()) < 60, "{left}");
        let key = dir.path().join("ca.key");
        let mode = std::fs::metadata(&key).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("set");
        let exposed = Authority::open(dir.path(), unix_now()).expect_err("others may read it");
        let cause = std::error::Error::source(&exposed).map(ToString::to_string);
        assert!(
            exposed.to_string().contains("authority")
                && cause.is_some_and(|cause| cause.contains("chmod 0600"))
        );

        std::fs::remove_file(&key).expect("removed");
        let lost = Authority::open(dir.path(), unix_now())
            .expect_err("no key")
            .to_string();
        assert!(lost.contains("backup"), "{lost}");
    }

    #[test]
    fn a_key_whose_certificate_was_not_written_yet_gets_one() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(Authority::open(dir.path(), unix_now()).expect("made"));
        std::fs::remove_file(dir.path().join("ca.pem")).expect("removed");
        Authority::open(dir.path(), unix_now()).expect("made again");
    }

    #[test]
    fn a_request_that_was_changed_or_is_none_is_refused() {
        let key = NodeKey::generate().expect("a key");
        let mut der = key.request().expect("a request");
        Request::read(&der).expect("whole");
        if let Some(last) = der.last_mut() {
            *last ^= 1;
        }
        assert!(Request::read(&der).is_err(), "its signature is wrong");
        assert!(Request::read(b"x").is_err() && Request::read(&[0; 9_000]).is_err());
    }
}
