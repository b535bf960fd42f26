//! Bounds for texts from outside, and digests as text.

use sha2::{Digest as _, Sha256};

/// Cuts a text to at most `bytes`, at a character's edge, and marks the cut. Control characters become spaces, so that no
/// remote party can draw on an operator's terminal.
#[must_use]
pub fn bounded(text: &str, bytes: usize) -> String {
    let clean = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    if text.len() <= bytes {
        return text.chars().map(clean).collect();
    }
    let mut cut: String = String::with_capacity(bytes);
    for c in text.chars() {
        if cut.len() + c.len_utf8() > bytes.saturating_sub('…'.len_utf8()) {
            break;
        }
        cut.push(clean(c));
    }
    cut.push('…');
    cut
}

/// An error with all its causes, on one line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries print their source themselves.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// 32 hexadecimal digits of a SHA-256: no two names that are too long share one.
#[must_use]
pub fn short_digest(of: impl AsRef<[u8]>) -> String {
    let mut digest = hex(&Sha256::digest(of));
    digest.truncate(32);
    digest
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Catches: counting characters instead of bytes, and forgetting the mark's own length.
        #[test]
        fn a_bounded_text_is_never_longer_than_its_bound(text in ".{0,80}", bytes in 3_usize..60) {
            prop_assert!(bounded(&text, bytes).len() <= bytes.max(3));
        }
    }

    #[test]
    fn escape_sequences_do_not_reach_a_terminal() {
        assert_eq!(bounded("a\u{1b}[2Jb", 100), "a [2Jb");
    }
}
