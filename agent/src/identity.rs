//! This node's certificate: enrolled for once, renewed while there is time, and never another node's.
//!
//! **Invariants**
//! - The key is drawn here, kept 0600 and never sent. It is on the disk before it is certified: an answer that is lost is asked for again.
//! - A controller is believed by the fingerprint in the token; nothing is sent to another.
//! - The join token is removed when it has served.

use std::{path::PathBuf, time::Duration};

use iaso_identity::{NodeIdentity, NodeKey, Token, TokenKind, unix_now};
use iaso_proto::v1::{self, identity_service_client::IdentityServiceClient};
use tonic::transport::{Channel, Endpoint};

use crate::{
    config::{Config, ConfigError},
    session::SessionError,
};

/// How long the controller may take to certify.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// After a renewal that failed, the next attempt.
const RENEW_AGAIN: Duration = Duration::from_mins(1);

/// Why this node has no identity to show.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Nothing to begin with.
    #[error("this node has no certificate, and {} holds no join token: have one made (`iaso join-token {node}`) and write it there, mode 0600", path.display())]
    NoToken {
        /// Where one belongs.
        path: PathBuf,
        /// Who needs it.
        node: String,
    },
    /// The file holds something else.
    #[error("the join token in {} cannot be used", path.display())]
    Token {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: iaso_identity::TokenError,
    },
    /// It cannot be read.
    #[error("the join token cannot be read")]
    Read(#[from] ConfigError),
    /// A copied disk, or a node that was renamed.
    #[error("the identity in {} is of node {found:?}, and this is {node:?}: correct `node`, or remove the file and enrol anew (`iaso join-token {node}`)", path.display())]
    OtherNode {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who we are.
        node: String,
    },
    /// The key.
    #[error(transparent)]
    Key(#[from] iaso_identity::NodeKeyError),
    /// TLS.
    #[error(transparent)]
    Client(#[from] iaso_identity::ClientError),
}

/// Keeps the identity on the disk.
#[derive(Debug, Clone)]
pub struct Keeper {
    node: String,
    url: String,
    directory: PathBuf,
    join_token: PathBuf,
    limit: Duration,
}

impl Keeper {
    /// Of this agent, at this controller.
    #[must_use]
    pub fn new(config: &Config, url: &str) -> Self {
        Self {
            node: config.node.clone(),
            url: url.to_owned(),
            directory: config.state_dir.clone(),
            join_token: config.join_token_file.clone(),
            limit: config.session.connect_timeout(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("node.identity")
    }

    /// The identity to show: the one on the disk, or a new one for a join token. When the controller did not take the one on the disk,
    /// a join token goes before it.
    pub async fn obtain(&self, was_refused: bool) -> Result<NodeIdentity, SessionError> {
        let kept = NodeIdentity::read(&self.path()).map_err(IdentityError::from)?;
        if let Some(kept) = &kept
            && kept.node != self.node
        {
            let (path, found, node) = (self.path(), kept.node.clone(), self.node.clone());
            return Err(IdentityError::OtherNode { path, found, node }.into());
        }
        let serves = |kept: &NodeIdentity| !was_refused && kept.not_after > unix_now();
        if let Some(kept) = kept.as_ref().filter(|kept| serves(kept)) {
            return Ok(kept.clone());
        }
        match (self.token()?, kept) {
            (Some(token), _) => self.enrol(&token).await,
            // The controller says why it does not count, better than this machine's clock could.
            (None, Some(kept)) => Ok(kept),
            (None, None) => {
                let (path, node) = (self.join_token.clone(), self.node.clone());
                Err(IdentityError::NoToken { path, node }.into())
            }
        }
    }

    fn token(&self) -> Result<Option<Token>, IdentityError> {
        let Some(text) = crate::config::secret(&self.join_token)? else {
            return Ok(None);
        };
        let token = Token::parse(TokenKind::Join, &text);
        token.map(Some).map_err(|source| IdentityError::Token {
            path: self.join_token.clone(),
            source,
        })
    }

    async fn enrol(&self, token: &Token) -> Result<NodeIdentity, SessionError> {
        let pending = self.directory.join("node.key.pending");
        let key = NodeKey::read_or_make(&pending).map_err(IdentityError::from)?;
        let client = token.fingerprint().client().map_err(IdentityError::from)?;
        let endpoint = endpoint(&self.url)?.connect_timeout(self.limit);
        let channel = iaso_identity::connect(&endpoint, client)
            .await
            .map_err(|source| SessionError::connect(&self.url, source))?;
        let request = v1::EnrolRequest {
            node: self.node.clone(),
            token: token.presented(),
            request: key.request().map_err(IdentityError::from)?,
        };
        let mut identities = IdentityServiceClient::new(channel);
        let answered = tokio::time::timeout(ANSWER_MAX, identities.enrol(request));
        let answer = answered
            .await
            .map_err(|_| SessionError::Silent(ANSWER_MAX))?;
        let answer = answer.map_err(SessionError::Refused)?.into_inner();
        let identity = self.keep(token.fingerprint(), &key, answer)?;
        for served in [&pending, &self.join_token] {
            if let Err(error) = std::fs::remove_file(served) {
                tracing::info!(path = %served.display(), %error, "has served, and cannot be removed");
            }
        }
        tracing::info!(node = self.node, "enrolled: this node has its certificate");
        Ok(identity)
    }

    fn keep(
        &self,
        controller: iaso_identity::Fingerprint,
        key: &NodeKey,
        answer: v1::CertificateResponse,
    ) -> Result<NodeIdentity, IdentityError> {
        let secs = |secs: i64| u64::try_from(secs).unwrap_or(0);
        let identity = NodeIdentity::new(self.node.clone(), controller, key, answer.certificate)
            .valid(
                secs(answer.renew_at_unix_secs),
                secs(answer.not_after_unix_secs),
            );
        // What cannot be used must not take the place of what can.
        identity.client()?;
        identity.write(&self.path())?;
        Ok(identity)
    }

    /// Waits until it is time, and renews over the session's connection until that has worked.
    pub async fn renew(&self, held: &NodeIdentity, channel: Channel) {
        loop {
            let left = held.renew_at.saturating_sub(unix_now());
            if left > 0 {
                // By the wall clock, which may jump.
                tokio::time::sleep(Duration::from_secs(left.min(600))).await;
                continue;
            }
            match self.renewed(held, channel.clone()).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(
                    ends_in_secs = held.not_after.saturating_sub(unix_now()),
                    "the certificate is not renewed, trying again: {}",
                    crate::config::chain(&error)
                ),
            }
            tokio::time::sleep(RENEW_AGAIN).await;
        }
    }

    async fn renewed(&self, held: &NodeIdentity, channel: Channel) -> Result<(), SessionError> {
        let key = NodeKey::generate().map_err(IdentityError::from)?;
        let request = v1::RenewRequest {
            request: key.request().map_err(IdentityError::from)?,
        };
        let mut identities = IdentityServiceClient::new(channel);
        let answered = tokio::time::timeout(ANSWER_MAX, identities.renew(request));
        let answer = answered
            .await
            .map_err(|_| SessionError::Silent(ANSWER_MAX))?;
        let answer = answer.map_err(SessionError::Refused)?.into_inner();
        self.keep(held.controller, &key, answer)?;
        tracing::info!(node = self.node, "the certificate is renewed");
        Ok(())
    }
}

/// Where the controller is.
pub(crate) fn endpoint(url: &str) -> Result<Endpoint, SessionError> {
    Endpoint::from_shared(url.to_owned()).map_err(|source| SessionError::connect(url, source))
}
