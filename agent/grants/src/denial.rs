//! The answer "no", in the words of the configuration file.

use std::net::IpAddr;

/// The answer to "may it?".
pub type Decision = Result<(), Denial>;

/// Why a call was not allowed: the grant that would have allowed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("needs grant `{grant}`")]
pub struct Denial {
    grant: String,
}

impl Denial {
    /// The line of configuration that would have allowed the call.
    #[must_use]
    pub fn grant(&self) -> &str {
        &self.grant
    }

    pub(crate) fn flag(key: &str) -> Self {
        Self {
            grant: format!("{key} = true"),
        }
    }

    pub(crate) fn item(key: &str, item: &str) -> Self {
        Self {
            grant: format!("{key} = [{}]", quoted(item)),
        }
    }

    pub(crate) fn ports(key: &str, to: &str, port: u16) -> Self {
        Self {
            grant: format!("{key} = [{{ to = {}, ports = [{port}] }}]", quoted(to)),
        }
    }

    pub(crate) fn http(to: &str, port: u16, method: &str) -> Self {
        let method = quoted(method);
        Self {
            grant: format!(
                "http = [{{ to = {}, ports = [{port}], methods = [{method}] }}]",
                quoted(to)
            ),
        }
    }
}

/// What the operator would write for this peer: its name where that would do, else its address.
pub(crate) fn peer(name: Option<&str>, address: IpAddr, name_would_do: bool) -> String {
    match name {
        Some(name) if name_would_do => name.to_owned(),
        Some(_) | None => address.to_string(),
    }
}

/// As TOML would have it, cut to what a log line bears: the text comes from a plugin.
fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 256;
    let mut out = String::from("\"");
    for c in text.chars().take(CHARS_MAX) {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
