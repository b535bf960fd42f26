//! The manifest into the component, as a custom section at its end.

use wasm_encoder::{ComponentSection as _, CustomSection};

use crate::component::{NotAPlugin, look};
use crate::manifest::{BadManifest, MANIFEST_BYTES_MAX, Manifest};

/// The section's name.
pub const MANIFEST_SECTION: &str = "iaso:manifest";
/// Magic number and version.
const HEADER_BYTES: usize = 8;
/// The id of custom sections.
const CUSTOM: u8 = 0;

/// Why nothing was packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// No component.
    #[error(transparent)]
    Component(#[from] NotAPlugin),
    /// No manifest.
    #[error(transparent)]
    Manifest(#[from] BadManifest),
}

/// The component with this manifest in it, in place of whatever manifests it had.
pub fn pack(component: &[u8], manifest: &Manifest) -> Result<Vec<u8>, PackError> {
    look(component)?;
    let data = manifest.to_section();
    if data.len() > MANIFEST_BYTES_MAX {
        return Err(BadManifest::TooLarge(data.len()).into());
    }
    let mut packed = without_manifests(component)
        .ok_or_else(|| NotAPlugin::Damaged("a section is longer than the file".to_owned()))?;
    CustomSection {
        name: MANIFEST_SECTION.into(),
        data: data.into(),
    }
    .append_to_component(&mut packed);
    Ok(packed)
}

/// Copies the sections, manifests left out. None when a length leads out of the file.
fn without_manifests(component: &[u8]) -> Option<Vec<u8>> {
    let mut out = component.get(..HEADER_BYTES)?.to_vec();
    let mut rest = component.get(HEADER_BYTES..)?;
    while let Some((&id, after_id)) = rest.split_first() {
        let (len, body) = leb128(after_id)?;
        let (content, after) = body.split_at_checked(len)?;
        let whole = rest.len() - after.len();
        if id != CUSTOM || section_name(content) != Some(MANIFEST_SECTION) {
            out.extend_from_slice(rest.get(..whole)?);
        }
        rest = after;
    }
    Some(out)
}

fn section_name(content: &[u8]) -> Option<&str> {
    let (len, body) = leb128(content)?;
    std::str::from_utf8(body.get(..len)?).ok()
}

/// An unsigned 32-bit number and what follows it.
fn leb128(mut bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u32;
    for shift in (0..32).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        bytes = rest;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes));
        }
    }
    None
}
