//! As much of a URL as is needed to connect where it leads.

/// Host and port of an `http` or `https` URL.
pub(crate) fn endpoint(url: &str) -> Option<(String, u16)> {
    let (rest, port) = match url.split_once("://")? {
        ("https", rest) => (rest, 443),
        ("http", rest) => (rest, 80),
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    iaso_plugin::split_endpoint(authority, Some(port))
}
