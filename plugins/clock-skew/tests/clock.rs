//! What the check says of a clock in every state we know of.

use std::time::Duration;

use clock_skew::ClockSkew;
use iaso_plugin::Error;
use iaso_plugin::capability::Response;
use iaso_plugin::testing::{MockHost, check, file_stat, lines, response, unit, with_header};

const A: &str = "HEAD http://one.one.one.one/";
const B: &str = "HEAD http://www.google.com/generate_204";
const C: &str = "HEAD http://deb.debian.org/";

/// An answer at so many seconds after 08:00, the time of the mock's clock.
fn dated(minute: u32, second: u32) -> [Result<Response, Error>; 1] {
    let date = format!("Fri, 15 Jan 2027 08:{minute:02}:{second:02} GMT");
    [Ok(with_header(response(301, ""), "date", &date))]
}

fn well() -> MockHost {
    MockHost::new()
        .on_http(A, dated(0, 0))
        .on_http(B, dated(0, 0))
        .on_http(C, dated(0, 1))
        .on_status("status *", [Ok(unit("x", "inactive", "dead"))])
        .on_status(
            "status systemd-timesyncd.service",
            [Ok(unit("systemd-timesyncd.service", "active", "running"))],
        )
        .on_stat("stat *", [Ok(file_stat("file"))])
}

fn expect(host: &MockHost, expected: &[&str]) {
    assert_eq!(lines::<ClockSkew>(host, &[]), expected);
}

const OK: &str = "ok ok this host's clock";

#[test]
fn sources_that_agree_with_the_clock_make_it_well() {
    expect(&well(), &[OK]);
    let one_silent = well().on_http(C, [Err(Error::Timeout)]);
    expect(&one_silent, &[OK]);
}

#[test]
fn a_clock_that_is_behind_or_ahead_is_told_by_how_much() {
    let at = |minute, second| {
        well()
            .on_http(A, dated(minute, second))
            .on_http(B, dated(minute, second))
            .on_http(C, dated(minute, second))
    };
    expect(&at(0, 10), &["skewed warning this host's clock"]);
    expect(&at(5, 0), &["skewed critical this host's clock"]);
    let says = |host: &MockHost| {
        check::<ClockSkew>(host, &[]).expect("right")[0]
            .summary
            .clone()
    };
    assert!(
        says(&at(5, 0)).starts_with("it is 301 s behind 3 sources"),
        "{}",
        says(&at(5, 0))
    );
    let ahead = at(0, 0);
    ahead.advance(Duration::from_secs(100));
    assert!(
        says(&ahead).starts_with("it is 100 s ahead of"),
        "{}",
        says(&ahead)
    );
}

#[test]
fn one_wrong_source_is_outvoted_and_two_that_differ_say_nothing() {
    expect(&well().on_http(A, dated(30, 0)), &[OK]);
    let split = well()
        .on_http(A, dated(30, 0))
        .on_http(C, [Err(Error::Timeout)]);
    expect(&split, &["sources-disagree unknown this host's clock"]);
    let three = well().on_http(A, dated(30, 0)).on_http(C, dated(50, 0));
    expect(&three, &["sources-disagree unknown this host's clock"]);
    let halves = [("sources", "http://a/,http://b/,http://c/,http://d/")];
    let host = well()
        .on_http("HEAD http://a/", dated(0, 0))
        .on_http("HEAD http://b/", dated(0, 0))
        .on_http("HEAD http://c/", dated(9, 0))
        .on_http("HEAD http://d/", dated(9, 0));
    assert_eq!(
        lines::<ClockSkew>(&host, &halves),
        ["sources-disagree unknown this host's clock"]
    );
}

#[test]
fn what_the_answer_took_is_not_taken_for_skew() {
    let slow = well().takes("HEAD *", Duration::from_secs(8));
    let one = [
        ("quorum", "1"),
        ("sources", "http://one.one.one.one/"),
        ("timeout", "9s"),
        ("budget", "9s"),
    ];
    assert_eq!(lines::<ClockSkew>(&slow, &one), [OK]);
}

#[test]
fn too_few_answers_are_unknown() {
    for why in [
        Error::Denied("http".into()),
        Error::Timeout,
        Error::Unavailable("refused".into()),
    ] {
        let host = well().on_http("HEAD *", [Err(why)]);
        expect(&host, &["unknown unknown this host's clock"]);
    }
    for odd in [
        response(200, ""),
        with_header(response(200, ""), "Date", "yesterday"),
        with_header(dated(0, 0)[0].clone().expect("an answer"), "Age", "86400"),
    ] {
        expect(
            &well().on_http("HEAD *", [Ok(odd)]),
            &["unknown unknown this host's clock"],
        );
    }
    let blind = well().on_info("info", [Err(Error::Denied("host".into()))]);
    expect(&blind, &["unknown unknown this host's clock"]);
}

#[test]
fn who_keeps_the_clock_is_told_apart_from_the_clock() {
    let nobody = well().on_status("status *", [Ok(unit("x", "inactive", "dead"))]);
    expect(&nobody, &[OK, "no-time-service warning time service"]);
    let waiting = well().on_stat("stat *", [Ok(file_stat("missing"))]);
    expect(
        &waiting,
        &[OK, "not-synchronized warning systemd-timesyncd.service"],
    );
    let no_systemd = well().on_status("status *", [Err(Error::Unavailable("no systemd".into()))]);
    expect(&no_systemd, &[OK]);
    let partly = well()
        .on_status("status *", [Ok(unit("x", "inactive", "dead"))])
        .on_status(
            "status chrony.service",
            [Err(Error::Denied("services.read".into()))],
        );
    expect(&partly, &[OK]);
    assert_eq!(lines::<ClockSkew>(&nobody, &[("time_units", "")]), [OK]);
}

#[test]
fn a_wrong_configuration_is_refused_in_words_that_help() {
    let wrong = |pairs: &[(&str, &str)], words: &str| {
        let text = lines::<ClockSkew>(&well(), pairs).join("");
        assert!(
            text.starts_with("error: ") && text.contains(words),
            "{text}"
        );
    };
    wrong(&[("source", "x")], "unknown configuration key");
    wrong(&[("sources", "pool.ntp.org")], "not `pool.ntp.org`");
    wrong(&[("sources", "http://a/")], "`quorum` is 2");
    wrong(&[("skew_warn", "2m")], "must not be over");
}
