//! The operator's configuration of a plugin: text, read by type, with errors that name the key.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Longest text that a value may have.
const VALUE_BYTES_MAX: usize = 4096;
/// Most entries that a list may have.
const LIST_MAX: usize = 64;

/// A configuration that cannot be used; the text names the key and says what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for String {
    fn from(error: ConfigError) -> Self {
        error.0
    }
}

/// The operator's configuration. A getter's default is used when the key is absent; an empty value is a value.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pairs: Vec<(String, String)>,
}

impl Config {
    /// Takes the pairs, and refuses keys that are not among `known`, keys given twice and values that are too long.
    pub fn new(pairs: Vec<(String, String)>, known: &[&str]) -> Result<Self, ConfigError> {
        let mut seen: Vec<&str> = Vec::with_capacity(pairs.len());
        for (key, value) in &pairs {
            if !known.contains(&key.as_str()) {
                let known = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                return Err(ConfigError(format!(
                    "unknown configuration key `{key}`; known keys: {known}"
                )));
            }
            if seen.contains(&key.as_str()) {
                return Err(wrong(key, "is given twice"));
            }
            if value.len() > VALUE_BYTES_MAX {
                return Err(wrong(
                    key,
                    &format!(
                        "is {} bytes long; at most {VALUE_BYTES_MAX} are allowed",
                        value.len()
                    ),
                ));
            }
            seen.push(key);
        }
        Ok(Self { pairs })
    }

    /// The text under this key, if there is one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.trim())
    }

    /// The text, or the default.
    #[must_use]
    pub fn text<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.get(key).unwrap_or(default)
    }

    /// `true` or `false`.
    pub fn bool(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.get(key) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(wrong(
                key,
                &format!("must be `true` or `false`, not `{other}`"),
            )),
        }
    }

    /// A whole number within bounds, both included.
    pub fn number(
        &self,
        key: &str,
        default: u64,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        let Some(text) = self.get(key) else {
            return Ok(default);
        };
        match text.parse() {
            Ok(number) if bounds.contains(&number) => Ok(number),
            Ok(_) | Err(_) => {
                let expected = format!(
                    "must be a whole number from {} to {}, not `{text}`",
                    bounds.start(),
                    bounds.end()
                );
                Err(wrong(key, &expected))
            }
        }
    }

    /// A number with its unit: `500ms`, `30s`, `15m`, `2h`. At most 7 days, and more than nothing.
    pub fn duration(&self, key: &str, default: Duration) -> Result<Duration, ConfigError> {
        let Some(text) = self.get(key) else {
            return Ok(default);
        };
        parse_duration(text).ok_or_else(|| {
            wrong(key, &format!("must be a time with its unit, such as `500ms`, `30s`, `15m` or `2h`, at most 7 days, not `{text}`"))
        })
    }

    /// Entries between commas; empty text is an empty list.
    pub fn list(&self, key: &str, default: &[&str]) -> Result<Vec<String>, ConfigError> {
        let Some(text) = self.get(key) else {
            return Ok(default.iter().map(|entry| (*entry).to_owned()).collect());
        };
        let entries: Vec<String> = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(str::to_owned)
            .collect();
        if entries.len() > LIST_MAX {
            return Err(wrong(
                key,
                &format!(
                    "has {} entries; at most {LIST_MAX} are allowed",
                    entries.len()
                ),
            ));
        }
        Ok(entries)
    }

    /// As [`Self::list`], each entry an address and a port: `1.1.1.1:443`, `[2606:4700::1111]:443`, `one.one.one.one:443`, or without a
    /// port when there is a default one.
    pub fn endpoints(
        &self,
        key: &str,
        default: &[&str],
        port: Option<u16>,
    ) -> Result<Vec<(String, u16)>, ConfigError> {
        let entries = self.list(key, default)?;
        entries
            .iter()
            .map(|entry| {
                split_endpoint(entry, port).ok_or_else(|| wrong_endpoint(key, entry, port))
            })
            .collect()
    }

    /// One address and port; none when the key is absent or empty.
    pub fn endpoint(
        &self,
        key: &str,
        default: &str,
        port: Option<u16>,
    ) -> Result<Option<(String, u16)>, ConfigError> {
        match self.text(key, default) {
            "" => Ok(None),
            text => split_endpoint(text, port)
                .map(Some)
                .ok_or_else(|| wrong_endpoint(key, text, port)),
        }
    }
}

/// Splits `host:port`, `[v6]:port`, or, with a default port, a host alone.
#[must_use]
pub fn split_endpoint(text: &str, default_port: Option<u16>) -> Option<(String, u16)> {
    let text = text.trim();
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (
            host,
            if rest.is_empty() {
                default_port?
            } else {
                rest.strip_prefix(':')?.parse().ok()?
            },
        )
    } else if text.parse::<IpAddr>().is_ok() {
        (text, default_port?)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, default_port?),
        }
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_".contains(&byte);
    (!host.is_empty() && host.len() <= 253 && host.bytes().all(plain) && port != 0)
        .then(|| (host.to_owned(), port))
}

fn wrong_endpoint(key: &str, entry: &str, port: Option<u16>) -> ConfigError {
    let example = if port.is_some() {
        "`10.0.0.1`, `10.0.0.1:53`"
    } else {
        "`10.0.0.1:6443`"
    };
    wrong(
        key,
        &format!(
            "must be an address or name with a port, such as {example} or `[fd00::1]:6443`, not `{entry}`"
        ),
    )
}

fn wrong(key: &str, what: &str) -> ConfigError {
    ConfigError(format!("configuration key `{key}` {what}"))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let ms_each = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let ms = number.checked_mul(ms_each)?;
    (1..=7 * 86_400_000)
        .contains(&ms)
        .then(|| Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::{Config, split_endpoint};
    use std::time::Duration;

    fn config(pairs: &[(&str, &str)]) -> Config {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Config::new(pairs, &["a", "b"]).expect("only known keys")
    }

    #[test]
    fn an_unknown_key_is_refused_and_the_known_ones_are_named() {
        let error = Config::new(vec![("timeuot".into(), "1s".into())], &["timeout", "unit"])
            .expect_err("unknown key");
        assert_eq!(
            error.to_string(),
            "unknown configuration key `timeuot`; known keys: timeout, unit"
        );
    }

    #[test]
    fn a_key_given_twice_or_a_value_too_long_is_refused() {
        let twice = vec![("a".into(), "1".into()), ("a".into(), "2".into())];
        assert_eq!(
            Config::new(twice, &["a"]).expect_err("twice").to_string(),
            "configuration key `a` is given twice"
        );
        let long = vec![("a".into(), "x".repeat(5000))];
        assert!(
            Config::new(long, &["a"])
                .expect_err("long")
                .to_string()
                .contains("5000 bytes")
        );
    }

    #[test]
    fn durations_need_a_unit_and_a_sensible_size() {
        let check = |text: &str, expect: Option<u64>| {
            let got = config(&[("a", text)]).duration("a", Duration::ZERO).ok();
            assert_eq!(got, expect.map(Duration::from_millis), "{text}");
        };
        check("500ms", Some(500));
        check("30s", Some(30_000));
        check("15m", Some(900_000));
        check("2h", Some(7_200_000));
        check("168h", Some(604_800_000));
        for wrong in [
            "",
            "30",
            "s",
            "0s",
            "-1s",
            "1.5s",
            "1d",
            "169h",
            "99999999999999999999h",
            "18446744073709551615h",
            "30 s",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn an_error_names_the_key_and_the_value() {
        let config = config(&[("a", "yes"), ("b", "11")]);
        assert_eq!(
            config.bool("a", true).expect_err("no bool").to_string(),
            "configuration key `a` must be `true` or `false`, not `yes`"
        );
        let error = config
            .number("b", 1, 1..=10)
            .expect_err("out of bounds")
            .to_string();
        assert_eq!(
            error,
            "configuration key `b` must be a whole number from 1 to 10, not `11`"
        );
        assert!(
            config
                .endpoints("a", &[], None)
                .expect_err("no port")
                .to_string()
                .contains("`yes`")
        );
    }

    #[test]
    fn an_absent_key_is_the_default_and_an_empty_list_is_empty() {
        let config = config(&[("a", " , ")]);
        assert_eq!(
            config.list("a", &["x"]).expect("a list"),
            Vec::<String>::new()
        );
        assert_eq!(
            config.list("b", &["x"]).expect("a list"),
            vec!["x".to_owned()]
        );
        assert_eq!(config.endpoint("b", "", Some(53)).expect("absent"), None);
    }

    #[test]
    fn endpoints_are_split() {
        let check = |text: &str, default: Option<u16>, expect: Option<(&str, u16)>| {
            assert_eq!(
                split_endpoint(text, default),
                expect.map(|(host, port)| (host.to_owned(), port)),
                "{text}"
            );
        };
        check("10.0.0.1:6443", None, Some(("10.0.0.1", 6443)));
        check("10.0.0.1", Some(53), Some(("10.0.0.1", 53)));
        check("10.0.0.1", None, None);
        check("[fd00::1]:53", None, Some(("fd00::1", 53)));
        check("[fd00::1]", Some(53), Some(("fd00::1", 53)));
        check("fd00::1", Some(53), Some(("fd00::1", 53)));
        check("one.one.one.one:443", None, Some(("one.one.one.one", 443)));
        for wrong in [
            "",
            ":53",
            "a:0",
            "a:65536",
            "a:b",
            "a b:1",
            "[10.0.0.1]:53",
            "https://a:443",
            "a/b:1",
            "[fd00::1",
        ] {
            check(wrong, None, None);
        }
    }
}
