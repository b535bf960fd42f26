//! The size ratchet: no source file over the limit, but for those listed with their size, which may shrink and never grow.
//! Functions are measured by clippy (`too_many_lines`).

use crate::process::{output, root};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::process::Command;

const LIMIT: usize = 600;
const RATCHET: &str = "xtask/ratchet.toml";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ratchet {
    /// Lines by path.
    lines: BTreeMap<String, usize>,
}

/// Source files that are too long.
pub(crate) fn check(tighten: bool) -> Result<Vec<String>> {
    let path = root().join(RATCHET);
    let mut ratchet: Ratchet = match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("cannot read {RATCHET}"))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ratchet::default(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {RATCHET}")),
    };
    let mut troubles = Vec::new();
    let mut kept = BTreeMap::new();
    for file in sources()? {
        let text = std::fs::read_to_string(root().join(&file))
            .with_context(|| format!("cannot read {file}"))?;
        let lines = text.lines().count();
        let allowed = ratchet
            .lines
            .get(&file)
            .copied()
            .unwrap_or(LIMIT)
            .max(LIMIT);
        if lines > allowed {
            troubles.push(format!(
                "{file} has {lines} lines, {allowed} are allowed: split it by what it is for"
            ));
        }
        if lines > LIMIT {
            kept.insert(file, lines.min(allowed));
        }
    }
    if tighten {
        ratchet.lines = kept;
        std::fs::write(&path, toml::to_string(&ratchet)?)
            .with_context(|| format!("cannot write {RATCHET}"))?;
    }
    Ok(troubles)
}

fn sources() -> Result<Vec<String>> {
    let listed = output(Command::new("git").current_dir(root()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "*.rs",
    ]))?;
    Ok(listed
        .lines()
        .filter(|file| root().join(file).is_file())
        .map(str::to_owned)
        .collect())
}
