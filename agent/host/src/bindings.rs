//! Generated from `plugins/wit/plugin.wit`. One world is enough: what a plugin that only looks lacks is not looked up.

#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "generated"
)]

wasmtime::component::bindgen!({
    path: "../../plugins/wit",
    world: "fixer",
    imports: { default: async | trappable },
    exports: { default: async },
});
