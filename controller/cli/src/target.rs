//! Which controller: its URL, and nothing else in it.

use crate::failure::Failure;
use tonic::codegen::http::Uri;

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 2_048;

/// Checks the URL. Refused: another scheme than `https`, no host, a user in it.
pub(crate) fn controller(url: &str) -> Result<Uri, Failure> {
    let bad = |why: &str| {
        Failure::Usage(format!(
            "--controller {url:?}: {why}. It should look like https://127.0.0.1:7443"
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
        Some("https") => {}
        Some("http") => return Err(bad("the controller speaks TLS: write https://")),
        Some(_) | None => return Err(bad("the scheme must be https")),
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(bad("no host"));
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(bad(
            "a user or password has no place in it; the token is read from a file",
        ));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_machine_will_do_as_its_certificate_is_looked_at() {
        for url in [
            "https://127.0.0.1:7443",
            "https://controller.example.net:7443",
            "https://[2001:db8::1]:7443",
        ] {
            assert!(controller(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn what_is_no_controller_url_is_refused_with_an_example() {
        for (url, why) in [
            ("127.0.0.1:7443", "scheme must be https"),
            ("unix:///run/x", "not a URL"),
            ("ftp://127.0.0.1", "scheme must be https"),
            ("http://127.0.0.1:7443", "speaks TLS"),
            ("https://u:p@127.0.0.1:7443", "token is read from a file"),
            ("https://", "not a URL"),
        ] {
            let said = controller(url).expect_err("must be refused").to_string();
            assert!(
                said.contains(why) && said.contains("https://127.0.0.1:7443"),
                "{url}: {said}"
            );
        }
    }
}
