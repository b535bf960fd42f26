//! A host whose k3s agent is well, to be made ill.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use std::time::Duration;

use iaso_plugin::capability::{JournalLine, Response};
use iaso_plugin::testing::{MockHost, START_UNIX_MS, connect, unit};
use iaso_plugin::{Check, Config, Finding};
use k3s_agent::K3sAgent;

pub const UNIT: &str = "k3s-agent.service";
pub const MINUTE: u64 = 60_000;

pub fn host() -> MockHost {
    MockHost::new()
}

pub fn well() -> MockHost {
    host()
        .on_status(
            format!("status {UNIT}"),
            [Ok(unit(UNIT, "active", "running"))],
        )
        .on_journal(format!("journal {UNIT}"), [Ok(vec![])])
        .on_http(
            "GET http://127.0.0.1:10248/healthz",
            [Ok(response(200, "ok"))],
        )
        .on_connect(
            "unix /run/k3s/containerd/containerd.sock",
            [Ok(connect("connected", Duration::from_micros(90)))],
        )
}

pub fn response(status: u16, body: &str) -> Response {
    Response {
        status,
        headers: vec![],
        body: body.as_bytes().to_vec(),
        truncated: false,
        elapsed_us: 900,
    }
}

/// Lines of a log, a second apart, the last of them now.
pub fn journal(lines: &[&str]) -> Vec<JournalLine> {
    let first = START_UNIX_MS - 1000 * lines.len() as u64;
    let line = |(at, message): (usize, &&str)| JournalLine {
        at_unix_ms: first + 1000 * at as u64,
        priority: 4,
        message: (*message).to_owned(),
    };
    lines.iter().enumerate().map(line).collect()
}

pub fn config(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

pub fn check_with(host: &MockHost, pairs: &[(&str, &str)]) -> Result<Vec<Finding>, String> {
    K3sAgent::check(
        host,
        &Config::new(config(pairs), <K3sAgent as Check<MockHost>>::KEYS)?,
    )
}

pub fn check(host: &MockHost) -> Vec<Finding> {
    check_with(host, &[]).expect("the default configuration is right")
}

pub fn codes(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| format!("{} {}", finding.code, finding.severity.as_str()))
        .collect()
}
