//! The base system of containers: built once by debootstrap, kept in the user's cache, laid under each host's own disk.

use super::network::run;
use crate::programs;
use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::{Path, PathBuf};

const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,iproute2,nftables,iputils-ping,procps,ca-certificates";

/// Why containers cannot run here, in words; `None`: they can.
#[must_use]
pub fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("nspawn hosts need root".into());
    }
    let needed = ["systemd-nspawn", "nft", "ip", "nsenter", "unshare"];
    if let Some(name) = needed.iter().find(|name| programs::system(name).is_none()) {
        return Some(format!("{name} is not installed"));
    }
    let base = directory().ok()?;
    if !base.is_dir() && programs::system("debootstrap").is_none() {
        return Some(
            "debootstrap is not installed, and there is no base system in the cache".into(),
        );
    }
    None
}

/// The base system, built now if it never was.
pub(crate) fn ensure() -> Result<PathBuf> {
    let base = directory()?;
    if base.is_dir() {
        return Ok(base);
    }
    let suite = suite()?;
    eprintln!("==> building the base system of containers ({suite}): about 90 s, once");
    let part = base.with_extension("part");
    if part.exists() {
        std::fs::remove_dir_all(&part).context("cannot remove a half-built base system")?;
    }
    if let Some(parent) = part.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let include = format!("--include={PACKAGES}");
    let target = part.display().to_string();
    run(
        "debootstrap",
        &["--variant=minbase", &include, &suite, &target],
    )?;
    std::fs::rename(&part, &base).context("cannot put the base system in its place")?;
    Ok(base)
}

fn directory() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: set one")?;
    Ok(cache.join("iaso").join(format!("rootfs-{}", suite()?)))
}

/// The machine's own release: its programs run in the containers, against the same C library.
fn suite() -> Result<String> {
    let text =
        std::fs::read_to_string("/etc/os-release").context("cannot tell which system this is")?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    match name {
        Some(name) => Ok(name.trim_matches('"').to_owned()),
        None => {
            bail!("/etc/os-release has no VERSION_CODENAME: nspawn hosts need Debian or Ubuntu")
        }
    }
}

/// Lays a fresh disk over the base; what was on it before is gone. A copy where overlays are not to be had.
pub(crate) fn lay(base: &Path, disk: &Path) -> Result<PathBuf> {
    let root = strip(disk)?;
    let [upper, work] = ["upper", "work"].map(|name| disk.join(name));
    for directory in [&upper, &work, &root] {
        std::fs::create_dir_all(directory)?;
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        base.display(),
        upper.display(),
        work.display()
    );
    let laid = mount(
        Some("overlay"),
        &root,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    );
    if laid.is_err() {
        let (from, to) = (format!("{}/.", base.display()), root.display().to_string());
        run("cp", &["-a", "--reflink=auto", &from, &to])?;
    }
    Ok(root)
}

/// Removes a disk's content. Answers where its root is.
pub(crate) fn strip(disk: &Path) -> Result<PathBuf> {
    let root = disk.join("root");
    // Not mounted is as good.
    let _ = umount2(&root, MntFlags::MNT_DETACH);
    if disk.exists() {
        std::fs::remove_dir_all(disk).context("cannot empty the disk")?;
    }
    Ok(root)
}
