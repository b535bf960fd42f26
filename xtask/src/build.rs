//! Builds the programs. The compiler of plugins is built apart, so that nothing else gets its features.

use crate::process::{cargo, step, target_dir};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the built programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The directory that has all of them.
    pub(crate) directory: PathBuf,
}

impl Programs {
    /// Tells the lab and the tests where everything is.
    pub(crate) fn tell(&self, command: &mut Command, plugins: &Path) {
        command
            .env("IASO_BIN_DIR", &self.directory)
            .env("IASO_PLUGINS_DIR", plugins)
            .env("IASO_COMPILE", self.directory.join("iaso-compile"));
    }
}

/// Builds agent, controller, CLI, lab and the plugin compiler.
pub(crate) fn programs() -> Result<Programs> {
    step(
        "building the agent, the controller, the CLI and the lab",
        cargo().args(["build", "--locked"]).args([
            "-p",
            "iaso-agent",
            "-p",
            "iaso-controller",
            "-p",
            "iaso-cli",
            "-p",
            "iaso-tests",
        ]),
    )?;
    compiler()?;
    Ok(Programs {
        directory: target_dir().join("debug"),
    })
}

/// Builds the plugin compiler alone and answers where it is.
pub(crate) fn compiler() -> Result<PathBuf> {
    step(
        "building the plugin compiler",
        cargo().args(["build", "--locked", "-p", "iaso-compile"]),
    )?;
    Ok(target_dir().join("debug").join("iaso-compile"))
}

/// Has the controller write the definitions of its kinds.
pub(crate) fn crds() -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--locked", "-p", "iaso-controller", "--"]);
    command.args(["crds", "--directory", "deploy/kustomize/base/crds"]);
    step("writing the definitions", &mut command)
}
