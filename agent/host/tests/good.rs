//! A plugin that behaves: it finds something, and it plans and applies a fix.

#![allow(clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{component, data, host, load, module, words};
use iaso_grants::Grants;
use iaso_host::types::{Finding, FixDescription};
use iaso_host::{Allocator, FaultClass, RunLimits};

/// Texts at 1024 and on; records that point to them.
fn fixer() -> Vec<u8> {
    let texts: [(&str, u32); 5] = [
        ("hostile.disk-full", 1024),
        ("critical", 1056),
        ("clean", 1072),
        ("apply", 1088),
        ("fixed", 1104),
    ];
    let at = |text: &str| -> [u32; 2] {
        let (text, at) = texts
            .iter()
            .find(|(t, _)| *t == text)
            .copied()
            .expect("a known text");
        [at, u32::try_from(text.len()).expect("short")]
    };
    let none = [0, 0];
    let mut memory: String = texts
        .iter()
        .map(|(text, at)| data(*at, text.as_bytes()))
        .collect();
    let record = |parts: &[[u32; 2]]| words(parts.as_flattened());
    // check.run: ok, one finding at 64.
    memory += &data(16, &words(&[0, 64, 1]));
    memory += &data(
        64,
        &record(&[
            at("hostile.disk-full"),
            at("critical"),
            none,
            at("clean"),
            none,
            none,
        ]),
    );
    // fix.fixes: one description at 208; fix.plan and fix.apply: ok and the record itself.
    memory += &data(192, &words(&[208, 1]));
    memory += &data(
        208,
        &[record(&[at("clean"), at("clean")]), words(&[1])].concat(),
    );
    memory += &data(
        256,
        &[words(&[0]), record(&[at("apply"), at("clean"), none, none])].concat(),
    );
    memory += &data(
        320,
        &[words(&[0]), record(&[at("fixed"), at("clean"), none, none])].concat(),
    );
    let fix = r#"
        (func (export "iaso:plugin/fix@0.1.0#fixes") (result i32) (i32.const 192))
        (func (export "iaso:plugin/fix@0.1.0#plan") (param i32 i32 i32 i32) (result i32) (i32.const 256))
        (func (export "iaso:plugin/fix@0.1.0#apply") (param i32 i32 i32 i32) (result i32) (i32.const 320))"#;
    component("fixer", &module(&(memory + fix), "(i32.const 16)"))
}

#[tokio::test]
async fn a_fixer_finds_plans_and_fixes() {
    let host = host();
    let plugin = load(&host, &fixer(), &Grants::default()).expect("it loads");
    let (limits, config) = (
        RunLimits::default(),
        vec![("disk".to_owned(), "/".to_owned())],
    );
    assert_eq!(host.allocator(), Allocator::Pooled);
    assert!(plugin.has_fixes() && plugin.imports().is_empty());
    let report = plugin.check(&config, &limits).await;
    let expected = Finding {
        code: "hostile.disk-full".to_owned(),
        severity: "critical".to_owned(),
        subject: String::new(),
        summary: "clean".to_owned(),
        remedies: Vec::new(),
        attributes: Vec::new(),
    };
    assert_eq!(report.outcome, Ok(vec![expected]));
    assert_eq!(report.memory_peak_bytes, 2 << 16);
    let fixes = plugin.fixes(&limits).await.outcome;
    let clean = FixDescription {
        name: "clean".to_owned(),
        summary: "clean".to_owned(),
        disruptive: true,
    };
    assert_eq!(fixes, Ok(vec![clean]));
    assert_eq!(
        plugin
            .plan("clean", &config, &limits)
            .await
            .outcome
            .map(|p| p.verdict),
        Ok("apply".to_owned())
    );
    assert_eq!(
        plugin
            .apply("clean", &config, &limits)
            .await
            .outcome
            .map(|o| o.outcome),
        Ok("fixed".to_owned())
    );
}

#[tokio::test]
async fn a_checker_offers_no_fix_and_says_so() {
    let host = host();
    let plugin = load(
        &host,
        &common::checker("", common::OK_EMPTY),
        &Grants::default(),
    )
    .expect("it loads");
    let (limits, config) = (RunLimits::default(), Vec::new());
    assert_eq!(plugin.fixes(&limits).await.outcome, Ok(Vec::new()));
    let fault = plugin
        .apply("clean", &config, &limits)
        .await
        .outcome
        .expect_err("it only looks");
    assert_eq!(fault.class, FaultClass::Refused);
}

#[tokio::test]
async fn a_check_that_could_not_look_is_unknown_and_not_broken() {
    let definitions = data(16, &words(&[1, 64, 6])) + &data(64, b"no url");
    let host = host();
    let plugin = load(
        &host,
        &common::checker(&definitions, common::OK_EMPTY),
        &Grants::default(),
    )
    .expect("it loads");
    let findings = plugin
        .check(&Vec::new(), &RunLimits::default())
        .await
        .outcome
        .expect("it is not broken");
    let said: Vec<_> = findings
        .iter()
        .map(|f| (f.code.as_str(), f.severity.as_str(), f.summary.as_str()))
        .collect();
    assert_eq!(said, [("hostile.could-not-look", "unknown", "no url")]);
}
