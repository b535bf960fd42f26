//! The bridge that stands for the hypervisor's network, and its cuts.
//!
//! The outside world is 10.77.0.1 on the bridge `iaso0`. A cut drops every frame of one port in both directions, ARP too; it is made by the
//! port's name, so it holds from the first moment of the next boot.

use crate::programs;
use anyhow::{Context, Result, bail};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

/// The bridge.
pub(crate) const BRIDGE: &str = "iaso0";
const TABLE: &str = "iaso_lab";
/// The outside world.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The service address of the cluster's DNS.
pub const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 10);

/// Makes bridge, addresses and the table of cuts.
pub(crate) fn create(further: &[Ipv4Addr]) -> Result<()> {
    remove();
    run("ip", &["link", "add", BRIDGE, "type", "bridge"])?;
    run(
        "ip",
        &["address", "add", &format!("{OUTSIDE}/24"), "dev", BRIDGE],
    )?;
    for address in further {
        run(
            "ip",
            &["address", "add", &format!("{address}/32"), "dev", BRIDGE],
        )?;
    }
    run("ip", &["link", "set", BRIDGE, "up"])?;
    let rules = format!(
        "table bridge {TABLE} {{\n set cut {{ type ifname; }}\n\
         chain forward {{ type filter hook forward priority 0; iifname @cut drop; oifname @cut drop; }}\n\
         chain input {{ type filter hook input priority 0; iifname @cut drop; }}\n\
         chain output {{ type filter hook output priority 0; oifname @cut drop; }}\n}}\n"
    );
    nft(&rules)
}

/// Removes them, if they are there.
pub(crate) fn remove() {
    let bridge = Path::new("/sys/class/net").join(BRIDGE);
    if bridge.exists() {
        // A killed container's port stays until the kernel has cleaned up its namespace: not that long.
        for port in std::fs::read_dir(bridge.join("brif"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = run(
                "ip",
                &["link", "delete", &port.file_name().to_string_lossy()],
            );
        }
        let _ = run("ip", &["link", "delete", BRIDGE]);
        let _ = run("nft", &["delete", "table", "bridge", TABLE]);
    }
}

/// Cuts a host's port.
pub(crate) fn cut(host: &str) -> Result<()> {
    nft(&format!(
        "add element bridge {TABLE} cut {{ \"vb-{host}\" }}\n"
    ))
}

/// Joins it again; nothing when it was not cut.
pub(crate) fn heal(host: &str) -> Result<()> {
    // Adding first makes the deletion certain to find it.
    nft(&format!(
        "add element bridge {TABLE} cut {{ \"vb-{host}\" }}\ndelete element bridge {TABLE} cut {{ \"vb-{host}\" }}\n"
    ))
}

fn nft(rules: &str) -> Result<()> {
    use std::io::Write;
    let program = programs::system("nft").context("nft is not installed: install nftables")?;
    let mut child = Command::new(program)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start nft")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(rules.as_bytes())
            .context("nft does not listen")?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "nft refused: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Runs a system program to its end.
pub(crate) fn run(name: &str, arguments: &[&str]) -> Result<()> {
    let program = programs::system(name).with_context(|| format!("{name} is not installed"))?;
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{name} {} failed: {}", arguments.join(" "), why.trim());
    }
    Ok(())
}
