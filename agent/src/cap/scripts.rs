//! The operator's scripts, by name: no arguments, a process group of their own, killed as a whole when time is up.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use iaso_host::{CapError, types::ScriptOutcome};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

use super::net::elapsed_us;

/// What is kept of the output: its end.
const OUTPUT_BYTES_MAX: usize = 4096;
/// How long a script's children may hold its output open after it ended.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Names and paths of the scripts that may be run at all.
pub struct Scripts {
    paths: BTreeMap<String, PathBuf>,
}

/// Kills the group unless the script ended by itself: also when the call is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            // The script may have ended in this very moment; then there is nothing to kill.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Scripts {
    /// Only these.
    #[must_use]
    pub fn new(paths: BTreeMap<String, PathBuf>) -> Self {
        Self { paths }
    }

    /// Runs the script called `name`.
    pub async fn run(&self, name: &str, timeout: Duration) -> Result<ScriptOutcome, CapError> {
        let path = self.paths.get(name).ok_or_else(|| {
            CapError::Unavailable(format!(
                "the agent's configuration has no script `{name}`: add it under [scripts]"
            ))
        })?;
        run(path, timeout).await
    }
}

async fn run(path: &Path, timeout: Duration) -> Result<ScriptOutcome, CapError> {
    let start = Instant::now();
    let mut child = Command::new(path)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| super::os_error(&format!("script {}", path.display()), &error))?;
    let leader = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .map(Pid::from_raw);
    let mut group = Group(leader);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let output = tokio::spawn(async move { tokio::join!(tail(stdout), tail(stderr)) });
    let Ok(status) = tokio::time::timeout(timeout, child.wait()).await else {
        output.abort();
        return Err(CapError::Timeout); // Dropping the group kills it.
    };
    group.0 = None;
    let status = status
        .map_err(|error| CapError::Other(format!("cannot wait for {}: {error}", path.display())))?;
    // A daemon that the script started may keep the pipes open for ever: it is not waited for.
    let (out, err) = match tokio::time::timeout(DRAIN_TIMEOUT, output).await {
        Ok(Ok(both)) => both,
        Ok(Err(_)) | Err(_) => (Vec::new(), b"(its output is still open)".to_vec()),
    };
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    Ok(ScriptOutcome {
        exit_code: status.code().unwrap_or_else(|| 128 + signal.unwrap_or(0)),
        output: last(&[out, err].concat()),
        elapsed_us: elapsed_us(start),
    })
}

/// Reads to the end, keeps the end.
async fn tail(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    let Some(mut from) = from else { return kept };
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        kept.extend_from_slice(buffer.get(..length).unwrap_or_default());
        let excess = kept.len().saturating_sub(OUTPUT_BYTES_MAX);
        kept.drain(..excess);
    }
    kept
}

fn last(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(OUTPUT_BYTES_MAX);
    String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(text: &str) -> (tempfile::TempDir, Scripts) {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("script");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let paths = BTreeMap::from([("s".to_owned(), path)]);
        (root, Scripts::new(paths))
    }

    #[tokio::test]
    async fn its_exit_code_and_the_end_of_its_output_are_reported() {
        let (_root, scripts) = script("yes | head -c 100000; echo; echo the end >&2; exit 7");
        let outcome = scripts
            .run("s", Duration::from_secs(20))
            .await
            .expect("it ran");
        assert_eq!(outcome.exit_code, 7);
        assert!(outcome.output.len() <= OUTPUT_BYTES_MAX && outcome.output.ends_with("the end\n"));
    }

    #[tokio::test]
    async fn when_time_is_up_its_children_die_with_it() {
        let root = tempfile::tempdir().expect("temporary directory");
        let pid_file = root.path().join("pid");
        let (_script, scripts) = script(&format!(
            "sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait",
            pid_file.display()
        ));
        let run = tokio::spawn(async move { scripts.run("s", Duration::from_mins(10)).await });
        while !pid_file.exists() {
            tokio::task::yield_now().await;
        }
        let pid: i32 = std::fs::read_to_string(&pid_file)
            .expect("pid")
            .trim()
            .parse()
            .expect("number");
        run.abort();
        let _ = run.await;
        // Gone, or a zombie that waits for whoever is process 1 here.
        let alive = || {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| !stat.contains(") Z"))
        };
        while alive() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_script_that_nobody_configured_is_unavailable_with_what_to_do() {
        let (_root, scripts) = script("true");
        let error = scripts
            .run("other", Duration::from_secs(1))
            .await
            .expect_err("unknown")
            .to_string();
        assert!(error.contains("[scripts]"), "{error}");
    }

    #[tokio::test]
    async fn a_daemon_that_keeps_the_output_open_is_not_waited_for() {
        let (_root, scripts) = script("sleep 30 & echo $!");
        let outcome = scripts
            .run("s", Duration::from_secs(20))
            .await
            .expect("it ran");
        assert_eq!(outcome.exit_code, 0);
    }
}
