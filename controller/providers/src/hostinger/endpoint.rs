//! The base URL: checked once, strictly, so that a typo is an error at start and not a 404 in the night.

use url::{Host, Url};

const API_PATH: &str = "api/vps/v1";

/// Why a base URL cannot be the API's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// Not a URL at all.
    #[error("{given:?} is not a URL: write it as {}", super::BASE_URL)]
    NotAUrl {
        /// What was given.
        given: String,
        /// Why not.
        #[source]
        source: url::ParseError,
    },
    /// Neither https nor allowed http.
    #[error(
        "{given:?}: the token must not travel readable: use https (plain http is for loopback, or with --insecure)"
    )]
    NotHttps {
        /// What was given.
        given: String,
    },
    /// A part that a base URL must not have.
    #[error("{given:?} has {part}: leave that out")]
    Extra {
        /// What was given, without a password.
        given: String,
        /// What is too much.
        part: &'static str,
    },
}

/// A checked base URL, with a path prefix or without.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    base: Url,
}

impl Endpoint {
    pub(super) fn new(given: &str, allow_http: bool) -> Result<Self, BaseUrlError> {
        let not_a_url = |source| BaseUrlError::NotAUrl {
            given: given.to_owned(),
            source,
        };
        let mut base = Url::parse(given).map_err(not_a_url)?;
        let extra = |part| {
            Err(BaseUrlError::Extra {
                given: without_password(&base),
                part,
            })
        };
        if !base.username().is_empty() || base.password().is_some() {
            return extra("a user name or password in it (the token has its own file)");
        }
        if base.query().is_some() || base.fragment().is_some() {
            return extra("a query or fragment");
        }
        if base.path().trim_end_matches('/').ends_with(API_PATH) {
            return extra("the API's own path /api/vps/v1 at its end");
        }
        match base.scheme() {
            "https" => {}
            "http" if allow_http || is_loopback(&base) => {}
            _ => {
                return Err(BaseUrlError::NotHttps {
                    given: given.to_owned(),
                });
            }
        }
        let prefix = base.path().trim_end_matches('/').to_owned();
        base.set_path(&format!("{prefix}/"));
        Ok(Self { base })
    }

    /// Where to send a call; `path` comes after `/api/vps/v1/`.
    pub(super) fn url(&self, path: &str, query: &[(&'static str, String)]) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{API_PATH}/{path}", self.base.path()));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.base.as_str())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn without_password(url: &Url) -> String {
    let mut url = url.clone();
    // Fails only for URLs that cannot have one.
    let _ = url.set_password(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prefix_is_kept_and_the_api_path_added_once() {
        for (base, expected) in [
            (
                "https://h.example",
                "https://h.example/api/vps/v1/templates",
            ),
            (
                "https://h.example/proxy/",
                "https://h.example/proxy/api/vps/v1/templates",
            ),
            (
                "http://127.0.0.1:8080/a/b",
                "http://127.0.0.1:8080/a/b/api/vps/v1/templates",
            ),
            ("http://[::1]:80", "http://[::1]/api/vps/v1/templates"),
        ] {
            let endpoint = Endpoint::new(base, false).expect(base);
            assert_eq!(endpoint.url("templates", &[]).as_str(), expected);
        }
    }

    #[test]
    fn what_would_leak_or_only_answer_404_is_refused_at_start() {
        for (base, says) in [
            ("developers.hostinger.com", "is not a URL"),
            ("http://developers.hostinger.com", "use https"),
            ("ftp://127.0.0.1", "use https"),
            ("https://u:secret@h.example", "user name"),
            ("https://h.example/?a=b", "query"),
            ("https://h.example/api/vps/v1/", "/api/vps/v1"),
            ("http://127.0.0.1.example.com", "use https"),
            ("", "is not a URL"),
        ] {
            let message = Endpoint::new(base, false).expect_err(base).to_string();
            assert!(message.contains(says), "{base}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
        assert!(Endpoint::new("http://10.77.0.1:8080", true).is_ok());
    }

    #[test]
    fn query_values_are_encoded() {
        let endpoint = Endpoint::new("https://h.example", false).expect("valid");
        let url = endpoint.url(
            "x",
            &[("date_from", "2026-11-23T00:00:00+01:00".to_owned())],
        );
        assert_eq!(
            url.query(),
            Some("date_from=2026-11-23T00%3A00%3A00%2B01%3A00")
        );
    }
}
