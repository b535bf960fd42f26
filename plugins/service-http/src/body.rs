//! What a body says, whatever the status was.

use serde_json::Value;

use crate::settings::{Expected, Settings};

/// Longest part of a value that a finding shows.
const SHOWN_CHARS_MAX: usize = 64;
/// Fields at the top whose value says how the service is.
const STATUS_FIELDS: &[&str] = &["status", "state", "health", "healthy", "ok", "success"];
/// Fields at the top that are only there, and not empty, when something is wrong.
const ERROR_FIELDS: &[&str] = &["error", "errors", "exception"];
const BAD_WORDS: &[&str] = &[
    "error",
    "err",
    "fail",
    "failed",
    "failing",
    "failure",
    "down",
    "unhealthy",
    "unavailable",
    "critical",
    "out_of_service",
    "false",
    "nok",
    "ko",
];

/// Why a body is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// It says error under a good status.
    Lies(String),
    /// A text or a value that was asked for is not there, or one that must not be is.
    Unmet(String),
    /// The answer was cut before what was looked for.
    Cut(String),
}

pub(crate) fn complaint(settings: &Settings, body: &[u8], truncated: bool) -> Option<Complaint> {
    let text = String::from_utf8_lossy(body);
    let parsed: Option<Value> = if truncated {
        None
    } else {
        serde_json::from_slice(body).ok()
    };
    if let Some(lacked) = settings
        .body_lacks
        .iter()
        .find(|lacked| text.contains(lacked.as_str()))
    {
        return Some(Complaint::Lies(format!(
            "its body holds `{lacked}`, which `body_lacks` forbids"
        )));
    }
    if settings.detect_lies
        && let Some(lie) = parsed.as_ref().map_or_else(|| listed_failure(&text), lie)
    {
        return Some(Complaint::Lies(lie));
    }
    unmet(settings, &text, parsed.as_ref(), truncated)
}

fn unmet(
    settings: &Settings,
    text: &str,
    parsed: Option<&Value>,
    truncated: bool,
) -> Option<Complaint> {
    if let Some(wanted) = settings
        .body_contains
        .iter()
        .find(|wanted| !text.contains(wanted.as_str()))
    {
        return Some(if truncated {
            Complaint::Cut(format!(
                "`{wanted}` is not in the first {} bytes of its body, and more follows: raise `body_bytes_max`",
                text.len()
            ))
        } else {
            Complaint::Unmet(format!("its body does not hold `{wanted}`"))
        });
    }
    if settings.json.is_empty() {
        return None;
    }
    match parsed {
        None if truncated => Some(Complaint::Cut(
            "its body was cut before its JSON ended: raise `body_bytes_max`".to_owned(),
        )),
        None => Some(Complaint::Unmet(
            "its body is not JSON: the wrong service, or a page of a proxy".to_owned(),
        )),
        Some(value) => settings
            .json
            .iter()
            .find_map(|expected| mismatch(expected, value))
            .map(Complaint::Unmet),
    }
}

fn mismatch(expected: &Expected, value: &Value) -> Option<String> {
    let Expected {
        pointer,
        value: wanted,
    } = expected;
    let Some(found) = value.pointer(pointer) else {
        return Some(format!("its JSON has no `{pointer}`"));
    };
    let wanted = wanted.as_ref()?;
    let found = plain(found);
    (found != *wanted).then(|| format!("`{pointer}` is `{}`, not `{wanted}`", shown(&found)))
}

/// What a JSON object at the top confesses.
fn lie(value: &Value) -> Option<String> {
    let object = value.as_object()?;
    let bad_status = STATUS_FIELDS.iter().find_map(|field| {
        let text = plain(object.get(*field)?).to_ascii_lowercase();
        BAD_WORDS
            .contains(&text.as_str())
            .then(|| format!("its body says `{field}` is `{text}`"))
    });
    let error = || {
        ERROR_FIELDS.iter().find_map(|field| {
            is_error(object.get(*field)?).then(|| format!("its body holds an `{field}`"))
        })
    };
    bad_status.or_else(error)
}

fn is_error(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_set) => *is_set,
        // An error count or code of zero is none.
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.trim(), "" | "none" | "None" | "null"),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty(),
    }
}

/// Kubernetes' own way to list checks: `[-]etcd failed: reason withheld`.
fn listed_failure(text: &str) -> Option<String> {
    text.lines()
        .find(|line| line.starts_with("[-]"))
        .map(|line| format!("its body lists `{}`", shown(line)))
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
