//! A plugin as a file: what it imports, what it asks for, who signed it, and whether that is enough. Nothing of it is run here.
//!
//! **Invariants**
//! - Everything is decided from the component's own bytes: the manifest lies in it, and so under its digest and under its signature.
//! - A signature is believed only for the bytes that it was made for, by a key that is trusted for that plugin and not revoked.
//! - An older version than one that was accepted is refused by name, unless the operator says which is the least.
//! - Names out of a component are cut and made printable before they stand in a text.
//!
//! Deliberately absent: compiling, linking, files and clocks. The caller reads files and remembers versions.

mod cause;
mod component;
mod interface_words;
mod key;
mod manifest;
mod section;
mod signature;
mod trust;

pub use component::{COMPONENT_BYTES_MAX, Import, Kind, Looked, NotAPlugin, look, module_problems};
pub use interface_words::Use;
pub use key::{BadKey, PublicKey, SecretKey};
pub use manifest::{BadManifest, Budget, ConfigKey, MANIFEST_BYTES_MAX, Manifest};
pub use section::{MANIFEST_SECTION, PackError, pack};
pub use signature::{SIGNATURE_BYTES_MAX, Signature, SignatureError, sign, verify};
pub use trust::{Refusal, Trust, TrustedBy, TrustedKey};

/// A name out of a file, short and printable.
pub(crate) fn words(name: &str) -> String {
    const CHARS_MAX: usize = 128;
    name.chars()
        .take(CHARS_MAX)
        .map(|c| {
            if c.is_control() || c == '`' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}
