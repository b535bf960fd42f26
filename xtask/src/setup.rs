//! Installs what a command needs and the machine lacks, with the system's package manager, and says so.

use crate::process::{has_program, step};
use anyhow::{Result, bail};
use std::process::Command;

/// A program and the Debian package that has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// The program.
    pub(crate) program: &'static str,
    /// Its package.
    pub(crate) package: &'static str,
}

/// A private message bus for process hosts.
pub(crate) const BUS: [Need; 1] = [Need {
    program: "dbus-daemon",
    package: "dbus",
}];

/// A C compiler, for SQLite and the TLS library.
pub(crate) const COMPILER: [Need; 1] = [Need {
    program: "cc",
    package: "gcc libc6-dev",
}];

/// Real hosts: containers with systemd, a bridge and a firewall.
pub(crate) const HOSTS: [Need; 4] = [
    Need {
        program: "systemd-nspawn",
        package: "systemd-container",
    },
    Need {
        program: "debootstrap",
        package: "debootstrap",
    },
    Need {
        program: "nft",
        package: "nftables",
    },
    Need {
        program: "ip",
        package: "iproute2",
    },
];

/// Installs what is missing. Without root or apt it names what a person must install.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs
        .iter()
        .filter(|need| !has_program(need.program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|need| need.package.split(' '))
        .collect();
    let programs: Vec<&str> = missing.iter().map(|need| need.program).collect();
    if !can_install() {
        bail!(
            "this needs {}, and there is no root or no apt-get to install it: install {} and try again",
            programs.join(", "),
            packages.join(" ")
        );
    }
    install(&packages)
}

/// Whether packages can be installed from here.
pub(crate) fn can_install() -> bool {
    is_root() && has_program("apt-get")
}

/// Whether we run as root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Installs Debian packages.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    step(
        "refreshing the package lists",
        apt().arg("update").arg("-qq"),
    )?;
    step(
        &format!("installing {}", packages.join(" ")),
        apt()
            .args(["install", "--yes", "-qq", "--no-install-recommends"])
            .args(packages),
    )
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
