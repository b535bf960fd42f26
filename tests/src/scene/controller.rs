//! The controller's process: started, killed and started again.

use super::Paths;
use crate::callers::LAB_VARIABLE;
use crate::programs;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// How it is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// `kill -9`.
    Kill,
}

/// The process and where its words go.
#[derive(Debug)]
pub struct Controller {
    child: Child,
    log: PathBuf,
}

impl Controller {
    /// Starts it and waits until it listens.
    pub async fn start(paths: &Paths, lab: &Path) -> Result<Self> {
        let log = lab.join("controller.log");
        let mut child = spawn(paths, lab, &log)?;
        let address = paths.controller_address();
        let mut ended = None;
        crate::until(LISTENS_WITHIN, "the controller to listen", || {
            ended = child.try_wait().ok().flatten();
            let gone = ended.is_some();
            async move { gone || tokio::net::TcpStream::connect(address).await.is_ok() }
        })
        .await?;
        let controller = Self { child, log };
        if let Some(status) = ended {
            bail!(
                "the controller ended ({status}):\n{}",
                controller.last_words()
            );
        }
        Ok(controller)
    }

    /// Ends it the hard way, and waits until it is gone.
    pub async fn crash(&mut self, how: Crash) -> Result<()> {
        match how {
            Crash::Kill => self
                .child
                .kill()
                .await
                .context("cannot kill the controller"),
        }
    }

    /// Starts it again on the same journal.
    pub async fn start_again(&mut self, paths: &Paths, lab: &Path) -> Result<()> {
        *self = Self::start(paths, lab).await?;
        Ok(())
    }

    /// The end of its log.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let start = lines.len().saturating_sub(60);
        let last = lines.get(start..).unwrap_or_default().join("\n");
        format!("--- {}\n{last}\n", self.log.display())
    }
}

fn spawn(paths: &Paths, lab: &Path, log: &Path) -> Result<Child> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)?;
    let mut command = Command::new(programs::program("iaso-lab")?);
    command
        .arg("tether")
        .arg("--")
        .arg(programs::program("iaso-controller")?);
    command
        .args(["run", "--config"])
        .arg(&paths.controller_config);
    command
        .env(LAB_VARIABLE, lab)
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the controller")
}
