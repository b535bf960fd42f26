//! The ready-made archive from the net, where there is one.
//!
//! The archive has no controller-manager, which comes from where Kubernetes publishes its releases. Both are checked against the
//! digests that are published beside them.

use crate::process::{has_program, output, step};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// The release, as the lab's k3s.
const VERSION: &str = "v1.33.0";
/// Directory in the cache.
pub(super) const NAME: &str = "kube-1.33.0-envtest-1";
const ARCHIVES: &str = "https://github.com/kubernetes-sigs/controller-tools/releases/download";
const RELEASES: &str = "https://dl.k8s.io/release";
/// Longest look for the net, and longest download, in seconds.
const REACHED_WITHIN: &str = "10";
const FETCHED_WITHIN: &str = "600";

/// Whether both can be asked for.
pub(super) fn reachable() -> bool {
    has_program("curl")
        && [archive(), manager()].iter().all(|url| {
            Command::new("curl")
                .args(["--silent", "--fail", "--location", "--head"])
                .args(["--max-time", REACHED_WITHIN, "--output", "/dev/null"])
                .arg(url)
                .stdin(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
}

/// Fetches, checks and unpacks into `out`.
pub(super) fn fetch(work: &Path, out: &Path) -> Result<()> {
    let packed = work.join("envtest.tar.gz");
    get(&archive(), &packed)?;
    check(&packed, &format!("{}.sha512", archive()), "sha512sum")?;
    let unpacked = work.join("unpacked");
    std::fs::create_dir_all(&unpacked)?;
    output(
        Command::new("tar")
            .arg("xzf")
            .arg(&packed)
            .arg("-C")
            .arg(&unpacked),
    )?;
    for program in ["etcd", "kube-apiserver", "kubectl"] {
        let from = unpacked.join("controller-tools/envtest").join(program);
        std::fs::rename(&from, out.join(program))
            .with_context(|| format!("the archive has no {program}"))?;
    }
    let program = out.join("kube-controller-manager");
    get(&manager(), &program)?;
    check(&program, &format!("{}.sha256", manager()), "sha256sum")?;
    output(Command::new("chmod").arg("755").arg(&program)).map(drop)
}

fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

fn archive() -> String {
    format!(
        "{ARCHIVES}/envtest-{VERSION}/envtest-{VERSION}-linux-{}.tar.gz",
        machine()
    )
}

fn manager() -> String {
    format!(
        "{RELEASES}/{VERSION}/bin/linux/{}/kube-controller-manager",
        machine()
    )
}

fn get(url: &str, to: &Path) -> Result<()> {
    step(
        &format!("fetching {url}"),
        Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--location"])
            .args(["--max-time", FETCHED_WITHIN, "--output"])
            .arg(to)
            .arg(url),
    )
}

/// The published digest is the first word; a file name may follow it.
fn check(file: &Path, url: &str, program: &str) -> Result<()> {
    let first = |text: String| text.split_whitespace().next().map(str::to_owned);
    let published = output(
        Command::new("curl")
            .args(["--silent", "--fail", "--location"])
            .args(["--max-time", REACHED_WITHIN])
            .arg(url),
    )?;
    let found = output(Command::new(program).arg(file))?;
    if first(published).is_none_or(|published| first(found) != Some(published)) {
        bail!("{} is not what {url} says it is", file.display());
    }
    Ok(())
}
