//! A Rust compiler that knows `wasm32-unknown-unknown`.
//!
//! Looked for in this order: an installed rustup target; `rustup target add`; Debian's `rustc-web` packages, which build the target's
//! standard library from source.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target of every plugin: there is no WASI in it.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// A compiler for plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// Cargo as it is in PATH, with rustup's target.
    Rustup,
    /// Debian's packages.
    Debian,
}

/// There is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "no compiler here has the target {TARGET}: run `rustup target add {TARGET}` where there is a network, or, as root on Debian, install {}",
    Toolchain::DEBIAN_PACKAGES.join(" ")
)]
pub struct ToolchainError;

impl Toolchain {
    /// What Debian has in place of rustup's target.
    pub const DEBIAN_PACKAGES: [&str; 5] = [
        "rustc-web",
        "cargo-web",
        "rust-web-src",
        "rust-web-llvm",
        "lld-22",
    ];

    /// Finds one. `refused` is a file that remembers that rustup could not fetch the target here: the answer does not change, and asking
    /// takes long where there is no network.
    pub fn find(refused: Option<&Path>) -> Result<Self, ToolchainError> {
        if has_rustup_target() || add_rustup_target(refused) {
            return Ok(Self::Rustup);
        }
        if debian_ready() {
            return Ok(Self::Debian);
        }
        Err(ToolchainError)
    }

    /// `cargo build` for the target, optimised. The caller adds where and what.
    #[must_use]
    pub fn cargo_build(self) -> Command {
        let mut command = match self {
            Self::Rustup => {
                let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
                let mut command = Command::new(cargo);
                command.arg("build");
                command
            }
            Self::Debian => debian(),
        };
        command.args(["--release", "--target", TARGET]);
        command
    }
}

/// Where cargo puts the module of a package that is built so.
#[must_use]
pub fn module_path(target_dir: &Path, package: &str) -> PathBuf {
    let file = format!("{}.wasm", package.replace('-', "_"));
    target_dir.join(TARGET).join("release").join(file)
}

fn debian() -> Command {
    let mut path = OsString::from("/usr/bin:");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new("/usr/bin/cargo");
    command
        .args(["build", "-Zbuild-std=std,panic_abort"])
        .env("PATH", path)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", "/usr/bin/rustc")
        .env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
            "/usr/bin/rust-lld",
        )
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO");
    command
}

fn has_rustup_target() -> bool {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else { return false };
    let sysroot = String::from_utf8_lossy(&output.stdout);
    output.status.success()
        && Path::new(sysroot.trim())
            .join("lib/rustlib")
            .join(TARGET)
            .join("lib")
            .is_dir()
}

fn add_rustup_target(refused: Option<&Path>) -> bool {
    if refused.is_some_and(Path::exists) {
        return false;
    }
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status();
    match added {
        Ok(status) if status.success() => return true,
        Ok(_) => {}
        // No rustup: nothing was asked, and nothing is to be remembered.
        Err(_) => return false,
    }
    eprintln!("    rustup cannot fetch {TARGET} here: trying the system's packages");
    if let Some(mark) = refused {
        // Without the mark the next run merely asks rustup again.
        let _ = std::fs::write(mark, "remove this file to have rustup asked again\n");
    }
    false
}

fn debian_ready() -> bool {
    ["/usr/bin/cargo", "/usr/bin/rustc", "/usr/bin/rust-lld"]
        .iter()
        .all(|path| Path::new(path).is_file())
        && Path::new("/usr/lib/rustlib/src").is_dir()
}
