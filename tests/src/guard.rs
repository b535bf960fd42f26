//! One lab at a time, and nothing left of it.
//!
//! **Invariants**
//! - A lock is held while a lab lives; the kernel drops it with the process, however that ends.
//! - Where the lab is, is written down before anything is made. The next lab removes what a killed one left, before it begins.

use crate::callers::{self, LAB_VARIABLE};
use crate::hosts::nspawn::network;
use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long killed processes may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Holds the lab's place on this machine; gives everything back when dropped.
#[derive(Debug)]
pub struct Guard {
    directory: PathBuf,
    keep: bool,
    _lock: Flock<File>,
}

impl Guard {
    /// Waits for its turn, removes what a killed lab left, and makes a directory. With `keep` the directory stays.
    pub async fn take(keep: bool) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::take_now(keep))
            .await
            .context("the lock was not taken")?
    }

    fn take_now(keep: bool) -> Result<Self> {
        let lock = lock()?;
        remove_stale()?;
        let id = std::process::id();
        // Short: a Unix socket's path has at most 107 bytes.
        let directory = base().join(format!(
            "iaso-lab-{id}-{}",
            jiff::Timestamp::now().as_second()
        ));
        std::fs::write(state_file(), directory.as_os_str().as_encoded_bytes())
            .context("cannot write down where the lab is")?;
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Self {
            directory,
            keep,
            _lock: lock,
        })
    }

    /// Where the lab's files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        remove(&self.directory, self.keep);
        let _ = std::fs::remove_file(state_file());
    }
}

/// Removes what a killed lab left, when none is running.
pub async fn clean_stale() -> Result<()> {
    tokio::task::spawn_blocking(|| {
        let _lock = lock()?;
        remove_stale()
    })
    .await
    .context("nothing was cleaned")?
}

fn base() -> PathBuf {
    std::env::temp_dir()
}

fn state_file() -> PathBuf {
    base().join("iaso-lab.state")
}

fn lock() -> Result<Flock<File>> {
    let path = base().join("iaso-lab.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| {
            format!(
                "cannot open {}: does it belong to another user?",
                path.display()
            )
        })?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((file, _)) => {
            eprintln!("==> another lab is running on this machine: waiting for it to end");
            Flock::lock(file, FlockArg::LockExclusive)
                .map_err(|(_, error)| error)
                .context("cannot lock the lab")
        }
    }
}

fn remove_stale() -> Result<()> {
    let path = state_file();
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(());
    };
    let directory = PathBuf::from(text.trim());
    let named_like_ours = directory
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("iaso-lab-"));
    if named_like_ours {
        eprintln!(
            "==> removing what a killed lab left in {}",
            directory.display()
        );
        remove(&directory, false);
    }
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Kills, unmounts, unplugs and deletes. Goes on whatever fails: the rest must still go.
fn remove(directory: &Path, keep: bool) {
    let lab = directory.display().to_string();
    let started = Instant::now();
    loop {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let mut left = callers::processes_with(LAB_VARIABLE, &lab);
        left.retain(|pid| *pid != own && !is_zombie(*pid));
        if left.is_empty() || started.elapsed() > GONE_WITHIN {
            break;
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    unmount_below(directory);
    network::remove();
    if !keep && let Err(error) = std::fs::remove_dir_all(directory) {
        tracing::debug!(%error, "the lab's directory stays");
    }
}

/// Unmounts what is mounted at or below a directory: what is removed next must not be somebody else's file system.
pub(crate) fn unmount_below(directory: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let at = mounts
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1));
    let below: Vec<&str> = at
        .filter(|at| Path::new(at).starts_with(directory))
        .collect();
    for at in below.into_iter().rev() {
        let _ = umount2(at, MntFlags::MNT_DETACH);
    }
}

/// A zombie has no environment, but a race may show one.
fn is_zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}
