//! Tokens: one printable word with the controller's fingerprint, an id that may be shown, and a secret that may not.
//!
//! `iaso-join1.<fingerprint>.<id>.<secret>` for a node's first certificate, `iaso-operator1.…` for a person.

use crate::Fingerprint;
use crate::fingerprint::hex;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr as _;

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
/// Longest text that is looked at, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A node's first certificate, once.
    Join,
    /// A person's calls.
    Operator,
}

impl TokenKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Join => "iaso-join1",
            Self::Operator => "iaso-operator1",
        }
    }
}

/// Why a text is no token. The text itself is in no error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It begins otherwise.
    #[error("it does not begin with `{expected}.`, so it is no {what}")]
    Kind {
        /// How it should begin.
        expected: &'static str,
        /// What it should be.
        what: &'static str,
    },
    /// It begins right, and something is missing or wrong.
    #[error(
        "it is cut off or was changed: copy all of it, it is one word of {expected} characters"
    )]
    Form {
        /// Characters of a whole one.
        expected: usize,
    },
    /// No randomness.
    #[error("the operating system gave no randomness for a token: {0}")]
    Randomness(getrandom::Error),
}

/// A token. It is never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    kind: TokenKind,
    fingerprint: Fingerprint,
    id: String,
    secret: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?} {})", self.kind, self.id)
    }
}

impl Token {
    /// Draws one.
    ///
    /// # Errors
    /// Without randomness.
    pub fn draw(kind: TokenKind, fingerprint: Fingerprint) -> Result<Self, TokenError> {
        let mut bytes = [0_u8; ID_BYTES + SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(TokenError::Randomness)?;
        let (id, secret) = bytes.split_at(ID_BYTES);
        Ok(Self {
            kind,
            fingerprint,
            id: hex(id),
            secret: hex(secret),
        })
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is of another kind, or not whole.
    pub fn parse(kind: TokenKind, text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let what = match kind {
            TokenKind::Join => "join token",
            TokenKind::Operator => "operator's token",
        };
        let prefix = kind.prefix();
        let rest = text
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('.'))
            .filter(|_| text.len() <= TEXT_BYTES_MAX)
            .ok_or(TokenError::Kind {
                expected: prefix,
                what,
            })?;
        let expected = prefix.len() + 3 + 64 + (ID_BYTES + SECRET_BYTES) * 2;
        let form = TokenError::Form { expected };
        let (fingerprint, presented) = rest.split_once('.').ok_or(form.clone())?;
        let fingerprint = Fingerprint::from_str(fingerprint).map_err(|()| form.clone())?;
        let (id, secret) = split(presented).ok_or(form)?;
        Ok(Self {
            kind,
            fingerprint,
            id: id.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// The whole, as a person copies it.
    #[must_use]
    pub fn expose(&self) -> String {
        format!(
            "{}.{}.{}",
            self.kind.prefix(),
            self.fingerprint,
            self.presented()
        )
    }

    /// What is sent to the controller: all but the fingerprint.
    #[must_use]
    pub fn presented(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    /// The controller that it is for.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Tells it from others; no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is kept of it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest(self.kind, &self.id, &self.secret)
    }

    /// The id and digest of what somebody presented; `None`: it has not the form.
    #[must_use]
    pub fn digest_presented(kind: TokenKind, presented: &str) -> Option<(String, [u8; 32])> {
        let (id, secret) = split(presented)?;
        Some((id.to_owned(), digest(kind, id, secret)))
    }
}

/// Whether two digests are the same, in a time that does not depend on where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0_u8, |seen, (a, b)| seen | (a ^ b));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

impl Token {
    /// Whether the digest that is kept belongs to what was presented.
    #[must_use]
    pub fn admits(kept: &[u8], presented: &[u8; 32]) -> bool {
        same(kept, presented)
    }
}

fn digest(kind: TokenKind, id: &str, secret: &str) -> [u8; 32] {
    // The secret has 256 bits of randomness: a slow hash would add nothing.
    Sha256::digest(format!("{}.{id}.{secret}", kind.prefix())).into()
}

fn split(presented: &str) -> Option<(&str, &str)> {
    let (id, secret) = presented.split_once('.')?;
    let is_hex = |text: &str, bytes: usize| {
        text.len() == bytes * 2
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    (is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES)).then_some((id, secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(kind: TokenKind) -> Token {
        Token::draw(kind, Fingerprint::of(b"ca")).expect("randomness")
    }

    #[test]
    fn a_token_is_one_word_that_goes_there_and_back_and_is_not_in_its_debug_output() {
        let token = token(TokenKind::Join);
        let text = token.expose();
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
        let back = Token::parse(TokenKind::Join, &format!(" {text}\n")).expect("whole");
        assert_eq!(
            (back.digest(), back.fingerprint()),
            (token.digest(), Fingerprint::of(b"ca"))
        );
        let secret = text.rsplit('.').next().expect("four parts");
        assert!(!format!("{token:?}").contains(secret));
    }

    #[test]
    fn one_kind_is_not_taken_for_the_other_and_their_digests_differ() {
        let join = token(TokenKind::Join);
        let error = Token::parse(TokenKind::Operator, &join.expose()).expect_err("of another kind");
        assert!(error.to_string().contains("iaso-operator1"), "{error}");
        let presented = join.presented();
        let as_operator =
            Token::digest_presented(TokenKind::Operator, &presented).expect("the form");
        assert_ne!(as_operator.1, join.digest());
    }

    #[test]
    fn a_cut_off_token_is_told_how_long_a_whole_one_is() {
        let text = token(TokenKind::Join).expose();
        for cut in 0..text.len() {
            let part = text.get(..cut).expect("ASCII");
            let error = Token::parse(TokenKind::Join, part)
                .expect_err("cut off")
                .to_string();
            assert!(
                part.len() <= 11 || error.contains(&format!("{} characters", text.len())),
                "{cut}: {error}"
            );
        }
    }

    proptest! {
        // Planted bug: a comparison that stops at the shorter digest.
        #[test]
        fn only_the_token_itself_is_admitted(flip in 0_usize..64) {
            let token = token(TokenKind::Join);
            let presented = token.presented();
            let at = presented.len() - 1 - flip;
            let mut bytes = presented.into_bytes();
            let byte = bytes.get_mut(at).expect("within");
            *byte = if *byte == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            let (_, digest) = Token::digest_presented(TokenKind::Join, &changed).expect("the form");
            prop_assert!(!Token::admits(&token.digest(), &digest));
            prop_assert!(!Token::admits(&[], &digest));
            prop_assert!(Token::admits(&token.digest(), &token.digest()));
        }
    }
}
