//! The base system of containers: built once by debootstrap, kept in the user's cache, laid under each host's own disk.

use super::bootstrap::{self, Recipe};
use super::network::run;
use crate::programs;
use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
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
        let package = match *name {
            "systemd-nspawn" => "systemd-container",
            "nft" => "nftables",
            "ip" => "iproute2",
            _ => "util-linux",
        };
        return Some(format!(
            "{name} is not installed: install the package {package}"
        ));
    }
    let base = directory().ok()?;
    if !base.is_dir() && programs::system("debootstrap").is_none() {
        return Some(
            "debootstrap is not installed, and there is no base system in the cache: install the package debootstrap".into(),
        );
    }
    None
}

/// Builds the base system if it never was.
pub(crate) async fn ensure() -> Result<()> {
    let suite = suite()?;
    let what = format!("the base system of containers ({suite})");
    let recipe = Recipe {
        what: &what,
        command: &|part| debootstrap(&suite, part),
    };
    bootstrap::ensure(&directory()?, &recipe).await
}

/// In namespaces of its own, and tied to our life: its mounts and processes go with it, however it ends.
fn debootstrap(suite: &str, part: &Path) -> Result<Vec<OsString>> {
    let lab = programs::program("iaso-lab")?;
    let [unshare, debootstrap] = ["unshare", "debootstrap"].map(|name| {
        programs::system(name)
            .with_context(|| format!("{name} is not installed: install the package {name}"))
    });
    let mut words: Vec<OsString> = vec![lab.into(), "tether".into(), "--".into(), unshare?.into()];
    words.extend(["--mount", "--pid", "--mount-proc", "--kill-child", "--"].map(OsString::from));
    words.extend([
        debootstrap?.into(),
        "--variant=minbase".into(),
        format!("--include={PACKAGES}").into(),
        suite.into(),
        part.into(),
    ]);
    words.extend(mirror(suite).map(OsString::from));
    Ok(words)
}

/// Where this machine's own packages come from; `None`: debootstrap's default.
fn mirror(suite: &str) -> Option<String> {
    let apt = programs::system("apt-get")?;
    let listed = std::process::Command::new(apt)
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"])
        .args(["Created-By: Packages", "Component: main"])
        .output()
        .ok()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    listed.lines().find_map(|line| {
        let (uri, release) = line.split_once(' ')?;
        (release == suite && uri.starts_with("http")).then(|| uri.to_owned())
    })
}

/// A base system of other packages is another one: none is taken for it.
pub(crate) fn directory() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: set one")?;
    let digest = Sha256::digest(PACKAGES);
    let key: String = digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(cache
        .join("iaso")
        .join(format!("rootfs-{}-{key}", suite()?)))
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
