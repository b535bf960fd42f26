//! Components made from text, compiled by the real `iaso-compile`, and a broker whose answers the test decides.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use iaso_grants::Grants;
use iaso_host::types::ConnectOutcome;
use iaso_host::{
    Broker, CallContext, CapError, Digest, HostConfig, LoadedPlugin, PluginFault, PluginHost,
    Request, Response, RunLimits,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The program that compiles; the test fails with what to do when it is not there.
pub(crate) fn compiler() -> PathBuf {
    if let Some(path) = std::env::var_os("IASO_COMPILE") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test has a path");
    let debug = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("target/debug/deps/test");
    let program = debug.join("iaso-compile");
    assert!(
        program.exists(),
        "{} is not there: build it with `cargo build -p iaso-compile`, or set IASO_COMPILE",
        program.display()
    );
    program
}

/// Runs the compiler on `component`; its output and the compiled bytes, if any.
pub(crate) fn compile_with(component: &[u8], arguments: &[&str]) -> (Output, Option<Vec<u8>>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (input, output) = (dir.path().join("in.wasm"), dir.path().join("out.cwasm"));
    std::fs::write(&input, component).expect("write the component");
    let done = Command::new(compiler())
        .args(arguments)
        .arg("--output")
        .arg(&output)
        .arg(&input)
        .output();
    (
        done.expect("the compiler starts"),
        std::fs::read(&output).ok(),
    )
}

/// The compiled form of a good component.
pub(crate) fn compile(component: &[u8]) -> Vec<u8> {
    let (output, compiled) = compile_with(component, &[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    compiled.expect("the compiler wrote it")
}

/// A core module as text becomes a component of `world` of the real interface.
pub(crate) fn component(world: &str, wat: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/wit");
    let (package, _) = resolve.push_path(path).expect("the interface file is good");
    encode(&resolve, resolve.packages[package].worlds[world], wat)
}

pub(crate) fn encode(resolve: &Resolve, world: wit_parser::WorldId, wat: &str) -> Vec<u8> {
    let mut module = wat::parse_str(wat).expect("the text is good");
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8, false)
        .expect("the world is known");
    let mut encoder = ComponentEncoder::default();
    encoder
        .validate(true)
        .module(&module)
        .expect("the module fits the world");
    encoder.encode().expect("a component")
}

/// A checker: `imports` and other definitions, then the body of `run`, which returns where its result lies.
pub(crate) fn checker(definitions: &str, run: &str) -> Vec<u8> {
    component("checker", &module(definitions, run))
}

/// The text of a module with a memory, an allocator that only grows, and `check.run`.
pub(crate) fn module(definitions: &str, run: &str) -> String {
    // Imports come first in a module; everything else may follow in any order.
    let (imports, rest): (Vec<&str>, Vec<&str>) = definitions
        .lines()
        .partition(|line| line.trim_start().starts_with("(import"));
    format!(
        r#"(module
          {imports}
          (memory (export "memory") 2)
          (global $heap (mut i32) (i32.const 65536))
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
            (global.set $heap (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
          {rest}
          (func (export "iaso:plugin/check@0.1.0#run") (param i32 i32) (result i32) {run}))"#,
        imports = imports.join("\n"),
        rest = rest.join("\n"),
    )
}

/// A result at address 16: `ok` with no findings, since memory begins as zeros.
pub(crate) const OK_EMPTY: &str = "(i32.const 16)";

/// Data at an address, as text.
pub(crate) fn data(at: u32, bytes: &[u8]) -> String {
    let escape = |byte: &u8| ['\\', digit(byte >> 4), digit(byte & 15)];
    let escaped: String = bytes.iter().flat_map(escape).collect();
    format!("(data (i32.const {at}) \"{escaped}\")\n")
}

fn digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).expect("four bits")
}

/// Numbers in a plugin's memory.
pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// Grants as TOML would have them, in JSON.
pub(crate) fn grants(json: &str) -> Grants {
    serde_json::from_str(json).expect("good grants")
}

/// Answers every connection with "connected", but one to the host `never` never.
pub(crate) struct MockBroker;

#[async_trait]
impl Broker for MockBroker {
    async fn call(&self, _context: &CallContext, request: Request) -> Result<Response, CapError> {
        let Request::TcpConnect { host, .. } = request else {
            return Err(CapError::Unavailable(format!("{request:?}")));
        };
        if host == "never" {
            return std::future::pending().await;
        }
        Ok(Response::Connect(ConnectOutcome {
            outcome: "connected".to_owned(),
            address: "10.0.0.7".to_owned(),
            elapsed_us: 1,
            detail: String::new(),
        }))
    }
}

pub(crate) fn host() -> PluginHost {
    PluginHost::new(HostConfig::default(), Arc::new(MockBroker)).expect("the engine starts")
}

pub(crate) fn load(
    host: &PluginHost,
    component: &[u8],
    grants: &Grants,
) -> Result<LoadedPlugin, PluginFault> {
    let compiled = compile(component);
    host.load("hostile", &compiled, &Digest::of(&compiled), grants)
}

/// Short, so that tests of deadlines are short.
pub(crate) fn limits() -> RunLimits {
    RunLimits {
        cpu: Duration::from_millis(300),
        host_calls: 1500,
        ..RunLimits::with_timeout(Duration::from_secs(2))
    }
}
