//! Asks the server of a token whether it takes it.

use iaso_plugin::capability::{Request, Response, ms};
use iaso_plugin::{Error, Http};

use crate::settings::Settings;
use crate::token::Token;

const WORDS_CHARS_MAX: usize = 160;

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    NotAsked,
    Accepted(u16),
    /// 401, with the server's reason if it gives one.
    Unauthorized(String),
    /// 403.
    Forbidden,
    /// Nothing that would say anything of the token.
    NotTold(String),
}

pub(crate) fn ask<H: Http>(host: &H, settings: &Settings, url: &str, token: &Token) -> Word {
    let value = if settings.scheme.is_empty() {
        token.secret.clone()
    } else {
        format!("{} {}", settings.scheme, token.secret)
    };
    let answer = host.send(&Request {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: vec![(settings.header.clone(), value)],
        body: Vec::new(),
        timeout_ms: ms(settings.timeout),
        max_bytes: 0,
    });
    match answer {
        Ok(answer) => word(&answer, token),
        Err(why @ Error::Denied(_)) => Word::NotTold(why.to_string()),
        Err(why) => Word::NotTold(format!("the server does not answer: {why}")),
    }
}

fn word(answer: &Response, token: &Token) -> Word {
    match answer.status {
        status @ 200..=299 => Word::Accepted(status),
        401 => Word::Unauthorized(reason(answer, token)),
        403 => Word::Forbidden,
        status @ 300..=399 => Word::NotTold(format!(
            "the server answers {status}: it points elsewhere, maybe to its login page; name a URL that answers 200 to who may"
        )),
        404 => Word::NotTold("the server answers 404: there is nothing at that URL".to_owned()),
        429 => Word::NotTold("the server answers 429: it was asked too often".to_owned()),
        status => Word::NotTold(format!("the server answers {status}")),
    }
}

/// `error_description` or `error` of the challenge (RFC 6750 §3). A server that repeats the token does not get it repeated.
fn reason(answer: &Response, token: &Token) -> String {
    let challenge = answer
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"))
        .map_or("", |(_, value)| value.as_str());
    let quoted = |name: &str| {
        let (_, rest) = challenge.split_once(name)?;
        let (value, _) = rest.split_once('"')?;
        Some(value)
    };
    let words = quoted("error_description=\"")
        .or_else(|| quoted("error=\""))
        .unwrap_or_default();
    if words.contains(&token.secret) {
        return String::new();
    }
    words
        .chars()
        .filter(|c| !c.is_control())
        .take(WORDS_CHARS_MAX)
        .collect()
}
