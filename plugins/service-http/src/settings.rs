//! The operator's configuration of this plugin.

use std::ops::RangeInclusive;
use std::time::Duration;

use iaso_plugin::Config;

use crate::url::Url;

pub(crate) const KEYS: &[&str] = &[
    "urls",
    "expect_status",
    "body_contains",
    "body_lacks",
    "json",
    "detect_lies",
    "latency_warn",
    "follow_redirects",
    "redirects_max",
    "timeout",
    "budget",
    "body_bytes_max",
];

/// What a JSON pointer must lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    /// RFC 6901: `/status`.
    pub(crate) pointer: String,
    /// None: it must only be there.
    pub(crate) value: Option<String>,
}

/// What is asked, and what a good answer is. All of it holds for every URL.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) urls: Vec<Url>,
    pub(crate) expect_status: Vec<RangeInclusive<u16>>,
    /// Texts that must all be in the body.
    pub(crate) body_contains: Vec<String>,
    /// Texts of which none may be in the body.
    pub(crate) body_lacks: Vec<String>,
    pub(crate) json: Vec<Expected>,
    /// A good status whose body says error is a finding.
    pub(crate) detect_lies: bool,
    pub(crate) latency_warn: Duration,
    pub(crate) follow_redirects: bool,
    pub(crate) redirects_max: usize,
    /// For one request.
    pub(crate) timeout: Duration,
    /// For all of them.
    pub(crate) budget: Duration,
    pub(crate) body_bytes_max: u32,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let urls: Result<Vec<Url>, String> = config
            .list("urls", &[])?
            .iter()
            .map(|text| {
                Url::parse(text).ok_or_else(|| {
                    "configuration key `urls` must be URLs such as `http://10.43.0.20:2283/api/server/ping`, without a user or a password"
                        .to_owned()
                })
            })
            .collect();
        let urls = urls?;
        if urls.is_empty() {
            return Err(
                "configuration key `urls` is needed: the URLs to ask, between commas".to_owned(),
            );
        }
        let json: Result<Vec<Expected>, String> = config
            .list("json", &[])?
            .iter()
            .map(|text| expected(text))
            .collect();
        let statuses: Result<Vec<RangeInclusive<u16>>, String> = config
            .list("expect_status", &["200-299"])?
            .iter()
            .map(|text| statuses(text))
            .collect();
        let redirects_max = config.number("redirects_max", 5, 1..=10)?;
        let body_bytes_max = config.number("body_bytes_max", 64 << 10, 1..=1 << 20)?;
        Ok(Self {
            urls,
            expect_status: statuses?,
            body_contains: config.list("body_contains", &[])?,
            body_lacks: config.list("body_lacks", &[])?,
            json: json?,
            detect_lies: config.bool("detect_lies", true)?,
            latency_warn: config.duration("latency_warn", Duration::from_secs(2))?,
            follow_redirects: config.bool("follow_redirects", false)?,
            redirects_max: usize::try_from(redirects_max).unwrap_or(5),
            timeout: config.duration("timeout", Duration::from_secs(3))?,
            budget: config.duration("budget", Duration::from_secs(15))?,
            body_bytes_max: u32::try_from(body_bytes_max).unwrap_or(64 << 10),
        })
    }

    pub(crate) fn is_expected(&self, status: u16) -> bool {
        self.expect_status
            .iter()
            .any(|range| range.contains(&status))
    }

    /// True when something is asked of the body.
    pub(crate) fn reads_body(&self) -> bool {
        !(self.body_contains.is_empty() && self.json.is_empty())
    }
}

fn statuses(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|status| (100..=599).contains(status))
    };
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        (_, _) => Err(format!(
            "configuration key `expect_status` must be statuses such as `200`, `401` or `200-299`, not `{text}`"
        )),
    }
}

fn expected(text: &str) -> Result<Expected, String> {
    let (pointer, value) = match text.split_once('=') {
        Some((pointer, value)) => (pointer.trim(), Some(value.trim().to_owned())),
        None => (text, None),
    };
    if pointer.starts_with('/') {
        return Ok(Expected {
            pointer: pointer.to_owned(),
            value,
        });
    }
    Err(format!(
        "configuration key `json` must be pointers such as `/status=ok` or `/version`, not `{text}`"
    ))
}
