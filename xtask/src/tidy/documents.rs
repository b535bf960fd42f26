//! Documents that name a path which no longer exists, or that a merge left half done, are worse than none.

use crate::process::{output, root};
use anyhow::{Context, Result};
use std::process::Command;

/// Paths that documents name in backticks and that are gone, and what merges left behind.
pub(crate) fn check() -> Result<Vec<String>> {
    let listed = output(Command::new("git").current_dir(root()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "*.md",
    ]))?;
    let mut troubles = Vec::new();
    for document in listed.lines().filter(|file| root().join(file).is_file()) {
        let text = std::fs::read_to_string(root().join(document))
            .with_context(|| format!("cannot read {document}"))?;
        for (number, line) in text.lines().enumerate() {
            if is_conflict_marker(line) {
                troubles.push(format!(
                    "{document}:{} is what a merge left: choose, and take the marker out",
                    number + 1
                ));
            }
            for path in named_paths(line) {
                if !root().join(path).exists() {
                    troubles.push(format!(
                        "{document}:{} names {path}, which does not exist",
                        number + 1
                    ));
                }
            }
        }
    }
    Ok(troubles)
}

/// Compilers find these in programs; nobody does in a document.
fn is_conflict_marker(line: &str) -> bool {
    line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ")
}

/// What stands in backticks and begins with a top-level folder of this tree.
fn named_paths(line: &str) -> impl Iterator<Item = &str> {
    const TOPS: [&str; 9] = [
        "agent/",
        "controller/",
        "plugins/",
        "proto/",
        "deploy/",
        "tests/",
        "xtask/",
        "docs/",
        ".ci/",
    ];
    line.split('`')
        .skip(1)
        .step_by(2)
        .filter(|quoted| TOPS.iter().any(|top| quoted.starts_with(top)))
        .filter(|quoted| !quoted.contains(['*', '<', '{', ' ', '…']))
}

#[cfg(test)]
mod tests {
    use super::{is_conflict_marker, named_paths};

    fn check(line: &str, expect: &[&str]) {
        assert_eq!(named_paths(line).collect::<Vec<_>>(), expect, "{line}");
    }

    #[test]
    fn only_quoted_paths_of_the_tree_count() {
        check(
            "see `agent/host` and `docs/adr/`",
            &["agent/host", "docs/adr/"],
        );
        check("see agent/host", &[]);
        check(
            "`plugins/<name>/` is a pattern, `/etc/iaso` is a host's",
            &[],
        );
        check("`tests/a b` is prose", &[]);
    }

    #[test]
    fn what_a_merge_left_is_found_and_a_quote_is_not() {
        assert!(is_conflict_marker("<<<<<<< HEAD"));
        assert!(is_conflict_marker(">>>>>>> b2ee4a1 (Cluster)"));
        assert!(!is_conflict_marker("> <<<<<<< quoted"));
    }
}
