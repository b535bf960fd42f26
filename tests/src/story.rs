//! How an end-to-end test begins and ends: it says loudly why it cannot run here, and tells everything it knows when it fails.

use crate::hosts::{HostKind, nspawn};
use crate::programs;
use crate::scene::{Lab, LabOptions};
use anyhow::{Result, bail};

/// Why a scene with such hosts cannot be played here; `None`: it can.
#[must_use]
pub fn obstacle(kind: HostKind) -> Option<String> {
    if let Some(why) = missing_programs(&["iaso-agent", "iaso-controller", "iaso-lab"]) {
        return Some(why);
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

/// Which of these programs is not built; `None`: all are.
#[must_use]
pub fn missing_programs(names: &[&str]) -> Option<String> {
    let missing = names.iter().find_map(|name| programs::program(name).err());
    missing.map(|error| error.to_string())
}

/// Says loudly that a test is skipped, if there is an obstacle. That is an error under `IASO_REQUIRE_ALL`.
pub fn skipped(name: &str, obstacle: Option<String>) -> Result<bool> {
    let Some(why) = obstacle else {
        return Ok(false);
    };
    if std::env::var("IASO_REQUIRE_ALL").is_ok_and(|value| value == "1") {
        bail!("{name} cannot run here, and IASO_REQUIRE_ALL is set: {why}");
    }
    eprintln!("SKIPPED {name}: {why}");
    Ok(true)
}

/// A lab for one test, or `None` when it cannot be had here, which is an error under `IASO_REQUIRE_ALL`.
pub async fn lab(name: &str, options: LabOptions) -> Result<Option<Lab>> {
    let cluster = options.real.then(crate::kubereal::obstacle).flatten();
    if skipped(name, obstacle(options.kind).or(cluster))? {
        return Ok(None);
    }
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Lab::start(options).await.map(Some)
}

/// What `iaso node NAME` prints.
///
/// # Errors
/// When it prints nothing: with what it says on standard error.
pub async fn iaso_node(lab: &Lab, name: &str) -> Result<String> {
    let output = tokio::process::Command::new(programs::program("iaso")?)
        .args(["node", name, "--color", "never"])
        .arg("--controller")
        .arg(lab.paths.controller_url())
        .arg("--token-file")
        .arg(lab.paths.operator_token_file())
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(
        !text.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}
