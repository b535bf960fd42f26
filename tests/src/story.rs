//! How an end-to-end test begins and ends: it says loudly why it cannot run here, and tells everything it knows when it fails.

use crate::hosts::{HostKind, nspawn};
use crate::programs;
use crate::scene::{Lab, LabOptions};
use anyhow::{Result, bail};

/// Why a scene with such hosts cannot be played here; `None`: it can.
#[must_use]
pub fn obstacle(kind: HostKind) -> Option<String> {
    for program in ["iaso-agent", "iaso-controller", "iaso-lab"] {
        if let Err(error) = programs::program(program) {
            return Some(error.to_string());
        }
    }
    for plugin in ["k3s-agent", "network-probe", "coredns"] {
        if let Err(error) = programs::plugin(plugin) {
            return Some(error.to_string());
        }
    }
    match kind {
        HostKind::Process if programs::system("dbus-daemon").is_none() => {
            Some("dbus-daemon is not installed: install the package dbus".into())
        }
        HostKind::Process => None,
        HostKind::Nspawn => nspawn::missing(),
    }
}

/// A lab for one test, or `None` when it cannot be had here, which is an error under `IASO_REQUIRE_ALL`.
pub async fn lab(name: &str, options: LabOptions) -> Result<Option<Lab>> {
    if let Some(why) = obstacle(options.kind) {
        if std::env::var("IASO_REQUIRE_ALL").is_ok_and(|value| value == "1") {
            bail!("{name} cannot run here, and IASO_REQUIRE_ALL is set: {why}");
        }
        eprintln!("SKIPPED {name}: {why}");
        return Ok(None);
    }
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Lab::start(options).await.map(Some)
}
