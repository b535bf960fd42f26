//! Unit files: the keys that the lab's units use.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// When a service that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    Never,
    OnFailure,
    Always,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnitFile {
    pub(crate) description: String,
    pub(crate) kind: String,
    pub(crate) exec: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) environment_files: Vec<PathBuf>,
    pub(crate) restart: Restart,
    pub(crate) restart_after: Duration,
}

/// Where unit files lie.
pub(crate) fn directory(root: &Path) -> PathBuf {
    root.join("etc/systemd/system")
}

/// The units that start at boot.
pub(crate) fn enabled(root: &Path) -> Result<Vec<String>> {
    let wants = directory(root).join("multi-user.target.wants");
    if !wants.is_dir() {
        return Ok(Vec::new());
    }
    let mut names: Vec<String> = std::fs::read_dir(&wants)
        .with_context(|| format!("cannot list {}", wants.display()))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// Reads one unit; `None` when there is none.
pub(crate) fn load(root: &Path, name: &str) -> Option<UnitFile> {
    let text = std::fs::read_to_string(directory(root).join(name)).ok()?;
    Some(parse(&text))
}

fn parse(text: &str) -> UnitFile {
    let mut unit = UnitFile {
        description: String::new(),
        kind: "simple".into(),
        exec: Vec::new(),
        environment: Vec::new(),
        environment_files: Vec::new(),
        restart: Restart::Never,
        restart_after: Duration::from_millis(100),
    };
    let pairs = text
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', ';']))
        .filter_map(|line| line.split_once('='));
    for (key, value) in pairs {
        let value = value.trim();
        match key.trim() {
            "Description" => value.clone_into(&mut unit.description),
            "Type" => value.clone_into(&mut unit.kind),
            "ExecStart" => unit.exec = words(value),
            "Environment" => unit
                .environment
                .extend(words(value).iter().filter_map(|word| pair(word))),
            "EnvironmentFile" => unit
                .environment_files
                .push(value.trim_start_matches('-').into()),
            "Restart" => {
                unit.restart = match value {
                    "always" => Restart::Always,
                    "on-failure" => Restart::OnFailure,
                    _ => Restart::Never,
                }
            }
            "RestartSec" => unit.restart_after = duration(value).unwrap_or(unit.restart_after),
            _ => {}
        }
    }
    unit
}

/// `KEY=value`.
pub(crate) fn pair(word: &str) -> Option<(String, String)> {
    let (key, value) = word.split_once('=')?;
    Some((
        key.trim().to_owned(),
        value.trim_matches(['"', '\'']).to_owned(),
    ))
}

fn words(value: &str) -> Vec<String> {
    value
        .split_whitespace()
        .map(|word| word.trim_matches(['"', '\'']).to_owned())
        .collect()
}

fn duration(value: &str) -> Option<Duration> {
    if let Some(millis) = value.strip_suffix("ms") {
        return millis.trim().parse().ok().map(Duration::from_millis);
    }
    let seconds: f64 = value
        .strip_suffix('s')
        .unwrap_or(value)
        .trim()
        .parse()
        .ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_k3s_unit_are_read() {
        let unit = parse(
            "[Unit]\nDescription=k3s\n[Service]\n# no\nType=notify\nEnvironmentFile=-/etc/k3s.env\nExecStart=/bin/k3s agent --node x\nRestart=always\nRestartSec=5s\nEnvironment=A=1 B=2\n",
        );
        assert_eq!(unit.exec, ["/bin/k3s", "agent", "--node", "x"]);
        assert_eq!(
            (unit.restart, unit.restart_after),
            (Restart::Always, Duration::from_secs(5))
        );
        assert_eq!(
            unit.environment,
            [("A".into(), "1".into()), ("B".into(), "2".into())]
        );
        assert_eq!(unit.environment_files, [PathBuf::from("/etc/k3s.env")]);
    }
}
