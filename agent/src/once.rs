//! `run --once`: what the plugins find on this very machine, now, with no controller.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use iaso_grants::Grants;
use iaso_host::{FaultClass, PluginFault, types::Finding};
use owo_colors::OwoColorize as _;
use serde_json::json;

use crate::{
    cap::{HostCapabilities, Peers},
    compile::{self, CompileError},
    config::{Config, PluginConfig},
    plugins::{CheckRun, Plugins, Slot, Spec},
    runnable,
};

/// The plugins that come with Iaso.
const SHIPPED: [&str; 4] = ["k3s-agent", "network-probe", "coredns", "disk"];

/// Sensible for a look at a host: read its own state, ask around, change nothing.
///
/// What is declined is imported by fixes only: without that word their plugins would be refused at load.
const DEFAULT_GRANTS: &str = r#"
declined = ["scripts", "services", "kube"]
[check]
host = true
net.tcp = [{ to = "*", ports = [] }, { to = "127.0.0.0/8", ports = [] }]
net.icmp = ["*", "127.0.0.0/8"]
net.unix = ["/run/k3s/containerd/containerd.sock"]
dns.servers = [{ to = "*", ports = [53] }, { to = "127.0.0.0/8", ports = [53] }]
http = [{ to = "127.0.0.1", ports = [10248, 10256, 6444] }]
services.read = ["k3s-agent.service", "k3s.service"]
files.read = ["/var/lib/rancher/k3s/agent", "/etc/rancher", "/etc/resolv.conf", "/run/flannel"]
kube.pods = ["kube-system"]
kube.services = ["kube-system", "default"]
"#;

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a person.
    Table,
    /// One object for a program.
    Json,
}

/// Why there was nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// No plugin files.
    #[error(
        "no plugins found in {looked}; build them with `cargo xtask plugins`, or name their directory with --plugins DIR"
    )]
    NoPlugins {
        /// Where.
        looked: String,
    },
    /// The engine does not start.
    #[error("cannot start the plugin engine")]
    Engine(#[from] iaso_host::EngineError),
    /// The grants that are built in do not parse.
    #[error("the default grants are not valid: {0}")]
    Grants(String),
}

/// One plugin and what it found.
type Row = (String, CheckRun);

/// Runs every plugin once, prints, and gives the exit code: 0 all well, 1 something found, 2 could not look.
pub async fn run(
    config: &Config,
    directory: Option<&Path>,
    format: Format,
) -> Result<u8, OnceError> {
    let wanted = if config.plugins.is_empty() {
        shipped(directory)?
    } else {
        config.plugins.clone()
    };
    let rights = HostCapabilities::new(config, Peers::default());
    let plugins = Arc::new(Plugins::new(rights, &config.runner)?);
    let cache = crate::agent::cache_dir(&config.state_dir);
    let program = compile::compiler(config.compiler.as_deref());
    let rows = join_all(
        wanted
            .into_iter()
            .map(|plugin| one(&plugins, plugin, &cache, &program)),
    )
    .await;
    match format {
        Format::Table => {
            println!("{}", table(&rows, std::io::stdout().is_terminal()));
            println!("\n{}", runnable::words(plugins.runner().as_ref()));
        }
        Format::Json => println!("{:#}", to_json(&config.node, &rows, plugins.runner())),
    }
    Ok(exit_code(&rows))
}

/// Compiles and installs the plugins of a standalone configuration; those that cannot be had are installed with their fault.
pub async fn install(
    plugins: &Plugins,
    plugin: PluginConfig,
    cache: &Path,
    program: &Path,
) -> Arc<Slot> {
    let made = compile::compile(&plugin.path, cache, program).await;
    let mut spec = Spec {
        name: plugin.name,
        version: String::new(),
        digest: String::new(),
        compiled: None,
        interval: Duration::from_secs(plugin.interval_secs),
        timeout: Duration::from_millis(plugin.timeout_ms),
        config: plugin
            .config
            .into_iter()
            .map(|(key, value)| (key, plain(value)))
            .collect(),
        grants: plugin.grants,
    };
    match made {
        Ok(compiled) => {
            spec.digest = compiled.component.to_string();
            spec.compiled = Some(compiled.digest);
            plugins.install(spec, &compiled.bytes).await
        }
        Err(error) => {
            let class = if matches!(error, CompileError::Refused(_)) {
                FaultClass::NotWasm
            } else {
                FaultClass::HostError
            };
            let fault = PluginFault {
                class,
                message: crate::config::chain(&error),
            };
            plugins.place(Slot::broken(spec, fault))
        }
    }
}

async fn one(plugins: &Plugins, plugin: PluginConfig, cache: &Path, program: &Path) -> Row {
    let slot = install(plugins, plugin, cache, program).await;
    let run = match plugins.turn(&slot.spec.name).await {
        Some(turn) => turn.check().await,
        None => CheckRun::begun(&slot.spec), // Nothing takes a plugin away here.
    };
    (slot.spec.name.clone(), run)
}

/// A plugin's settings are text; a string loses its quotes, everything else is as in TOML.
fn plain(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        other @ (toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_)) => other.to_string(),
    }
}

fn shipped(directory: Option<&Path>) -> Result<Vec<PluginConfig>, OnceError> {
    let grants: Grants =
        toml::from_str(DEFAULT_GRANTS).map_err(|error| OnceError::Grants(error.to_string()))?;
    let places = directory.map_or_else(places, |directory| vec![directory.to_owned()]);
    let file = |place: &Path, name: &str| place.join(format!("{name}.wasm"));
    let place = places
        .iter()
        .find(|place| SHIPPED.iter().any(|name| file(place, name).is_file()));
    let Some(place) = place else {
        let looked: Vec<String> = places
            .iter()
            .map(|place| place.display().to_string())
            .collect();
        return Err(OnceError::NoPlugins {
            looked: looked.join(", "),
        });
    };
    let there = SHIPPED.iter().filter(|name| file(place, name).is_file());
    Ok(there
        .map(|name| PluginConfig {
            name: (*name).to_owned(),
            path: file(place, name),
            interval_secs: 30,
            timeout_ms: 20_000,
            config: BTreeMap::new(),
            grants: grants.clone(),
        })
        .collect())
}

fn places() -> Vec<PathBuf> {
    let exe = std::env::current_exe().unwrap_or_default();
    let beside = exe.parent().map(|directory| directory.join("plugins"));
    // In a checkout the binary is in target/debug, the plugins in target/plugins.
    let target = exe
        .parent()
        .and_then(Path::parent)
        .map(|directory| directory.join("plugins"));
    beside
        .into_iter()
        .chain([PathBuf::from("/usr/lib/iaso/plugins")])
        .chain(target)
        .collect()
}

fn exit_code(rows: &[Row]) -> u8 {
    let has = |words: &[&str]| {
        let found = rows
            .iter()
            .filter_map(|(_, run)| run.outcome.as_ref().ok())
            .flatten();
        found
            .into_iter()
            .any(|finding| words.contains(&finding.severity.as_str()))
    };
    let broken = rows.iter().any(|(_, run)| run.outcome.is_err());
    match () {
        () if has(&["warning", "critical"]) => 1,
        () if broken || has(&["unknown"]) => 2,
        () => 0,
    }
}

fn to_json(node: &str, rows: &[Row], runner: Option<iaso_runner::Status>) -> serde_json::Value {
    let plugins: Vec<_> = rows
        .iter()
        .map(|(name, run)| {
            json!({
                "plugin": name,
                "duration_us": u64::try_from(run.duration.as_micros()).unwrap_or(u64::MAX),
                "findings": run.outcome.as_ref().ok(),
                "fault": run.outcome.as_ref().err(),
            })
        })
        .collect();
    let layers = runner.and_then(|status| status.layers);
    let lock: serde_json::Map<String, serde_json::Value> = layers
        .iter()
        .flat_map(iaso_runner::Layers::all)
        .map(|(name, layer)| (name.to_owned(), json!(layer)))
        .collect();
    json!({ "node": node, "plugins": plugins, "lock": lock })
}

type Line = [String; 5];

fn table(rows: &[Row], colours: bool) -> String {
    let head = ["PLUGIN", "SEVERITY", "CODE", "SUBJECT", "SUMMARY"].map(str::to_owned);
    let lines: Vec<Line> = rows
        .iter()
        .flat_map(|(plugin, run)| lines(plugin, run))
        .collect();
    let all = || std::iter::once(&head).chain(&lines);
    // The last column is as wide as it is; padding it would only wrap.
    let mut widths = [0_usize; 4];
    for line in all() {
        for (width, text) in widths.iter_mut().zip(line) {
            *width = (*width).max(text.chars().count());
        }
    }
    let out: Vec<String> = all()
        .map(|line| {
            let padded = line
                .iter()
                .zip(widths.iter().copied().chain([0]))
                .map(|(text, width)| format!("{text:width$}"));
            let painted = padded.enumerate().map(|(at, text)| {
                if at == 1 && colours {
                    paint(&text)
                } else {
                    text
                }
            });
            painted.collect::<Vec<_>>().join("  ")
        })
        .collect();
    out.join("\n")
}

fn lines(plugin: &str, run: &CheckRun) -> Vec<Line> {
    let line = |texts: [&str; 5]| texts.map(printable);
    match &run.outcome {
        Ok(findings) => findings
            .iter()
            .map(
                |Finding {
                     code,
                     severity,
                     subject,
                     summary,
                     ..
                 }| line([plugin, severity, code, subject, summary]),
            )
            .collect(),
        Err(fault) => vec![line([
            plugin,
            "unknown",
            &format!("plugin broken: {}", fault.class),
            plugin,
            &fault.message,
        ])],
    }
}

fn paint(severity: &str) -> String {
    match severity.trim() {
        "ok" => severity.green().to_string(),
        "warning" => severity.yellow().to_string(),
        "critical" => severity.red().bold().to_string(),
        _ => severity.to_owned(),
    }
}

/// A plugin's text must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(severity: &str) -> Row {
        let finding = Finding {
            code: "k3s-agent.no-systemd".into(),
            severity: severity.into(),
            subject: "k3s-agent.service".into(),
            summary: "there is no systemd here:\u{1b}[2J x".into(),
            remedies: Vec::new(),
            attributes: Vec::new(),
        };
        (
            "k3s-agent".into(),
            CheckRun {
                version: String::new(),
                digest: String::new(),
                started_unix_ms: 0,
                duration: Duration::ZERO,
                outcome: Ok(vec![finding]),
                refused: None,
            },
        )
    }

    #[test]
    fn the_exit_code_says_well_found_or_could_not_look() {
        assert_eq!(exit_code(&[row("ok"), row("info")]), 0);
        assert_eq!(exit_code(&[row("ok"), row("unknown"), row("warning")]), 1);
        assert_eq!(exit_code(&[row("ok"), row("unknown")]), 2);
    }

    #[test]
    fn the_default_grants_parse_and_let_nothing_act() {
        let grants: Grants = toml::from_str(DEFAULT_GRANTS).expect("valid");
        assert!(grants.check.host);
        assert_eq!(grants.fix, iaso_grants::GrantSet::default());
    }

    #[test]
    fn a_plugins_text_cannot_steer_the_terminal() {
        let text = table(&[row("critical")], false);
        assert!(
            text.contains("k3s-agent.no-systemd") && !text.contains('\u{1b}'),
            "{text}"
        );
    }

    #[test]
    fn without_plugins_it_says_where_it_looked_and_what_to_do() {
        let error = shipped(Some(Path::new("/nowhere")))
            .expect_err("none")
            .to_string();
        assert!(
            error.contains("/nowhere") && error.contains("--plugins"),
            "{error}"
        );
    }
}
