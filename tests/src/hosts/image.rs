//! What is on a fresh disk besides the system, and the post-install script.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// The template of the lab's post-install script, with the controller's placeholders.
pub(super) const TEMPLATE: &str = include_str!("../../lab-assets/rejoin.sh.tmpl");

/// The values of one script.
#[derive(Debug, Clone)]
pub struct Script<'a> {
    /// The node.
    pub node: &'a str,
    /// The server to join.
    pub k3s_url: &'a str,
    /// The join token.
    pub k3s_token: &'a str,
    /// The version.
    pub k3s_version: &'a str,
    /// The controller, as the node reaches it.
    pub controller: &'a str,
    /// The node's join token.
    pub token: &'a str,
    /// Further arguments.
    pub flags: &'a str,
}

/// Fills the template in, as the controller does for a recreate.
#[must_use]
pub fn render(script: &Script<'_>) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let values = BTreeMap::from([
        ("{{node}}", quoted(script.node)),
        ("{{k3s_url}}", quoted(script.k3s_url)),
        ("{{k3s_token}}", quoted(script.k3s_token)),
        ("{{k3s_version}}", quoted(script.k3s_version)),
        ("{{iaso_controller}}", quoted(script.controller)),
        ("{{iaso_token}}", quoted(script.token)),
        ("{{flags}}", script.flags.to_owned()),
    ]);
    values
        .iter()
        .fold(TEMPLATE.to_owned(), |text, (placeholder, value)| {
            text.replace(placeholder, value)
        })
}

/// What the image knows of its machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine<'a> {
    /// Where the programs are, as the machine sees it.
    pub(crate) programs: &'a str,
    /// Its public address.
    pub(crate) address: IpAddr,
    /// Where the kubelet listens.
    pub(crate) listen: IpAddr,
    /// Where the kubelet's health is.
    pub(crate) health: IpAddr,
    /// The rest of the agent's configuration.
    pub(crate) agent: &'a str,
}

/// Writes the image's part of a fresh disk.
pub(crate) fn write(root: &Path, machine: &Machine<'_>) -> Result<()> {
    let Machine {
        programs,
        address,
        listen,
        health,
        agent,
    } = machine;
    let environment = format!(
        "LAB_BIN={programs}\nLAB_ADDRESS={address}\nLAB_LISTEN={listen}\nLAB_HEALTH={health}\n"
    );
    put(root, "etc/iaso-lab/host.env", &environment)?;
    put(root, "etc/iaso-lab/agent.toml.part", agent)
}

/// Writes one file under a root, with its directories.
pub(crate) fn put(root: &Path, path: &str, text: &str) -> Result<()> {
    let path = root.join(path);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a unit and enables it.
pub(crate) fn enable(root: &Path, unit: &str, text: &str) -> Result<()> {
    put(root, &format!("etc/systemd/system/{unit}"), text)?;
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    std::fs::create_dir_all(&wants)?;
    let link = wants.join(unit);
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(format!("/etc/systemd/system/{unit}"), &link)
        .with_context(|| format!("cannot enable {unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_complete_and_a_shell_takes_it() {
        let script = render(&Script {
            node: "styx",
            k3s_url: "https://10.77.0.1:6443",
            k3s_token: "K10ab::c.d",
            k3s_version: "v1.33.4+k3s1",
            controller: "https://10.77.0.1:7443",
            token: "it's",
            flags: "",
        });
        assert!(!script.contains("{{"), "a placeholder was left");
        let checked = std::process::Command::new("sh")
            .args(["-n", "-c", &script])
            .status()
            .expect("sh");
        assert!(checked.success());
    }
}
