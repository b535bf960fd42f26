//! From a core module to a component.

use iaso_package::{NotAPlugin, look, module_problems};

/// Why a module makes no component.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// Not even a module.
    #[error(transparent)]
    NotAPlugin(#[from] NotAPlugin),
    /// It imports what nobody gives.
    #[error("{}", .0.join("; "))]
    Imports(Vec<String>),
    /// It was not made for the plugin interface.
    #[error(
        "the module does not carry the plugin interface: build it with the SDK (Rust) or with bindings that wit-bindgen made of plugin.wit (other languages)"
    )]
    NoInterface,
    /// The encoder's own words: a module that an SDK made does not come here.
    #[error("the module does not fit the plugin interface: {0}")]
    Unfit(String),
}

/// Makes a component of a core module; a component stays what it is.
pub fn component_of(bytes: &[u8]) -> Result<Vec<u8>, ComponentError> {
    match look(bytes) {
        Ok(_) => return Ok(bytes.to_vec()),
        Err(NotAPlugin::CoreModule) => {}
        Err(error) => return Err(error.into()),
    }
    let problems = module_problems(bytes)?;
    if !problems.is_empty() {
        return Err(ComponentError::Imports(problems));
    }
    if !carries_interface(bytes) {
        return Err(ComponentError::NoInterface);
    }
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(bytes)
        .and_then(wit_component::ComponentEncoder::encode)
        .map_err(|error| ComponentError::Unfit(format!("{error:#}")))
}

/// Bindings leave the interface in a custom section whose name begins so.
fn carries_interface(module: &[u8]) -> bool {
    const SECTION: &[u8] = b"component-type";
    module
        .windows(SECTION.len())
        .any(|window| window == SECTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let module = wat::parse_str(text).expect("good text");
        component_of(&module).expect_err("refused").to_string()
    }

    #[test]
    fn a_component_stays_what_it_is() {
        let component = iaso_components::checker("", iaso_components::OK_EMPTY);
        assert_eq!(component_of(&component).expect("it is one"), component);
    }

    #[test]
    fn a_module_without_the_interface_is_told_so() {
        assert!(error("(module)").contains("does not carry the plugin interface"));
        assert!(component_of(b"x").is_err());
    }

    #[test]
    fn a_modules_wasi_and_its_undefined_symbols_are_named() {
        let wasi = error(r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)))"#);
        assert!(
            wasi.contains("`wasi_snapshot_preview1.fd_write`") && wasi.contains("WASI"),
            "{wasi}"
        );
        let symbol = error(r#"(module (import "env" "strtol" (func)))"#);
        assert!(
            symbol.contains("`strtol`") && symbol.contains("nothing defines"),
            "{symbol}"
        );
    }
}
