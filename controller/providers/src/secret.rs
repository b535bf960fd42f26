//! Passwords: kept out of logs, zeroed when dropped, drawn from the operating system's randomness.

use std::fmt;

use zeroize::Zeroizing;

/// Length of a drawn password: 32 characters of 56 are 185 bits.
pub const PASSWORD_CHARS: usize = 32;

/// Letters and digits without the look-alikes `0O1lIo`: safe unquoted in a shell, a URL, YAML and read aloud.
const ALPHABET: &[u8; 56] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789";

/// How often a password is drawn before giving up; one draw misses a class about once in fifty.
const DRAWS_MAX: usize = 64;

/// A text that must not be seen: no `Display`, no content in `Debug`, zeroed on drop.
///
/// Copies that leave this type (a request body, a file) are the borrower's to keep short-lived.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Every call of this is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both hold the same text, in a time that depends only on the lengths.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), other.0.as_bytes());
        let difference = ours
            .iter()
            .zip(theirs)
            .fold(0, |seen, (a, b)| seen | (a ^ b));
        ours.len() == theirs.len() && std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The operating system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no randomness, so no password can be drawn")]
pub struct RandomnessError {
    #[source]
    pub(crate) source: Option<getrandom::Error>,
}

/// Draws a root password of [`PASSWORD_CHARS`] characters with upper case, lower case and digits.
///
/// A provider may still refuse one that it has seen leaked ([`crate::ProviderError::refuses`]`("password")`): draw
/// another, and store that one before it is used.
pub fn draw_password() -> Result<Secret, RandomnessError> {
    for _ in 0..DRAWS_MAX {
        let password = draw_characters()?;
        let has = |class: fn(&u8) -> bool| password.bytes().any(|byte| class(&byte));
        if has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit) {
            return Ok(Secret(password));
        }
    }
    Err(RandomnessError { source: None })
}

fn draw_characters() -> Result<Zeroizing<String>, RandomnessError> {
    let mut password = Zeroizing::new(String::with_capacity(PASSWORD_CHARS));
    let mut bytes = Zeroizing::new([0_u8; 2 * PASSWORD_CHARS]);
    // Bytes of 224 and more are thrown away: 256 is no multiple of 56, and a remainder alone would favour some letters.
    for _ in 0..DRAWS_MAX {
        getrandom::fill(bytes.as_mut_slice()).map_err(|source| RandomnessError {
            source: Some(source),
        })?;
        for byte in bytes.iter().filter(|byte| **byte < 224) {
            if password.len() == PASSWORD_CHARS {
                return Ok(password);
            }
            if let Some(letter) = ALPHABET.get(usize::from(*byte) % ALPHABET.len()) {
                password.push(char::from(*letter));
            }
        }
    }
    Err(RandomnessError { source: None })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn drawn_passwords_are_long_mixed_unambiguous_and_never_the_same() {
        let mut seen = BTreeSet::new();
        for _ in 0..500 {
            let password = draw_password().expect("randomness is there");
            let text = password.expose();
            assert_eq!(text.len(), PASSWORD_CHARS);
            assert!(
                text.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "a character that a shell may read"
            );
            assert!(
                !text.contains(['0', 'O', '1', 'l', 'I', 'o']),
                "a look-alike"
            );
            assert!(text.bytes().any(|byte| byte.is_ascii_uppercase()));
            assert!(text.bytes().any(|byte| byte.is_ascii_lowercase()));
            assert!(text.bytes().any(|byte| byte.is_ascii_digit()));
            assert!(seen.insert(text.to_owned()), "drawn twice");
        }
    }

    #[test]
    fn every_letter_is_drawn() {
        let drawn: BTreeSet<u8> = (0..200)
            .filter_map(|_| draw_password().ok())
            .flat_map(|password| password.expose().bytes().collect::<Vec<_>>())
            .collect();
        assert_eq!(drawn, ALPHABET.iter().copied().collect());
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert!(secret.same_as(&Secret::new("hunter2".to_owned())));
        assert!(!secret.same_as(&Secret::new("hunter3".to_owned())));
        assert!(!secret.same_as(&Secret::new("hunter".to_owned())));
    }
}
