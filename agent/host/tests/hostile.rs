//! Whatever a plugin does, it is named right, the host lives, and a neighbour is on time.

#![allow(clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{OK_EMPTY, checker, data, grants, host, limits, load, words};
use iaso_grants::Grants;
use iaso_host::{FaultClass, LoadedPlugin, PluginFault, RunLimits, RunReport};

const NET: &str =
    r#"(import "iaso:plugin/net@0.1.0" "tcp-connect" (func $tcp (param i32 i32 i32 i32 i32)))"#;
const LOG: &str = r#"(import "iaso:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32 i32)))"#;
const MAY_CONNECT: &str = r#"{"check": {"net": {"tcp": [{"to": "*"}]}}}"#;

/// Runs a plugin beside a good one that starts a moment later on the same thread; both reports.
async fn beside_a_neighbour(
    hostile: &LoadedPlugin,
    good: &LoadedPlugin,
    limits: &RunLimits,
) -> PluginFault {
    let (config, usual) = (Vec::new(), RunLimits::default());
    let neighbours = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..5 {
            tokio::task::yield_now().await;
            let report = good.check(&config, &usual).await;
            assert_eq!(report.outcome, Ok(Vec::new()));
            slowest = slowest.max(report.duration);
        }
        slowest
    };
    let (report, slowest): (RunReport<_>, Duration) =
        tokio::join!(hostile.check(&config, limits), neighbours);
    assert!(
        slowest < Duration::from_millis(500),
        "a neighbour took {slowest:?}"
    );
    assert!(
        report.duration < limits.timeout + Duration::from_secs(1),
        "ended after {:?}",
        report.duration
    );
    let again = good.check(&config, &usual).await;
    assert_eq!(again.outcome, Ok(Vec::new()), "the host is alive");
    report.outcome.expect_err("it is hostile")
}

async fn fault_of(definitions: &str, run: &str, given: &Grants) -> PluginFault {
    let host = host();
    let good = load(&host, &checker("", OK_EMPTY), &Grants::default()).expect("a good plugin");
    let hostile = load(&host, &checker(definitions, run), given).expect("it loads");
    beside_a_neighbour(&hostile, &good, &limits()).await
}

async fn class_of(definitions: &str, run: &str) -> FaultClass {
    fault_of(definitions, run, &Grants::default()).await.class
}

#[tokio::test]
async fn an_infinite_loop_meets_its_deadline() {
    let fault = fault_of("", "(loop $l (br $l)) (i32.const 16)", &Grants::default()).await;
    assert_eq!(fault.class, FaultClass::Deadline);
    assert_eq!(
        fault.message,
        "the plugin computed for more than 300ms and was ended"
    );
}

#[tokio::test]
async fn a_loop_in_a_start_function_meets_its_deadline() {
    let class = class_of("(start $s) (func $s (loop $l (br $l)))", OK_EMPTY).await;
    assert_eq!(class, FaultClass::Deadline);
}

#[tokio::test]
async fn a_memory_bomb_is_out_of_memory() {
    let run = "(loop $l (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $l)) (i32.const 16)";
    assert_eq!(class_of("", run).await, FaultClass::OutOfMemory);
}

#[tokio::test]
async fn a_table_bomb_is_out_of_memory() {
    let run = "(loop $l (if (i32.eq (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)) (then unreachable)) (br $l)) (i32.const 16)";
    assert_eq!(
        class_of("(table $t 1 funcref)", run).await,
        FaultClass::OutOfMemory
    );
}

#[tokio::test]
async fn deep_recursion_is_a_trap() {
    let recurse = "(func $f (param i64) (result i64) (i64.add (call $f (i64.add (local.get 0) (i64.const 1))) (local.get 0)))";
    let fault = fault_of(
        recurse,
        "(drop (call $f (i64.const 0))) (i32.const 16)",
        &Grants::default(),
    )
    .await;
    assert_eq!(fault.class, FaultClass::Trap);
    assert!(
        fault.message.contains("called itself too deeply"),
        "{fault}"
    );
}

#[tokio::test]
async fn unreachable_code_is_a_trap_wherever_it_is() {
    assert_eq!(class_of("", "unreachable").await, FaultClass::Trap);
    assert_eq!(
        class_of("(start $s) (func $s unreachable)", OK_EMPTY).await,
        FaultClass::Trap
    );
}

#[tokio::test]
async fn a_huge_list_is_bad_output() {
    // Result at 16: ok, a list at 64 of more findings than the memory can hold, or than anyone may pass.
    for count in [u32::MAX / 48, 1000] {
        let result = data(16, &words(&[0, 64, count]));
        assert_eq!(
            class_of(&result, OK_EMPTY).await,
            FaultClass::BadOutput,
            "{count} findings"
        );
    }
}

#[tokio::test]
async fn a_text_that_is_not_text_is_bad_output() {
    let broken = data(16, &words(&[1, 64, 2])) + &data(64, b"\xff\xfe");
    assert_eq!(class_of(&broken, OK_EMPTY).await, FaultClass::BadOutput);
}

#[tokio::test]
async fn a_flood_of_host_calls_is_ended() {
    let flood = "(loop $l (call $log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (br $l)) (i32.const 16)";
    let fault = fault_of(LOG, flood, &Grants::default()).await;
    assert_eq!(fault.class, FaultClass::Refused);
    assert_eq!(
        fault.message,
        "the plugin made more than 1500 host calls in one run and was ended"
    );
}

#[tokio::test]
async fn a_host_call_that_never_answers_meets_the_deadline() {
    let definitions = format!("{NET}\n{}", data(64, b"never"));
    let run = "(call $tcp (i32.const 64) (i32.const 5) (i32.const 22) (i32.const 0) (i32.const 128)) (i32.const 16)";
    let fault = fault_of(&definitions, run, &grants(MAY_CONNECT)).await;
    assert_eq!(fault.class, FaultClass::Deadline);
    assert_eq!(
        fault.message,
        "the plugin was not done after 2s and was ended"
    );
}

#[tokio::test]
async fn log_beyond_its_bytes_is_dropped_and_counted() {
    let definitions = format!("{LOG}\n{}", data(64, b"a\nline"));
    let run = "(local $n i32) (loop $l (call $log (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 6))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $n) (i32.const 1000)))) (i32.const 16)";
    let host = host();
    let plugin = load(&host, &checker(&definitions, run), &Grants::default()).expect("it loads");
    let report = plugin
        .check(
            &Vec::new(),
            &RunLimits {
                log_bytes: 220,
                ..RunLimits::default()
            },
        )
        .await;
    assert_eq!(report.outcome, Ok(Vec::new()));
    assert_eq!(
        (
            report.log.len(),
            report.log_lines_dropped,
            report.host_calls
        ),
        (10, 990, 1000)
    );
    assert!(report.log.iter().all(|line| line.message == "a line"));
}
