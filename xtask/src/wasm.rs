//! Builds the shipped plugins, as `iaso plugin build` builds everybody's: module, component, manifest.

use crate::process::{cache_dir, root, step, target_dir};
use crate::setup;
use anyhow::{Context, Result, bail};
use iaso_author::{Toolchain, component_of, module_path};
use iaso_package::{Manifest, pack};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The plugins that ship.
pub(crate) const PLUGINS: [&str; 15] = [
    "k3s-agent",
    "network-probe",
    "coredns",
    "service-http",
    "disk",
    "conntrack",
    "clock-skew",
    "k3s-certs",
    "token-expiry",
    "dns-loop",
    "egress",
    "stuck-pods",
    "url-lint",
    "image-drift",
    "flux",
];

/// Builds every shipped plugin and answers the directory that has the components.
pub(crate) fn build_all() -> Result<PathBuf> {
    let workspace = root().join("plugins");
    let modules = target_dir().join("wasm");
    let mut command = toolchain()?;
    command
        .current_dir(&workspace)
        .arg("--locked")
        .env("CARGO_TARGET_DIR", &modules);
    for plugin in PLUGINS {
        command.args(["-p", plugin]);
    }
    step("building the plugins", &mut command)?;
    let components = target_dir().join("plugins");
    std::fs::create_dir_all(&components)
        .with_context(|| format!("cannot create {}", components.display()))?;
    for plugin in PLUGINS {
        let module = module_path(&modules, plugin);
        let component = components.join(format!("{plugin}.wasm"));
        let source = workspace.join(plugin);
        encode(&module, &source.join("plugin.toml"), &component)
            .and_then(|encoded| check_imports(&source.join("IMPORTS"), &encoded))
            .with_context(|| format!("plugin {plugin}"))?;
    }
    Ok(components)
}

/// Turns a core module into a component, with its manifest if it has one. What the manifest asks for must be what the component can use.
fn encode(module: &Path, manifest: &Path, component: &Path) -> Result<Vec<u8>> {
    let bytes =
        std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let mut made = component_of(&bytes)
        .with_context(|| format!("{} does not make a component", module.display()))?;
    if manifest.is_file() {
        made = with_manifest(&made, manifest).with_context(|| manifest.display().to_string())?;
    }
    std::fs::write(component, &made)
        .with_context(|| format!("cannot write {}", component.display()))?;
    eprintln!("    {} ({} bytes)", component.display(), made.len());
    Ok(made)
}

fn with_manifest(component: &[u8], file: &Path) -> Result<Vec<u8>> {
    let manifest = Manifest::from_toml(&std::fs::read_to_string(file)?)?;
    let made = pack(component, &manifest)?;
    let looked = iaso_package::look(&made)?;
    let (missing, unused) = (
        looked.missing(&manifest.grants),
        looked.unused(&manifest.grants),
    );
    if !missing.is_empty() || !unused.is_empty() {
        bail!("it lacks the grants {missing:?}, or asks for {unused:?} without use");
    }
    Ok(made)
}

/// The import list is the capability list: a component imports what its `IMPORTS` names, one interface in a line, and nothing else.
fn check_imports(list: &Path, component: &[u8]) -> Result<()> {
    let expected =
        std::fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let expected: BTreeSet<&str> = expected.lines().collect();
    let imports: BTreeSet<String> = iaso_package::look(component)?
        .imports
        .into_iter()
        .map(|import| {
            let short = iaso_grants::split_interface(&import.name).map(|(name, _)| name.to_owned());
            short.unwrap_or(import.name)
        })
        // Types only: no function, no capability.
        .filter(|name| name != "types")
        .collect();
    if imports
        .iter()
        .map(String::as_str)
        .ne(expected.iter().copied())
    {
        bail!(
            "it imports {imports:?}, but {} says {expected:?}: a capability too many, or the list is old",
            list.display()
        );
    }
    Ok(())
}

/// `cargo build` with a compiler that knows the target, installed where it can be.
fn toolchain() -> Result<Command> {
    let refused = cache_dir()
        .ok()
        .map(|cache| cache.join("rustup-target-refused"));
    let found = match Toolchain::find(refused.as_deref()) {
        Err(_) if setup::can_install() => {
            setup::install(&Toolchain::DEBIAN_PACKAGES)?;
            Toolchain::find(refused.as_deref())
        }
        found => found,
    };
    Ok(found?.cargo_build())
}
