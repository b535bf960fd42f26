//! Builds a directory once for all runs of this user: the base system of containers.
//!
//! **Invariants**
//! - Its place is taken by a rename when everything is on the disk: what is there is whole.
//! - One builds at a time. The build itself holds the lock as well, so that it is waited for even when the run that began it was killed.
//! - A build that failed or was interrupted leaves nothing that a later one takes for its own.

use crate::guard;
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::Command;

/// Last words that a failure tells.
const WORDS_MAX: usize = 12;
/// How often a long silence is broken.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How something is built.
pub(super) struct Recipe<'a> {
    /// What it is, for whoever waits.
    pub(super) what: &'a str,
    /// The command that builds into the directory it is given.
    pub(super) command: &'a dyn Fn(&Path) -> Result<Vec<OsString>>,
}

/// Builds `place` if it is not there. Whoever comes while another builds it waits.
pub(super) async fn ensure(place: &Path, recipe: &Recipe<'_>) -> Result<()> {
    if place.is_dir() {
        return Ok(());
    }
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot make {}", parent.display()))?;
    }
    let lock = lock(&place.with_extension("lock"), recipe.what).await?;
    if place.is_dir() {
        return Ok(());
    }
    let part = Part(place.with_extension("part"));
    part.remove()
        .context("cannot remove a half-built base system")?;
    eprintln!("==> building {}: a few minutes, once", recipe.what);
    let started = Instant::now();
    let built = build(&(recipe.command)(&part.0)?, &lock, started).await;
    built.with_context(|| format!("cannot build {}", recipe.what))?;
    // A rename that outlives its content would be taken for a whole system.
    nix::unistd::syncfs(File::open(&part.0)?).context("cannot write it to the disk")?;
    std::fs::rename(&part.0, place)
        .with_context(|| format!("cannot put it in its place, {}", place.display()))?;
    eprintln!(
        "    built in {} s: {}",
        started.elapsed().as_secs(),
        place.display()
    );
    Ok(())
}

/// A half-built directory; it goes when nobody builds in it any more.
struct Part(PathBuf);

impl Part {
    fn remove(&self) -> std::io::Result<()> {
        guard::unmount_below(&self.0);
        if self.0.exists() {
            std::fs::remove_dir_all(&self.0)?;
        }
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // What a dying build still writes into is removed by the next one.
        let _ = self.remove();
    }
}

/// The lock ends with its last descriptor, not before: it is never unlocked by hand.
async fn lock(path: &Path, what: &str) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                if !said {
                    eprintln!("==> another run is building {what}: waiting for it");
                    said = true;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

async fn build(words: &[OsString], lock: &File, started: Instant) -> Result<()> {
    let (program, arguments) = words.split_first().context("no program")?;
    let (reader, writer) = std::io::pipe()?;
    let mut child = Command::new(program)
        .args(arguments)
        // An empty file to read from, and the lock held for as long as the build lives.
        .stdin(lock.try_clone()?)
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let mut lines = BufReader::new(pipe::Receiver::from_owned_fd(reader.into())?).lines();
    let mut progress = Progress::new(started);
    let mut ticks = tokio::time::interval(TELL_EVERY);
    loop {
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => progress.hear(&line),
                Ok(None) | Err(_) => break,
            },
            _ = ticks.tick() => progress.tell(),
        }
    }
    let status = child.wait().await?;
    if !status.success() {
        let last = Vec::from(progress.last).join("\n  ");
        bail!("it failed ({status}), and said last:\n  {last}");
    }
    Ok(())
}

/// What debootstrap says, made short.
struct Progress {
    started: Instant,
    terminal: bool,
    phase: String,
    steps: u32,
    last: VecDeque<String>,
}

impl Progress {
    fn new(started: Instant) -> Self {
        Self {
            started,
            terminal: std::io::stderr().is_terminal(),
            phase: "starting".into(),
            steps: 0,
            last: VecDeque::new(),
        }
    }

    fn hear(&mut self, line: &str) {
        if self.last.len() == WORDS_MAX {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
        let Some(said) = line.strip_prefix("I: ") else {
            return;
        };
        // Each package is validated as soon as it was retrieved.
        let phase = match said.split(' ').next().unwrap_or_default() {
            "Retrieving" | "Validating" => "retrieving",
            "Extracting" => "extracting",
            "Unpacking" => "unpacking",
            "Configuring" => "configuring",
            _ => return,
        };
        self.steps += 1;
        if phase != self.phase {
            phase.clone_into(&mut self.phase);
            self.tell();
        } else if self.terminal {
            self.write("\r\x1b[K", said, "");
        }
    }

    fn tell(&self) {
        let done = format!("{} ({} steps)", self.phase, self.steps);
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        self.write(clear, &done, "\n");
    }

    fn write(&self, before: &str, text: &str, after: &str) {
        let at = self.started.elapsed().as_secs();
        // A reader that went away is no reason to stop.
        let _ = write!(std::io::stderr(), "{before}    {at:4} s  {text}{after}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Builds with a shell script, whose `$1` is the directory and `$2` a place to leave marks.
    async fn built_by(script: &str, dir: &Path) -> Result<()> {
        let command = |part: &Path| {
            let mut words: Vec<OsString> = ["sh", "-ec", script, "sh"].map(OsString::from).into();
            words.extend([part.into(), dir.into()]);
            Ok(words)
        };
        let recipe = Recipe {
            what: "a test",
            command: &command,
        };
        ensure(&dir.join("base"), &recipe).await
    }

    const WHOLE: &str = "echo x >> $2/begun; mkdir $1; echo whole > $1/system";

    async fn exists(path: &Path) {
        crate::until(Duration::from_secs(10), "the mark", || {
            std::future::ready(path.exists())
        })
        .await
        .expect("the script runs");
    }

    #[tokio::test]
    async fn two_runs_at_once_build_it_once_and_both_have_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, second) =
            tokio::join!(built_by(WHOLE, dir.path()), built_by(WHOLE, dir.path()));
        first.and(second).expect("built");
        let begun = std::fs::read_to_string(dir.path().join("begun")).expect("read");
        assert_eq!(begun, "x\n");
        assert!(dir.path().join("base/system").exists());
    }

    #[tokio::test]
    async fn an_interrupted_build_is_never_taken_and_the_next_begins_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let half = "mkdir $1; echo half > $1/half; touch $2/half; exec sleep 600";
        let begun = dir.path().join("half");
        tokio::select! {
            _ = built_by(half, dir.path()) => unreachable!("it sleeps"),
            () = exists(&begun) => {}
        }
        assert!(!dir.path().join("base").exists());
        // As after kill -9: nobody was there to remove it.
        std::fs::create_dir_all(dir.path().join("base.part")).expect("made");
        std::fs::write(dir.path().join("base.part/half"), "").expect("written");
        built_by(WHOLE, dir.path()).await.expect("built");
        assert!(!dir.path().join("base/half").exists());
        assert!(dir.path().join("base/system").exists());
        assert!(!dir.path().join("base.part").exists());
    }

    #[tokio::test]
    async fn a_failed_build_tells_its_last_words_and_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let script = "mkdir $1; echo 'E: no such mirror' >&2; exit 3";
        let error = built_by(script, dir.path()).await.expect_err("failed");
        let said = format!("{error:#}");
        assert!(
            said.contains("no such mirror") && said.contains("exit status: 3"),
            "{said}"
        );
        assert!(!dir.path().join("base").exists() && !dir.path().join("base.part").exists());
    }

    #[tokio::test]
    async fn a_build_that_outlives_its_run_is_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let orphan = "exec 3<&0; (until [ -e $2/release ]; do sleep 0.02; done) >/dev/null 2>&1 & touch $2/begun; exit 1";
        built_by(orphan, dir.path()).await.expect_err("it fails");
        let waits = AtomicU32::new(0);
        let released = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                waits.fetch_add(1, Ordering::Relaxed);
            }
            std::fs::write(dir.path().join("release"), "").expect("written");
            std::future::pending::<()>().await;
        };
        tokio::select! {
            built = built_by(WHOLE, dir.path()) => built.expect("built"),
            () = released => {}
        }
        assert_eq!(waits.load(Ordering::Relaxed), 3, "it did not wait");
    }
}
