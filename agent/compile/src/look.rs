//! What a file is and what a component imports, looked at before it is compiled, so that refusals come in words.
//!
//! Validation is the compiler's: it validates whatever it compiles.

use iaso_host::{INTERFACE_VERSION, check_import_name};
use wasmparser::{Encoding, Parser, Payload};

use crate::compile::CompileError;

/// Refuses what is not a component, what lacks the one export that every plugin has, and what imports something that no agent of this version has.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "a dozen kinds of section that a component may hold are the compiler's to judge"
)]
pub(crate) fn look(bytes: &[u8]) -> Result<(), CompileError> {
    is_component(bytes)?;
    let mut depth = 0_usize;
    let mut exports_check = false;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| {
            CompileError::Component(format!("the component is damaged: {}", error.message()))
        })? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports.into_iter().flatten() {
                    check_import_name(import.name.name)
                        .map_err(|fault| CompileError::Component(fault.message))?;
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                exports_check |= exports
                    .into_iter()
                    .flatten()
                    .any(|e| e.name.name.starts_with("iaso:plugin/check@"));
            }
            _ => {}
        }
    }
    if exports_check {
        return Ok(());
    }
    Err(CompileError::Component(format!(
        "the component does not export `iaso:plugin/check@{INTERFACE_VERSION}`: build it for the world `checker` or `fixer`"
    )))
}

fn is_component(bytes: &[u8]) -> Result<(), CompileError> {
    let wrong = |message: &str| Err(CompileError::Component(message.to_owned()));
    if !bytes.starts_with(b"\0asm") {
        return wrong("this is not WebAssembly");
    }
    match Parser::new(0).parse_all(bytes).next() {
        Some(Ok(Payload::Version {
            encoding: Encoding::Component,
            ..
        })) => Ok(()),
        Some(Ok(Payload::Version {
            encoding: Encoding::Module,
            ..
        })) => wrong(
            "this is a core module, not a component: make a component of it first (wit-component, wasm-tools component new)",
        ),
        _ => wrong("this is WebAssembly of an unknown version"),
    }
}
