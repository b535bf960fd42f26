//! One incident: its milestones after the fault, its phases, and what it waited for.

use crate::driver::START;
use crate::scenario::{Ms, SECOND, Scenario};
use crate::sim::Run;
use crate::story::Hold;
use iaso_engine::effect::{Action, Outcome};
use iaso_engine::id::{EffectId, IncidentId};
use iaso_engine::record::{Entry, Record, Rung};
use iaso_engine::report::Report;
use iaso_engine::time::Tick;
use serde::Serialize;
use std::collections::BTreeMap;

/// Most milestones of one incident.
const MILESTONES_MAX: usize = 100;

/// One incident.
#[derive(Debug, Clone, Serialize)]
pub struct IncidentStory {
    /// Its id.
    pub incident: String,
    /// Whose.
    pub node: String,
    /// `recovered`, `recovered-by-itself`, `parked` or `open`.
    pub outcome: String,
    /// The diagnosis that was acted on.
    pub diagnosis: String,
    /// What happened, for somebody who reads nothing else.
    pub summary: Vec<String>,
    /// When the node stopped being well, in truth; `None`: it was well.
    pub fault_ms: Option<Ms>,
    /// Everything that a reader may want to measure from.
    pub milestones: Vec<Milestone>,
    /// Seconds by phase.
    pub phases: Phases,
    /// From the fault until a recreate was decided, seconds; `None`: it was not.
    pub recreate_decided_s: Option<u64>,
    /// What `observe` mode would have done.
    pub would_have: Vec<String>,
}

/// A moment of an incident.
#[derive(Debug, Clone, Serialize)]
pub struct Milestone {
    /// When.
    pub at_ms: Ms,
    /// After the fault, seconds; negative for the last word before it; `None`: there was none.
    pub after_s: Option<i64>,
    /// What.
    pub what: String,
}

/// Seconds by phase. They add up to the time from the fault to the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Phases {
    /// Fault → first bad fact.
    pub unseen_s: u64,
    /// First bad fact → incident.
    pub detect_s: u64,
    /// Incident → first rung, and between rungs.
    pub decide_s: u64,
    /// Fixes, start and reboot, with the time given to help.
    pub reboot_s: u64,
    /// Preparation and the provider's recreate.
    pub recreate_s: u64,
    /// Recreated → joined, restored and uncordoned.
    pub rejoin_s: u64,
    /// Watching that it stays well.
    pub verify_s: u64,
}

impl Phases {
    /// Each with its name, in the order of time.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u64); 7] {
        [
            ("unseen", self.unseen_s),
            ("detect", self.detect_s),
            ("decide", self.decide_s),
            ("fix or reboot", self.reboot_s),
            ("recreate", self.recreate_s),
            ("rejoin", self.rejoin_s),
            ("verify", self.verify_s),
        ]
    }
}

impl IncidentStory {
    /// From the fault to verified recovery, seconds; `None`: it was not recovered, or nothing was wrong.
    #[must_use]
    pub fn total_s(&self) -> Option<u64> {
        let recovered = self.outcome.starts_with("recovered");
        let end = self.milestones.last().filter(|_| recovered)?;
        Some(end.at_ms.saturating_sub(self.fault_ms?) / SECOND)
    }
}

/// All of them, each with what it waited for.
pub(super) fn all(scenario: &Scenario, run: &Run) -> Vec<(IncidentStory, Vec<Hold>)> {
    let opened = run
        .entries
        .iter()
        .zip(&run.moments)
        .filter_map(|(entry, at)| {
            let Record::IncidentOpened {
                incident,
                node,
                since,
                ..
            } = &entry.record
            else {
                return None;
            };
            let before = entry.at.0.saturating_sub(since.0);
            let since_ms = at.saturating_sub(before);
            let ix = scenario.nodes.iter().position(|n| &n.name == node)?;
            Some((incident, ix, since_ms, *at))
        });
    opened
        .filter_map(|(id, ix, since, opened)| one(scenario, run, (id, ix, since, opened)))
        .collect()
}

fn one(
    scenario: &Scenario,
    run: &Run,
    (id, ix, since_ms, opened_ms): (&IncidentId, usize, Ms, Ms),
) -> Option<(IncidentStory, Vec<Hold>)> {
    let own = own_entries(run, id);
    let entries: Vec<Entry> = own.iter().map(|(entry, _)| (*entry).clone()).collect();
    let last = run.entries.last().map_or(0, |entry| entry.at.0);
    let now = Tick(START.saturating_add(run.ended).max(last));
    let report = Report::build(&entries, now)?;
    let fault_ms = fell_ill(run, ix, opened_ms);
    let after = |at: Ms| fault_ms.map(|fault| at.saturating_sub(fault) / SECOND);
    let marks = milestones(&own, id, since_ms, fault_ms);
    let recreate = marks.iter().find(|(_, what)| what == RECREATE_DECIDED);
    let p = report.phases;
    let story = IncidentStory {
        incident: id.to_string(),
        node: scenario.nodes.get(ix)?.name.to_string(),
        outcome: report.outcome.clone(),
        diagnosis: report.diagnosis.to_string(),
        summary: report.summary.clone(),
        fault_ms,
        recreate_decided_s: recreate.and_then(|(at, _)| after(*at)),
        phases: Phases {
            unseen_s: after(since_ms).unwrap_or(0),
            detect_s: p.detect_s,
            decide_s: p.decide_s,
            reboot_s: p.reboot_s,
            recreate_s: p.recreate_s,
            rejoin_s: p.rejoin_s,
            verify_s: p.verify_s,
        },
        milestones: marks
            .into_iter()
            .map(|(at_ms, what)| Milestone {
                at_ms,
                after_s: fault_ms.map(|fault| signed(at_ms, fault)),
                what,
            })
            .collect(),
        would_have: report
            .would_have
            .iter()
            .map(|w| format!("{}: {}", w.rung, w.why))
            .collect(),
    };
    let holds = report.waited.into_iter().map(|waited| Hold {
        incident: id.to_string(),
        refused: !matches!(
            waited.name.as_str(),
            "patience" | "verifying" | "fresh-facts" | "in-flight"
        ),
        name: waited.name,
        why: waited.text,
        seconds: waited.seconds,
    });
    Some((story, holds.collect()))
}

fn signed(at: Ms, since: Ms) -> i64 {
    let span = |ms: Ms| i64::try_from(ms / SECOND).unwrap_or(i64::MAX);
    if at >= since {
        span(at.saturating_sub(since))
    } else {
        span(since.saturating_sub(at)).saturating_neg()
    }
}

/// When the node last stopped being well before its incident was opened.
fn fell_ill(run: &Run, ix: usize, opened: Ms) -> Option<Ms> {
    let mut since = None;
    for turn in run.chronicle.before(ix, opened) {
        if turn.well {
            break;
        }
        since = Some(turn.at);
    }
    since
}

/// The incident's entries, and those about everything.
fn own_entries<'a>(run: &'a Run, id: &IncidentId) -> Vec<(&'a Entry, Ms)> {
    let prefix = format!("{id}/");
    let about = |record: &Record| match (record, record.incident()) {
        (_, Some(own)) => own == id,
        (Record::Resolved { effect, .. }, None) => effect.as_str().starts_with(&prefix),
        (record, None) => matches!(
            record,
            Record::ControllerStarted { .. } | Record::Paused { .. } | Record::Resumed { .. }
        ),
    };
    let all = run.entries.iter().zip(run.moments.iter().copied());
    all.filter(|(entry, _)| about(&entry.record)).collect()
}

/// What the time to a recreate is measured to.
const RECREATE_DECIDED: &str = "recreate decided";

fn milestones(
    own: &[(&Entry, Ms)],
    id: &IncidentId,
    since: Ms,
    fault: Option<Ms>,
) -> Vec<(Ms, String)> {
    let mut all: Vec<(Ms, String)> = Vec::new();
    all.extend(fault.map(|at| (at, "fault".to_owned())));
    all.push((since, "since then nothing good was heard".into()));
    let mut actions: BTreeMap<&EffectId, &Action> = BTreeMap::new();
    for (entry, at) in own {
        if entry.record.incident().is_some_and(|other| other != id) {
            continue;
        }
        let what = match &entry.record {
            Record::IncidentOpened { diagnosis, .. } => format!("incident opened: {diagnosis}"),
            Record::Diagnosed { diagnosis, .. } => format!("now {diagnosis}"),
            Record::RungStarted { rung, .. } => decided(rung),
            Record::RungEnded { rung, result, .. } => format!("{rung} ended: {result}"),
            Record::Intended { effect } => {
                actions.insert(&effect.id, &effect.action);
                match name(&effect.action) {
                    Some(name) => format!("{name} ordered"),
                    None => continue,
                }
            }
            Record::Resolved {
                effect,
                outcome: Outcome::Done { .. },
            } => match actions.get(effect).and_then(|action| done(action)) {
                Some(text) => text.to_owned(),
                None => continue,
            },
            Record::Approved { rung, .. } => format!("a person approves {rung}"),
            Record::Denied { rung, .. } => format!("a person denies {rung}"),
            Record::WouldHave { rung, .. } => format!("would take {rung}, and only observes"),
            Record::Verifying { .. } => "looks well: watched".into(),
            Record::VerifyFailed { .. } => "not well after all".into(),
            Record::Parked { .. } => "parked: a person's".into(),
            Record::Closed { .. } => "closed: verified".into(),
            Record::ControllerStarted { .. }
            | Record::Noted { .. }
            | Record::WaitingChanged { .. }
            | Record::Resolved { .. }
            | Record::Paused { .. }
            | Record::Resumed { .. } => continue,
        };
        all.push((*at, what));
    }
    all.sort_by_key(|(at, _)| *at);
    if all.len() > MILESTONES_MAX {
        let end = all.pop();
        all.truncate(MILESTONES_MAX.saturating_sub(1));
        all.extend(end);
    }
    all
}

fn decided(rung: &Rung) -> String {
    if *rung == Rung::Recreate {
        RECREATE_DECIDED.to_owned()
    } else {
        format!("{rung} decided")
    }
}

/// Orders that a reader waits for.
fn name(action: &Action) -> Option<String> {
    match action {
        Action::ApplyFix { plugin, fix } => Some(format!("fix {plugin}/{fix}")),
        Action::Reboot | Action::Start | Action::Rescue { .. } | Action::Recreate { .. } => {
            Some(action.name().to_owned())
        }
        Action::Page { .. } => Some("page".into()),
        Action::Remember
        | Action::LeaveRescue
        | Action::Cordon
        | Action::StorePassword
        | Action::PrepareScript
        | Action::Release
        | Action::Restore { .. }
        | Action::Uncordon
        | Action::PromotePassword { .. }
        | Action::DiscardPassword { .. }
        | Action::Cleanup { .. } => None,
    }
}

fn done(action: &Action) -> Option<&'static str> {
    match action {
        Action::ApplyFix { .. } => Some("fix done"),
        Action::Reboot => Some("rebooted, by the provider's word"),
        Action::Start => Some("powered on"),
        Action::Rescue { .. } => Some("rescue image asked for"),
        Action::Recreate { .. } => Some("machine recreated"),
        Action::Release => Some("workloads released"),
        Action::Uncordon => Some("uncordoned"),
        Action::StorePassword => Some("password stored and read back"),
        Action::Remember
        | Action::LeaveRescue
        | Action::Cordon
        | Action::PrepareScript
        | Action::Restore { .. }
        | Action::PromotePassword { .. }
        | Action::DiscardPassword { .. }
        | Action::Cleanup { .. }
        | Action::Page { .. } => None,
    }
}
