//! What can go wrong between us and a provider, classed by what it means.
//!
//! None of these classes says that an operation failed. They say that it was not taken, that nothing is known, or
//! that it may have happened ([`ProviderError::Ambiguous`]).

use std::{collections::BTreeMap, error::Error, fmt, path::PathBuf, time::Duration};

/// What a provider wrote beside a status: its words, bounded, and the id under which its support finds the call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The provider's words.
    pub message: Option<String>,
    /// The provider's id of this call.
    pub correlation_id: Option<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(message) = &self.message {
            write!(f, " (it says {message:?})")?;
        }
        if let Some(id) = &self.correlation_id {
            write!(f, " [correlation id {id}]")?;
        }
        Ok(())
    }
}

/// Which fields a provider refused, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(pub BTreeMap<String, Vec<String>>);

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (field, reasons)) in self.0.iter().enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            write!(f, "{separator}{field}: {}", reasons.join(", "))?;
        }
        Ok(())
    }
}

/// Where a connection broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportReason {
    /// No connection: name, route, port.
    Connect,
    /// A connection, and no trust: certificate, clock.
    Tls,
    /// No answer in time.
    Timeout,
    /// The connection ended before the answer did.
    Broken,
}

impl TransportReason {
    const fn advice(self) -> &'static str {
        match self {
            Self::Connect => "cannot connect: check base_url, name resolution and the firewall",
            Self::Tls => {
                "the TLS certificate is not accepted: check this machine's clock, its CA certificates and base_url"
            }
            Self::Timeout => "no answer in time: check the network, or raise timeout_secs",
            Self::Broken => {
                "the connection broke before the answer was complete: check the network and any proxy between"
            }
        }
    }
}

impl fmt::Display for TransportReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice())
    }
}

/// A call to a provider that did not bring what was asked. Never proof that an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// 401.
    #[error("{call}: the token is expired or wrong: renew it in {}{answer}", token_file.display())]
    Unauthorized {
        /// What was asked.
        call: &'static str,
        /// Where the token is read from.
        token_file: PathBuf,
        /// The provider's words.
        answer: Answer,
    },
    /// 403.
    #[error(
        "{call}: the token is good but may not do this: check that its owner owns the machine and that nothing is suspended{answer}"
    )]
    Forbidden {
        /// What was asked.
        call: &'static str,
        /// The provider's words.
        answer: Answer,
    },
    /// 404: an unknown thing, or a wrong URL. Which of them, the answer does not tell.
    #[error("{call}: not found at {base_url}: check base_url and the machine id{answer}")]
    NotFound {
        /// What was asked.
        call: &'static str,
        /// Where.
        base_url: String,
        /// The provider's words.
        answer: Answer,
    },
    /// 409: something else is going on.
    #[error(
        "{call}: refused, because the machine is busy with something else: wait for its action to end{answer}"
    )]
    Conflict {
        /// What was asked.
        call: &'static str,
        /// The provider's words.
        answer: Answer,
    },
    /// 422, or refused by this program before it was sent.
    #[error("{call}: refused as invalid{fields}{answer}")]
    Invalid {
        /// What was asked.
        call: &'static str,
        /// Field by field.
        fields: Fields,
        /// The provider's words.
        answer: Answer,
    },
    /// 429, or the limiter of this program did not let it out in time. It was not taken.
    #[error("{call}: too many calls: the next one may go in {} s; if this goes on, raise poll_secs{answer}", retry_after.as_secs())]
    RateLimited {
        /// What was asked.
        call: &'static str,
        /// How long to wait.
        retry_after: Duration,
        /// The provider's words.
        answer: Answer,
    },
    /// 5xx to a question. (To an order it is [`ProviderError::Ambiguous`].)
    #[error(
        "{call}: the provider has trouble of its own (HTTP {status}): wait, and look at its status page{answer}"
    )]
    Server {
        /// What was asked.
        call: &'static str,
        /// The status.
        status: u16,
        /// The provider's words.
        answer: Answer,
    },
    /// An answer that this program does not understand.
    #[error(
        "{call}: unexpected answer (HTTP {status}): {what}; check that base_url is the provider's API{answer}"
    )]
    Unexpected {
        /// What was asked.
        call: &'static str,
        /// The status.
        status: u16,
        /// What was unexpected.
        what: String,
        /// The provider's words.
        answer: Answer,
    },
    /// No answer to a question, or an order that surely never left.
    #[error("{call}: {reason}")]
    Transport {
        /// What was asked.
        call: &'static str,
        /// Where it broke.
        reason: TransportReason,
        /// The cause.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// An order whose answer is lost. **The provider may have acted**: look at the machine's actions, never repeat it.
    #[error(
        "{call}: the order was sent and its answer is lost; the provider may have acted, so look at the machine's actions before ordering again"
    )]
    Ambiguous {
        /// What was ordered.
        call: &'static str,
        /// Why the answer is lost.
        #[source]
        source: Box<ProviderError>,
    },
    /// The token cannot be read. Nothing was sent.
    #[error("{call}: cannot use the token in {}: {what}", path.display())]
    Token {
        /// What was asked.
        call: &'static str,
        /// Where the token should be.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
        /// The cause.
        #[source]
        source: Option<std::io::Error>,
    },
    /// This provider cannot do that at all.
    #[error("{call}: provider {provider:?} cannot do this: {advice}")]
    Unsupported {
        /// Which provider.
        provider: &'static str,
        /// What was asked.
        call: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
}

impl ProviderError {
    /// A short stable word for metrics, journal and exit codes.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unauthorized { .. } => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound { .. } => "not_found",
            Self::Conflict { .. } => "conflict",
            Self::Invalid { .. } => "invalid",
            Self::RateLimited { .. } => "rate_limited",
            Self::Server { .. } => "server",
            Self::Unexpected { .. } => "unexpected",
            Self::Transport { .. } => "transport",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Token { .. } => "token",
            Self::Unsupported { .. } => "unsupported",
        }
    }

    /// Whether this leaves us not knowing how the machine is, or what became of an order. True for every class but
    /// `unsupported`: there, it is known that nothing can be learnt. None of them ever means "the operation failed".
    #[must_use]
    pub fn means_unknown(&self) -> bool {
        !matches!(self, Self::Unsupported { .. })
    }

    /// Whether the provider may have done what was ordered, so that it must not be ordered again unseen.
    #[must_use]
    pub fn may_have_acted(&self) -> bool {
        matches!(self, Self::Ambiguous { .. })
    }

    /// How long the provider, or our own limiter, wants us to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::RateLimited { retry_after, .. } = self {
            Some(*retry_after)
        } else {
            None
        }
    }

    /// Whether the provider refused this very field. For `password`: draw another, it may be in a list of leaked ones.
    #[must_use]
    pub fn refuses(&self, field: &str) -> bool {
        if let Self::Invalid { fields, .. } = self {
            fields.0.contains_key(field)
        } else {
            false
        }
    }

    /// The provider's id of the call, to quote to its support.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        match self {
            Self::Unauthorized { answer, .. }
            | Self::Forbidden { answer, .. }
            | Self::NotFound { answer, .. }
            | Self::Conflict { answer, .. }
            | Self::Invalid { answer, .. }
            | Self::RateLimited { answer, .. }
            | Self::Server { answer, .. }
            | Self::Unexpected { answer, .. } => answer.correlation_id.as_deref(),
            Self::Ambiguous { source, .. } => source.correlation_id(),
            Self::Transport { .. } | Self::Token { .. } | Self::Unsupported { .. } => None,
        }
    }

    /// A refusal by this program, before anything was sent.
    pub(crate) fn invalid(call: &'static str, field: &str, reason: impl Into<String>) -> Self {
        let fields = Fields(BTreeMap::from([(field.to_owned(), vec![reason.into()])]));
        Self::Invalid {
            call,
            fields,
            answer: Answer::default(),
        }
    }

    /// The same for an order that was already on its way.
    pub(crate) fn in_doubt(self, call: &'static str) -> Self {
        Self::Ambiguous {
            call,
            source: Box::new(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_tell_what_to_do_and_name_the_call_in_the_providers_books() {
        let answer = Answer {
            message: Some("Unauthenticated.".into()),
            correlation_id: Some("abc-1".into()),
        };
        let error = ProviderError::Unauthorized {
            call: "restart",
            token_file: "/etc/t".into(),
            answer,
        };
        assert_eq!(
            error.to_string(),
            "restart: the token is expired or wrong: renew it in /etc/t (it says \"Unauthenticated.\") [correlation id abc-1]"
        );
        let error = ProviderError::invalid("recreate", "password", "seen in a leak");
        assert_eq!(
            error.to_string(),
            "recreate: refused as invalid: password: seen in a leak"
        );
        assert!(error.refuses("password") && !error.refuses("template_id"));
    }

    #[test]
    fn only_a_lost_answer_may_have_acted() {
        let server = ProviderError::Server {
            call: "restart",
            status: 502,
            answer: Answer::default(),
        };
        assert!(!server.may_have_acted() && server.means_unknown());
        let lost = server.in_doubt("restart");
        assert!(lost.may_have_acted() && lost.means_unknown());
        assert_eq!(lost.class(), "ambiguous");
    }
}
