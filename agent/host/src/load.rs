//! From compiled bytes to a plugin that can be run: every reason to refuse it comes in words, before any of its code runs.

use iaso_grants::Grants;
use serde::{Deserialize, Serialize};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, Precompiled};

use crate::aot::{self, Verified};
use crate::bindings::exports::iaso::plugin::{check, fix};
use crate::bindings::iaso::plugin::{
    dns, files, host, http, kube, log, net, scripts, services, state, types,
};
use crate::digest::Digest;
use crate::engine::{MEMORIES_MAX, MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use crate::fault::{FaultClass, PluginFault};
use crate::host::Linked;
use crate::interface::{self, INTERFACE_VERSION, Import, Interface, refused};
use crate::store::RunState;

/// The largest compiled plugin.
pub const COMPILED_BYTES_MAX: usize = 256 << 20;

/// Checks and links a compiled plugin; without `grants` its imports only have to be known ones.
pub(crate) fn link(
    engine: &Engine,
    compiled: &[u8],
    expected: &Digest,
    grants: Option<&Grants>,
) -> Result<Linked, PluginFault> {
    if compiled.len() > COMPILED_BYTES_MAX {
        return Err(refused(format!(
            "the compiled plugin is larger than {} MiB",
            COMPILED_BYTES_MAX >> 20
        )));
    }
    let code = Verified::new(compiled, expected).map_err(|found| {
        refused(format!("these are not the bytes that were expected: their digest is {found}, not {expected}; fetch it again"))
    })?;
    is_compiled_component(compiled)?;
    let component = aot::load(engine, &code).map_err(|error| not_loadable(&error))?;
    fits_the_pool(&component)?;
    let functions = imports_of(engine, &component);
    let mut imports = functions
        .iter()
        .map(|import| accepted(import, grants))
        .collect::<Result<Vec<_>, _>>()?;
    exports_of(engine, &component)?;
    let mut linker = Linker::new(engine);
    for import in &imports {
        add(&mut linker, *import)
            .map_err(|e| PluginFault::new(FaultClass::HostError, format!("cannot link: {e:#}")))?;
    }
    let pre = linker
        .instantiate_pre(&component)
        .map_err(|_| other_shape("imports"))?;
    let check = check::GuestIndices::new(&pre).map_err(|_| other_shape("`check`"))?;
    let fix = if exported(engine, &component, "fix") {
        Some(fix::GuestIndices::new(&pre).map_err(|_| other_shape("`fix`"))?)
    } else {
        None
    };
    imports.retain(|import| *import != Interface::Types);
    Ok(Linked {
        pre,
        check,
        fix,
        imports,
        functions,
    })
}

fn is_compiled_component(bytes: &[u8]) -> Result<(), PluginFault> {
    let not_wasm = |message: &str| Err(PluginFault::new(FaultClass::NotWasm, message));
    match Engine::detect_precompiled(bytes) {
        Some(Precompiled::Component) => Ok(()),
        Some(Precompiled::Module) => {
            not_wasm("this is a compiled core module; a plugin is a component")
        }
        None if bytes.starts_with(b"\0asm") => not_wasm(
            "this is WebAssembly that was not compiled for this agent: run `iaso-compile` on it",
        ),
        None => not_wasm("this is not a compiled plugin, or it is damaged"),
    }
}

/// wasmtime's words are for its users, not for ours; what matters is whether compiling anew would help.
fn not_loadable(error: &wasmtime::Error) -> PluginFault {
    let text = format!("{error:#}");
    tracing::debug!(error = text, "compiled plugin refused by the engine");
    if text.contains("pooling allocator") {
        return refused(
            "the plugin is made of more parts than this agent runs: link it into fewer modules"
                .to_owned(),
        );
    }
    if text.contains("compiled with")
        || text.contains("compiled for")
        || text.contains("compilation settings")
    {
        return refused(
            "the plugin was compiled for another engine than this agent's: compile it again with this version's `iaso-compile`".to_owned(),
        );
    }
    PluginFault::new(
        FaultClass::NotWasm,
        "the compiled plugin is damaged: compile it again",
    )
}

fn fits_the_pool(component: &Component) -> Result<(), PluginFault> {
    let Some(needs) = component.resources_required() else {
        return Err(refused(
            "the plugin takes modules as imports, which no plugin may".to_owned(),
        ));
    };
    let is_too_large = needs.num_memories > MEMORIES_MAX
        || needs.num_tables > TABLES_MAX
        || needs
            .max_initial_memory_size
            .is_some_and(|bytes| bytes > MEMORY_BYTES_MAX as u64)
        || needs
            .max_initial_table_size
            .is_some_and(|entries| entries > TABLE_ELEMENTS_MAX as u64);
    if is_too_large {
        return Err(PluginFault::new(
            FaultClass::OutOfMemory,
            format!(
                "the plugin starts with more than a plugin may have: {MEMORIES_MAX} memories of {} MiB, {TABLES_MAX} tables of {TABLE_ELEMENTS_MAX} entries",
                MEMORY_BYTES_MAX >> 20
            ),
        ));
    }
    Ok(())
}

/// One import of a component and what it takes from it; none when it is no interface at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedFunctions {
    /// The import's full name, with its version.
    pub interface: String,
    /// Names of functions.
    pub functions: Option<Vec<String>>,
}

/// Whether a plugin with these imports may be run under `grants`; a fault names the grant that is missing.
pub fn check_imports(imports: &[ImportedFunctions], grants: &Grants) -> Result<(), PluginFault> {
    imports
        .iter()
        .try_for_each(|import| accepted(import, Some(grants)).map(drop))
}

/// Without grants every interface that this agent has is accepted.
fn accepted(import: &ImportedFunctions, grants: Option<&Grants>) -> Result<Interface, PluginFault> {
    let functions = import.functions.as_ref();
    let import = Import {
        name: &import.interface,
        functions: functions.map(|names| names.iter().map(String::as_str).collect()),
    };
    if let Some(grants) = grants {
        return interface::accept(&import, grants);
    }
    let unasked = Grants {
        declined: vec![interface::interface_name(import.name).to_owned()],
        ..Grants::default()
    };
    interface::accept(&import, &unasked)
}

fn imports_of(engine: &Engine, component: &Component) -> Vec<ImportedFunctions> {
    let ty = component.component_type();
    ty.imports(engine)
        .map(|(name, item)| ImportedFunctions {
            interface: name.to_owned(),
            functions: if let ComponentItem::ComponentInstance(instance) = &item.ty {
                Some(functions_of(engine, instance))
            } else {
                None
            },
        })
        .collect()
}

fn functions_of(
    engine: &Engine,
    instance: &wasmtime::component::types::ComponentInstance,
) -> Vec<String> {
    instance
        .exports(engine)
        .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn exports_of(engine: &Engine, component: &Component) -> Result<(), PluginFault> {
    if exported(engine, component, "check") {
        return Ok(());
    }
    Err(refused(format!(
        "the component does not export `iaso:plugin/check@{INTERFACE_VERSION}`: every plugin looks; build it for the world `checker` or `fixer`"
    )))
}

fn exported(engine: &Engine, component: &Component, interface: &str) -> bool {
    let ty = component.component_type();
    let names: Vec<String> = ty
        .exports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    interface::exported(names.iter().map(String::as_str), interface).is_some()
}

fn other_shape(what: &str) -> PluginFault {
    refused(format!(
        "its {what} have other types than `iaso:plugin@{INTERFACE_VERSION}`: build the plugin with this version's SDK"
    ))
}

fn add(linker: &mut Linker<RunState>, interface: Interface) -> wasmtime::Result<()> {
    type Own = HasSelf<RunState>;
    match interface {
        Interface::Types => types::add_to_linker::<_, Own>(linker, |s| s),
        Interface::Log => log::add_to_linker::<_, Own>(linker, |s| s),
        Interface::Net => net::add_to_linker::<_, Own>(linker, |s| s),
        Interface::Dns => dns::add_to_linker::<_, Own>(linker, |s| s),
        Interface::Http => http::add_to_linker::<_, Own>(linker, |s| s),
        Interface::Services => services::add_to_linker::<_, Own>(linker, |s| s),
        Interface::Scripts => scripts::add_to_linker::<_, Own>(linker, |s| s),
        Interface::Host => host::add_to_linker::<_, Own>(linker, |s| s),
        Interface::Files => files::add_to_linker::<_, Own>(linker, |s| s),
        Interface::Kube => kube::add_to_linker::<_, Own>(linker, |s| s),
        Interface::State => state::add_to_linker::<_, Own>(linker, |s| s),
    }
}
