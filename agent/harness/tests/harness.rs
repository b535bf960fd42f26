//! Plugins made from text against scripted hosts: what passes, what is told, and what a fault brings to light.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use iaso_components::{checker, compile, data, words};
use iaso_grants::Grants;
use iaso_harness::{Ended, Fixture, Recorder, Recording, Subject, bench, faults, play};
use iaso_host::types::PingOutcome;
use iaso_host::{Broker, CallContext, CapError, Request, Response};

const PING: &str =
    r#"(import "iaso:plugin/net@0.1.0" "ping" (func $ping (param i32 i32 i32 i32 i32 i32 i32)))"#;
const PING_10_0_0_1: &str = "(call $ping (i32.const 512) (i32.const 8) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 128))";
const GRANTED: &str = r#"{"check": {"net": {"icmp": ["10.0.0.0/8"]}}}"#;
const ANSWERED: &str =
    "[[answer]]\ncall = \"ping 10.0.0.1 0\"\n[[expect]]\ncode = \"p.ok\"\nseverity = \"ok\"\n";

/// Pings 10.0.0.1, does `then`, and finds that all is well.
fn says_ok(then: &str) -> Vec<u8> {
    let texts = data(512, b"10.0.0.1") + &data(600, b"p.ok") + &data(610, b"ok");
    let none = [0, 0];
    let finding = [[600, 4], [610, 2], none, none, none, none];
    let definitions = [
        PING.to_owned(),
        texts,
        data(16, &words(&[0, 64, 1])),
        data(64, &words(finding.as_flattened())),
    ]
    .join("\n");
    checker(
        &definitions,
        &format!("{PING_10_0_0_1} {then} (i32.const 16)"),
    )
}

fn subject(component: &[u8], grants: &str) -> (Subject, Grants) {
    let grants: Grants = serde_json::from_str(grants).expect("good grants");
    let loaded = Subject::load("p", &compile(component), &grants);
    (loaded.unwrap_or_else(|error| panic!("{error}")), grants)
}

fn fixture(text: &str) -> Fixture {
    Fixture::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn none() -> Vec<String> {
    Vec::new()
}

#[tokio::test]
async fn a_fixture_passes_and_tells_what_was_called_and_found() {
    let (subject, _) = subject(&says_ok(""), GRANTED);
    let played = play(&subject, &fixture(ANSWERED)).await;
    assert_eq!(played.failures, none());
    assert_eq!(played.calls, ["ping 10.0.0.1 0"]);
    assert_eq!(played.ended, ["p.ok ok : "]);
}

#[tokio::test]
async fn what_is_not_as_it_must_be_is_told_in_words() {
    let (subject, _) = subject(&says_ok(""), GRANTED);
    for (text, expect) in [
        ("", "no answer is scripted for `ping 10.0.0.1 0`"),
        ("", "unexpected finding p.ok ok"),
        ("[[expect]]\ncode = \"p.bad\"", "there is no finding p.bad"),
        ("must_call = [\"info\"]", "`info` was not called"),
        ("must_not_call = [\"ping *\"]", "`ping *` was called"),
        (
            "[expect_state]\nseen = \"1\"",
            "state \"seen\" holds nothing, not \"1\"",
        ),
    ] {
        let failures = play(&subject, &fixture(text)).await.failures;
        assert!(
            failures.iter().any(|why| why.contains(expect)),
            "{expect:?} is not in {failures:?}"
        );
    }
    let unused = format!("{ANSWERED}[[answer]]\ncall = \"info\"");
    let played = play(&subject, &fixture(&unused)).await;
    assert_eq!(played.notes, ["the answer to `info` was not asked for"]);
}

#[tokio::test]
async fn a_call_that_the_manifest_does_not_ask_for_is_denied_as_on_a_node() {
    let other = r#"{"check": {"net": {"icmp": ["192.168.0.0/16"]}}}"#;
    let (subject, _) = subject(&says_ok(""), other);
    let failures = play(&subject, &fixture(ANSWERED)).await.failures;
    let told = |why: &String| {
        ["was denied", "net.icmp", "plugin.toml"]
            .iter()
            .all(|word| why.contains(word))
    };
    assert!(failures.iter().any(told), "{failures:?}");
    let allowed = format!("allow_denied = true\n{ANSWERED}");
    assert_eq!(play(&subject, &fixture(&allowed)).await.failures, none());
}

#[test]
fn a_plugin_that_imports_what_it_does_not_ask_for_is_refused_as_on_a_node() {
    let loaded = Subject::load("p", &compile(&says_ok("")), &Grants::default());
    let why = loaded.err().expect("refused").to_string();
    assert!(why.contains("needs grant `net.icmp`"), "{why}");
}

/// Planted: a plugin that says `ok` whatever the host answered.
#[tokio::test]
async fn a_plugin_that_says_ok_when_it_saw_nothing_fails() {
    let (subject, _) = subject(&says_ok(""), GRANTED);
    let report = faults(&subject, &fixture(ANSWERED)).await;
    // Three ways to see nothing at all, and the same three in its one call.
    assert_eq!(report.runs, 6);
    assert_eq!(report.failures.len(), 3, "{:?}", report.failures);
    for why in &report.failures {
        assert!(why.contains("it saw nothing, and says p.ok ok"), "{why}");
    }
    let without = format!("faults = false\n{ANSWERED}");
    assert_eq!(faults(&subject, &fixture(&without)).await.runs, 0);
}

/// Planted: a plugin that takes an error for impossible.
#[tokio::test]
async fn a_plugin_that_breaks_when_a_call_fails_is_told_with_the_call() {
    let trap = "(if (i32.load8_u (i32.const 128)) (then unreachable))";
    let (subject, _) = subject(&says_ok(trap), GRANTED);
    assert_eq!(play(&subject, &fixture(ANSWERED)).await.failures, none());
    let report = faults(&subject, &fixture(ANSWERED)).await;
    let told = "timeout in call 1 (`ping 10.0.0.1 0`): the plugin broke (trap)";
    assert!(
        report.failures.iter().any(|why| why.starts_with(told)),
        "{:?}",
        report.failures
    );
}

#[tokio::test]
async fn a_run_is_measured_in_calls_memory_and_time() {
    let (subject, _) = subject(&says_ok(""), GRANTED);
    let cost = bench(&subject, &fixture(ANSWERED), 20).await;
    let cost = cost.unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!((cost.runs, cost.host_calls), (20, 1));
    assert_eq!(cost.memory_peak_bytes, 2 << 16);
    assert!(!cost.wall.p50.is_zero() && cost.wall.p50 <= cost.wall.p99);
}

/// A host that is there.
struct Real;

#[async_trait]
impl Broker for Real {
    async fn call(&self, _: &CallContext, request: Request) -> Result<Response, CapError> {
        let Request::Ping { host, .. } = request else {
            return Err(CapError::Unavailable("not here".to_owned()));
        };
        Ok(Response::Ping(PingOutcome {
            sent: 1,
            received: 1,
            rtt_min_us: 7,
            rtt_avg_us: 7,
            rtt_max_us: 7,
            method: "icmp-raw".to_owned(),
            outcome: "ok".to_owned(),
            address: host,
        }))
    }
}

#[tokio::test]
async fn what_was_recorded_plays_anywhere() {
    let (subject, _) = subject(&says_ok(""), GRANTED);
    let recording = Recording::default();
    let real: Arc<dyn Broker> = Arc::new(Real);
    let listener = Arc::new(Recorder::new(real, &recording));
    let report = subject.run(listener, &fixture("")).await;
    let ended = report.outcome.unwrap_or_else(|fault| panic!("{fault}"));
    assert!(matches!(&ended, Ended::Check(findings) if findings.len() == 1));
    let text = recording.to_fixture("recorded on \"styx\"", &[], &ended);
    let played = play(&subject, &fixture(&text)).await;
    assert_eq!(played.failures, none(), "{text}");
    assert!(text.contains("rtt_min_us = 7"), "{text}");
}
