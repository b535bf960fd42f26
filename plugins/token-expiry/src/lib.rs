//! Reads when a token ends, and asks its server whether it still takes it.
//!
//! **Invariants**
//! - No part of a token is ever in a finding. It is sent to the one URL that the operator named, and to nothing else.
//! - Only a 401 or 403 says something of the token. A 404, 429 or 5xx, a redirect or silence is unknown, and nothing is said to be refused.
//! - A 401 is told by what the token says of itself: ended, not begun, or refused although it is valid by its own word.
//!
//! Deliberately absent: signatures (the key is the server's; ask it), and renewing.

mod ask;
mod judge;
mod settings;
mod token;

use iaso_plugin::{Check, Config, Files, Finding, Host, Http};

use crate::ask::Word;
use crate::settings::Settings;
use crate::token::{Content, read};

/// More than any file with tokens has.
const FILE_BYTES_MAX: u32 = 256 << 10;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct TokenExpiry;

impl<H: Files + Host + Http> Check<H> for TokenExpiry {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        let now_s = match host.info() {
            Ok(facts) => facts.now_unix_ms / 1000,
            Err(why) => {
                return Ok(vec![judge::unknown(
                    "this host",
                    format!("without the time nothing can be said to have ended: {why}"),
                )]);
            }
        };
        let mut findings = Vec::new();
        for path in &settings.files {
            let content = match host.read_text(path, FILE_BYTES_MAX) {
                Ok(text) => read(&text),
                Err(why) => {
                    findings.push(judge::unknown(path, format!("it could not be read: {why}")));
                    continue;
                }
            };
            match content {
                Content::None => findings.push(judge::no_token(path)),
                Content::Damaged => findings.push(judge::damaged(path)),
                Content::Tokens(tokens) => {
                    for (index, token) in tokens.iter().enumerate() {
                        let word = match (&settings.url, index) {
                            (Some(url), 0) => ask::ask(host, &settings, url, token),
                            (Some(_) | None, _) => Word::NotAsked,
                        };
                        let subject = match index {
                            0 => path.clone(),
                            _ => format!("{path} (token {})", index + 1),
                        };
                        findings.push(judge::judge(&settings, subject, token, &word, now_s));
                    }
                }
            }
        }
        Ok(findings)
    }
}

iaso_plugin::export!(TokenExpiry: check);
