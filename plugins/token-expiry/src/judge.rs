//! What a token says of itself, and what its server says, together.

use iaso_plugin::{Finding, Severity};

use crate::ask::Word;
use crate::settings::Settings;
use crate::token::{Claims, Token, day};

const DAY_S: u64 = 86_400;
/// Two clocks may differ by so much without a word.
const LEEWAY_S: u64 = 60;

/// How a token stands by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ended { ago_s: u64 },
    NotBegun { in_s: u64 },
    Ends { left_s: u64, severity: Severity },
    Endless,
    Silent,
}

pub(crate) fn unknown(path: &str, summary: String) -> Finding {
    Finding::unknown("token-expiry.unknown", path, summary)
}

pub(crate) fn no_token(path: &str) -> Finding {
    unknown(
        path,
        "it holds neither a JWT nor a single word that could be a token".to_owned(),
    )
}

pub(crate) fn damaged(path: &str) -> Finding {
    Finding::critical(
        "token-expiry.damaged",
        path,
        "it holds something that begins like a JWT and is none: cut off, or with something pasted into it; put the whole token there",
    )
}

pub(crate) fn judge(
    settings: &Settings,
    subject: String,
    token: &Token,
    word: &Word,
    now_s: u64,
) -> Finding {
    let standing = standing(settings, token.claims.as_ref(), now_s);
    let (code, severity, summary) = said(standing, word, &ends(token));
    let mut finding = Finding::new(format!("token-expiry.{code}"), severity, subject, summary);
    if let Some(claims) = &token.claims {
        if let Some(ends_s) = claims.ends_s {
            let left = i128::from(ends_s) - i128::from(now_s);
            finding = finding
                .attribute("ends", day(ends_s))
                .attribute("days_left", left.div_euclid(i128::from(DAY_S)).to_string());
        }
        if !claims.issuer.is_empty() {
            finding = finding.attribute("issuer", claims.issuer.clone());
        }
    }
    finding
}

fn ends(token: &Token) -> String {
    token
        .claims
        .as_ref()
        .and_then(|claims| claims.ends_s)
        .map_or_else(String::new, day)
}

fn standing(settings: &Settings, claims: Option<&Claims>, now_s: u64) -> Standing {
    let Some(claims) = claims else {
        return Standing::Silent;
    };
    if let Some(ends_s) = claims.ends_s
        && ends_s <= now_s
    {
        return Standing::Ended {
            ago_s: now_s - ends_s,
        };
    }
    let begins_s = claims.begins_s.max(claims.made_s).unwrap_or(0);
    if begins_s > now_s.saturating_add(LEEWAY_S) {
        return Standing::NotBegun {
            in_s: begins_s - now_s,
        };
    }
    let Some(ends_s) = claims.ends_s else {
        return Standing::Endless;
    };
    let left_s = ends_s - now_s;
    // What lives shortly is renewed by itself, at the latest when a fifth is left (the kubelet's rule): half of that late is worth a word.
    let life_s = claims
        .made_s
        .or(claims.begins_s)
        .and_then(|made_s| ends_s.checked_sub(made_s))
        .unwrap_or(u64::MAX);
    let within = |days: u64, part: u64| left_s <= (days * DAY_S).min(life_s / part);
    let severity = if within(settings.critical_days, 50) {
        Severity::Critical
    } else if within(settings.warn_days, 10) {
        Severity::Warning
    } else {
        Severity::Ok
    };
    Standing::Ends { left_s, severity }
}

fn said(standing: Standing, word: &Word, ends: &str) -> (&'static str, Severity, String) {
    let by_itself = alone(standing, ends);
    match (word, standing) {
        (Word::NotAsked, _) | (Word::Forbidden, Standing::Ended { .. }) => by_itself,
        (Word::Accepted(status), Standing::Ended { .. }) => (
            "expired",
            Severity::Warning,
            format!("it ended on {ends}, and yet its server takes it ({status}): renew it before that changes"),
        ),
        (Word::Accepted(status), Standing::Silent | Standing::Endless) => (
            "ok",
            Severity::Ok,
            format!("its server takes it ({status}); when it ends, it does not say"),
        ),
        (
            Word::Accepted(status),
            Standing::Ends { .. } | Standing::NotBegun { .. },
        ) => {
            let (code, severity, summary) = by_itself;
            (code, severity, format!("{summary}; its server takes it ({status})"))
        }
        (Word::Unauthorized(_), Standing::Ended { .. } | Standing::NotBegun { .. }) => {
            let (code, severity, summary) = by_itself;
            (code, severity, format!("{summary}; its server refuses it (401)"))
        }
        (
            Word::Unauthorized(reason),
            Standing::Ends { .. } | Standing::Endless | Standing::Silent,
        ) => ("rejected", Severity::Critical, rejected(reason, standing, ends)),
        (
            Word::Forbidden,
            Standing::NotBegun { .. } | Standing::Ends { .. } | Standing::Endless | Standing::Silent,
        ) => (
            "forbidden",
            Severity::Warning,
            "its server knows it and does not let it in there (403): rights are missing, no new token is needed".to_owned(),
        ),
        (Word::NotTold(why), Standing::Ends { severity: Severity::Ok, .. } | Standing::Endless | Standing::Silent) => (
            "unknown",
            Severity::Unknown,
            format!("whether its server takes it is not known: {why}"),
        ),
        (Word::NotTold(why), Standing::Ended { .. } | Standing::NotBegun { .. } | Standing::Ends { .. }) => {
            let (code, severity, summary) = by_itself;
            (code, severity, format!("{summary}; whether its server takes it is not known: {why}"))
        }
    }
}

fn rejected(reason: &str, standing: Standing, ends: &str) -> String {
    let reason = if reason.is_empty() {
        String::new()
    } else {
        format!(" (`{reason}`)")
    };
    let but = match standing {
        Standing::Ends { .. } => format!(" although by its own word it is valid until {ends}"),
        Standing::Ended { .. }
        | Standing::NotBegun { .. }
        | Standing::Endless
        | Standing::Silent => String::new(),
    };
    format!(
        "its server refuses it with 401{reason}{but}: revoked, signed with a key that was rotated away, or made for another server; get a new one"
    )
}

fn alone(standing: Standing, ends: &str) -> (&'static str, Severity, String) {
    match standing {
        Standing::Ended { ago_s } => (
            "expired",
            Severity::Critical,
            format!("it ended on {ends}, {} ago: get a new one", span(ago_s)),
        ),
        Standing::NotBegun { in_s } => (
            "not-yet-valid",
            Severity::Critical,
            format!("it begins only in {}: this host's clock is behind, or that of its issuer ahead", span(in_s)),
        ),
        Standing::Ends { left_s, severity: Severity::Ok } => (
            "ok",
            Severity::Ok,
            format!("it ends on {ends}, {} left", span(left_s)),
        ),
        Standing::Ends { left_s, severity } => (
            "expiring",
            severity,
            format!("it ends on {ends}, {} left: get a new one, or find out why nothing has renewed it", span(left_s)),
        ),
        Standing::Endless => (
            "no-expiry",
            Severity::Info,
            "it never ends by itself: whoever reads it once may use it for ever".to_owned(),
        ),
        Standing::Silent => (
            "no-expiry",
            Severity::Info,
            "it does not say when it ends: name a `url` that needs it, and its server will be asked".to_owned(),
        ),
    }
}

fn span(secs: u64) -> String {
    match secs {
        0..7_200 => format!("{} minutes", secs / 60),
        7_200..172_800 => format!("{} hours", secs / 3_600),
        172_800.. => format!("{} days", secs / DAY_S),
    }
}
