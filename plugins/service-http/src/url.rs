//! URLs, as far as this plugin must understand them: whether a port is named, and where a redirect leads.

/// An `http` or `https` URL, taken apart. The user part is refused, the fragment is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    secure: bool,
    /// As written: a name, an IPv4 address, or an IPv6 address in brackets.
    host: String,
    /// None: the URL names no port.
    port: Option<u16>,
    /// From the first slash on, with the query.
    path: String,
}

impl Url {
    /// None when it is not an `http` or `https` URL with a host.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let path = path.split('#').next().unwrap_or_default();
        let (host, port) = split_authority(authority)?;
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        (printable(&host) && printable(&path)).then_some(Self {
            secure,
            host,
            port,
            path,
        })
    }

    /// Where a `Location` leads from here; none when it is not a web address.
    pub(crate) fn join(&self, location: &str) -> Option<Self> {
        let location = location.trim();
        let scheme = if self.secure { "https" } else { "http" };
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let own = self.path.split('?').next().unwrap_or("/");
        let path = if location.starts_with('/') {
            location.to_owned()
        } else if location.starts_with('?') || location.is_empty() {
            format!("{own}{location}")
        } else {
            let directory = own.rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{directory}/{location}")
        };
        Self::parse(&format!("{scheme}://{}{path}", self.authority()))
    }

    /// The whole of it, as it is asked for.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.base(), self.path)
    }

    /// Without the query, which may carry a secret.
    pub(crate) fn shown(&self) -> String {
        let path = self.path.split('?').next().unwrap_or("/");
        format!("{}{path}", self.base())
    }

    /// The host alone, as `net` takes it.
    pub(crate) fn host(&self) -> &str {
        self.host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&self.host)
    }

    /// The port that is asked: the named one, or that of the scheme.
    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(if self.secure { 443 } else { 80 })
    }

    pub(crate) const fn names_port(&self) -> bool {
        self.port.is_some()
    }

    pub(crate) const fn is_secure(&self) -> bool {
        self.secure
    }

    fn base(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    fn authority(&self) -> String {
        self.port
            .map_or_else(|| self.host.clone(), |port| format!("{}:{port}", self.host))
    }
}

fn split_authority(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if authority.starts_with('[') {
        let (host, rest) = authority.split_at_checked(authority.find(']')? + 1)?;
        (host, rest.strip_prefix(':'))
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let port = match port {
        // `http://host:/` is legal, and names no port.
        None | Some("") => None,
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
    };
    let is_host = !host.is_empty() && host.len() <= 253 && !host.contains('@');
    is_host.then(|| (host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn a_url_is_taken_apart_and_says_whether_it_names_a_port() {
        let check = |text: &str, host: &str, port: u16, named: bool, shown: &str| {
            let url = Url::parse(text).expect(text);
            assert_eq!(
                (url.host(), url.port(), url.names_port()),
                (host, port, named),
                "{text}"
            );
            assert_eq!(url.shown(), shown, "{text}");
        };
        check("http://A.b/c", "a.b", 80, false, "http://a.b/c");
        check("https://a.b", "a.b", 443, false, "https://a.b/");
        check("http://a.b:/x", "a.b", 80, false, "http://a.b/x");
        check(
            "http://a:2283/x?key=s#f",
            "a",
            2283,
            true,
            "http://a:2283/x",
        );
        check(
            "HTTP://[fd00::1]:81?q",
            "fd00::1",
            81,
            true,
            "http://[fd00::1]:81/",
        );
    }

    #[test]
    fn what_is_not_a_web_address_is_refused() {
        for text in [
            "",
            "a.b:80",
            "ftp://a/",
            "http://",
            "http:///x",
            "http://u:p@a/",
            "http://u@a/",
            "http://a:0/",
            "http://a:65536/",
            "http://a:b/",
            "http://a b/",
            "http://[fd00::1/",
            "http://a/\r\nx: y",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_location_is_followed_from_where_it_was_given() {
        let check = |location: &str, expect: Option<&str>| {
            let from = Url::parse("https://a:8443/b/c?d").expect("a URL");
            let to = from.join(location).map(|url| url.text());
            assert_eq!(to.as_deref(), expect, "{location}");
        };
        check("https://x/y", Some("https://x/y"));
        check("//x/y", Some("https://x/y"));
        check("/y?next=http://z/", Some("https://a:8443/y?next=http://z/"));
        check("y", Some("https://a:8443/b/y"));
        check("?e", Some("https://a:8443/b/c?e"));
        check("ftp://x/", None);
        check("http://x:99999/", None);
    }
}
