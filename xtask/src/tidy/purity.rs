//! Purity by the dependency graph: what a crate must not link, it does not link, directly or through others.

use crate::process::{cargo, output};
use anyhow::Result;
use std::collections::BTreeSet;

/// A crate, what it must not link, and why.
const RULES: [(&str, &[&str], &str); 8] = [
    (
        "iaso-engine",
        &[
            "tokio",
            "tonic",
            "kube",
            "wasmtime",
            "sqlx",
            "rusqlite",
            "reqwest",
            "getrandom",
            "rand",
            "jiff",
            "zbus",
        ],
        "decisions are pure",
    ),
    (
        "iaso-engine-check",
        &[
            "tokio",
            "tonic",
            "kube",
            "wasmtime",
            "sqlx",
            "rusqlite",
            "reqwest",
            "getrandom",
            "rand",
            "jiff",
            "zbus",
        ],
        "the checker is pure",
    ),
    (
        "iaso-replay",
        &[
            "tokio",
            "tonic",
            "kube",
            "wasmtime",
            "sqlx",
            "rusqlite",
            "reqwest",
            "getrandom",
            "rand",
            "jiff",
            "zbus",
        ],
        "a replay is pure: what it reads is handed in",
    ),
    (
        "iaso-providers",
        &["kube", "wasmtime"],
        "a provider knows neither cluster nor plugins",
    ),
    (
        "iaso-controller",
        &["wasmtime", "cranelift-codegen"],
        "plugins are compiled in a child process",
    ),
    (
        "iaso-host",
        &["tonic", "kube", "cranelift-codegen"],
        "the plugin host is the smallest thing that runs a plugin",
    ),
    (
        "iaso-runner",
        &["tonic", "kube", "cranelift-codegen"],
        "the process that plugins run in has neither rights nor a compiler",
    ),
    (
        "iaso-agent",
        &["cranelift-codegen"],
        "an agent loads plugins that were compiled elsewhere",
    ),
];

/// What is linked and must not be.
pub(crate) fn check() -> Result<Vec<String>> {
    let mut troubles = Vec::new();
    for (package, forbidden, why) in RULES {
        let tree = output(cargo().args([
            "tree",
            "--locked",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]))?;
        let linked: BTreeSet<&str> = tree
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        for name in forbidden.iter().filter(|name| linked.contains(**name)) {
            troubles.push(format!(
                "{package} links {name} ({why}); `cargo tree --package {package} --edges normal --invert {name}` shows how"
            ));
        }
    }
    Ok(troubles)
}
