//! Why somebody is not admitted, and what they can do about it.

use super::IdentityError;
use super::access::Role;
use crate::text::chain;
use iaso_identity::Refusal;

/// Why somebody is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// An agent without a certificate.
    #[error(
        "no certificate was presented: an agent enrols first, with a join token (`iaso join-token NODE`) in its join_token_file"
    )]
    NoCertificate,
    /// A certificate that does not count.
    #[error("{0}")]
    Certificate(Refusal),
    /// One that was taken back.
    #[error(
        "the certificate was revoked: the node was revoked, or enrolled anew elsewhere; if it should speak again, enrol it with a fresh join token (`iaso join-token NODE`)"
    )]
    Revoked,
    /// One that is in no record.
    #[error(
        "the certificate is in no record of this controller, which may have been restored from a backup: enrol the node anew with a fresh join token (`iaso join-token NODE`)"
    )]
    Unknown,
    /// A certificate for one node, and a call for another.
    #[error(
        "the certificate speaks for node {certified:?} and not for {claimed:?}: correct `node` in the agent's configuration, or enrol this machine under its own name"
    )]
    OtherNode {
        /// Whom it speaks for.
        certified: String,
        /// Whom the call was for.
        claimed: String,
    },
    /// A request for a certificate.
    #[error(
        "the request for a certificate is damaged or not signed by its own key: update the agent"
    )]
    Request,
    /// Nobody's join token.
    #[error(
        "the join token is not one of this controller: have one made (`iaso join-token NODE`), and copy all of it"
    )]
    JoinTokenWrong,
    /// Its time is over.
    #[error("the join token ended {by_secs} s ago: have a fresh one made (`iaso join-token NODE`)")]
    JoinTokenExpired {
        /// Since when.
        by_secs: u64,
    },
    /// Somebody else used it.
    #[error(
        "the join token was used before, by another key: have a fresh one made (`iaso join-token NODE`); if nobody of yours used it, somebody else has: `iaso revoke NODE` first"
    )]
    JoinTokenUsed,
    /// It was taken back.
    #[error("the join token was taken back: have a fresh one made (`iaso join-token NODE`)")]
    JoinTokenVoid,
    /// It was made for another node.
    #[error(
        "the join token was made for another node than {node:?}: have one made for this node (`iaso join-token {node}`)"
    )]
    JoinTokenOtherNode {
        /// Who asked.
        node: String,
    },
    /// A call without a token.
    #[error(
        "no token was sent: have one made on the controller (`iaso-controller operator add NAME --role ROLE`)"
    )]
    NoToken,
    /// Nobody's token.
    #[error(
        "the token is wrong or was taken back: have one made on the controller (`iaso-controller operator add NAME --role ROLE`)"
    )]
    TokenWrong,
    /// Its time is over.
    #[error(
        "the token has ended: have one made on the controller (`iaso-controller operator add NAME --role ROLE`)"
    )]
    TokenExpired,
    /// A person who may not.
    #[error(
        "{who} may not do this: it needs the role {need}; an admin can give it (`iaso-controller operator add NAME --role {need}`)"
    )]
    Role {
        /// Who asked.
        who: String,
        /// What it takes.
        need: Role,
    },
    /// A call that nobody may make.
    #[error("this call has no role in this version, so nobody may make it")]
    NoRole,
    /// It could not be found out.
    #[error("whether you may cannot be told now: {0}")]
    Unavailable(String),
}

impl Denied {
    /// The word for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::Certificate(refusal) => refusal.kind(),
            Self::Revoked => "certificate-revoked",
            Self::Unknown => "certificate-unknown",
            Self::OtherNode { .. } => "other-node",
            Self::Request => "bad-request",
            Self::JoinTokenWrong => "join-token-wrong",
            Self::JoinTokenExpired { .. } => "join-token-expired",
            Self::JoinTokenUsed => "join-token-replayed",
            Self::JoinTokenVoid => "join-token-void",
            Self::JoinTokenOtherNode { .. } => "join-token-other-node",
            Self::NoToken => "no-token",
            Self::TokenWrong => "token-wrong",
            Self::TokenExpired => "token-expired",
            Self::Role { .. } => "role",
            Self::NoRole => "no-role",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl From<IdentityError> for Denied {
    fn from(error: IdentityError) -> Self {
        Self::Unavailable(chain(&error))
    }
}
