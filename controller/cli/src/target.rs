//! Which controller: the URL, and whether a token may travel there unencrypted.

use crate::failure::Failure;
use std::net::IpAddr;
use tonic::codegen::http::Uri;

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 2_048;

/// Checks the URL. Refused: another scheme than `http`, no host, and a host that is not this machine without `--insecure`.
pub(crate) fn controller(url: &str, insecure: bool) -> Result<Uri, Failure> {
    let bad = |why: &str| {
        Failure::Usage(format!(
            "--controller {url:?}: {why}. It should look like http://127.0.0.1:7443"
        ))
    };
    if url.len() > URL_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "--controller: the URL is longer than {URL_BYTES_MAX} bytes"
        )));
    }
    let uri: Uri = url
        .parse()
        .map_err(|error| bad(&format!("not a URL ({error})")))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err(bad(
                "this version does not speak TLS; use a tunnel such as `ssh -L 7443:127.0.0.1:7443 HOST`, and http://",
            ));
        }
        Some(_) | None => return Err(bad("the scheme must be http")),
    }
    let host = uri
        .host()
        .filter(|host| !host.is_empty())
        .ok_or_else(|| bad("no host"))?;
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(bad(
            "a user or password has no place in it; the token is read from a file",
        ));
    }
    if !insecure && !is_loopback(host) {
        return Err(Failure::Usage(format!(
            "the controller at {url} is not on this machine, and the token would travel there unencrypted.\n  \
             Use a tunnel such as `ssh -L 7443:127.0.0.1:7443 {host}`, or say --insecure if the network is trusted."
        )));
    }
    Ok(uri)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        controller(url, false)
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn this_machine_needs_no_flag() {
        for url in [
            "http://127.0.0.1:7443",
            "http://127.0.77.11:1",
            "http://localhost:7443",
            "http://[::1]:7443",
            "http://[::ffff:127.0.0.1]:1",
        ] {
            assert!(controller(url, false).is_ok(), "{url}");
        }
    }

    #[test]
    fn another_machine_needs_insecure_said_aloud() {
        for url in [
            "http://10.77.0.1:7443",
            "http://localhost.example.net:7443",
            "http://127.0.0.1.example.net",
            "http://[2001:db8::1]:7443",
        ] {
            assert!(refusal(url).contains("--insecure"), "{url}");
            assert!(controller(url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn what_is_no_controller_url_is_refused_with_an_example() {
        for (url, why) in [
            ("127.0.0.1:7443", "scheme must be http"),
            ("unix:///run/x", "not a URL"),
            ("ftp://127.0.0.1", "scheme must be http"),
            ("https://127.0.0.1:7443", "ssh -L"),
            ("http://u:p@127.0.0.1:7443", "token is read from a file"),
            ("http://", "not a URL"),
        ] {
            let said = refusal(url);
            assert!(
                said.contains(why) && said.contains("http://127.0.0.1:7443"),
                "{url}: {said}"
            );
        }
    }
}
