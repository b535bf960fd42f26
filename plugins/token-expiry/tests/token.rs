//! What the check says of a token in every state we know of.

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use iaso_plugin::Error;
use iaso_plugin::testing::{MockHost, START_UNIX_MS, check, chunk, lines, response, with_header};
use token_expiry::TokenExpiry;

const FILE: &str = "/etc/app/token";
const URL: &str = "https://api.example.com/me";
const NOW_S: u64 = START_UNIX_MS / 1000;
const DAY_S: u64 = 86_400;

fn jwt(claims: &str) -> String {
    let part = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
    format!(
        "{}.{}.c2lnbmF0dXJl",
        part(r#"{"alg":"RS256"}"#),
        part(claims)
    )
}

/// A token of a year that ends so many days from now.
fn ending_in(days: u64) -> String {
    let ends = NOW_S + days * DAY_S;
    jwt(&format!(
        r#"{{"iss":"https://issuer","iat":{},"exp":{ends}}}"#,
        ends - 365 * DAY_S
    ))
}

fn holding(text: &str) -> MockHost {
    MockHost::new().on_read(format!("read {FILE}"), [Ok(chunk(text))])
}

const ALONE: &[(&str, &str)] = &[("files", FILE)];
const ASKED: &[(&str, &str)] = &[("files", FILE), ("url", URL)];

fn expect(host: &MockHost, pairs: &[(&str, &str)], expected: &str) {
    assert_eq!(
        lines::<TokenExpiry>(host, pairs),
        [format!("{expected} {FILE}")]
    );
}

fn summary(host: &MockHost, pairs: &[(&str, &str)]) -> String {
    check::<TokenExpiry>(host, pairs)
        .expect("a right configuration")
        .remove(0)
        .summary
}

#[test]
fn the_days_left_are_counted_and_each_threshold_has_its_word() {
    let host = holding(&ending_in(100));
    expect(&host, ALONE, "ok ok");
    let findings = check::<TokenExpiry>(&host, ALONE).expect("right");
    assert_eq!(
        findings[0].attributes[0],
        ("ends".into(), "2027-04-25".into())
    );
    assert_eq!(
        findings[0].attributes[2],
        ("issuer".into(), "https://issuer".into())
    );
    for (days, expected) in [
        (15, "ok ok"),
        (14, "expiring warning"),
        (4, "expiring warning"),
        (3, "expiring critical"),
        (0, "expired critical"),
    ] {
        expect(&holding(&ending_in(days)), ALONE, expected);
    }
}

#[test]
fn a_short_lived_token_that_is_renewed_in_time_is_well() {
    let hour = |left_s: u64| {
        let ends = NOW_S + left_s;
        holding(&jwt(&format!(r#"{{"iat":{},"exp":{ends}}}"#, ends - 3600)))
    };
    expect(&hour(700), ALONE, "ok ok");
    expect(&hour(350), ALONE, "expiring warning");
    expect(&hour(60), ALONE, "expiring critical");
}

#[test]
fn a_token_is_found_in_whatever_file_it_lies() {
    let token = ending_in(0);
    for text in [
        format!("{token}\n"),
        format!("API_TOKEN={token}\nOTHER=1\n"),
        format!("users:\n- user:\n    token: \"{token}\"\n"),
        format!("{{\"access_token\":\"{token}\"}}"),
        format!("Authorization: Bearer {token}\r\n"),
    ] {
        expect(&holding(&text), ALONE, "expired critical");
    }
    let two = format!("A={}\nB={token}\nC={token}\n", ending_in(100));
    assert_eq!(
        lines::<TokenExpiry>(&holding(&two), ALONE),
        [
            format!("ok ok {FILE}"),
            format!("expired critical {FILE} (token 2)")
        ]
    );
}

#[test]
fn a_401_is_told_by_what_the_token_says_of_itself() {
    let refused =
        |token: &str| holding(token).on_http(format!("GET {URL}"), [Ok(response(401, ""))]);
    expect(&refused(&ending_in(0)), ASKED, "expired critical");
    expect(&refused(&ending_in(100)), ASKED, "rejected critical");
    expect(&refused("hapi_0123456789"), ASKED, "rejected critical");
    let future = jwt(&format!(
        r#"{{"nbf":{},"exp":{}}}"#,
        NOW_S + 600,
        NOW_S + 100 * DAY_S
    ));
    expect(&refused(&future), ASKED, "not-yet-valid critical");
    let said = with_header(
        response(401, ""),
        "WWW-Authenticate",
        r#"Bearer realm="x", error="invalid_token", error_description="key not found""#,
    );
    let host = holding(&ending_in(100)).on_http(format!("GET {URL}"), [Ok(said)]);
    let text = summary(&host, ASKED);
    assert!(
        text.starts_with("its server refuses it with 401 (`key not found`) although by its own word it is valid until 2027-04-25"),
        "{text}"
    );
}

#[test]
fn only_401_and_403_say_anything_of_the_token() {
    let answered =
        |status| holding(&ending_in(100)).on_http(format!("GET {URL}"), [Ok(response(status, ""))]);
    expect(&answered(204), ASKED, "ok ok");
    expect(&answered(403), ASKED, "forbidden warning");
    for status in [302, 404, 429, 500, 503] {
        expect(&answered(status), ASKED, "unknown unknown");
    }
    for why in [
        Error::Timeout,
        Error::Denied("http".into()),
        Error::Unavailable("refused".into()),
    ] {
        let host = holding(&ending_in(100)).on_http(format!("GET {URL}"), [Err(why.clone())]);
        expect(&host, ASKED, "unknown unknown");
        let ended = holding(&ending_in(0)).on_http(format!("GET {URL}"), [Err(why)]);
        expect(&ended, ASKED, "expired critical");
    }
}

#[test]
fn a_token_without_a_date_is_asked_for_or_said_to_have_none() {
    expect(&holding("hapi_0123456789"), ALONE, "no-expiry info");
    expect(&holding(&jwt("{}")), ALONE, "no-expiry info");
    let taken = holding("hapi_0123456789").on_http(format!("GET {URL}"), [Ok(response(200, ""))]);
    expect(&taken, ASKED, "ok ok");
    let ended = holding(&ending_in(0)).on_http(format!("GET {URL}"), [Ok(response(200, ""))]);
    expect(&ended, ASKED, "expired warning");
}

#[test]
fn the_token_goes_to_the_one_url_and_into_no_finding() {
    let token = ending_in(100);
    let echo = with_header(
        response(401, ""),
        "www-authenticate",
        &format!("Bearer error_description=\"bad {token}\""),
    );
    let host = holding(&token).on_http("GET *", [Ok(echo)]);
    let findings = check::<TokenExpiry>(&host, ASKED).expect("right");
    assert!(!format!("{findings:?}").contains(&token), "{findings:?}");
    assert_eq!(
        host.requests()[0].headers,
        [("Authorization".to_owned(), format!("Bearer {token}"))]
    );
    let plain = [
        ("files", FILE),
        ("url", "http://127.0.0.1:8080/"),
        ("header", "X-Token"),
        ("scheme", ""),
    ];
    let _ = check::<TokenExpiry>(&host, &plain).expect("right");
    assert_eq!(host.requests()[1].headers, [("X-Token".to_owned(), token)]);
}

#[test]
fn a_token_that_was_cut_is_damaged_and_no_token_is_unknown() {
    let token = ending_in(100);
    let cut = &token[..token.len() - 14];
    let glued = token.replace("eyJpc3", "eyJp*c3");
    for text in [cut, &glued, "eyJ", "eyJhbGciOiJub25lIn0.e30."] {
        expect(&holding(text), ALONE, "damaged critical");
    }
    for text in [
        "",
        "\n",
        "two words",
        "short",
        "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}",
    ] {
        expect(&holding(text), ALONE, "unknown unknown");
    }
}

#[test]
fn what_cannot_be_read_is_unknown() {
    for why in [
        Error::Denied("files.read".into()),
        Error::Timeout,
        Error::Unavailable("gone".into()),
    ] {
        let host = MockHost::new().on_read("read *", [Err(why.clone())]);
        expect(&host, ALONE, "unknown unknown");
        let timeless = holding(&ending_in(1)).on_info("info", [Err(why)]);
        assert_eq!(
            lines::<TokenExpiry>(&timeless, ALONE),
            ["unknown unknown this host"]
        );
    }
}

#[test]
fn time_goes_by_until_it_ends() {
    let host = holding(&ending_in(20));
    expect(&host, ALONE, "ok ok");
    host.advance(Duration::from_secs(10 * DAY_S));
    expect(&host, ALONE, "expiring warning");
    host.advance(Duration::from_secs(10 * DAY_S));
    expect(&host, ALONE, "expired critical");
}

#[test]
fn a_wrong_configuration_is_refused_in_words_that_help() {
    let wrong = |pairs: &[(&str, &str)], words: &str| {
        let text = lines::<TokenExpiry>(&MockHost::new(), pairs).join("");
        assert!(
            text.starts_with("error: ") && text.contains(words),
            "{text}"
        );
    };
    wrong(&[], "`files` is needed");
    wrong(&[("files", "token")], "absolute paths");
    wrong(&[("files", "/a,/b"), ("url", URL)], "one file");
    wrong(
        &[("files", "/a"), ("critical_days", "15")],
        "must not be over",
    );
    wrong(&[("files", "/a"), ("header", "a: b")], "must be a word");
    for url in [
        "http://api.example.com/",
        "http://127.0.0.1.example.com/",
        "http://localhost@example.com/",
        "ftp://x/",
        "api",
    ] {
        wrong(
            &[("files", "/a"), ("url", url)],
            "since the token is sent there",
        );
    }
}
