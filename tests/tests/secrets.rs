//! A whole night with a recreate, and afterwards every place that people and programs can read: no secret is in any of them.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value that is not there is null, which fails the assertion"
)]

use anyhow::{Context, Result};
use iaso_tests::hosts::HostKind;
use iaso_tests::scene::{Lab, LabOptions};
use iaso_tests::story;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

const RECOVERS: Duration = Duration::from_mins(3);
/// Shortest text that is looked for: less would be found by chance.
const SECRET_CHARS_MIN: usize = 12;

/// What must be nowhere, by what it is.
type Secrets = BTreeMap<String, String>;

/// Every command line that any process of this machine had since it was started.
struct CommandLines {
    seen: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl CommandLines {
    fn watch() -> Self {
        let seen = Arc::<Mutex<BTreeSet<Vec<u8>>>>::default();
        let into = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let found = tokio::task::spawn_blocking(command_lines)
                    .await
                    .unwrap_or_default();
                into.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(found);
            }
        });
        Self { seen, task }
    }

    fn all(&self) -> Vec<(String, Vec<u8>)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .map(|line| ("a command line".to_owned(), line.clone()))
            .collect()
    }
}

impl Drop for CommandLines {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn command_lines() -> BTreeSet<Vec<u8>> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    // A process that has ended meanwhile has none.
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .collect()
}

/// Which secrets are where.
fn scan(secrets: &Secrets, places: &[(String, Vec<u8>)]) -> Vec<String> {
    let mut found = Vec::new();
    for (place, bytes) in places {
        for (what, secret) in secrets {
            if bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes())
            {
                found.push(format!("{what} in {place}"));
            }
        }
    }
    found
}

/// All files below a directory that are not part of a host's own disk, where its secrets belong.
fn files(directory: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    let is_secret = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The controller's own: the tokens it was given, the store of passwords, the authority's key.
        name.ends_with(".token") || name == "secrets" || name == "ca.key" || name == "kubeconfig"
    };
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if is_secret(&path) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            files(&path, into);
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            into.push((path.display().to_string(), bytes));
        }
    }
}

fn token_file(lab: &Lab, name: &str) -> Result<String> {
    let path = lab.paths.controller_config.with_file_name(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(text.trim().to_owned())
}

/// Each one word that follows `before` in a text.
fn words_after(text: &str, before: &str) -> Vec<String> {
    let ends = |c: char| c.is_whitespace() || c == '\'' || c == '"';
    let starts = text.match_indices(before);
    starts
        .filter_map(|(at, _)| {
            text.get(at + before.len()..)?
                .split(ends)
                .next()
                .map(str::to_owned)
        })
        .collect()
}

/// What this lab has of secrets, from where they belong: files of the controller, and the disk of the machine that was recreated.
fn secrets(lab: &Lab) -> Result<Secrets> {
    let mut secrets = Secrets::new();
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    secrets.insert(
        "the operator's token".into(),
        last(&token_file(lab, "operator.token")?),
    );
    secrets.insert(
        "the provider's token".into(),
        token_file(lab, "hostinger.token")?,
    );
    let script = std::fs::read_to_string(lab.directory().join("styx/post_install"))?;
    let join = words_after(&script, "'iaso-join1.");
    secrets.insert(
        "Iaso's join token".into(),
        last(join.first().context("the script has no join token")?),
    );
    let k3s = words_after(&script, "'K10");
    secrets.insert(
        "k3s's join token".into(),
        last(k3s.first().context("the script has no k3s token")?),
    );
    let mut kept = Vec::new();
    files(&lab.paths.data.join("secrets"), &mut kept);
    let passwords = kept.iter().filter_map(|(_, bytes)| password(bytes));
    for (at, password) in passwords.enumerate() {
        secrets.insert(format!("root password {at}"), password);
    }
    assert!(
        secrets.contains_key("root password 0"),
        "no password was stored: {kept:?}"
    );
    let short: Vec<_> = secrets
        .iter()
        .filter(|(_, secret)| secret.len() < SECRET_CHARS_MIN)
        .collect();
    assert!(short.is_empty(), "too short to be looked for: {short:?}");
    Ok(secrets)
}

/// The password in a file of the password store.
fn password(bytes: &[u8]) -> Option<String> {
    let stored: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    stored["secret"].as_str().map(str::to_owned)
}

/// Journal, recordings, identities, logs, reports, metrics: all that is written or served.
async fn places(lab: &Lab) -> Result<Vec<(String, Vec<u8>)>> {
    let mut places = Vec::new();
    files(&lab.paths.data, &mut places);
    for entry in std::fs::read_dir(lab.directory())?.flatten() {
        if entry.path().is_file() {
            places.push((
                entry.path().display().to_string(),
                std::fs::read(entry.path())?,
            ));
        }
    }
    for host in lab.hosts.keys() {
        files(&lab.directory().join(host).join("var/log"), &mut places);
    }
    for address in ["127.0.80.1:9465", "127.0.79.12:9464"] {
        let text = reqwest::get(format!("http://{address}/metrics"))
            .await?
            .text()
            .await?;
        places.push((format!("the metrics of {address}"), text.into_bytes()));
    }
    for incident in lab.operator.incidents().await? {
        for format in ["md", "json"] {
            let report = lab.operator.report(&incident.id, format).await?;
            places.push((
                format!("the {format} report of {}", incident.id),
                report.body.into_bytes(),
            ));
        }
        let timeline = format!("{:?}", lab.operator.incident(&incident.id).await?);
        places.push((
            format!("the timeline of {}", incident.id),
            timeline.into_bytes(),
        ));
    }
    Ok(places)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_leaves_no_secret_where_people_and_programs_can_read() -> Result<()> {
    // The reports' and metrics' client asks for a provider of cryptography, though it speaks plain HTTP here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let lines = CommandLines::watch();
    let Some(lab) = story::lab("secrets", LabOptions::new(HostKind::Process)).await? else {
        return Ok(());
    };
    lab.host("styx")?.cut().await?;
    let settled = lab.operator.until_settled("styx", RECOVERS).await?;
    assert_eq!(settled.state, "closed", "{}", lab.account().await);
    assert_eq!(lab.host("styx")?.life().recreates(), 1);

    let secrets = secrets(&lab)?;
    let mut places = places(&lab).await?;
    places.extend(lines.all());
    let all: Vec<&str> = places.iter().map(|(place, _)| place.as_str()).collect();
    for expected in [
        "journal.sqlite",
        "controller.log",
        "identity.sqlite",
        "iaso-agent.service.jsonl",
        "the md report",
        "the metrics",
    ] {
        assert!(
            all.iter().any(|place| place.contains(expected)),
            "{expected} was not looked at: {all:?}"
        );
    }
    assert_eq!(scan(&secrets, &places), Vec::<String>::new());

    // The control: what is planted in a log and in a process list is found, so the silence above means something.
    let planted = lab.directory().join("planted.log");
    let secret = secrets
        .get("Iaso's join token")
        .context("it was looked for")?;
    std::fs::write(&planted, format!("2026-11-25 enrolling with {secret}\n"))?;
    let mut process = tokio::process::Command::new("sh")
        .args(["-c", "read forever", secret])
        .stdin(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let found = scan(&secrets, &self::places(&lab).await?);
    assert!(
        found.iter().any(|found| found.contains("planted.log")),
        "{found:?}"
    );
    let seen = iaso_tests::until(Duration::from_secs(10), "the planted command line", || {
        std::future::ready(!scan(&secrets, &lines.all()).is_empty())
    });
    seen.await?;
    process.kill().await?;
    Ok(())
}

#[test]
fn the_scanner_finds_what_is_there_and_nothing_else() {
    let secrets = Secrets::from([("a token".to_owned(), "0123456789abcdef".to_owned())]);
    let place = |text: &str| vec![("here".to_owned(), text.as_bytes().to_vec())];
    assert_eq!(
        scan(&secrets, &place("x=0123456789abcdef;")),
        ["a token in here"]
    );
    assert!(scan(&secrets, &place("0123456789abcde")).is_empty());
    assert!(scan(&secrets, &place("")).is_empty());
    let join: Vec<PathBuf> = words_after("printf '%s' 'iaso-join1.f.i.s' > x", "'iaso-join1.")
        .into_iter()
        .map(PathBuf::from)
        .collect();
    assert_eq!(join, [PathBuf::from("f.i.s")]);
}
