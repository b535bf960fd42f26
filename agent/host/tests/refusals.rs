//! What is not a plugin for this agent is refused before any of its code runs, in words that say what would help.

#![allow(clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{
    OK_EMPTY, PING, USE_PING, checker, compile, compile_with, encode, grants, host, load, module,
};
use iaso_host::{Digest, FaultClass};
use std::sync::Arc;
use wit_parser::Resolve;

fn class_of_bytes(bytes: &[u8]) -> FaultClass {
    let loaded = host().load("p", bytes, &Digest::of(bytes), &Arc::default());
    loaded
        .err()
        .map(|fault| fault.class)
        .expect("it is refused")
}

fn refusal_of(component: &[u8]) -> String {
    let (output, compiled) = compile_with(component, &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(compiled, None);
    let words = String::from_utf8(output.stderr).expect("text");
    assert_eq!(words.lines().count(), 1, "{words}");
    words.trim_end().to_owned()
}

#[test]
fn an_import_without_a_grant_is_refused_with_the_grant_named() {
    let host = host();
    let component = checker(PING, USE_PING);
    let fault = load(
        &host,
        &component,
        &grants(r#"{"check": {"net": {"tcp": [{"to": "*"}]}}}"#),
    )
    .err()
    .expect("refused");
    assert_eq!(fault.class, FaultClass::MissingGrant);
    assert_eq!(
        fault.message,
        "imports `iaso:plugin/net@0.1.0` and was not granted it: needs grant `net.icmp` in `grants.check` or `grants.fix`, or `declined` to run without it"
    );
    assert!(
        load(
            &host,
            &component,
            &grants(r#"{"check": {"net": {"icmp": ["10.0.0.0/8"]}}}"#)
        )
        .is_ok()
    );
}

#[test]
fn bytes_that_are_no_plugin_are_not_wasm() {
    assert_eq!(
        class_of_bytes(b"\x7fELF and then nothing"),
        FaultClass::NotWasm
    );
    assert_eq!(class_of_bytes(b""), FaultClass::NotWasm);
    assert_eq!(class_of_bytes(&checker("", OK_EMPTY)), FaultClass::NotWasm);
}

#[test]
fn a_truncated_plugin_is_refused_wherever_it_is_cut() {
    let whole = compile(&checker("", OK_EMPTY));
    for part in 1..16 {
        let cut = whole.get(..whole.len() * part / 16).expect("a part");
        let class = class_of_bytes(cut);
        assert!(
            matches!(class, FaultClass::NotWasm | FaultClass::Refused),
            "{part}/16: {class}"
        );
    }
}

#[test]
fn other_bytes_than_expected_are_refused() {
    let compiled = compile(&checker("", OK_EMPTY));
    let fault = host()
        .load("p", &compiled, &Digest::of(b"other"), &Arc::default())
        .err()
        .expect("refused");
    assert_eq!(fault.class, FaultClass::Refused);
    assert!(
        fault.message.contains("not the bytes that were expected"),
        "{fault}"
    );
}

#[test]
fn a_plugin_for_another_engine_is_refused() {
    let mut compiled = compile(&checker("", OK_EMPTY));
    let hash = iaso_host::engine_hash(iaso_host::HOST_TARGET).to_string();
    let at = compiled
        .windows(hash.len())
        .position(|w| w == hash.as_bytes())
        .expect("the engine hash is in there");
    compiled.splice(at..at + hash.len(), "0".repeat(hash.len()).into_bytes());
    let fault = host()
        .load("p", &compiled, &Digest::of(&compiled), &Arc::default())
        .err()
        .expect("refused");
    assert_eq!(fault.class, FaultClass::Refused);
    assert!(
        fault.message.contains("compiled for another engine"),
        "{fault}"
    );
}

#[test]
fn the_compiler_says_what_is_wrong_with_a_component() {
    assert_eq!(refusal_of(b"#!/bin/sh"), "this is not WebAssembly");
    let core = wat::parse_str(module("", OK_EMPTY)).expect("good text");
    assert!(refusal_of(&core).starts_with("this is a core module, not a component"));
    let mut broken = checker("", OK_EMPTY);
    broken.truncate(broken.len() / 2);
    assert!(refusal_of(&broken).starts_with("the component is damaged"));
    let empty = wat::parse_str("(component)").expect("good text");
    assert!(
        refusal_of(&empty).starts_with("the component does not export `iaso:plugin/check@0.1.0`")
    );
    let wasi = wat::parse_str(r#"(component (import "wasi:cli/exit@0.2.0" (instance)))"#)
        .expect("good text");
    assert!(
        refusal_of(&wasi)
            .starts_with("needs `wasi:cli/exit@0.2.0`, which this agent does not have")
    );
}

#[test]
fn the_compiler_names_an_interface_that_is_too_new() {
    let mut resolve = Resolve::default();
    let text = "package iaso:plugin@0.3.0; interface http { send: func(); } interface check { run: func(); }
        world checker { import http; export check; }";
    let package = resolve.push_str("newer.wit", text).expect("good text");
    let world = *resolve
        .packages
        .get(package)
        .and_then(|p| p.worlds.get("checker"))
        .expect("it is there");
    let component = encode(
        &resolve,
        world,
        r#"(module (import "iaso:plugin/http@0.3.0" "send" (func $send))
            (func (export "iaso:plugin/check@0.3.0#run") (call $send)))"#,
    );
    assert!(
        refusal_of(&component).starts_with("needs `iaso:plugin/http@0.3.0`; this agent has 0.1.0")
    );
}

#[test]
fn the_compiler_prints_what_the_agent_needs() {
    let component = checker("", OK_EMPTY);
    let (output, compiled) = compile_with(&component, &["--target", iaso_host::HOST_TARGET]);
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    let hash = iaso_host::engine_hash(iaso_host::HOST_TARGET).to_string();
    let compiled = compiled.expect("it was written");
    assert_eq!(
        made,
        serde_json::json!({
            "engine_hash": hash,
            "digest": Digest::of(&component).to_string(),
            "compiled_digest": Digest::of(&compiled).to_string(),
        })
    );
    let asked = std::process::Command::new(common::compiler())
        .arg("--engine-hash")
        .output()
        .expect("it starts");
    assert_eq!(String::from_utf8_lossy(&asked.stdout).trim_end(), hash);
}
