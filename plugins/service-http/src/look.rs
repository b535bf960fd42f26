//! Asks, and follows redirects where it may.

use std::time::Duration;

use iaso_plugin::capability::{Request, Response, ms};
use iaso_plugin::{Error, Host, Http, Net};

use crate::settings::Settings;
use crate::url::Url;

/// Too little to ask anything in.
const TIME_MIN: Duration = Duration::from_millis(10);

/// What came of one URL.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// An answer that is not followed further, and where it came from in the end.
    Response {
        response: Response,
        from: Url,
        hops: usize,
    },
    /// It leads to where it already was, or on and on.
    Loop { at: Url, hops: usize },
    /// Nothing came.
    Failed { at: Url, how: Failure },
    /// It could not be asked, or the answer could not be had.
    Unseen { at: Url, why: String },
}

/// How nothing came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its name has no address.
    Unresolved,
    /// The port is closed.
    Refused,
    /// Packets vanish, or the way there is gone.
    Unreachable(String),
    /// The port is open, and no answer came in time.
    Silent,
    /// Nothing came in time, and whether the port is open was not to be told.
    Timeout,
    /// The port is open, and the TLS handshake or HTTP itself failed, in the host's words.
    Broken(String),
}

pub(crate) fn look<H: Http + Net + Host>(host: &H, settings: &Settings) -> Vec<(Url, Answer)> {
    let begun = host.monotonic();
    let left = || {
        settings
            .budget
            .saturating_sub(host.monotonic().saturating_sub(begun))
    };
    settings
        .urls
        .iter()
        .map(|url| (url.clone(), follow(host, settings, url, &left)))
        .collect()
}

fn follow<H: Http + Net>(
    host: &H,
    settings: &Settings,
    url: &Url,
    left: &dyn Fn() -> Duration,
) -> Answer {
    let mut at = url.clone();
    let mut seen = Vec::new();
    loop {
        let time = settings.timeout.min(left());
        if time < TIME_MIN {
            let why = "no time left within `budget`".to_owned();
            return Answer::Unseen { at, why };
        }
        let response = match get(host, settings, &at, time) {
            Ok(response) => response,
            Err(why) => return failed(host, at, why, settings.timeout.min(left())),
        };
        let target = location(&response).filter(|_| settings.follow_redirects);
        let hops = seen.len();
        let Some(target) = target else {
            return Answer::Response {
                response,
                from: at,
                hops,
            };
        };
        let Some(next) = at.join(&target) else {
            let why = "it redirects to what is not an http or https URL".to_owned();
            return Answer::Unseen { at, why };
        };
        seen.push(at);
        if seen.contains(&next) || seen.len() > settings.redirects_max {
            let hops = seen.len();
            return Answer::Loop { at: next, hops };
        }
        at = next;
    }
}

fn get<H: Http>(
    host: &H,
    settings: &Settings,
    url: &Url,
    timeout: Duration,
) -> Result<Response, Error> {
    host.send(&Request {
        method: "GET".to_owned(),
        url: url.text(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: ms(timeout),
        max_bytes: settings.body_bytes_max,
    })
}

/// Where a redirect points, if the answer is one.
pub(crate) fn location(response: &Response) -> Option<String> {
    if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    header(response, "location").map(str::to_owned)
}

pub(crate) fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response
        .headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// HTTP says only that nothing came; a connection alone tells where it ended.
fn failed<H: Net>(host: &H, at: Url, why: Error, time: Duration) -> Answer {
    let words = match why {
        Error::Timeout => None,
        Error::Unavailable(words) | Error::Other(words) => Some(words),
        Error::Denied(_) | Error::TooLarge(_) => {
            let why = why.to_string();
            return Answer::Unseen { at, why };
        }
    };
    let connected = host.tcp_connect(at.host(), at.port(), time.max(TIME_MIN));
    let how = match connected.map(|seen| seen.outcome) {
        Ok(outcome) => match outcome.as_str() {
            "connected" => words.map_or(Failure::Silent, Failure::Broken),
            "refused" => Failure::Refused,
            "unresolved" => Failure::Unresolved,
            _ => Failure::Unreachable(outcome),
        },
        Err(Error::Timeout) => Failure::Unreachable("timeout".to_owned()),
        // Without `net.tcp` the words of the request are all there is, and they are the host's to change: they are shown, not read.
        Err(Error::Denied(_) | Error::TooLarge(_) | Error::Unavailable(_) | Error::Other(_)) => {
            words.map_or(Failure::Timeout, Failure::Unreachable)
        }
    };
    Answer::Failed { at, how }
}
