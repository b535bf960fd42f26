//! From a status and a body to an error class.

use std::{collections::BTreeMap, error::Error, path::Path, time::Duration};

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use serde_json::Value;

use crate::{Answer, Fields, ProviderError, TransportReason};

/// Longest text of a provider that is kept, in characters.
const TEXT_CHARS_MAX: usize = 300;
/// Most refused fields, and reasons for each, that are kept.
const FIELDS_MAX: usize = 16;

/// An answer that is not a success, read as far as it can be.
pub(super) struct Refusal<'a> {
    pub(super) call: &'static str,
    pub(super) status: u16,
    pub(super) body: &'a [u8],
    pub(super) base_url: String,
    pub(super) token_file: &'a Path,
    pub(super) retry_after: Option<Duration>,
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    message: Option<Value>,
    error: Option<Value>,
    correlation_id: Option<Value>,
    errors: Option<Value>,
}

impl Refusal<'_> {
    pub(super) fn into_error(self) -> ProviderError {
        let Self { call, status, .. } = self;
        // A proxy's HTML page is no error body; the status alone has to do then.
        let body: ErrorBody = serde_json::from_slice(self.body).unwrap_or_default();
        let answer = Answer {
            message: body
                .message
                .as_ref()
                .and_then(text)
                .or_else(|| body.error.as_ref().and_then(text)),
            correlation_id: body.correlation_id.as_ref().and_then(text),
        };
        match status {
            401 => ProviderError::Unauthorized {
                call,
                token_file: self.token_file.to_path_buf(),
                answer,
            },
            403 => ProviderError::Forbidden { call, answer },
            404 => ProviderError::NotFound {
                call,
                base_url: self.base_url,
                answer,
            },
            409 => ProviderError::Conflict { call, answer },
            422 => ProviderError::Invalid {
                call,
                fields: fields(body.errors.as_ref()),
                answer,
            },
            429 => ProviderError::RateLimited {
                call,
                retry_after: self.retry_after.unwrap_or_default(),
                answer,
            },
            500..=599 => ProviderError::Server {
                call,
                status,
                answer,
            },
            300..=399 => {
                let what = "a redirect, which this API has none of".to_owned();
                ProviderError::Unexpected {
                    call,
                    status,
                    what,
                    answer,
                }
            }
            _ => ProviderError::Unexpected {
                call,
                status,
                what: "a status outside of the API".to_owned(),
                answer,
            },
        }
    }
}

/// Statuses after which an order has certainly not been taken. Everything else leaves it in doubt.
pub(super) fn surely_refused(status: u16) -> bool {
    // 408 and 499 are a proxy's way to say that it gave up waiting.
    (400..=499).contains(&status) && status != 408 && status != 499
}

/// `Retry-After`, in seconds or as a date.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// Where a connection broke, from the chain of causes.
pub(super) fn transport(call: &'static str, error: reqwest::Error) -> ProviderError {
    let reason = if caused_by_tls(&error) {
        TransportReason::Tls
    } else if error.is_connect() {
        TransportReason::Connect
    } else if error.is_timeout() {
        TransportReason::Timeout
    } else {
        TransportReason::Broken
    };
    ProviderError::Transport {
        call,
        reason,
        source: Box::new(error),
    }
}

fn caused_by_tls(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(current) = cause {
        let inner = current
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if current.is::<rustls::Error>()
            || inner.is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>)
        {
            return true;
        }
        cause = current.source();
    }
    false
}

/// A provider's text, made fit for one line of a log.
pub(super) fn bounded(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(TEXT_CHARS_MAX)
        .collect()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(bounded(text)),
        Value::Number(number) => Some(number.to_string()),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

fn fields(errors: Option<&Value>) -> Fields {
    let Some(Value::Object(errors)) = errors else {
        return Fields::default();
    };
    let reasons = |value: &Value| match value {
        Value::Array(all) => all.iter().take(FIELDS_MAX).filter_map(text).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            text(value).into_iter().collect::<Vec<_>>()
        }
    };
    let kept = errors
        .iter()
        .take(FIELDS_MAX)
        .map(|(field, value)| (bounded(field), reasons(value)));
    Fields(kept.collect::<BTreeMap<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, value.parse().expect("a header value"))])
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now: Timestamp = "2026-11-23T23:45:00Z".parse().expect("a time");
        let read = |value| retry_after(&header(value), now).map(|wait| wait.as_secs());
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("Mon, 23 Nov 2026 23:46:30 GMT"), Some(90));
        assert_eq!(read("Mon, 23 Nov 2026 23:00:00 GMT"), Some(0));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-5"), None);
    }

    #[test]
    fn a_refused_order_is_certain_only_where_the_provider_itself_refused() {
        for certain in [400, 401, 403, 404, 409, 410, 413, 422, 429] {
            assert!(surely_refused(certain), "{certain}");
        }
        for doubtful in [200, 302, 303, 408, 499, 500, 502, 503, 504] {
            assert!(!surely_refused(doubtful), "{doubtful}");
        }
    }
}
