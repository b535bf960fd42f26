//! A check run as the component runs it, and the answers that most tests script.

use crate::bindings::capabilities::iaso::plugin::types::Finding;
use crate::capability::{Chunk, FileStat, Response};
use crate::export::run_check;
use crate::{Check, testing::MockHost};

/// Pairs as text.
#[must_use]
pub fn config(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Runs a check with this configuration. An `Err` is the check's own: a wrong configuration, say.
pub fn check<P: Check<MockHost>>(
    host: &MockHost,
    pairs: &[(&str, &str)],
) -> Result<Vec<Finding>, String> {
    run_check::<P, _>(host, config(pairs))
}

/// One line for each finding: `CODE SEVERITY SUBJECT`, the code without the plugin's name. A check that fails is one line: `error: WHY`.
#[must_use]
pub fn lines<P: Check<MockHost>>(host: &MockHost, pairs: &[(&str, &str)]) -> Vec<String> {
    match check::<P>(host, pairs) {
        Ok(findings) => findings
            .iter()
            .map(|finding| {
                let code = finding
                    .code
                    .split_once('.')
                    .map_or(finding.code.as_str(), |(_, code)| code);
                format!("{code} {} {}", finding.severity, finding.subject)
            })
            .collect(),
        Err(why) => vec![format!("error: {why}")],
    }
}

/// An HTTP answer without headers.
#[must_use]
pub fn response(status: u16, body: &str) -> Response {
    Response {
        status,
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
        truncated: false,
        elapsed_us: 900,
    }
}

/// The same with one header more.
#[must_use]
pub fn with_header(mut response: Response, name: &str, value: &str) -> Response {
    response.headers.push((name.to_owned(), value.to_owned()));
    response
}

/// The whole of a file.
#[must_use]
pub fn chunk(data: impl AsRef<[u8]>) -> Chunk {
    Chunk {
        data: data.as_ref().to_vec(),
        truncated: false,
    }
}

/// What is at a path: `file`, `directory`, `missing`, …
#[must_use]
pub fn file_stat(kind: &str) -> FileStat {
    FileStat {
        kind: kind.to_owned(),
        size: 0,
        modified_unix_ms: 0,
        mode: 0o644,
    }
}
