//! What the check says of a service in every state we know of.

use std::time::Duration;

use iaso_plugin::Error;
use iaso_plugin::capability::Response;
use iaso_plugin::testing::{MockHost, connect, lines, response, with_header};
use service_http::ServiceHttp;

const URL: &str = "http://10.43.0.20:2283/ping";
const GET: &str = "GET http://10.43.0.20:2283/ping";

fn check(host: &MockHost, pairs: &[(&str, &str)], expect: &[&str]) {
    let pairs: Vec<(&str, &str)> = [("urls", URL)].iter().chain(pairs).copied().collect();
    assert_eq!(lines::<ServiceHttp>(host, &pairs), expect);
}

fn answers(response: Response) -> MockHost {
    MockHost::new().on_http(GET, [Ok(response)])
}

/// HTTP fails so, and a connection alone ends so.
fn fails(why: Error, tcp: &str) -> MockHost {
    MockHost::new()
        .on_http("GET *", [Err(why)])
        .on_connect("tcp *", [Ok(connect(tcp, Duration::from_millis(1)))])
}

fn redirect(to: &str) -> Response {
    with_header(response(302, ""), "Location", to)
}

fn summary(host: &MockHost, pairs: &[(&str, &str)]) -> String {
    iaso_plugin::testing::check::<ServiceHttp>(host, pairs)
        .expect("a right configuration")
        .remove(0)
        .summary
}

#[test]
fn an_expected_answer_is_well() {
    check(
        &answers(response(200, r#"{"res":"pong"}"#)),
        &[],
        &[&format!("ok ok {URL}")],
    );
    let strict = [
        ("body_contains", "pong"),
        ("json", "/res=pong, /n"),
        ("expect_status", "200"),
    ];
    check(
        &answers(response(200, r#"{"res":"pong","n":null}"#)),
        &strict,
        &[&format!("ok ok {URL}")],
    );
    check(
        &answers(response(401, "")),
        &[("expect_status", "200-299, 401")],
        &[&format!("ok ok {URL}")],
    );
}

#[test]
fn an_unexpected_status_is_named() {
    for status in [404, 429, 500, 502, 503, 100, 999] {
        check(
            &answers(response(status, "")),
            &[],
            &[&format!("status critical {URL}")],
        );
    }
    assert!(summary(&answers(response(502, "")), &[("urls", URL)]).contains("a proxy answers"));
}

#[test]
fn a_good_status_whose_body_says_error_is_a_lie() {
    for body in [
        r#"{"status":"error"}"#,
        r#"{"status":"DOWN","components":{}}"#,
        r#"{"ok":false}"#,
        r#"{"success": false, "data": []}"#,
        r#"{"error":"no route to database"}"#,
        r#"{"errors":[{"message":"x"}]}"#,
        r#"{"error":{"code":1}}"#,
        "[+]ping ok\n[-]etcd failed: reason withheld\n",
    ] {
        check(
            &answers(response(200, body)),
            &[],
            &[&format!("lies critical {URL}")],
        );
        check(
            &answers(response(200, body)),
            &[("detect_lies", "false")],
            &[&format!("ok ok {URL}")],
        );
    }
    let page = "<h1>Bad gateway</h1>";
    check(
        &answers(response(200, page)),
        &[("body_lacks", "Bad gateway")],
        &[&format!("lies critical {URL}")],
    );
}

#[test]
fn an_honest_body_is_not_taken_for_a_lie() {
    for body in [
        "",
        "ok",
        "no error at all",
        "{",
        "[1,2]",
        r#"{"error":null,"errors":[],"status":"ok"}"#,
        r#"{"error":false,"errors":0,"exception":""}"#,
        r#"{"nested":{"status":"error"}}"#,
        "\u{0}\u{fffd}",
    ] {
        check(
            &answers(response(200, body)),
            &[],
            &[&format!("ok ok {URL}")],
        );
    }
    let deep = "[".repeat(100_000);
    check(
        &answers(response(200, &deep)),
        &[],
        &[&format!("ok ok {URL}")],
    );
}

#[test]
fn a_body_without_what_was_asked_for_is_not_well() {
    let not_well = format!("body critical {URL}");
    check(
        &answers(response(200, "pong")),
        &[("body_contains", "pong,ready")],
        &[&not_well],
    );
    check(
        &answers(response(200, "<html>")),
        &[("json", "/res")],
        &[&not_well],
    );
    check(
        &answers(response(200, r#"{"res":"pang"}"#)),
        &[("json", "/res=pong")],
        &[&not_well],
    );
    check(
        &answers(response(200, r#"{"rest":1}"#)),
        &[("json", "/res")],
        &[&not_well],
    );
}

#[test]
fn a_body_that_was_cut_is_unknown_unless_what_was_asked_for_is_already_there() {
    let cut = |body: &str| {
        answers(Response {
            truncated: true,
            ..response(200, body)
        })
    };
    check(
        &cut("aaaa"),
        &[("body_contains", "pong")],
        &[&format!("unknown unknown {URL}")],
    );
    check(
        &cut(r#"{"res":"po"#),
        &[("json", "/res=pong")],
        &[&format!("unknown unknown {URL}")],
    );
    check(
        &cut("pong aaaa"),
        &[("body_contains", "pong")],
        &[&format!("ok ok {URL}")],
    );
}

#[test]
fn how_nothing_came_is_told_apart() {
    let down = |words: &str| Error::Unavailable(words.to_owned());
    let cases = [
        (down("refused"), "refused", "refused"),
        (down("no address"), "unresolved", "unresolved"),
        (Error::Timeout, "timeout", "unreachable"),
        (Error::Timeout, "unreachable", "unreachable"),
        (Error::Timeout, "connected", "silent"),
        (Error::Timeout, "a word of tomorrow", "unreachable"),
        (
            Error::Other("invalid HTTP version".into()),
            "connected",
            "not-http",
        ),
    ];
    for (why, tcp, code) in cases {
        check(&fails(why, tcp), &[], &[&format!("{code} critical {URL}")]);
    }
    let expired = fails(down("certificate expired"), "connected");
    let pairs = [("urls", "https://10.0.0.9:8443/")];
    assert_eq!(
        lines::<ServiceHttp>(&expired, &pairs),
        ["tls critical https://10.0.0.9:8443/"]
    );
    assert!(summary(&expired, &pairs).contains("certificate expired"));
}

#[test]
fn without_the_grant_to_connect_a_timeout_says_what_to_grant() {
    let host = fails(Error::Timeout, "connected")
        .on_connect("tcp *", [Err(Error::Denied("net.tcp".into()))]);
    check(&host, &[], &[&format!("timeout critical {URL}")]);
    assert!(summary(&host, &[("urls", URL)]).contains("grant net.tcp"));
}

#[test]
fn a_url_without_a_port_that_nothing_serves_is_named_as_such() {
    let host = fails(Error::Unavailable("refused".into()), "refused");
    let pairs = [("urls", "http://10.43.0.20/ping?key=secret")];
    assert_eq!(
        lines::<ServiceHttp>(&host, &pairs),
        ["port-missing critical http://10.43.0.20/ping"]
    );
    let text = summary(&host, &pairs);
    assert!(
        text.contains("go to 80") && text.contains("name the port"),
        "{text}"
    );
    assert!(
        host.calls_to("tcp")
            .iter()
            .all(|call| call == "tcp 10.43.0.20:80")
    );
    let answered = MockHost::new().on_http("GET http://a/", [Ok(response(404, ""))]);
    assert!(summary(&answered, &[("urls", "http://a")]).contains("names no port"));
}

#[test]
fn a_cluster_name_that_a_host_cannot_resolve_says_what_to_give_instead() {
    let host = fails(Error::Unavailable("no address".into()), "unresolved");
    let pairs = [("urls", "http://immich.media.svc.cluster.local/")];
    assert_eq!(
        lines::<ServiceHttp>(&host, &pairs),
        ["unresolved critical http://immich.media.svc.cluster.local/"]
    );
    assert!(summary(&host, &pairs).contains("cluster IP"));
}

#[test]
fn what_is_not_granted_is_unknown_and_not_down() {
    let host = MockHost::new().on_http("GET *", [Err(Error::Denied("http".into()))]);
    check(&host, &[], &[&format!("unknown unknown {URL}")]);
    assert_eq!(host.calls_to("tcp"), Vec::<String>::new());
    let large = MockHost::new().on_http("GET *", [Err(Error::TooLarge("a URL".into()))]);
    check(&large, &[], &[&format!("unknown unknown {URL}")]);
}

#[test]
fn a_redirect_is_shown_followed_or_found_to_go_in_circles() {
    let once = || {
        answers(redirect("/login?next=secret")).on_http(
            "GET http://10.43.0.20:2283/login?next=secret",
            [Ok(response(200, "hi"))],
        )
    };
    check(&once(), &[], &[&format!("redirected warning {URL}")]);
    assert!(!summary(&once(), &[("urls", URL)]).contains("secret"));
    let follow = ("follow_redirects", "true");
    check(&once(), &[follow], &[&format!("ok ok {URL}")]);
    check(
        &once(),
        &[("expect_status", "302")],
        &[&format!("ok ok {URL}")],
    );
    check(
        &answers(redirect("/ping")),
        &[follow],
        &[&format!("redirect-loop critical {URL}")],
    );
    let on_and_on =
        MockHost::new().on_http("GET *", (0..20).map(|n| Ok(redirect(&format!("/{n}")))));
    check(
        &on_and_on,
        &[follow],
        &[&format!("redirect-loop critical {URL}")],
    );
    assert_eq!(on_and_on.calls_to("GET").len(), 6);
    check(
        &answers(redirect("file:///etc/shadow")),
        &[follow],
        &[&format!("unknown unknown {URL}")],
    );
    let denied = answers(redirect("http://169.254.169.254/")).on_http(
        "GET http://169.254.169.254/",
        [Err(Error::Denied("http".into()))],
    );
    check(&denied, &[follow], &[&format!("unknown unknown {URL}")]);
    check(
        &answers(response(302, "")),
        &[follow],
        &[&format!("status critical {URL}")],
    );
}

#[test]
fn a_slow_answer_is_a_warning() {
    let slow = answers(Response {
        elapsed_us: u64::MAX,
        ..response(200, "")
    });
    check(&slow, &[], &[&format!("slow warning {URL}")]);
}

#[test]
fn what_the_budget_leaves_no_time_for_is_unknown() {
    let host = MockHost::new()
        .on_http("GET *", [Err(Error::Timeout)])
        .on_connect("tcp *", [Ok(connect("timeout", Duration::from_secs(1)))])
        .takes("GET *", Duration::from_secs(3))
        .takes("tcp *", Duration::from_secs(3));
    let pairs = [("urls", "http://a:1/,http://b:1/"), ("budget", "4s")];
    assert_eq!(
        lines::<ServiceHttp>(&host, &pairs),
        [
            "unreachable critical http://a:1/",
            "unknown unknown http://b:1/"
        ]
    );
}

#[test]
fn a_wrong_configuration_is_refused_in_words_that_help() {
    let wrong = |pairs: &[(&str, &str)], words: &str| {
        let text = lines::<ServiceHttp>(&MockHost::new(), pairs).join("");
        assert!(
            text.starts_with("error: ") && text.contains(words),
            "{text}"
        );
    };
    wrong(&[], "`urls` is needed");
    wrong(&[("urls", "10.0.0.1:80")], "must be URLs");
    wrong(&[("urls", "http://me:secret@a/")], "without a user");
    wrong(&[("url", URL)], "unknown configuration key `url`");
    wrong(&[("urls", URL), ("expect_status", "2xx")], "`2xx`");
    wrong(&[("urls", URL), ("expect_status", "299-200")], "`299-200`");
    wrong(&[("urls", URL), ("json", "status=ok")], "`/status=ok`");
    let secret =
        lines::<ServiceHttp>(&MockHost::new(), &[("urls", "http://me:secret@a/")]).join("");
    assert!(!secret.contains("secret"), "{secret}");
}
