//! The journal: one file of JSON lines for each unit, and a `journalctl` that reads them.

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;

/// Writes one unit's lines.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    path: PathBuf,
    unit: String,
}

impl Journal {
    pub(crate) fn new(root: &Path, unit: &str) -> Self {
        Self {
            path: file(root, unit),
            unit: unit.to_owned(),
        }
    }

    /// Keeps everything that a program prints.
    pub(crate) fn follow(&self, child: &mut Child) {
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(self.clone().copy(stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(self.clone().copy(stderr));
        }
    }

    async fn copy(self, from: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.write(6, &line);
        }
    }

    pub(crate) fn write(&self, priority: u8, message: &str) {
        let entry = json!({
            "__REALTIME_TIMESTAMP": Timestamp::now().as_microsecond().to_string(),
            "PRIORITY": priority.to_string(), "_SYSTEMD_UNIT": self.unit, "MESSAGE": message,
        });
        if let Some(directory) = self.path.parent() {
            let _ = std::fs::create_dir_all(directory);
        }
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path);
        if let Ok(mut file) = file {
            let _ = file.write_all(format!("{entry}\n").as_bytes());
        }
    }
}

/// Where a unit's lines are.
fn file(root: &Path, unit: &str) -> PathBuf {
    root.join("var/log/journal").join(format!("{unit}.jsonl"))
}

/// Arguments of `iaso-lab journalctl`: those of journalctl that Iaso uses.
#[derive(Debug, Clone, Args)]
pub struct JournalctlArguments {
    /// The host's root directory.
    #[arg(long)]
    root: PathBuf,
    /// The unit.
    #[arg(short, long)]
    unit: String,
    /// The last so many lines.
    #[arg(short = 'n', long, default_value = "1000")]
    lines: usize,
    /// Only `json` is known.
    #[arg(short, long, default_value = "json")]
    output: String,
    /// `@` and seconds since the Unix epoch.
    #[arg(short = 'S', long, default_value = "@0")]
    since: String,
    /// Taken and ignored.
    #[arg(long)]
    no_pager: bool,
}

/// Prints the lines.
pub fn run(arguments: &JournalctlArguments) -> Result<()> {
    let since: i64 = arguments.since.trim_start_matches('@').parse()?;
    let text = std::fs::read_to_string(file(&arguments.root, &arguments.unit)).unwrap_or_default();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| at_micros(line).is_some_and(|at| at >= since.saturating_mul(1_000_000)))
        .collect();
    let start = lines.len().saturating_sub(arguments.lines);
    let mut out = std::io::stdout().lock();
    for line in lines.iter().skip(start) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn at_micros(line: &str) -> Option<i64> {
    let entry: Value = serde_json::from_str(line).ok()?;
    entry.get("__REALTIME_TIMESTAMP")?.as_str()?.parse().ok()
}
