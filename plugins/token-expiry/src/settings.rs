//! The operator's configuration of this plugin.

use std::time::Duration;

use iaso_plugin::Config;

pub(crate) const KEYS: &[&str] = &[
    "files",
    "url",
    "header",
    "scheme",
    "warn_days",
    "critical_days",
    "timeout",
];

/// Which tokens, how near an end must be, and who is asked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) files: Vec<String>,
    /// None: nobody is asked.
    pub(crate) url: Option<String>,
    pub(crate) header: String,
    /// Before the token, with a space. Empty: the token alone.
    pub(crate) scheme: String,
    pub(crate) warn_days: u64,
    pub(crate) critical_days: u64,
    pub(crate) timeout: Duration,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let files = config.list("files", &[])?;
        if files.is_empty() {
            return Err("configuration key `files` is needed: the files that hold a token".into());
        }
        if let Some(wrong) = files.iter().find(|path| !path.starts_with('/')) {
            return Err(format!(
                "configuration key `files` must be absolute paths, not `{wrong}`"
            ));
        }
        let url = config.text("url", "");
        if !url.is_empty() && !keeps_a_secret(url) {
            return Err(format!(
                "configuration key `url` must begin with https:// (or be http:// on this host), since the token is sent there; not `{url}`"
            ));
        }
        if !url.is_empty() && files.len() > 1 {
            return Err(
                "`url` is asked with the token of one file: install the plugin once for each, under another name"
                    .into(),
            );
        }
        let word = |key, default| {
            let text = config.text(key, default);
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if text.len() <= 64 && text.bytes().all(is_word) {
                Ok(text.to_owned())
            } else {
                Err(format!(
                    "configuration key `{key}` must be a word, not `{text}`"
                ))
            }
        };
        let settings = Self {
            files,
            url: (!url.is_empty()).then(|| url.to_owned()),
            header: word("header", "Authorization")?,
            scheme: word("scheme", "Bearer")?,
            warn_days: config.number("warn_days", 14, 0..=365)?,
            critical_days: config.number("critical_days", 3, 0..=365)?,
            timeout: config.duration("timeout", Duration::from_secs(3))?,
        };
        if settings.header.is_empty() {
            return Err("configuration key `header` must not be empty".into());
        }
        if settings.critical_days > settings.warn_days {
            return Err("`critical_days` must not be over `warn_days`".into());
        }
        Ok(settings)
    }
}

/// True when what is sent there cannot be read on the way.
fn keeps_a_secret(url: &str) -> bool {
    if url.starts_with("https://") {
        return true;
    }
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = if authority.starts_with('[') {
        authority.split_once(']').map_or("", |(host, _)| host)
    } else {
        authority.split(':').next().unwrap_or_default()
    };
    host == "localhost"
        || host == "[::1"
        || host
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}
