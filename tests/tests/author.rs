//! The tutorial, played as it stands: every command of its console blocks, in order, then its configuration on a controller, and the finding
//! where an operator reads it.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value that is not there is null, which fails the test"
)]

use anyhow::{Context, Result, ensure};
use iaso_tests::hosts::HostKind;
use iaso_tests::scene::LabOptions;
use iaso_tests::{programs, story, until};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

const TUTORIAL: &str = include_str!("../../docs/plugins/tutorial.md");
const SEEN: Duration = Duration::from_mins(1);

/// The lines of every fenced block of this language, block by block.
fn blocks(language: &str) -> Vec<Vec<&'static str>> {
    let mut blocks = Vec::new();
    let mut lines = TUTORIAL.lines();
    while let Some(line) = lines.next() {
        if line == format!("```{language}") {
            blocks.push(lines.by_ref().take_while(|line| *line != "```").collect());
        }
    }
    blocks
}

/// The shell of a new user: nothing of this checkout but the programs.
struct Shell {
    home: tempfile::TempDir,
    directory: std::path::PathBuf,
}

impl Shell {
    fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let directory = home.path().to_owned();
        Ok(Self { home, directory })
    }

    fn run(&mut self, command: &str) -> Result<Output> {
        if let Some(directory) = command.strip_prefix("cd ") {
            self.directory = self.directory.join(directory);
            ensure!(self.directory.is_dir(), "{command}: no such directory");
            return Ok(Command::new("true").output()?);
        }
        let mut path = programs::directory()?.into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        // Cargo and rustup keep their own homes, so that nothing is fetched twice; the rest of the home is empty.
        let real_home = std::env::var_os("HOME").map(std::path::PathBuf::from);
        let kept = |variable: &str, name: &str| {
            std::env::var_os(variable)
                .or_else(|| Some(real_home.as_ref()?.join(name).into_os_string()))
                .unwrap_or_default()
        };
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(&self.directory)
            .env("PATH", path)
            .env("CARGO_HOME", kept("CARGO_HOME", ".cargo"))
            .env("RUSTUP_HOME", kept("RUSTUP_HOME", ".rustup"))
            .env("HOME", self.home.path())
            .env("XDG_CACHE_HOME", self.home.path().join("cache"))
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("CARGO")
            .env_remove("RUSTFLAGS")
            .output()
            .with_context(|| format!("cannot run {command}"))?;
        ensure!(
            output.status.success(),
            "{command}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output)
    }
}

fn play_the_console() -> Result<Shell> {
    let mut shell = Shell::new()?;
    let commands: Vec<&str> = blocks("console")
        .into_iter()
        .flatten()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    for needed in [
        "new", "build", "test", "bench", "keygen", "sign", "inspect", "verify",
    ] {
        let word = format!("iaso plugin {needed}");
        ensure!(
            commands.iter().any(|command| command.starts_with(&word)),
            "the tutorial has no `{word}`"
        );
    }
    for command in commands {
        shell.run(command)?;
    }
    Ok(shell)
}

/// `[plugin_trust]` of an operator who trusts the author, and what they built themselves.
fn trust(public_key: &Path) -> Result<String> {
    let key = std::fs::read_to_string(public_key)?;
    let mut digests = Vec::new();
    for plugin in ["k3s-agent", "network-probe", "coredns"] {
        let output = Command::new(programs::program("iaso")?)
            .args(["plugin", "inspect", "--output", "json"])
            .arg(programs::plugin(plugin)?)
            .output()?;
        let seen: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        digests.push(seen["digest"].to_string());
    }
    Ok(format!(
        "[plugin_trust]\nkeys = [{{ who = \"the tutorial\", key = \"{}\", plugins = [\"low-memory\"] }}]\ndigests = [{}]\n",
        key.trim(),
        digests.join(", ")
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_follows_the_tutorial_from_nothing_to_a_finding_in_iaso_node() -> Result<()> {
    let shell = tokio::task::spawn_blocking(play_the_console).await??;
    let project = &shell.directory;
    let installed = project.join("build/low-memory.wasm");
    let configuration = blocks("toml");
    let [settings] = configuration.as_slice() else {
        anyhow::bail!("the tutorial has one block of configuration");
    };
    let settings = settings.join("\n").replace(
        "\"low-memory.wasm\"",
        &format!("{:?}", installed.display().to_string()),
    );
    let options = LabOptions {
        plugins: format!("{settings}\n{}", trust(&project.join("me.pub"))?),
        ..LabOptions::new(HostKind::Process)
    };
    let Some(lab) = story::lab("tutorial", options).await? else {
        return Ok(());
    };
    let shown = until(SEEN, "the plugin's finding in `iaso node`", || async {
        let printed = story::iaso_node(&lab, "styx").await.unwrap_or_default();
        printed.contains("low-memory.ok") || printed.contains("low-memory.short")
    });
    match shown.await {
        Ok(()) => Ok(()),
        Err(error) => {
            let printed = story::iaso_node(&lab, "styx").await?;
            Err(error.context(printed).context(lab.account().await))
        }
    }
}
