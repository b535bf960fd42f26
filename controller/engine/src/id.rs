//! Names of things, each its own type.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a name was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{what} {text:?} is not valid: 1 to 253 characters, lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit"
)]
pub struct InvalidName {
    what: &'static str,
    text: String,
}

/// A Kubernetes node's name: an RFC 1123 subdomain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    /// Checks the name after RFC 1123, as Kubernetes does.
    ///
    /// # Errors
    /// When the name is empty, too long or has other characters.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let valid = !text.is_empty()
            && text.len() <= 253
            && text
                .chars()
                .all(|c| alphanumeric(c) || c == '-' || c == '.')
            && text.starts_with(alphanumeric)
            && text.ends_with(alphanumeric);
        if valid {
            Ok(Self(text))
        } else {
            Err(InvalidName {
                what: "node name",
                text,
            })
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        text_id!(@fmt $name);
    };
    (@fmt $name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}
text_id!(@fmt NodeName);

text_id!(
    /// The provider's id of a machine.
    MachineId
);
text_id!(
    /// One incident: `<node>-<sequence>`, such as `styx-7`.
    IncidentId
);
text_id!(
    /// One effect of one incident, and its idempotency key: `<incident>/<number>`. Never used twice.
    EffectId
);
text_id!(
    /// The provider's id of an operation that takes time.
    OperationId
);
