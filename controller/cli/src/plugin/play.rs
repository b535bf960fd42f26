//! `iaso plugin test` and `bench`: the component against scripted hosts, and a real one recorded.

use super::args::{BenchArgs, ComponentArgs, TestArgs};
use super::desk::{self, Desk};
use super::{files, keys, render};
use crate::args::Global;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::text::Text;
use iaso_agent::cap::{HostCapabilities, Peers};
use iaso_agent::config::{Config, Overrides};
use iaso_harness::{Ended, Fixture, Recorder, Recording, Subject, bench, faults, play};
use iaso_host::{Broker, GrantedBroker, SystemResolver};
use iaso_package::Manifest;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A budget counts in KiB.
const BYTES_PER_KIB: u64 = 1024;

/// A component that is loaded and can be played.
struct Loaded {
    desk: Desk,
    component: PathBuf,
    manifest: Manifest,
    subject: Subject,
}

async fn load(what: &ComponentArgs) -> Result<Loaded, Failure> {
    let desk = Desk::open(&what.dir)?;
    let component = what.component.clone().unwrap_or_else(|| desk.component());
    let manifest = desk.packed(&component)?;
    let program = iaso_agent::compile::compiler(what.compiler.as_deref());
    // Without a home there is no cache to keep the compiled plugin in.
    let scratch = tempfile::tempdir()
        .map_err(|error| Failure::Plugin(format!("cannot make a temporary directory: {error}")))?;
    let cache = desk::cache().map_or_else(
        || scratch.path().to_owned(),
        |cache| cache.join("compiled-plugins"),
    );
    let compiled = iaso_agent::compile::compile(&component, &cache, &program)
        .await
        .map_err(|error| Failure::Plugin(format!("{}: {error}", component.display())))?;
    let subject = Subject::load(&manifest.name, &compiled.bytes, &manifest.grants)
        .map_err(|error| Failure::Plugin(format!("{}: {error}", component.display())))?;
    Ok(Loaded {
        desk,
        component,
        manifest,
        subject,
    })
}

/// One fixture's verdict.
#[derive(Debug, Serialize)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) about: Text,
    pub(super) passed: bool,
    pub(super) failures: Vec<Text>,
    pub(super) notes: Vec<Text>,
    pub(super) calls: Vec<Text>,
    pub(super) ended: Vec<Text>,
    pub(super) log: Vec<Text>,
    pub(super) fault_runs: usize,
    pub(super) fault_runs_left_out: usize,
}

/// All of them.
#[derive(Debug, Serialize)]
pub(super) struct Tested {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) component: PathBuf,
    pub(super) passed: bool,
    pub(super) fixtures: Vec<Case>,
}

/// Plays every fixture, each with its calls made to fail, too.
pub(super) async fn test(global: &Global, what: &TestArgs) -> Result<Exit, Failure> {
    let loaded = load(&what.component).await?;
    if let Some(name) = &what.record {
        return record(&loaded, name, what).await;
    }
    let fixtures = loaded.desk.fixtures(&what.fixtures)?;
    if fixtures.is_empty() {
        return Err(Failure::Plugin(format!(
            "no fixture in {} is meant: write one (docs/plugins says how), or record one on this machine with --record NAME",
            loaded.desk.fixtures_dir().display()
        )));
    }
    let mut cases = Vec::new();
    for (name, fixture) in &fixtures {
        cases.push(case(&loaded.subject, name, fixture, what.no_faults).await);
    }
    let tested = Tested {
        name: loaded.manifest.name.clone(),
        version: loaded.manifest.version.to_string(),
        component: loaded.component.clone(),
        passed: cases.iter().all(|case| case.passed),
        fixtures: cases,
    };
    keys::show(global, &tested, |tested| {
        render::tested(&output::style(global.color), tested)
    })?;
    Ok(if tested.passed { Exit::Ok } else { Exit::Wrong })
}

async fn case(subject: &Subject, name: &str, fixture: &Fixture, no_faults: bool) -> Case {
    let played = play(subject, fixture).await;
    let faulty = if no_faults {
        iaso_harness::FaultReport::default()
    } else {
        faults(subject, fixture).await
    };
    let texts = |lines: Vec<String>| lines.into_iter().map(Text::from).collect::<Vec<_>>();
    let failures = texts([played.failures, faulty.failures].concat());
    Case {
        name: name.to_owned(),
        about: fixture.about.as_str().into(),
        passed: failures.is_empty(),
        failures,
        notes: texts(played.notes),
        calls: texts(played.calls),
        ended: texts(played.ended),
        log: texts(played.log),
        fault_runs: faulty.runs,
        fault_runs_left_out: faulty.left_out,
    }
}

/// Runs the check once on this very machine, with what the manifest asks for, and keeps what was answered.
async fn record(loaded: &Loaded, name: &str, what: &TestArgs) -> Result<Exit, Failure> {
    let out = loaded.desk.fixtures_dir().join(format!("{name}.toml"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(Failure::Usage(format!(
            "--record {name:?}: a fixture's name has letters, digits, `-` and `_`"
        )));
    }
    let mut config = Config::load(what.agent_config.as_deref(), &Overrides::default())
        .map_err(|error| Failure::Plugin(error.to_string()))?;
    // A recording begins without a memory, and leaves none.
    let scratch = tempfile::tempdir()
        .map_err(|error| Failure::Plugin(format!("cannot make a temporary directory: {error}")))?;
    scratch.path().clone_into(&mut config.state_dir);
    let recording = Recording::default();
    let resolver = Recorder::new(SystemResolver::default(), &recording);
    let rights = GrantedBroker::new(HostCapabilities::new(&config, Peers::default()), resolver);
    rights.grant(&loaded.manifest.name, loaded.subject.grants());
    let rights: Arc<dyn Broker> = Arc::new(rights);
    let mut fixture = Fixture::parse("").map_err(|error| Failure::Plugin(error.to_string()))?;
    fixture.config.clone_from(&what.config);
    let listener = Arc::new(Recorder::new(rights, &recording));
    let report = loaded.subject.run(listener, &fixture).await;
    let ended = report
        .outcome
        .map_err(|fault| Failure::Plugin(format!("the plugin broke ({}): {fault}", fault.class)))?;
    let about = format!("recorded on {}", iaso_agent::cap::host::hostname());
    let text = recording.to_fixture(&about, &what.config, &ended);
    if let Some(parent) = out.parent() {
        std::fs::create_dir_all(parent).map_err(|error| {
            Failure::Plugin(format!("cannot make {}: {error}", parent.display()))
        })?;
    }
    files::create(&out, 0o644, text.as_bytes())?;
    let findings = match &ended {
        Ended::Check(findings) => findings.len(),
        Ended::Plan(_) | Ended::Apply(_) => 0,
    };
    output::print(&format!(
        "{}: {} calls, {findings} findings. Read it before you share it: it holds what this machine answered.\n",
        out.display(),
        recording.calls()
    ))?;
    Ok(Exit::Ok)
}

/// One fixture's cost.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    pub(super) name: String,
    pub(super) runs: usize,
    pub(super) cpu_us_p50: u64,
    pub(super) cpu_us_p99: u64,
    pub(super) wall_us_p50: u64,
    pub(super) wall_us_p99: u64,
    pub(super) memory_kib: u64,
    pub(super) host_calls: u64,
}

/// One line of the budget.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) what: &'static str,
    pub(super) used: u64,
    /// None: the manifest promises nothing.
    pub(super) budget: Option<u64>,
    pub(super) over: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Benched {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) passed: bool,
    pub(super) fixtures: Vec<Cost>,
    pub(super) budget: Vec<Line>,
}

/// Measures every fixture, and compares with the manifest's budget.
pub(super) async fn measure(global: &Global, what: &BenchArgs) -> Result<Exit, Failure> {
    let loaded = load(&what.component).await?;
    let fixtures = loaded.desk.fixtures(&what.fixtures)?;
    if fixtures.is_empty() {
        return Err(Failure::Plugin(format!(
            "no fixture in {} is meant: there is nothing to measure",
            loaded.desk.fixtures_dir().display()
        )));
    }
    let mut costs = Vec::new();
    for (name, fixture) in &fixtures {
        let measured = bench(&loaded.subject, fixture, what.runs)
            .await
            .map_err(|fault| {
                Failure::Plugin(format!(
                    "fixture {name}: the plugin broke ({}): {fault}",
                    fault.class
                ))
            })?;
        let us = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        costs.push(Cost {
            name: name.clone(),
            runs: measured.runs,
            cpu_us_p50: us(measured.cpu.p50),
            cpu_us_p99: us(measured.cpu.p99),
            wall_us_p50: us(measured.wall.p50),
            wall_us_p99: us(measured.wall.p99),
            memory_kib: (measured.memory_peak_bytes as u64).div_ceil(BYTES_PER_KIB),
            host_calls: measured.host_calls.into(),
        });
    }
    let budget = budget(&loaded.manifest, &loaded.component, &costs)?;
    let benched = Benched {
        name: loaded.manifest.name.clone(),
        version: loaded.manifest.version.to_string(),
        passed: budget.iter().all(|line| !line.over),
        fixtures: costs,
        budget,
    };
    keys::show(global, &benched, |benched| {
        render::benched(&output::style(global.color), benched)
    })?;
    Ok(if benched.passed {
        Exit::Ok
    } else {
        Exit::Wrong
    })
}

fn budget(manifest: &Manifest, component: &Path, costs: &[Cost]) -> Result<Vec<Line>, Failure> {
    let bytes = std::fs::metadata(component).map_err(|source| Failure::Read {
        file: component.to_owned(),
        source,
    })?;
    let most = |of: fn(&Cost) -> u64| costs.iter().map(of).max().unwrap_or(0);
    let promised = &manifest.budget;
    let lines = [
        (
            "component KiB",
            bytes.len().div_ceil(BYTES_PER_KIB),
            promised.component_kib,
        ),
        (
            "memory KiB",
            most(|cost| cost.memory_kib),
            promised.memory_kib,
        ),
        (
            "host calls",
            most(|cost| cost.host_calls),
            promised.host_calls,
        ),
        (
            "cpu µs (median)",
            most(|cost| cost.cpu_us_p50),
            promised.cpu_us,
        ),
        (
            "wall µs (median)",
            most(|cost| cost.wall_us_p50),
            promised.wall_us,
        ),
    ];
    Ok(lines
        .into_iter()
        .map(|(what, used, budget)| Line {
            what,
            used,
            budget,
            over: budget.is_some_and(|budget| used > budget),
        })
        .collect())
}
