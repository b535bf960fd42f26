//! Looks into a component: imports with their functions, exports, the manifest, and by what it was made.

use std::collections::BTreeSet;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::Types;
use wasmparser::{
    ComponentExternalKind, CustomSectionReader, Encoding, KnownCustom, Parser, Payload, Validator,
    WasmFeatures,
};

use iaso_grants::split_interface;

use crate::manifest::{BadManifest, Manifest};
use crate::section::MANIFEST_SECTION;
use crate::{hex, words};

/// The largest component that is looked at.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;
/// Most imports that are told of; a plugin has a dozen interfaces to import.
const IMPORTS_MAX: usize = 256;
/// Most words about by what it was made.
const MAKERS_MAX: usize = 16;

/// Why a file is no plugin at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPlugin {
    /// Some other file.
    #[error("this is not WebAssembly: a plugin is a component, a `.wasm` file")]
    NotWasm,
    /// One step short.
    #[error(
        "this is a core module, not a component: `iaso plugin pack` makes a component of it, `iaso plugin build` does both"
    )]
    CoreModule,
    /// A newer format.
    #[error(
        "this is WebAssembly of an unknown version: update `iaso`, or build it with an older toolchain"
    )]
    UnknownVersion,
    /// Cut or garbled.
    #[error("the component is damaged: {0}; fetch or build it again")]
    Damaged(String),
    /// Larger than any plugin.
    #[error("the component has {} MiB, at most {} are allowed: strip its debug information", .0 >> 20, COMPONENT_BYTES_MAX >> 20)]
    TooLarge(u64),
}

/// What a component exports, and so is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It looks.
    Check,
    /// It looks and acts.
    CheckAndFix,
    /// It acts without looking, which no agent runs.
    FixOnly,
    /// Something else.
    Neither,
}

/// One import of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Its full name: `iaso:plugin/http@0.1.0`.
    pub name: String,
    /// The functions that the component takes from it; none when it is no interface but a lone function or type.
    pub functions: Option<Vec<String>>,
}

/// What was seen.
#[derive(Debug, Clone)]
pub struct Looked {
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the component, hexadecimal.
    pub digest: String,
    /// What it imports.
    pub imports: Vec<Import>,
    /// What it exports.
    pub exports: Vec<String>,
    /// What it says of itself; none when it says nothing.
    pub manifest: Option<Result<Manifest, BadManifest>>,
    /// By what it was made, in its own words: `rustc 1.95.0`, `componentize-js 0.23.0`.
    pub made_by: Vec<String>,
}

impl Looked {
    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match (self.exports("check"), self.exports("fix")) {
            (true, true) => Kind::CheckAndFix,
            (true, false) => Kind::Check,
            (false, true) => Kind::FixOnly,
            (false, false) => Kind::Neither,
        }
    }

    fn exports(&self, interface: &str) -> bool {
        self.exports.iter().any(|name| {
            split_interface(name).is_some_and(|(found, version)| {
                found == interface && iaso_grants::is_compatible(version)
            })
        })
    }

    /// The manifest, if there is a good one.
    #[must_use]
    pub fn good_manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()?.as_ref().ok()
    }
}

/// Looks into a component. No code of it runs.
pub fn look(bytes: &[u8]) -> Result<Looked, NotAPlugin> {
    let size = bytes.len() as u64;
    if size > COMPONENT_BYTES_MAX {
        return Err(NotAPlugin::TooLarge(size));
    }
    is_component(bytes)?;
    let damaged =
        |error: wasmparser::BinaryReaderError| NotAPlugin::Damaged(words(error.message()));
    let types = Validator::new_with_features(WasmFeatures::all())
        .validate_all(bytes)
        .map_err(damaged)?;
    let mut seen = Seen::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        seen.payload(&payload.map_err(damaged)?, &mut depth)
            .map_err(damaged)?;
    }
    Ok(Looked {
        bytes: size,
        digest: hex(&Sha256::digest(bytes)),
        imports: seen
            .imports
            .iter()
            .map(|name| import(&types, name))
            .collect(),
        exports: seen.exports,
        manifest: manifest(&seen.manifests),
        made_by: seen.made_by.into_iter().take(MAKERS_MAX).collect(),
    })
}

/// What one pass over the sections gathers.
#[derive(Default)]
struct Seen<'a> {
    imports: Vec<String>,
    exports: Vec<String>,
    manifests: Vec<&'a [u8]>,
    made_by: BTreeSet<String>,
}

impl<'a> Seen<'a> {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a dozen kinds of section that a component may hold say nothing here"
    )]
    fn payload(&mut self, payload: &Payload<'a>, depth: &mut usize) -> wasmparser::Result<()> {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => *depth += 1,
            Payload::End(_) => *depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if *depth == 0 => {
                for import in imports.clone() {
                    if self.imports.len() < IMPORTS_MAX {
                        self.imports.push(import?.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(exports) if *depth == 0 => {
                for export in exports.clone() {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Instance {
                        self.exports.push(export.name.name.to_owned());
                    }
                }
            }
            Payload::CustomSection(section) => self.custom(section, *depth),
            _ => {}
        }
        Ok(())
    }

    fn custom(&mut self, section: &CustomSectionReader<'a>, depth: usize) {
        if depth == 0 && section.name() == MANIFEST_SECTION {
            self.manifests.push(section.data());
            return;
        }
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "only one of the known custom sections says who made it"
        )]
        if let KnownCustom::Producers(producers) = section.as_known() {
            for field in producers.into_iter().flatten() {
                for value in field.values.into_iter().flatten() {
                    let said = format!("{} {}", words(value.name), words(value.version));
                    if self.made_by.len() < MAKERS_MAX {
                        self.made_by.insert(said.trim().to_owned());
                    }
                }
            }
        }
    }
}

fn manifest(found: &[&[u8]]) -> Option<Result<Manifest, BadManifest>> {
    match found {
        [] => None,
        [only] => Some(Manifest::from_section(only)),
        // Which of two counts would depend on who reads.
        _ => Some(Err(BadManifest::Several(found.len()))),
    }
}

fn import(types: &Types, name: &str) -> Import {
    let functions = types.component_item_for_import(name).and_then(|item| {
        let ComponentEntityType::Instance(id) = item.ty else {
            return None;
        };
        let exports = types[id].exports.iter();
        Some(
            exports
                .filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)))
                .map(|(name, _)| name.clone())
                .collect(),
        )
    });
    Import {
        name: name.to_owned(),
        functions,
    }
}

fn is_component(bytes: &[u8]) -> Result<(), NotAPlugin> {
    if !bytes.starts_with(b"\0asm") {
        return Err(NotAPlugin::NotWasm);
    }
    match Parser::new(0).parse_all(bytes).next() {
        Some(Ok(Payload::Version {
            encoding: Encoding::Component,
            ..
        })) => Ok(()),
        Some(Ok(Payload::Version {
            encoding: Encoding::Module,
            ..
        })) => Err(NotAPlugin::CoreModule),
        _ => Err(NotAPlugin::UnknownVersion),
    }
}

/// Why a core module would make no component that an agent runs: imports that nothing gives it. Empty when there are none.
pub fn module_problems(module: &[u8]) -> Result<Vec<String>, NotAPlugin> {
    let damaged =
        |error: wasmparser::BinaryReaderError| NotAPlugin::Damaged(words(error.message()));
    let (mut wasi, mut undefined) = (Vec::new(), Vec::new());
    let mut seen = Seen::default();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(damaged)?;
        if let Payload::ImportSection(imports) = &payload {
            for import in imports.clone().into_imports() {
                let import = import.map_err(damaged)?;
                match import.module {
                    "env" => undefined.push(format!("`{}`", words(import.name))),
                    from if from.starts_with("wasi") => {
                        wasi.push(format!("{from}.{}", import.name));
                    }
                    _ => {}
                }
            }
        }
        // Depth 1: a module has no manifest.
        seen.payload(&payload, &mut 1).map_err(damaged)?;
    }
    let mut problems = Vec::new();
    if !wasi.is_empty() {
        let names: Vec<&str> = wasi.iter().map(String::as_str).collect();
        let made_by: Vec<String> = seen.made_by.into_iter().collect();
        problems.push(crate::cause::wasi(&names, &made_by));
    }
    if !undefined.is_empty() {
        undefined.truncate(MAKERS_MAX);
        problems.push(format!(
            "it uses {}, which nothing defines: there is no C library in a plugin; define them, or do without",
            undefined.join(", ")
        ));
    }
    Ok(problems)
}
