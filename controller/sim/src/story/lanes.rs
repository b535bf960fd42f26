//! Spans over time: for each node its faults, its diagnosis, the rungs that were taken and what was waited for.

use crate::chronicle::Turn;
use crate::scenario::{Fault, Ms, Scenario, Strike};
use crate::sim::Run;
use crate::story::words;
use iaso_engine::fact::Role;
use iaso_engine::id::{IncidentId, NodeName};
use iaso_engine::policy::step::StepKind;
use iaso_engine::record::{Record, Waiting};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A fault, in truth.
    Fault,
    /// No fault is left, and the node is not well yet.
    After,
    /// What Iaso takes it for.
    Diagnosis,
    /// A fix.
    Fix,
    /// A power-on or a reboot.
    Power,
    /// A recreate.
    Recreate,
    /// Watched: it looks well.
    Verify,
    /// A person's.
    Parked,
    /// Something is waited for.
    Wait,
    /// A time that a reader wants to know.
    Measure,
}

/// From when until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// What.
    pub kind: Kind,
    /// Begins.
    pub from_ms: Ms,
    /// Ends; the run's end where it did not.
    pub to_ms: Ms,
    /// Short.
    pub label: String,
    /// Whole.
    pub text: String,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct Lane {
    /// Which.
    pub node: String,
    /// Its role, failure domain, and whether it has a provider, in words.
    pub about: String,
    /// In truth.
    pub faults: Vec<Span>,
    /// What Iaso takes it for.
    pub diagnoses: Vec<Span>,
    /// What was done, and how it was watched.
    pub rungs: Vec<Span>,
    /// What was waited for.
    pub waits: Vec<Span>,
    /// How long it was not well, in truth.
    pub down_ms: Ms,
}

impl Lane {
    /// Its rows, from the truth to what was waited for.
    #[must_use]
    pub fn rows(&self) -> [(&'static str, &[Span]); 4] {
        [
            ("fault", &self.faults),
            ("diagnosis", &self.diagnoses),
            ("action", &self.rungs),
            ("waits for", &self.waits),
        ]
    }
}

/// Every node on which anything happened.
pub(super) fn all(scenario: &Scenario, run: &Run, zones: &[String]) -> Vec<Lane> {
    let mut seen = seen(run);
    let mut all = Vec::new();
    for (ix, setup) in scenario.nodes.iter().enumerate() {
        let (faults, down_ms) = faults(scenario, run, ix);
        let (diagnoses, rungs, waits) = seen.remove(&setup.name).unwrap_or_default().ended(run);
        if faults.is_empty() && diagnoses.is_empty() && down_ms == 0 {
            continue;
        }
        let role = match setup.role {
            Role::Server => "server",
            Role::Worker => "worker",
        };
        let zone = setup.zone.and_then(|zone| zones.get(usize::from(zone)));
        let mut about = vec![role.to_owned()];
        about.extend(zone.cloned());
        about.extend((!setup.machine).then(|| "no provider".to_owned()));
        about.extend(setup.local_data.then(|| "local data".to_owned()));
        all.push(Lane {
            node: setup.name.to_string(),
            about: about.join(", "),
            faults,
            diagnoses,
            rungs,
            waits,
            down_ms,
        });
    }
    all
}

/// Faults of no single node, and a controller that is away.
pub(super) fn everywhere(scenario: &Scenario, run: &Run) -> Vec<Span> {
    let global = |fault: Fault| fault.is_global() && !matches!(fault, Fault::Crash { .. });
    let strikes = scenario.strikes.iter().filter(|s| s.at <= run.ended);
    let mut all: Vec<Span> = strikes
        .filter(|s| global(s.fault))
        .map(|s| of_fault(s, s.at, s.until.unwrap_or(run.ended).min(run.ended)))
        .collect();
    let mut died = None;
    let end = (run.ended, true);
    for (at, up) in run.chronicle.controller.iter().chain([&end]) {
        match (died, up) {
            (None, false) => died = Some(*at),
            (Some(from), true) => {
                died = None;
                all.push(Span {
                    kind: Kind::Fault,
                    from_ms: from,
                    to_ms: *at,
                    label: "controller away".into(),
                    text: "the controller is not running".into(),
                });
            }
            (None, true) | (Some(_), false) => {}
        }
    }
    all.sort_by_key(|span| span.from_ms);
    all
}

/// What was wrong with a node, in truth, and for how long it was not well.
fn faults(scenario: &Scenario, run: &Run, ix: usize) -> (Vec<Span>, Ms) {
    let mut open: BTreeMap<usize, Ms> = BTreeMap::new();
    let mut spans = Vec::new();
    let (mut down, mut before) = (0_u64, None);
    let turns = run.chronicle.nodes.iter().filter(|turn| turn.node == ix);
    let end = Turn {
        at: run.ended,
        node: ix,
        well: true,
        faults: Vec::new(),
    };
    for turn in turns.chain([&end]) {
        if let Some((since, true)) = before {
            down = down.saturating_add(turn.at.saturating_sub(since));
            if open.is_empty() {
                spans.push(after(since, turn.at));
            }
        }
        let gone: Vec<usize> = open
            .keys()
            .filter(|s| !turn.faults.contains(s))
            .copied()
            .collect();
        for strike in gone {
            let from = open.remove(&strike).unwrap_or(turn.at);
            spans.extend(
                scenario
                    .strikes
                    .get(strike)
                    .map(|s| of_fault(s, from, turn.at)),
            );
        }
        for strike in &turn.faults {
            open.entry(*strike).or_insert(turn.at);
        }
        before = Some((turn.at, !turn.well));
    }
    spans.sort_by_key(|span| span.from_ms);
    (spans, down)
}

fn of_fault(strike: &Strike, from: Ms, to: Ms) -> Span {
    Span {
        kind: Kind::Fault,
        from_ms: from,
        to_ms: to,
        label: words::fault(strike),
        text: words::fault(strike),
    }
}

fn after(from: Ms, to: Ms) -> Span {
    Span {
        kind: Kind::After,
        from_ms: from,
        to_ms: to,
        label: "not well yet".into(),
        text: "no fault is left, and the node is not well yet: it installs, boots or joins".into(),
    }
}

/// What the journal says of one node.
#[derive(Debug, Default)]
struct Seen {
    diagnoses: Row,
    rungs: Row,
    waits: Row,
}

impl Seen {
    fn ended(mut self, run: &Run) -> (Vec<Span>, Vec<Span>, Vec<Span>) {
        for row in [&mut self.diagnoses, &mut self.rungs, &mut self.waits] {
            row.end(run.ended);
        }
        (self.diagnoses.spans, self.rungs.spans, self.waits.spans)
    }
}

/// Spans that follow each other.
#[derive(Debug, Default)]
struct Row {
    spans: Vec<Span>,
    open: Option<Span>,
}

impl Row {
    fn begin(&mut self, at: Ms, kind: Kind, label: String, text: String) {
        if self
            .open
            .as_ref()
            .is_some_and(|o| o.kind == kind && o.label == label)
        {
            return;
        }
        self.end(at);
        self.open = Some(Span {
            kind,
            from_ms: at,
            to_ms: at,
            label,
            text,
        });
    }

    fn end(&mut self, at: Ms) {
        if let Some(mut span) = self.open.take() {
            span.to_ms = at;
            if at > span.from_ms {
                self.spans.push(span);
            }
        }
    }
}

fn seen(run: &Run) -> BTreeMap<NodeName, Seen> {
    let mut nodes: BTreeMap<IncidentId, NodeName> = BTreeMap::new();
    let mut all: BTreeMap<NodeName, Seen> = BTreeMap::new();
    for (entry, at) in run.entries.iter().zip(&run.moments) {
        if let Record::IncidentOpened { incident, node, .. } = &entry.record {
            nodes.insert(incident.clone(), node.clone());
        }
        let node = entry.record.incident().and_then(|id| nodes.get(id));
        if let Some(node) = node {
            hear(all.entry(node.clone()).or_default(), *at, &entry.record);
        }
    }
    all
}

fn hear(seen: &mut Seen, at: Ms, record: &Record) {
    match record {
        Record::IncidentOpened {
            diagnosis,
            evidence,
            ..
        }
        | Record::Diagnosed {
            diagnosis,
            evidence,
            ..
        } => {
            let text = format!("{diagnosis}: {}", evidence.join("; "));
            seen.diagnoses
                .begin(at, Kind::Diagnosis, diagnosis.to_string(), text);
        }
        Record::WaitingChanged { waiting, .. } => wait(&mut seen.waits, at, waiting),
        Record::RungStarted { rung, why, .. } => {
            let kind = match StepKind::of(rung) {
                StepKind::Fix => Kind::Fix,
                StepKind::Start | StepKind::Reboot | StepKind::Rescue => Kind::Power,
                StepKind::Recreate => Kind::Recreate,
                StepKind::Page => Kind::Parked,
            };
            seen.rungs
                .begin(at, kind, rung.to_string(), format!("{rung}: {why}"));
        }
        Record::RungEnded { .. } | Record::VerifyFailed { .. } => seen.rungs.end(at),
        Record::Verifying { why, .. } => {
            seen.rungs
                .begin(at, Kind::Verify, "verify".into(), why.clone());
        }
        Record::Parked { why, .. } => {
            seen.rungs
                .begin(at, Kind::Parked, "parked: a person's".into(), why.clone());
        }
        Record::Closed { .. } => {
            for row in [&mut seen.diagnoses, &mut seen.rungs, &mut seen.waits] {
                row.end(at);
            }
        }
        Record::ControllerStarted { .. }
        | Record::Noted { .. }
        | Record::Intended { .. }
        | Record::Resolved { .. }
        | Record::WouldHave { .. }
        | Record::Approved { .. }
        | Record::Denied { .. }
        | Record::Paused { .. }
        | Record::Resumed { .. } => {}
    }
}

fn wait(row: &mut Row, at: Ms, waiting: &[Waiting]) {
    if waiting.is_empty() {
        return row.end(at);
    }
    let mut names: Vec<&str> = waiting.iter().map(Waiting::name).collect();
    names.dedup();
    let text: Vec<String> = waiting.iter().map(ToString::to_string).collect();
    row.begin(at, Kind::Wait, names.join(", "), text.join("; "));
}
