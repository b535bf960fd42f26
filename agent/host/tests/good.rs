//! A plugin that behaves: it finds something, and it plans and applies a fix.

#![allow(clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{data, host, load, words};
use iaso_components::Says;
use iaso_grants::Grants;
use iaso_host::types::{Finding, FixDescription};
use iaso_host::{Allocator, FaultClass, RunLimits};

const FIXER: Says = Says {
    code: "hostile.disk-full",
    severity: "critical",
    remedy: "clean",
    applied: "fixed",
};

#[tokio::test]
async fn a_fixer_finds_plans_and_fixes() {
    let host = host();
    let plugin = load(&host, &FIXER.fixer(), &Grants::default()).expect("it loads");
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
        summary: "as it says".to_owned(),
        remedies: vec!["clean".to_owned()],
        attributes: Vec::new(),
    };
    assert_eq!(report.outcome, Ok(vec![expected]));
    assert_eq!(report.memory_peak_bytes, 2 << 16);
    let fixes = plugin.fixes(&limits).await.outcome;
    let clean = FixDescription {
        name: "clean".to_owned(),
        summary: "as it says".to_owned(),
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
