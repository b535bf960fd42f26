//! A detached signature: a small file beside the component.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::Signer as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::key::{PublicKey, SecretKey};

/// The largest signature file.
pub const SIGNATURE_BYTES_MAX: u64 = 4096;
/// What is signed begins so: a signature for something else is none for a plugin.
const DOMAIN: &[u8] = b"iaso plugin signature 1\0";
/// The only form that is known.
const FORMAT: u32 = 1;

/// A signature file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    format: u32,
    /// SHA-256 of the component, hexadecimal: for people, and for a better error. It is computed anew when the signature is checked.
    pub digest: String,
    /// Who signed.
    pub key: PublicKey,
    #[serde(rename = "signature")]
    made: String,
}

/// Why a signature is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No signature file.
    #[error("the signature file cannot be read: {0}; sign the plugin again")]
    Malformed(String),
    /// A form of another version.
    #[error("the signature is of format {0}, and only {FORMAT} is known: update, or sign again")]
    Format(u32),
    /// Of another component.
    #[error(
        "the signature is for the component {signed}, and this is {found}: it was built or packed again after it was signed, or exchanged"
    )]
    OtherBytes {
        /// What was signed.
        signed: String,
        /// What is here.
        found: String,
    },
    /// Not made with the key that it names.
    #[error("the signature was not made by the key {0} that it names: it is forged or damaged")]
    Forged(String),
}

impl Signature {
    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Hexadecimal and base64 need no escapes.
        format!(
            "# The signature of an Iaso plugin: `iaso plugin verify` checks it.\nformat = {}\ndigest = \"{}\"\nkey = \"{}\"\nsignature = \"{}\"\n",
            self.format, self.digest, self.key, self.made
        )
    }

    /// Reads the file's text. It is not checked yet: [`verify`] does.
    pub fn from_text(text: &str) -> Result<Self, SignatureError> {
        let signature: Self = toml::from_str(text)
            .map_err(|error| SignatureError::Malformed(error.message().to_owned()))?;
        if signature.format != FORMAT {
            return Err(SignatureError::Format(signature.format));
        }
        Ok(signature)
    }
}

/// Signs a component's digest.
#[must_use]
pub fn sign(component: &[u8], key: &SecretKey) -> Signature {
    let signature = key.0.sign(&message(component));
    Signature {
        format: FORMAT,
        digest: hex(&Sha256::digest(component)),
        key: key.public(),
        made: BASE64_STANDARD.encode(signature.to_bytes()),
    }
}

/// Whether the signature is for these bytes and made by the key that it names. That the key is to be trusted, others decide.
pub fn verify(component: &[u8], signature: &Signature) -> Result<PublicKey, SignatureError> {
    let found = hex(&Sha256::digest(component));
    if found != signature.digest {
        return Err(SignatureError::OtherBytes {
            signed: crate::words(&signature.digest),
            found,
        });
    }
    let forged = || SignatureError::Forged(signature.key.id());
    let bytes = BASE64_STANDARD
        .decode(&signature.made)
        .map_err(|_| forged())?;
    let parsed = ed25519_dalek::Signature::from_slice(&bytes).map_err(|_| forged())?;
    signature
        .key
        .0
        .verify_strict(&message(component), &parsed)
        .map_err(|_| forged())?;
    Ok(signature.key)
}

fn message(component: &[u8]) -> Vec<u8> {
    let mut message = DOMAIN.to_vec();
    message.extend_from_slice(&Sha256::digest(component));
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_seed(&[7; 32])
    }

    #[test]
    fn a_signature_file_comes_back_and_verifies() {
        let signature = Signature::from_text(&sign(b"component", &key()).to_text()).expect("read");
        assert_eq!(verify(b"component", &signature), Ok(key().public()));
    }

    #[test]
    fn a_signature_under_another_name_is_forged() {
        let mut signature = sign(b"component", &key());
        signature.key = SecretKey::from_seed(&[8; 32]).public();
        assert!(matches!(
            verify(b"component", &signature),
            Err(SignatureError::Forged(_))
        ));
    }

    #[test]
    fn a_signature_with_the_digest_written_over_is_forged() {
        let mut signature = sign(b"old", &key());
        signature.digest = hex(&Sha256::digest(b"new"));
        assert!(matches!(
            verify(b"new", &signature),
            Err(SignatureError::Forged(_))
        ));
    }

    proptest! {
        /// Catches: a check of the file's own digest in place of the bytes', and a part of the component that is not signed.
        #[test]
        fn one_changed_byte_is_noticed(mut bytes in prop::collection::vec(any::<u8>(), 1..64), at in any::<prop::sample::Index>(), by in 1u8..) {
            let signature = sign(&bytes, &key());
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            prop_assert!(verify(&bytes, &signature).is_err());
        }
    }
}
