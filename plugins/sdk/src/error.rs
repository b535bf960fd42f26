//! Why a capability did not answer.

use std::fmt;

use crate::bindings::capabilities::iaso::plugin::types::Error as Raw;

/// Why a capability did not answer. Only the host makes these; a scripted host makes them in tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Not granted, or granted no more. The text names the missing grant.
    Denied(String),
    /// The limit of this call, or of the whole run, was reached.
    Timeout,
    /// An argument or an answer was larger than allowed.
    TooLarge(String),
    /// The thing asked for is not there on this host.
    Unavailable(String),
    /// Anything else, in the host's words.
    Other(String),
}

impl Error {
    /// True when the operator has not granted it: then nothing is known about the thing asked for.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, detail) = match self {
            Self::Denied(why) => ("not granted: ", why.as_str()),
            Self::Timeout => ("no answer in time", ""),
            Self::TooLarge(why) => ("too large: ", why.as_str()),
            Self::Unavailable(why) => ("not available: ", why.as_str()),
            Self::Other(why) => ("", why.as_str()),
        };
        out.write_str(word)?;
        out.write_str(detail)
    }
}

impl std::error::Error for Error {}

impl From<Raw> for Error {
    fn from(raw: Raw) -> Self {
        match raw {
            Raw::Denied(why) => Self::Denied(why),
            Raw::Timeout => Self::Timeout,
            Raw::TooLarge(why) => Self::TooLarge(why),
            Raw::Unavailable(why) => Self::Unavailable(why),
            Raw::Other(why) => Self::Other(why),
        }
    }
}
