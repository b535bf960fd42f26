//! Plugins for tests, made from text: hostile ones, and ones that say exactly what a test wants. No compiler of another language is needed.
//!
//! **Invariants**
//! - What comes out is a component of the real interface, checked as such; what it does when it runs is the test's business.
//! - Only for tests: what cannot be made is a mistake of the test, and panics.

mod hostile;
mod said;

pub use hostile::{Hostile, PING, USE_PING};
pub use said::Says;

use std::path::PathBuf;
use std::process::{Command, Output};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// A result at address 16: `ok` with no findings, since memory begins as zeros.
pub const OK_EMPTY: &str = "(i32.const 16)";

/// The program that compiles: `IASO_COMPILE`, else beside the tests.
///
/// # Panics
/// When it is not there, with what to do.
#[must_use]
pub fn compiler() -> PathBuf {
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
///
/// # Panics
/// When it cannot be run.
#[must_use]
pub fn compile_with(component: &[u8], arguments: &[&str]) -> (Output, Option<Vec<u8>>) {
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
///
/// # Panics
/// When the compiler finds fault with it.
#[must_use]
pub fn compile(component: &[u8]) -> Vec<u8> {
    let (output, compiled) = compile_with(component, &[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    compiled.expect("the compiler wrote it")
}

/// A core module as text becomes a component of `world` of the real interface.
///
/// # Panics
/// When the text is not good, or does not fit the world.
#[must_use]
pub fn component(world: &str, wat: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/wit");
    let (package, _) = resolve.push_path(path).expect("the interface file is good");
    let worlds = &resolve.packages.get(package).expect("just read").worlds;
    let world = *worlds.get(world).expect("a world of the interface");
    encode(&resolve, world, wat)
}

/// A core module as text becomes a component of any world.
///
/// # Panics
/// When the text is not good, or does not fit the world.
#[must_use]
pub fn encode(resolve: &Resolve, world: WorldId, wat: &str) -> Vec<u8> {
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
#[must_use]
pub fn checker(definitions: &str, run: &str) -> Vec<u8> {
    component("checker", &module(definitions, run))
}

/// The text of a module with a memory, an allocator that only grows, and `check.run`.
#[must_use]
pub fn module(definitions: &str, run: &str) -> String {
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

/// Data at an address, as text.
#[must_use]
pub fn data(at: u32, bytes: &[u8]) -> String {
    let escape = |byte: &u8| ['\\', digit(byte >> 4), digit(byte & 15)];
    let escaped: String = bytes.iter().flat_map(escape).collect();
    format!("(data (i32.const {at}) \"{escaped}\")\n")
}

fn digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).expect("four bits")
}

/// Numbers in a plugin's memory.
#[must_use]
pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}
