//! Keys as text: one line that says what it is.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::hex;

const PUBLIC: &str = "iaso-plugin-key:";
const SECRET: &str = "iaso-plugin-secret-key:";
/// Bytes of the digest that name a key.
const ID_BYTES: usize = 8;

/// Why a text is no key. It never repeats the text: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Something else.
    #[error(
        "this is no public key: it is one line that begins with `{PUBLIC}`, as `iaso plugin keygen` writes it into the .pub file"
    )]
    NotPublic,
    /// The other half of a pair.
    #[error(
        "this is a secret key, where a public one belongs: give the .pub file, and keep this one to yourself"
    )]
    SecretForPublic,
    /// Something else.
    #[error(
        "this is no secret key: it is one line that begins with `{SECRET}`, as `iaso plugin keygen` writes it into the .key file"
    )]
    NotSecret,
    /// The other half of a pair.
    #[error("this is a public key, and signing needs the secret one: give the .key file")]
    PublicForSecret,
}

/// Whoever has this can check signatures.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(pub(crate) VerifyingKey);

impl PublicKey {
    /// A short name for it: 16 hexadecimal digits of its digest.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = Sha256::digest(self.0.to_bytes());
        hex(digest.get(..ID_BYTES).unwrap_or_default())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", BASE64_STANDARD.encode(self.0.to_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        if text.starts_with(SECRET) {
            return Err(BadKey::SecretForPublic);
        }
        let bytes = bytes_of(text, PUBLIC).ok_or(BadKey::NotPublic)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| BadKey::NotPublic)?;
        // A key of small order signs anything.
        if key.is_weak() {
            return Err(BadKey::NotPublic);
        }
        Ok(Self(key))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = BadKey;

    fn try_from(text: String) -> Result<Self, BadKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// Whoever has this can sign. Overwritten in memory when it is dropped, and never shown by `Debug`.
pub struct SecretKey(pub(crate) SigningKey);

impl SecretKey {
    /// From 32 random bytes of the operating system.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Its other half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// One line for a file that nobody else can read.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let seed = Zeroizing::new(self.0.to_bytes());
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(*seed));
        Zeroizing::new(format!("{SECRET}{}\n", *encoded))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public().id())
    }
}

impl FromStr for SecretKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        if text.starts_with(PUBLIC) {
            return Err(BadKey::PublicForSecret);
        }
        let seed = Zeroizing::new(bytes_of(text, SECRET).ok_or(BadKey::NotSecret)?);
        Ok(Self::from_seed(&seed))
    }
}

fn bytes_of(text: &str, prefix: &str) -> Option<[u8; 32]> {
    let decoded = Zeroizing::new(BASE64_STANDARD.decode(text.strip_prefix(prefix)?).ok()?);
    decoded.as_slice().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_from_their_text_and_are_told_apart() {
        let secret = SecretKey::from_seed(&[7; 32]);
        let text = secret.to_text();
        let again: SecretKey = text.parse().expect("its own text");
        assert_eq!(again.public(), secret.public());
        let public = secret.public().to_string();
        assert_eq!(public.parse(), Ok(secret.public()));
        assert_eq!(text.parse::<PublicKey>(), Err(BadKey::SecretForPublic));
        assert_eq!(
            public.parse::<SecretKey>().err(),
            Some(BadKey::PublicForSecret)
        );
        assert_eq!("x".parse::<PublicKey>(), Err(BadKey::NotPublic));
    }

    #[test]
    fn a_secret_key_is_not_in_its_debug_text_nor_in_an_error() {
        let secret = SecretKey::from_seed(&[7; 32]);
        let text = secret.to_text();
        let encoded = text.trim().trim_start_matches(SECRET);
        assert!(!format!("{secret:?}").contains(encoded));
        assert!(!BadKey::SecretForPublic.to_string().contains(encoded));
    }

    #[test]
    fn a_weak_key_is_no_key() {
        let weak = format!("{PUBLIC}{}", BASE64_STANDARD.encode([0_u8; 32]));
        assert_eq!(weak.parse::<PublicKey>(), Err(BadKey::NotPublic));
    }
}
