//! Bearer tokens of agents and operators: made at first start, 0600, compared in constant time.

use crate::text::hex;
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Longest token that is read from a file, in bytes.
const TOKEN_BYTES_MAX: usize = 1024;
/// Shortest token that is taken: less can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// Why a token cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("cannot {operation} the token file {}", path.display())]
    File {
        /// `read` or `write`.
        operation: &'static str,
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is not usable.
    #[error("the token file {} {what}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why, and what to do.
        what: String,
    },
    /// No randomness.
    #[error("the operating system gave no randomness for a token: {0}")]
    Randomness(getrandom::Error),
}

/// A token, kept only as its digest where it is compared.
#[derive(Clone)]
pub struct Token {
    text: String,
    digest: [u8; 32],
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Takes a text as token.
    #[must_use]
    pub fn new(text: String) -> Self {
        let digest = Sha256::digest(text.as_bytes()).into();
        Self { text, digest }
    }

    /// Whether somebody presented this token. Digests are compared, so neither content nor length leaks through time.
    #[must_use]
    pub fn admits(&self, presented: &str) -> bool {
        let other: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let difference = self
            .digest
            .iter()
            .zip(other)
            .fold(0_u8, |seen, (a, b)| seen | (a ^ b));
        std::hint::black_box(difference) == 0
    }

    /// The token itself, for the script of a new machine.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }
}

/// Reads the token from a file that the operator named.
///
/// # Errors
/// When it is missing, too long, too short, or readable by everybody.
pub fn read(path: &Path) -> Result<Token, TokenError> {
    let file = |source| TokenError::File {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let unusable = |what: &str| TokenError::Unusable {
        path: path.to_owned(),
        what: what.into(),
    };
    let metadata = std::fs::metadata(path).map_err(file)?;
    if metadata.len() > TOKEN_BYTES_MAX as u64 {
        return Err(unusable(
            "is longer than 1024 bytes: it should hold the token and nothing else",
        ));
    }
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err(unusable(
            "may be read by everybody: chmod 0600 it, and draw a new token if others had access",
        ));
    }
    let text = std::fs::read_to_string(path)
        .map_err(file)?
        .trim()
        .to_owned();
    if text.len() < TOKEN_BYTES_MIN {
        return Err(unusable(
            "holds fewer than 16 characters: write a longer token, or delete it to have one made",
        ));
    }
    if text
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || !c.is_ascii())
    {
        return Err(unusable(
            "holds spaces or non-ASCII characters: a token is one printable word",
        ));
    }
    Ok(Token::new(text))
}

/// Reads the token, or makes it when there is none yet.
///
/// # Errors
/// As [`read`], and when it cannot be written.
pub fn read_or_make(path: &Path) -> Result<Token, TokenError> {
    if path.exists() {
        return read(path);
    }
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(TokenError::Randomness)?;
    let text = hex(&bytes);
    let file = |source| TokenError::File {
        operation: "write",
        path: path.to_owned(),
        source,
    };
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(file)?;
    writeln!(out, "{text}")
        .and_then(|()| out.sync_all())
        .map_err(file)?;
    Ok(Token::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_token_is_private_stable_and_admits_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.token");
        let token = read_or_make(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let again = read_or_make(&path).unwrap();
        assert!(token.admits(again.expose()));
        assert!(!token.admits("") && !token.admits(&again.expose()[1..]));
    }

    #[test]
    fn a_token_that_everybody_can_read_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        std::fs::write(&path, "0123456789abcdef0123").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 0600"), "{error}");
    }
}
