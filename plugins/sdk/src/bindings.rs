//! What wit-bindgen makes of `wit/plugin.wit`: the imports once, and the exports over the same types.
//!
//! A plugin author meets these types only as re-exports of [`crate::capability`].

#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::indexing_slicing,
    reason = "generated code"
)]

/// Every import. What a plugin does not call is dropped by the linker, and so never becomes an import of its component.
pub mod capabilities {
    wit_bindgen::generate!({
        path: "../wit",
        world: "capabilities",
        runtime_path: "::iaso_plugin::__private::rt",
        additional_derives: [PartialEq, Eq],
    });
}

macro_rules! exports {
    ($wit:literal, $path:literal) => {
        wit_bindgen::generate!({
            path: "../wit",
            inline: $wit,
            runtime_path: "::iaso_plugin::__private::rt",
            pub_export_macro: true,
            default_bindings_module: $path,
            with: {
                "iaso:plugin/types@0.1.0": crate::bindings::capabilities::iaso::plugin::types,
                "iaso:plugin/log@0.1.0": crate::bindings::capabilities::iaso::plugin::log,
                "iaso:plugin/net@0.1.0": crate::bindings::capabilities::iaso::plugin::net,
                "iaso:plugin/dns@0.1.0": crate::bindings::capabilities::iaso::plugin::dns,
                "iaso:plugin/http@0.1.0": crate::bindings::capabilities::iaso::plugin::http,
                "iaso:plugin/services@0.1.0": crate::bindings::capabilities::iaso::plugin::services,
                "iaso:plugin/scripts@0.1.0": crate::bindings::capabilities::iaso::plugin::scripts,
                "iaso:plugin/host@0.1.0": crate::bindings::capabilities::iaso::plugin::host,
                "iaso:plugin/files@0.1.0": crate::bindings::capabilities::iaso::plugin::files,
                "iaso:plugin/kube@0.1.0": crate::bindings::capabilities::iaso::plugin::kube,
                "iaso:plugin/state@0.1.0": crate::bindings::capabilities::iaso::plugin::state,
            },
        });
    };
}

// The world `fixer` in two halves, because one crate cannot hold two worlds that export the same interface; the encoder joins them again.

/// The half that looks: `check` is exported.
pub mod checking {
    exports!(
        "package iaso:sdk-check; world checking { include iaso:plugin/capabilities@0.1.0; export iaso:plugin/check@0.1.0; }",
        "iaso_plugin::bindings::checking"
    );
}

/// The half that acts: `fix` is exported.
pub mod fixing {
    exports!(
        "package iaso:sdk-fix; world fixing { include iaso:plugin/capabilities@0.1.0; export iaso:plugin/fix@0.1.0; }",
        "iaso_plugin::bindings::fixing"
    );
}
