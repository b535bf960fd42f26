//! A node's own key and certificate, kept in one file.

use crate::Fingerprint;
use crate::files::{self, FileError};
use rcgen::{CertificateParams, KeyPair};
use std::path::Path;
use std::str::FromStr as _;

/// First line of the file, and its version.
const HEAD: &str = "iaso-node-identity 1";

/// Why a node's key or certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeKeyError {
    /// Its file.
    #[error("cannot keep this node's identity")]
    File(#[from] FileError),
    /// It could not be made.
    #[error("a key cannot be made")]
    Make(#[source] rcgen::Error),
    /// It is none.
    #[error(
        "{0} is damaged: remove it, and enrol this node anew with a fresh join token (`iaso join-token NODE`)"
    )]
    Damaged(String),
}

/// A private key that never leaves the machine.
pub struct NodeKey(KeyPair);

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey(…)")
    }
}

impl NodeKey {
    /// Draws one (ECDSA, P-256).
    ///
    /// # Errors
    /// Without randomness.
    pub fn generate() -> Result<Self, NodeKeyError> {
        KeyPair::generate().map(Self).map_err(NodeKeyError::Make)
    }

    /// The key in a file, or a new one that is put there: an enrolment whose answer was lost is asked for again with the same key.
    ///
    /// # Errors
    /// When the file cannot be read or written, or others may read it.
    pub fn read_or_make(path: &Path) -> Result<Self, NodeKeyError> {
        if let Some(text) = files::read(path, true)?
            && let Ok(key) = KeyPair::from_pem(&text)
        {
            return Ok(Self(key));
        }
        let key = Self::generate()?;
        files::write(path, &key.0.serialize_pem())?;
        Ok(key)
    }

    /// A request for a certificate (PKCS #10, DER): the public key, signed.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn request(&self) -> Result<Vec<u8>, NodeKeyError> {
        let request = CertificateParams::default()
            .serialize_request(&self.0)
            .map_err(NodeKeyError::Make)?;
        Ok(request.der().to_vec())
    }

    fn pem(&self) -> String {
        self.0.serialize_pem()
    }
}

/// All that a node needs to be believed, and to believe its controller.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Whom it speaks for.
    pub node: String,
    /// The controller's authority.
    pub controller: Fingerprint,
    /// PEM.
    pub certificate: String,
    /// PEM; shown by nothing.
    key: String,
    /// When to ask for the next one, in Unix seconds.
    pub renew_at: u64,
    /// When it ends, in Unix seconds.
    pub not_after: u64,
}

impl std::fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeIdentity({} until {})", self.node, self.not_after)
    }
}

impl NodeIdentity {
    /// What an enrolment or a renewal brought, with the key that it was asked for with.
    #[must_use]
    pub fn new(node: String, controller: Fingerprint, key: &NodeKey, certificate: String) -> Self {
        Self {
            node,
            controller,
            certificate,
            key: key.pem(),
            renew_at: 0,
            not_after: 0,
        }
    }

    /// With its times, in Unix seconds.
    #[must_use]
    pub fn valid(self, renew_at: u64, not_after: u64) -> Self {
        Self {
            renew_at,
            not_after,
            ..self
        }
    }

    /// The identity of a file; `None` if there is none.
    ///
    /// # Errors
    /// When it is damaged, or others may read it.
    pub fn read(path: &Path) -> Result<Option<Self>, NodeKeyError> {
        let Some(text) = files::read(path, true)? else {
            return Ok(None);
        };
        decode(&text)
            .map(Some)
            .ok_or_else(|| NodeKeyError::Damaged(path.display().to_string()))
    }

    /// Keeps it, whole or not at all; 0600.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, path: &Path) -> Result<(), NodeKeyError> {
        let head = format!(
            "{HEAD}\nnode {}\ncontroller {}\nrenew_at {}\nnot_after {}\n",
            self.node, self.controller, self.renew_at, self.not_after
        );
        files::write(path, &format!("{head}{}{}", self.certificate, self.key))?;
        Ok(())
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

fn decode(text: &str) -> Option<NodeIdentity> {
    let mut lines = text.lines();
    let mut value = |key: &str| {
        lines
            .next()?
            .strip_prefix(key)?
            .strip_prefix(' ')
            .map(str::to_owned)
    };
    let [head, version] = HEAD.split(' ').collect::<Vec<_>>().try_into().ok()?;
    (value(head)? == version).then_some(())?;
    let (node, controller) = (value("node")?, value("controller")?);
    let (renew_at, not_after) = (value("renew_at")?, value("not_after")?);
    let blocks = text.get(text.find("-----BEGIN")?..)?;
    let (certificate, key) = blocks.split_at(blocks.find("-----BEGIN PRIVATE KEY")?);
    crate::name::node_uri(&node).ok()?;
    Some(NodeIdentity {
        node,
        controller: Fingerprint::from_str(&controller).ok()?,
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        renew_at: renew_at.parse().ok()?,
        not_after: not_after.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn identity() -> NodeIdentity {
        let key = NodeKey::generate().expect("a key");
        let certificate =
            "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_owned();
        NodeIdentity::new("styx".into(), Fingerprint::of(b"ca"), &key, certificate).valid(7, 9)
    }

    #[test]
    fn an_identity_is_kept_whole_and_private_and_its_key_is_shown_nowhere() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("node.identity");
        let identity = identity();
        identity.write(&path).expect("written");
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            NodeIdentity::read(&path).expect("read"),
            Some(identity.clone())
        );
        assert!(!format!("{identity:?}").contains("PRIVATE"));

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
        assert!(NodeIdentity::read(&path).is_err(), "others may read it");
    }

    #[test]
    fn a_file_that_was_cut_anywhere_before_its_key_is_damaged_and_not_half_believed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("node.identity");
        identity().write(&path).expect("written");
        let text = std::fs::read_to_string(&path).expect("read");
        let key = text.find("-----BEGIN PRIVATE KEY").expect("there");
        for cut in 0..key {
            assert!(
                decode(text.get(..cut).expect("ASCII")).is_none(),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_key_that_waits_for_its_certificate_is_the_same_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pending.key");
        let first = NodeKey::read_or_make(&path).expect("made");
        let again = NodeKey::read_or_make(&path).expect("read");
        assert_eq!(first.pem(), again.pem());
    }
}
