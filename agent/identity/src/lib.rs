//! Identities: the authority that certifies nodes, the tokens that stand at their beginning, and TLS that believes nothing else.
//!
//! **Invariants**
//! - A certificate speaks for exactly one node, named `iaso://node/<name>` in it. What a request for one says of names is passed over.
//! - A controller is known by the SHA-256 of its authority's certificate, which every token carries: there is no first use to trust.
//! - A key is drawn where it is used, and never travels. Of a token only a digest is kept.
//! - TLS 1.3 only, one provider of cryptography.
//!
//! Left out: where tokens and certificates are recorded, and who may do what. That is the controller's.

mod authority;
mod client;
mod files;
mod fingerprint;
mod name;
mod node;
mod plaintext;
mod server;
mod signature;
mod token;

pub use authority::{Authority, AuthorityError, Issued, Request};
pub use client::{ClientError, Trouble, connect, connect_lazy, trouble};
pub use files::FileError;
pub use fingerprint::Fingerprint;
pub use name::{NameError, node_name, node_uri};
pub use node::{NodeIdentity, NodeKey, NodeKeyError};
pub use server::{
    Acceptor, Connection, Failure, NodeCertificate, Peer, Presented, Refusal, incoming,
};
pub use token::{Token, TokenError, TokenKind};

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The name in every controller's certificate, asked for by every client of ours, whatever address leads there.
pub const CONTROLLER_NAME: &str = "controller.iaso.internal";
/// How far certificates reach back before they were issued: so slow may a clock be.
pub const CLOCK_TOLERANCE: Duration = Duration::from_hours(24);

/// Seconds since the Unix epoch.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
