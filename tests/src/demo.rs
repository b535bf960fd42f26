//! The night of styx, played live: a machine's link is cut at the hypervisor, and the operator watches what Iaso does about it.

use crate::hosts::HostKind;
use crate::scene::{HOSTS, Lab, LabOptions};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use iaso_proto::v1::Event;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The one that is cut off.
const PATIENT: &str = "styx";
/// How long the whole recovery may take.
const RECOVERS_WITHIN: Duration = Duration::from_mins(4);

/// What comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A timeline to read.
    Text,
    /// One JSON object at the end; the timeline goes to standard error.
    Json,
}

/// Arguments of `iaso-lab demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArguments {
    /// What the hosts are made of.
    #[arg(long, value_enum, default_value = "process")]
    hosts: HostKind,
    /// What comes out on standard output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where the report and the logs are kept.
    #[arg(long, default_value = "iaso-demo")]
    out: PathBuf,
}

/// Plays it. A signal ends it early, and still leaves nothing running.
pub async fn run(arguments: DemoArguments) -> Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    tokio::select! {
        played = play(&arguments) => played,
        _ = terminated.recv() => bail!("terminated: everything that was started is gone"),
        _ = interrupted.recv() => bail!("interrupted: everything that was started is gone"),
    }
}

async fn play(arguments: &DemoArguments) -> Result<ExitCode> {
    let mut teller = Teller::new(arguments.format);
    std::fs::create_dir_all(&arguments.out).with_context(|| {
        format!(
            "cannot make {}: name another directory with --out",
            arguments.out.display()
        )
    })?;
    teller.say(
        "Three hosts, their agents, a controller, a provider and a Kubernetes API are starting.",
    );
    let lab = Lab::start(LabOptions::new(arguments.hosts)).await?;
    for node in lab.operator.nodes().await? {
        let machine = if node.machine.is_empty() {
            "no provider".into()
        } else {
            format!("machine {}", node.machine)
        };
        teller.say(&format!(
            "{:8} {:6} {:12} {machine}: agent {}, lease {}, {}",
            node.name, node.role, node.address, node.agent, node.lease, node.diagnosis
        ));
    }
    let before = last_sequence(&lab).await?;
    teller.say(&format!("All green. Now the hypervisor drops the link of {PATIENT}; the provider goes on saying `running`."));
    lab.host(PATIENT)?.cut().await?;
    teller.restart();
    let settled = follow(&lab, before, &mut teller).await;
    let kept = keep_logs(&lab, &arguments.out).await;
    let incident = settled?;
    kept?;
    let result = conclude(&lab, &incident, &arguments.out).await?;
    teller.conclude(&result)?;
    let outcome = result
        .get("outcome")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if outcome != "recovered" {
        eprintln!(
            "iaso-lab: the incident ended as {outcome:?}, not recovered: read the report and the logs in {}",
            arguments.out.display()
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The last event that belongs to the time before the cut.
async fn last_sequence(lab: &Lab) -> Result<u64> {
    let mut stream = lab.operator.events(0).await?;
    let mut last = 0;
    // What was written before comes at once; silence means that it is all.
    while let Ok(Ok(Some(event))) =
        tokio::time::timeout(Duration::from_millis(300), stream.message()).await
    {
        last = event.sequence;
    }
    Ok(last)
}

/// Tells every event until the patient's incident is settled; answers its id.
async fn follow(lab: &Lab, after: u64, teller: &mut Teller) -> Result<String> {
    let told = lab
        .operator
        .until_event(RECOVERS_WITHIN, "styx to recover", |event| {
            if event.sequence > after {
                teller.tell(event);
            }
            event.sequence > after && event.node == PATIENT && settles(event)
        });
    match told.await {
        Ok(event) => Ok(event.incident),
        Err(error) => Err(error.context(lab.account().await)),
    }
}

fn settles(event: &Event) -> bool {
    let record: Value = serde_json::from_str(&event.json).unwrap_or_default();
    matches!(
        record.get("type").and_then(Value::as_str),
        Some("closed" | "parked")
    )
}

async fn keep_logs(lab: &Lab, out: &Path) -> Result<()> {
    let log = lab.directory().join("controller.log");
    std::fs::copy(log, out.join("controller.log")).context("cannot keep the controller's log")?;
    for (name, ..) in HOSTS {
        std::fs::write(
            out.join(format!("{name}.log")),
            lab.host(name)?.logs().await,
        )?;
    }
    Ok(())
}

/// The report, kept in both forms, and its summary.
async fn conclude(lab: &Lab, incident: &str, out: &Path) -> Result<Value> {
    let markdown = lab.operator.report(incident, "md").await?.body;
    let body = lab.operator.report(incident, "json").await?.body;
    let path = out.join(format!("{incident}.md"));
    std::fs::write(&path, markdown).with_context(|| format!("cannot write {}", path.display()))?;
    std::fs::write(out.join(format!("{incident}.json")), &body)?;
    let report: Value = serde_json::from_str(&body).context("the report is not JSON")?;
    let field = |name: &str| report.get(name).cloned().unwrap_or(Value::Null);
    let tried = field("tried");
    let rungs: Vec<Value> = tried
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|rung| rung.get("rung").cloned())
        .collect();
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    Ok(json!({
        "outcome": field("outcome"),
        "incident": incident,
        "diagnosis": field("diagnosis"),
        "rungs": rungs,
        "recreates": field("recreates"),
        "phases": field("phases"),
        "report": path.display().to_string(),
    }))
}

/// Writes the timeline: to standard output, or to standard error when that is for JSON.
struct Teller {
    format: Format,
    colours: bool,
    since: std::time::Instant,
}

impl Teller {
    fn new(format: Format) -> Self {
        let terminal = match format {
            Format::Text => std::io::stdout().is_terminal(),
            Format::Json => std::io::stderr().is_terminal(),
        };
        Self {
            format,
            colours: terminal && std::env::var_os("NO_COLOR").is_none(),
            since: std::time::Instant::now(),
        }
    }

    /// Times are counted from here on.
    fn restart(&mut self) {
        self.since = std::time::Instant::now();
    }

    fn say(&self, text: &str) {
        self.line(&format!("{} {text}", self.paint("1", "==>")));
    }

    fn tell(&self, event: &Event) {
        let colour = match event.kind.as_str() {
            "diagnosis" => "33",
            "intent" | "decision" => "36",
            "outcome" => "32",
            "waiting" => "2",
            _ => "0",
        };
        let at = format!("{:7.1}s", self.since.elapsed().as_secs_f64());
        let kind = format!("{:<9}", event.kind);
        self.line(&format!(
            "{} {} {}",
            self.paint("2", &at),
            self.paint(colour, &kind),
            event.text
        ));
    }

    fn conclude(&self, result: &Value) -> Result<()> {
        if self.format == Format::Json {
            let mut out = std::io::stdout().lock();
            return writeln!(out, "{result}").context("cannot write the result");
        }
        let text = |name: &str| result.get(name).map(plain).unwrap_or_default();
        self.say(&format!(
            "{}: {} was diagnosed {}.",
            text("outcome"),
            PATIENT,
            text("diagnosis")
        ));
        self.say(&format!(
            "rungs: {}; recreates: {}",
            text("rungs"),
            text("recreates")
        ));
        self.say(&format!("seconds: {}", text("phases")));
        self.say(&format!("report: {}", text("report")));
        Ok(())
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A reader that went away is no reason to leave the lab standing.
    fn line(&self, text: &str) {
        let _ = match self.format {
            Format::Text => writeln!(std::io::stdout().lock(), "{text}"),
            Format::Json => writeln!(std::io::stderr().lock(), "{text}"),
        };
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let pairs = fields
                .iter()
                .map(|(name, value)| format!("{} {}", name.trim_end_matches("_s"), plain(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
