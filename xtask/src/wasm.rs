//! Builds the shipped plugins: Rust to a core module for wasm32-unknown-unknown, then to a component.
//!
//! A compiler with that target is looked for in this order: an installed rustup target; `rustup target add`; Debian's `rustc-web`
//! packages, which build the target's standard library from source.

use crate::process::{cache_dir, has_program, output, root, run, step, target_dir};
use crate::setup;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";
const DEBIAN: [&str; 5] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-llvm",
    "lld-22",
];

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
        .args(["--release", "--locked", "--target", TARGET])
        .env("CARGO_TARGET_DIR", &modules);
    for plugin in PLUGINS {
        command.args(["-p", plugin]);
    }
    step("building the plugins", &mut command)?;
    let components = target_dir().join("plugins");
    std::fs::create_dir_all(&components)
        .with_context(|| format!("cannot create {}", components.display()))?;
    for plugin in PLUGINS {
        let module = modules
            .join(TARGET)
            .join("release")
            .join(format!("{}.wasm", plugin.replace('-', "_")));
        let component = components.join(format!("{plugin}.wasm"));
        encode(&module, &component)
            .and_then(|encoded| check_imports(&workspace.join(plugin).join("IMPORTS"), &encoded))
            .with_context(|| format!("plugin {plugin}"))?;
    }
    Ok(components)
}

/// Turns a core module into a component.
fn encode(module: &Path, component: &Path) -> Result<Vec<u8>> {
    let bytes =
        std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let encoded = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(wit_component::ComponentEncoder::encode)
        .with_context(|| format!("{} does not make a component", module.display()))?;
    std::fs::write(component, &encoded)
        .with_context(|| format!("cannot write {}", component.display()))?;
    eprintln!("    {} ({} bytes)", component.display(), encoded.len());
    Ok(encoded)
}

/// The import list is the capability list: a component imports what its `IMPORTS` names, one interface in a line, and nothing else.
fn check_imports(list: &Path, component: &[u8]) -> Result<()> {
    let expected =
        std::fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let expected: BTreeSet<&str> = expected.lines().collect();
    let wit_component::DecodedWasm::Component(resolve, world) = wit_component::decode(component)?
    else {
        bail!("not a component");
    };
    let world = resolve.worlds.get(world).context("no world")?;
    let imports: BTreeSet<String> = world
        .imports
        .keys()
        .map(|key| {
            let name = resolve.name_world_key(key);
            let short = name
                .strip_prefix("iaso:plugin/")
                .and_then(|rest| rest.split_once('@'));
            short.map_or(name.clone(), |(interface, _)| interface.to_owned())
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

/// `cargo build` with a compiler that knows the target.
fn toolchain() -> Result<Command> {
    if has_rustup_target() || add_rustup_target() {
        let mut command = crate::process::cargo();
        command.arg("build");
        return Ok(command);
    }
    if !debian_ready() {
        if !setup::can_install() {
            bail!(
                "no compiler here has the target {TARGET}: run `rustup target add {TARGET}` where there is a network, or, as root on Debian, install {}",
                DEBIAN.join(" ")
            );
        }
        setup::install(&DEBIAN)?;
    }
    let mut command = Command::new("/usr/bin/cargo");
    command
        .args(["build", "-Zbuild-std=std,panic_abort"])
        .env(
            "PATH",
            format!("/usr/bin:{}", std::env::var("PATH").unwrap_or_default()),
        )
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", "/usr/bin/rustc")
        .env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
            "/usr/bin/rust-lld",
        )
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO");
    Ok(command)
}

fn has_rustup_target() -> bool {
    let Ok(sysroot) = output(Command::new("rustc").args(["--print", "sysroot"])) else {
        return false;
    };
    Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(TARGET)
        .join("lib")
        .is_dir()
}

/// Tries once for each toolchain: where there is no network, the answer does not change.
fn add_rustup_target() -> bool {
    if !has_program("rustup") {
        return false;
    }
    let refused = cache_dir()
        .ok()
        .map(|cache| cache.join("rustup-target-refused"));
    if refused.as_ref().is_some_and(|mark| mark.exists()) {
        return false;
    }
    if run(Command::new("rustup").args(["target", "add", TARGET])).is_ok() {
        return true;
    }
    eprintln!("    rustup cannot fetch {TARGET} here: trying the system's packages");
    if let Some(mark) = refused {
        // Without the mark the next run merely asks rustup again.
        let _ = std::fs::write(mark, "remove this file to let xtask ask rustup again\n");
    }
    false
}

fn debian_ready() -> bool {
    ["/usr/bin/cargo", "/usr/bin/rustc", "/usr/bin/rust-lld"]
        .iter()
        .all(|path| Path::new(path).is_file())
        && Path::new("/usr/lib/rustlib/src").is_dir()
}
