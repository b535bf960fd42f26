//! A real Kubernetes for the tests: etcd, kube-apiserver, kube-controller-manager and kubectl, found or made once for each machine.
//!
//! Taken from `KUBEBUILDER_ASSETS`, else from the user's cache, else from the net (the archive that Kubernetes' own controller tests
//! use, and the controller-manager beside it), else built from Debian's source package.
//!
//! **Invariants**
//! - A cached directory is complete: it gets its name when everything is in it.
//! - One maker at a time on a machine; the others wait and take what it made.
//! - Nothing is installed: compiler and sources are unpacked in the cache, and go when the programs are there.

mod debian;
mod envtest;

use crate::process::cache_dir;
use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

/// What the tests start.
const PROGRAMS: [&str; 3] = ["etcd", "kube-apiserver", "kube-controller-manager"];

/// Makes them and prints where they are.
pub(crate) fn run() -> Result<()> {
    println!("{}", ensure()?.display());
    Ok(())
}

/// The directory that has every program.
pub(crate) fn ensure() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|given| !given.is_empty()) {
        let given = PathBuf::from(given);
        let missing = missing_in(&given);
        if !missing.is_empty() {
            bail!(
                "KUBEBUILDER_ASSETS is {}, and there is no {} in it: put it there, or unset the variable to have everything made",
                given.display(),
                missing.join(", no ")
            );
        }
        return Ok(given);
    }
    if let Some(ready) = cached()? {
        return Ok(ready);
    }
    let cache = cache_dir()?;
    let _lock = lock(&cache)?;
    if let Some(ready) = cached()? {
        return Ok(ready);
    }
    let (fetched, built) = (cache.join(envtest::NAME), cache.join(debian::NAME));
    if envtest::reachable() {
        match make(&fetched, envtest::fetch) {
            Ok(()) => return Ok(fetched),
            Err(error) => eprintln!("==> not fetched: {error:#}"),
        }
    } else {
        eprintln!("==> no ready-made Kubernetes can be reached on the net");
    }
    make(&built, debian::build).context(
        "there is no real Kubernetes for the tests: set KUBEBUILDER_ASSETS to a directory with etcd, kube-apiserver and kube-controller-manager",
    )?;
    Ok(built)
}

/// The same, if nothing need be made for it.
pub(crate) fn ready() -> Option<PathBuf> {
    let given = std::env::var_os("KUBEBUILDER_ASSETS").is_some_and(|given| !given.is_empty());
    if given {
        return ensure().ok();
    }
    cached().ok().flatten()
}

fn cached() -> Result<Option<PathBuf>> {
    let cache = cache_dir()?;
    let mut all = [envtest::NAME, debian::NAME]
        .iter()
        .map(|name| cache.join(name));
    Ok(all.find(|at| missing_in(at).is_empty()))
}

fn missing_in(directory: &Path) -> Vec<&'static str> {
    let mut missing = PROGRAMS.to_vec();
    missing.retain(|program| !directory.join(program).is_file());
    missing
}

/// Makes in a directory beside, and gives it its name when it is complete.
fn make(at: &Path, with: fn(&Path, &Path) -> Result<()>) -> Result<()> {
    let work = at.with_extension("making");
    let _ = std::fs::remove_dir_all(&work);
    let out = work.join("out");
    std::fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let made = with(&work, &out).and_then(|()| {
        let missing = missing_in(&out);
        if !missing.is_empty() {
            bail!("no {} was made", missing.join(", no "));
        }
        std::fs::rename(&out, at).with_context(|| format!("cannot create {}", at.display()))
    });
    // Gigabytes of sources and objects, that nobody needs again.
    let _ = std::fs::remove_dir_all(&work);
    made
}

fn lock(cache: &Path) -> Result<Flock<File>> {
    let path = cache.join("kube.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((file, _)) => {
            eprintln!("==> somebody else is making a Kubernetes for the tests: waiting for it");
            Flock::lock(file, FlockArg::LockExclusive)
                .map_err(|(_, error)| error)
                .with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}
