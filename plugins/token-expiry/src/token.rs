//! Tokens in a file, and what they say of themselves.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::Value;

/// More in one file are not looked at.
const TOKENS_MAX: usize = 8;
const ISSUER_CHARS_MAX: usize = 120;
/// A word that is not a JWT must be of this size to be taken for a token.
const OPAQUE_BYTES: std::ops::RangeInclusive<usize> = 8..=4096;

/// What a file holds.
#[derive(Debug)]
pub(crate) enum Content {
    Tokens(Vec<Token>),
    /// Something that begins like a JWT and is none.
    Damaged,
    None,
}

/// One token. Its text is shown by nothing.
pub(crate) struct Token {
    pub(crate) secret: String,
    /// None: it says nothing of itself that can be read.
    pub(crate) claims: Option<Claims>,
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Token")
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

/// What a JWT says of itself (RFC 7519 §4.1). Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Claims {
    pub(crate) ends_s: Option<u64>,
    pub(crate) begins_s: Option<u64>,
    pub(crate) made_s: Option<u64>,
    pub(crate) issuer: String,
}

/// JWTs wherever they are in the text, or, when there is none, the one word that it is.
pub(crate) fn read(text: &str) -> Content {
    let mut tokens: Vec<Token> = Vec::new();
    let mut is_damaged = false;
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    for word in text.split(|c| !is_of_token(c)) {
        // The beginning of every JSON object in base64url.
        if !word.starts_with("eyJ") || tokens.iter().any(|known| known.secret == word) {
            continue;
        }
        let encrypted = word.split('.').count() == 5;
        match claims(word) {
            Some(claims) => tokens.push(Token {
                secret: word.to_owned(),
                claims: Some(claims),
            }),
            None if encrypted => tokens.push(opaque(word)),
            None => is_damaged = true,
        }
        if tokens.len() == TOKENS_MAX {
            break;
        }
    }
    if !tokens.is_empty() {
        return Content::Tokens(tokens);
    }
    if is_damaged {
        return Content::Damaged;
    }
    let word = text.trim();
    if OPAQUE_BYTES.contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Content::Tokens(vec![opaque(word)]);
    }
    Content::None
}

fn opaque(word: &str) -> Token {
    Token {
        secret: word.to_owned(),
        claims: None,
    }
}

fn claims(word: &str) -> Option<Claims> {
    let mut parts = word.split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || signature.is_empty() {
        return None;
    }
    let object = |part: &str| {
        let bytes = Base64UrlUnpadded::decode_vec(part).ok()?;
        serde_json::from_slice::<Value>(&bytes)
            .ok()
            .filter(Value::is_object)
    };
    object(header)?;
    let claims = object(payload)?;
    Some(Claims {
        ends_s: date(&claims, "exp"),
        begins_s: date(&claims, "nbf"),
        made_s: date(&claims, "iat"),
        issuer: claims
            .get("iss")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_control())
            .take(ISSUER_CHARS_MAX)
            .collect(),
    })
}

/// A `NumericDate` may have a fraction.
fn date(claims: &Value, name: &str) -> Option<u64> {
    let value = claims.get(name)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range by the filter, and a part of a second matters to nobody"
    )]
    let whole = |date: f64| date as u64;
    value.as_u64().or_else(|| {
        value
            .as_f64()
            .filter(|date| (0.0..1e15).contains(date))
            .map(whole)
    })
}

/// The day as people write it: `2027-06-01`. Days since 1970 to a date of the Gregorian calendar, in cycles of 400 years that begin in
/// March, so that the leap day is the last of a year.
pub(crate) fn day(unix_s: u64) -> String {
    let days = unix_s / 86_400 + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = cycle * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{of_month:02}")
}

#[cfg(test)]
mod tests {
    use super::{Content, day, read};

    #[test]
    fn days_are_dates() {
        for (unix_s, expected) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_800_000_000, "2027-01-15"),
            (1_798_761_599, "2026-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(unix_s), expected);
        }
    }

    /// Catches: a token in a log by way of `{:?}`.
    #[test]
    fn a_token_is_not_shown_by_debug() {
        let content = read("a-very-secret-word");
        assert!(matches!(content, Content::Tokens(_)));
        assert!(!format!("{content:?}").contains("secret-word"));
    }
}
