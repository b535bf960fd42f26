//! Who may speak for a node, who may decide, and how they came by it.
//!
//! **Invariants**
//! - A join token is for one node, for a time, and for one key. Of tokens only digests are kept.
//! - An enrolment takes back what was certified for the node before: the machine that was replaced cannot speak for it any more.
//! - Every refusal has a kind, which is counted, and words that say what to do.
//!
//! Left out: enrolment by a Kubernetes service account, and operators' client certificates.

pub mod access;
mod denied;
mod desk;
mod serve;
mod store;

pub use denied::Denied;
pub use desk::journal_changes;
pub use serve::renew_own;
pub use store::OperatorEntry;

use crate::config::{Config, NodeConfig};
use crate::status::Metrics;
use access::Role;
use iaso_engine::id::NodeName;
use iaso_identity::{
    Acceptor, Authority, AuthorityError, Issued, NodeCertificate, Request, Token, TokenError,
    TokenKind, unix_now,
};
use iaso_providers::Secret;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{Shown, Store, Used};

/// Longest name of an operator, in bytes.
const OPERATOR_BYTES_MAX: usize = 100;
/// Certificates of one node that count at once; the oldest is taken back for one more.
const CERTIFICATES_MAX: usize = 8;

/// Why identities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A token cannot be drawn.
    #[error("a token cannot be drawn")]
    Token(#[from] TokenError),
    /// The record of identities.
    #[error("cannot {operation} {}: check the disk and the file's owner", path.display())]
    Store {
        /// What was being done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A newer version's record.
    #[error("{} is of schema {found}, this version knows {known}: use the newer version", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// What was asked for cannot be meant.
    #[error("{0}")]
    Invalid(String),
}

/// An operator that was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Its name, as the journal has it.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

impl std::fmt::Display for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.role)
    }
}

/// A join token that was just made.
#[derive(Debug)]
pub struct JoinToken {
    /// The whole of it.
    pub secret: Secret,
    /// To name it by.
    pub id: String,
    /// In Unix seconds.
    pub expires: u64,
}

/// A certificate, and when to ask for the next.
#[derive(Debug, Clone)]
pub struct Certified {
    /// The certificate.
    pub issued: Issued,
    /// In Unix seconds.
    pub renew_at: u64,
    /// Certificates that were taken back for it.
    pub superseded: usize,
}

/// Everybody who is known here.
pub struct Identities {
    authority: Authority,
    store: Mutex<Store>,
    names: Vec<String>,
    lifetime: Duration,
    /// Who sits at the command line, if it is that.
    desk: Option<String>,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl Identities {
    /// Opens what is in the controller's data directory, or makes it at first start.
    ///
    /// # Errors
    /// When a file is damaged, of a newer version, or may be read by others.
    pub fn open(config: &Config) -> Result<Self, IdentityError> {
        let store = Store::open(&config.data_dir.join("identity.sqlite"))?;
        // Under the record's lock: two programs that start at once must not make two authorities.
        let authority = store.exclusively(|| Authority::open(&config.data_dir, unix_now()))??;
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        if !config.listen.ip().is_unspecified() {
            names.push(config.listen.ip().to_string());
        }
        names.extend(config.identity.names.iter().cloned());
        names.sort();
        names.dedup();
        Ok(Self {
            authority,
            store: Mutex::new(store),
            names,
            lifetime: Duration::from_secs(config.identity.certificate_ttl_secs),
            desk: None,
        })
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What takes connections in.
    ///
    /// # Errors
    /// When a configured name is none.
    pub fn acceptor(&self) -> Result<Acceptor, IdentityError> {
        let own = self.own_certificate()?;
        Ok(Acceptor::new(&self.authority, own)?)
    }

    /// The controller's authority, for clients.
    #[must_use]
    pub fn fingerprint(&self) -> iaso_identity::Fingerprint {
        self.authority.fingerprint()
    }

    /// Makes a token with which `node` can be enrolled once.
    ///
    /// # Errors
    /// Without randomness, or when it cannot be recorded.
    pub fn join_token(
        &self,
        node: &NodeName,
        ttl: Duration,
        by: &str,
    ) -> Result<JoinToken, IdentityError> {
        iaso_identity::node_uri(node.as_str())
            .map_err(|error| IdentityError::Invalid(error.to_string()))?;
        let token = Token::draw(TokenKind::Join, self.fingerprint())?;
        let expires = unix_now().saturating_add(ttl.as_secs());
        let node = node.as_str();
        let words = |(): &()| {
            let (id, secs) = (token.id(), ttl.as_secs());
            format!("made join token {id} for node {node}, for {secs} s")
        };
        self.changed(Some(node), words, |store| {
            store.add_join_token(&token, node, expires, by)
        })?;
        Ok(JoinToken {
            secret: Secret::new(token.expose()),
            id: token.id().to_owned(),
            expires,
        })
    }

    /// Takes the unused join tokens of a node back, all or those that `by` made. Says how many.
    ///
    /// # Errors
    /// When that cannot be recorded.
    pub fn void_join_tokens(
        &self,
        node: &NodeName,
        by: Option<&str>,
    ) -> Result<usize, IdentityError> {
        self.store().void_join_tokens(node.as_str(), by)
    }

    /// A node's first certificate.
    ///
    /// # Errors
    /// When the token does not admit this node with this key.
    pub fn enrol(&self, node: &str, presented: &str, request: &[u8]) -> Result<Certified, Denied> {
        let request = Request::read(request).map_err(|_| Denied::Request)?;
        let (id, digest) =
            Token::digest_presented(TokenKind::Join, presented).ok_or(Denied::JoinTokenWrong)?;
        let now = unix_now();
        let mut store = self.store();
        let key = request.key().to_string();
        let shown = Shown {
            id: &id,
            digest: &digest,
            node,
            key: &key,
            now,
        };
        match store.use_join_token(&shown)? {
            Used::Now | Used::BySameKey => {}
            Used::No(denied) => return Err(denied),
        }
        let issued = self.issue(&request, node, now)?;
        let superseded = store.certify(node, &issued, now, 0)?;
        Ok(self.certified(issued, now, superseded))
    }

    /// The next certificate of a node that was admitted by its present one.
    ///
    /// # Errors
    /// When the request is damaged or cannot be recorded.
    pub fn renew(&self, by: &NodeCertificate, request: &[u8]) -> Result<Certified, Denied> {
        let request = Request::read(request).map_err(|_| Denied::Request)?;
        let now = unix_now();
        let issued = self.issue(&request, &by.node, now)?;
        let superseded = self
            .store()
            .certify(&by.node, &issued, now, CERTIFICATES_MAX - 1)?;
        Ok(self.certified(issued, now, superseded))
    }

    fn issue(&self, request: &Request, node: &str, now: u64) -> Result<Issued, Denied> {
        self.authority
            .node(request, node, now, self.lifetime)
            .map_err(|error| Denied::Unavailable(crate::text::chain(&error)))
    }

    fn certified(&self, issued: Issued, now: u64, superseded: usize) -> Certified {
        Certified {
            issued,
            renew_at: now.saturating_add(self.lifetime.as_secs() / 3 * 2),
            superseded,
        }
    }

    /// Whether a certificate still counts: ours, in its time, and not taken back.
    ///
    /// # Errors
    /// When it does not.
    pub fn admit_node(&self, certificate: &NodeCertificate) -> Result<(), Denied> {
        let now = unix_now();
        if certificate.not_after < now {
            let by_secs = now - certificate.not_after;
            return Err(Denied::Certificate(iaso_identity::Refusal::Expired {
                by_secs,
            }));
        }
        match self.store().is_revoked(&certificate.serial)? {
            Some(false) => Ok(()),
            Some(true) => Err(Denied::Revoked),
            None => Err(Denied::Unknown),
        }
    }

    /// Tells the metrics when the certificates of these nodes end, and when the authority does.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn measure(&self, metrics: &Metrics, nodes: &[NodeConfig]) -> Result<(), IdentityError> {
        metrics.authority(self.authority.not_after());
        for (node, ends) in self.store().ends()? {
            // What is not declared any more has no agent that could renew it.
            if nodes.iter().any(|declared| declared.name.as_str() == node) {
                metrics.certificate(&node, Some(ends));
            }
        }
        Ok(())
    }

    /// Whether nobody was told yet that this join token was presented by another key. Asked once for each token.
    #[must_use]
    pub fn is_first_replay(&self, id: &str) -> bool {
        self.store().note_replay(id).unwrap_or(false)
    }

    /// Takes a node's certificates and unused join tokens back. Says how many of each.
    ///
    /// # Errors
    /// When that cannot be recorded.
    pub fn revoke(&self, node: &NodeName) -> Result<(usize, usize), IdentityError> {
        self.store().revoke(node.as_str(), unix_now())
    }

    /// The operator that a token belongs to.
    ///
    /// # Errors
    /// When it belongs to nobody, or not any more.
    pub fn admit_operator(&self, presented: &str) -> Result<Operator, Denied> {
        if presented.is_empty() {
            return Err(Denied::NoToken);
        }
        let (id, digest) =
            Token::digest_presented(TokenKind::Operator, presented).ok_or(Denied::TokenWrong)?;
        let entry = self.store().operator(&id)?.ok_or(Denied::TokenWrong)?;
        if !Token::admits(&entry.digest, &digest) {
            return Err(Denied::TokenWrong);
        }
        if entry.expires.is_some_and(|expires| expires < unix_now()) {
            return Err(Denied::TokenExpired);
        }
        Ok(Operator {
            name: entry.name,
            role: entry.role,
        })
    }

    /// Makes a token for an operator; a second one of the same name takes the place of the first.
    ///
    /// # Errors
    /// When the name cannot be used, or it cannot be recorded.
    pub fn add_operator(
        &self,
        name: &str,
        role: Role,
        ttl: Option<Duration>,
    ) -> Result<Secret, IdentityError> {
        let is_name = (1..=OPERATOR_BYTES_MAX).contains(&name.len())
            && name
                .chars()
                .all(|c| c.is_ascii_graphic() && c != '(' && c != ')');
        if !is_name {
            return Err(IdentityError::Invalid(format!(
                "an operator's name has 1 to {OPERATOR_BYTES_MAX} printable characters without spaces and parentheses"
            )));
        }
        let token = Token::draw(TokenKind::Operator, self.fingerprint())?;
        let expires = ttl.map(|ttl| unix_now().saturating_add(ttl.as_secs()));
        let words = |(): &()| format!("made a token for {name} ({role})");
        self.changed(None, words, |store| {
            store.add_operator(&token, name, role, expires)
        })?;
        Ok(Secret::new(token.expose()))
    }

    /// Everybody who has a token.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn operators(&self) -> Result<Vec<OperatorEntry>, IdentityError> {
        self.store().operators()
    }

    /// Takes an operator's token back. Says whether there was one.
    ///
    /// # Errors
    /// When that cannot be recorded.
    pub fn remove_operator(&self, name: &str) -> Result<bool, IdentityError> {
        let words = |was: &bool| match was {
            true => format!("took {name}'s token back"),
            false => format!("would take {name}'s token back, and there is none"),
        };
        self.changed(None, words, |store| store.remove_operator(name))
    }

    fn own_certificate(&self) -> Result<rustls::sign::CertifiedKey, IdentityError> {
        Ok(self
            .authority
            .controller(&self.names, unix_now(), serve::OWN_LIFETIME)?)
    }
}

#[cfg(test)]
mod tests;
