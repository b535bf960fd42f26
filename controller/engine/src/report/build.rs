//! Reads an incident's entries once and keeps what the report tells.

use crate::effect::{Action, Outcome, Yield};
use crate::ledger::{EffectState, Incident, Standing};
use crate::policy::step::StepKind;
use crate::record::{Diagnosis, Entry, Record, Rung, RungResult, Waiting};
use crate::report::{
    Decision, LINE_CHARS_MAX, LIST_MAX, Phases, Report, TIMELINE_MAX, Tried, Waited, summary,
};
use crate::time::Tick;
use crate::timeline::{Line, belongings, describe};
use std::collections::BTreeMap;

/// The parts of an incident's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Decide,
    Reboot,
    Recreate,
    Rejoin,
    Verify,
    Over,
}

pub(super) struct Teller {
    incident: Incident,
    now: Tick,
    phase: Phase,
    phase_since: Tick,
    phases_ms: BTreeMap<&'static str, u64>,
    waiting_since: BTreeMap<Waiting, Tick>,
    waited_ms: BTreeMap<(&'static str, String), u64>,
    local_data: Vec<String>,
    acted_on: Option<Diagnosis>,
    /// The strongest rung at the provider, and what it answered: an early guess may have been another.
    strongest: Option<(StepKind, Diagnosis)>,
    facts: Vec<Line>,
    tried: Vec<Tried>,
    escalation: Vec<String>,
    decisions: Vec<Decision>,
    verified: Vec<String>,
    timeline: Vec<Line>,
}

impl Teller {
    pub(super) fn new(incident: Incident, now: Tick) -> Self {
        let opened = incident.opened;
        Self {
            incident,
            now,
            phase: Phase::Decide,
            phase_since: opened,
            phases_ms: BTreeMap::new(),
            waiting_since: BTreeMap::new(),
            waited_ms: BTreeMap::new(),
            local_data: Vec::new(),
            acted_on: None,
            strongest: None,
            facts: Vec::new(),
            tried: Vec::new(),
            escalation: Vec::new(),
            decisions: Vec::new(),
            verified: Vec::new(),
            timeline: Vec::new(),
        }
    }

    pub(super) fn hear(&mut self, entry: &Entry) {
        let about = match (&entry.record, entry.record.incident()) {
            (_, Some(id)) => *id == self.incident.id,
            (Record::Resolved { effect, .. }, None) => {
                self.incident.effects.iter().any(|e| &e.effect.id == effect)
            }
            (Record::Paused { node, .. } | Record::Resumed { node, .. }, None) => {
                node.as_ref().is_none_or(|n| *n == self.incident.node)
            }
            (record, None) => matches!(record, Record::ControllerStarted { .. }),
        };
        if !about {
            return;
        }
        let line = self.line(entry);
        match line.kind.as_str() {
            "diagnosis" | "fact" => self.facts.push(line.clone()),
            "approval" => self.decisions.push(Decision {
                at: entry.at,
                text: line.text.clone(),
            }),
            _ => {}
        }
        // The same words twice in a row are a moment that moved, not news.
        let repeated = self
            .timeline
            .last()
            .is_some_and(|before| before.kind == "waiting" && before.text == line.text);
        if !repeated {
            self.timeline.push(line);
        }
        self.note(entry);
        if let Record::Resolved { effect, outcome } = &entry.record {
            let state = self
                .incident
                .effects
                .iter_mut()
                .find(|e| &e.effect.id == effect);
            if let Some(state) = state {
                state.settle(entry.at, outcome);
            }
        } else {
            self.incident.apply(entry.at, &entry.record);
        }
        self.turn(entry.at);
    }

    /// An outcome alone names only its effect: here the action is known.
    fn line(&self, entry: &Entry) -> Line {
        let mut line = describe(entry);
        if let Record::Resolved { effect, .. } = &entry.record {
            let state = self
                .incident
                .effects
                .iter()
                .find(|e| &e.effect.id == effect);
            if let Some(state) = state {
                line.text = format!("{}: {}", state.effect.action.name(), line.text);
            }
        }
        line.text = cut(line.text);
        line
    }

    fn note(&mut self, entry: &Entry) {
        match &entry.record {
            Record::RungStarted {
                rung, attempt, why, ..
            } => {
                if let Some(before) = self.tried.last().filter(|_| *rung != Rung::Page) {
                    self.escalation.push(format!(
                        "{} {} ({}), so {rung}: {why}",
                        before.rung,
                        before.result.as_deref().unwrap_or("has not ended"),
                        before.because.as_deref().unwrap_or("no word"),
                    ));
                }
                self.acted_on = self.acted_on.or(Some(self.incident.diagnosis));
                let kind = StepKind::of(rung);
                if kind.is_power() && self.strongest.is_none_or(|(before, _)| before <= kind) {
                    self.strongest = Some((kind, self.incident.diagnosis));
                }
                self.tried.push(Tried {
                    rung: rung.to_string(),
                    attempt: *attempt,
                    started: entry.at,
                    why: why.clone(),
                    result: None,
                    because: None,
                    took_s: None,
                });
            }
            Record::RungEnded {
                rung, result, why, ..
            } => {
                let name = rung.to_string();
                let open = self
                    .tried
                    .iter_mut()
                    .rev()
                    .find(|t| t.rung == name && t.result.is_none());
                if let Some(tried) = open {
                    tried.result = Some(result.to_string());
                    tried.because = Some(why.clone());
                    tried.took_s = Some(entry.at.since(tried.started).as_secs());
                }
            }
            Record::WaitingChanged { waiting, .. } => self.wait(entry.at, waiting),
            Record::Closed { verified, .. } => {
                self.wait(entry.at, &[]);
                self.verified = verified.iter().cloned().map(cut).collect();
            }
            Record::ControllerStarted { .. }
            | Record::Noted { .. }
            | Record::IncidentOpened { .. }
            | Record::Diagnosed { .. }
            | Record::Intended { .. }
            | Record::Resolved { .. }
            | Record::WouldHave { .. }
            | Record::Approved { .. }
            | Record::Denied { .. }
            | Record::Paused { .. }
            | Record::Resumed { .. }
            | Record::Verifying { .. }
            | Record::VerifyFailed { .. }
            | Record::Parked { .. } => {}
        }
    }

    fn wait(&mut self, at: Tick, waiting: &[Waiting]) {
        let over: Vec<Waiting> = self
            .waiting_since
            .keys()
            .filter(|w| !waiting.contains(w))
            .cloned()
            .collect();
        for reason in over {
            if let Some(since) = self.waiting_since.remove(&reason) {
                let sum = self
                    .waited_ms
                    .entry((reason.name(), reason.to_string()))
                    .or_default();
                *sum = sum.saturating_add(at.0.saturating_sub(since.0));
            }
        }
        for reason in waiting {
            if let Waiting::LocalData { volumes } = reason {
                self.local_data.clone_from(volumes);
            }
            self.waiting_since.entry(reason.clone()).or_insert(at);
        }
    }

    /// Closes the running phase when the incident has moved on to another.
    fn turn(&mut self, at: Tick) {
        let phase = self.standing_phase();
        if phase != self.phase {
            self.book(at);
            self.phase = phase;
            self.phase_since = at;
        }
    }

    fn book(&mut self, at: Tick) {
        let name = match self.phase {
            Phase::Decide => "decide",
            Phase::Reboot => "reboot",
            Phase::Recreate => "recreate",
            Phase::Rejoin => "rejoin",
            Phase::Verify => "verify",
            Phase::Over => return,
        };
        let sum = self.phases_ms.entry(name).or_default();
        *sum = sum.saturating_add(at.0.saturating_sub(self.phase_since.0));
    }

    fn standing_phase(&self) -> Phase {
        match self.incident.standing {
            Standing::Closed(..) => Phase::Over,
            Standing::Verifying(_) => Phase::Verify,
            Standing::Parked => Phase::Decide,
            Standing::Open => match self.incident.running() {
                None => Phase::Decide,
                Some(rung) => {
                    let begun = self
                        .incident
                        .effects_of(rung)
                        .any(|e| !matches!(e.effect.action, Action::Page { .. }));
                    match (&rung.rung, begun) {
                        (_, false) | (Rung::Page, true) => Phase::Decide,
                        (Rung::Fix(_) | Rung::Start | Rung::Reboot | Rung::Rescue, true) => {
                            Phase::Reboot
                        }
                        (Rung::Recreate, true) => match self.incident.last_done("recreate") {
                            Some(_) => Phase::Rejoin,
                            None => Phase::Recreate,
                        },
                    }
                }
            },
        }
    }

    pub(super) fn report(mut self) -> Report {
        let until = match self.incident.standing {
            Standing::Closed(at, _) => at,
            Standing::Open | Standing::Verifying(_) | Standing::Parked => self.now,
        };
        self.wait(until, &[]);
        self.book(until);
        let seconds = |name: &str| self.phases_ms.get(name).map_or(0, |ms| ms / 1_000);
        let phases = Phases {
            detect_s: self.incident.opened.since(self.incident.since).as_secs(),
            decide_s: seconds("decide"),
            reboot_s: seconds("reboot"),
            recreate_s: seconds("recreate"),
            rejoin_s: seconds("rejoin"),
            verify_s: seconds("verify"),
        };
        let (outcome, closing) = match self.incident.standing {
            Standing::Closed(_, closing) => (
                match closing {
                    crate::record::Closing::Recovered => "recovered",
                    crate::record::Closing::RecoveredByItself => "recovered-by-itself",
                },
                Some(closing),
            ),
            Standing::Parked => ("parked", None),
            Standing::Open | Standing::Verifying(_) => ("open", None),
        };
        let mut cut = Vec::new();
        let waited = self.waited();
        let report = Report {
            incident: self.incident.id.clone(),
            node: self.incident.node.clone(),
            outcome: outcome.into(),
            closing,
            summary: Vec::new(),
            diagnosis: self.acted_on_or_last(),
            since: self.incident.since,
            opened: self.incident.opened,
            until,
            phases,
            recreates: u32::from(self.incident.recreate().is_some()),
            deviations: deviations(&self.incident),
            verified: bounded(self.verified, LIST_MAX, "verified facts", &mut cut),
            changed: changed(&self.incident),
            would_have: Vec::new(),
            follow_ups: follow_ups(&self.incident, &self.local_data),
            facts: bounded(self.facts, LIST_MAX, "facts", &mut cut),
            tried: bounded(self.tried, LIST_MAX, "rungs", &mut cut),
            escalation: bounded(self.escalation, LIST_MAX, "steps up", &mut cut),
            waited: bounded(waited, LIST_MAX, "reasons to wait", &mut cut),
            decisions: bounded(self.decisions, LIST_MAX, "decisions", &mut cut),
            timeline: bounded(self.timeline, TIMELINE_MAX, "timeline entries", &mut cut),
            cut: String::new(),
        };
        Report {
            summary: summary::sentences(&report),
            cut: cut.join("; "),
            ..report
        }
    }

    /// The diagnosis that the strongest rung answered: the first one may have been an early guess.
    fn acted_on_or_last(&self) -> Diagnosis {
        let strongest = self.strongest.map(|(_, diagnosis)| diagnosis);
        strongest
            .or(self.acted_on)
            .unwrap_or(self.incident.diagnosis)
    }

    fn waited(&self) -> Vec<Waited> {
        let mut all: Vec<Waited> = self
            .waited_ms
            .iter()
            .map(|((name, text), ms)| Waited {
                name: (*name).to_owned(),
                text: cut(text.clone()),
                seconds: ms / 1_000,
            })
            .collect();
        all.sort_by_key(|w| std::cmp::Reverse(w.seconds));
        all
    }
}

fn cut(text: String) -> String {
    if text.chars().count() <= LINE_CHARS_MAX {
        return text;
    }
    let mut kept: String = text.chars().take(LINE_CHARS_MAX).collect();
    kept.push('…');
    kept
}

/// Keeps the first and the last of a list that is too long, and says so.
fn bounded<T>(mut list: Vec<T>, max: usize, what: &str, cuts: &mut Vec<String>) -> Vec<T> {
    let over = list.len().saturating_sub(max);
    if over > 0 {
        let from = max / 2;
        list.drain(from..from.saturating_add(over));
        cuts.push(format!(
            "{over} {what} in the middle are left out; the journal has them"
        ));
    }
    list
}

fn did<'i>(incident: &'i Incident, name: &'i str) -> impl Iterator<Item = &'i EffectState> {
    incident
        .effects
        .iter()
        .filter(move |e| e.effect.action.name() == name)
}

/// Where the incident left the usual way up: reboot once, recreate once, each step at the first try.
fn deviations(incident: &Incident) -> Vec<String> {
    let mut all = Vec::new();
    for state in &incident.effects {
        let id = &state.effect.id;
        let name = state.effect.action.name();
        match &state.latest {
            Some((_, Outcome::NotStarted { class, detail })) => {
                all.push(format!("{name} ({id}) did not begin ({class}): {detail}"));
            }
            Some((_, Outcome::Failed { detail })) => {
                all.push(format!("{name} ({id}) failed: {detail}"));
            }
            Some((
                _,
                Outcome::Done {
                    yielded:
                        Yield::Reboot {
                            proven: Some(false),
                        },
                    ..
                },
            )) => {
                all.push(format!(
                    "{name} ({id}): the provider says done, and uptime did not fall"
                ));
            }
            Some((_, Outcome::InDoubt { detail })) => {
                all.push(format!("{name} ({id}) is in doubt: {detail}"));
            }
            None | Some((_, Outcome::Done { .. } | Outcome::Started { .. })) => {}
        }
    }
    for rung in &incident.rungs {
        if let Some((_, RungResult::Moot)) = rung.ended {
            all.push(format!("{} was begun and not needed", rung.rung));
        }
    }
    if incident.verify_failures > 0 {
        all.push(format!(
            "it looked well {} times and was not",
            incident.verify_failures
        ));
    }
    all.into_iter().map(cut).take(LIST_MAX).collect()
}

fn changed(incident: &Incident) -> Vec<String> {
    let mut all = Vec::new();
    for state in incident.effects.iter().filter(|e| e.done().is_some()) {
        match &state.effect.action {
            Action::ApplyFix { plugin, fix } => {
                all.push(format!("the agent applied fix {fix} of {plugin}"));
            }
            Action::Reboot => all.push("the machine was rebooted by the provider".into()),
            Action::Start => all.push("the machine was powered on".into()),
            Action::Rescue { .. } => {
                all.push("the machine was booted into the provider's rescue image".into());
            }
            Action::LeaveRescue => all.push("the machine's own disk was booted again".into()),
            Action::Recreate { .. } => all.push("the machine was wiped and installed anew".into()),
            Action::Restore { remembered } => {
                all.push(format!("put back: {}", belongings(remembered)));
            }
            Action::Release => all.push(
                "stuck pods, volume attachments and the old node password were cleared".into(),
            ),
            Action::PromotePassword { password_key } => {
                all.push(format!("the root password is the one under key {password_key}; the previous one is kept"));
            }
            Action::Remember
            | Action::Cordon
            | Action::StorePassword
            | Action::PrepareScript
            | Action::Uncordon
            | Action::DiscardPassword { .. }
            | Action::Cleanup { .. }
            | Action::Page { .. } => {}
        }
    }
    all
}

fn follow_ups(incident: &Incident, local_data: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    let is_done = |name: &str| did(incident, name).any(|e| e.done().is_some());
    if let Some(recreate) = incident.recreate() {
        all.push("the previous machine's disk and snapshots are gone: restore from backup what was only there".into());
        all.push("SSH host keys are new, and so may be keys that were added by hand".into());
        for volume in local_data {
            let lost = match incident.rescue_answered() {
                Some(true) => "local data lost with it, unless it was saved from the rescue image",
                Some(false) | None => "local data lost with it",
            };
            all.push(format!("{lost}: {volume}"));
        }
        if !is_done("promote-password")
            && let Action::Recreate { password_key, .. } = &recreate.effect.action
        {
            all.push(format!("the root password is still pending under key {password_key}: try it, then promote it"));
        }
        if is_done("promote-password") {
            all.push(
                "the previous root password is kept in the secret store until a person deletes it"
                    .into(),
            );
        }
    } else if is_done("store-password")
        && !is_done("discard-password")
        && incident.rescue().is_none()
    {
        all.push("a pending root password was drawn and never used: it may be deleted from the secret store".into());
    }
    match incident.rescue_answered() {
        Some(true) => all.push("the rescue image answered, so the fault was in the machine's own system (its network settings, firewall or disk): find what changed there before it went dark, or it will come back".into()),
        Some(false) => all.push("not even the rescue image was reached, so the fault was outside the machine: ask the provider about its host and network".into()),
        None => {}
    }
    if incident.rescue().is_some() && incident.left_rescue().is_none() {
        all.push(format!(
            "{} still runs the rescue image: boot its own disk at the provider's console",
            incident.node
        ));
    }
    if is_done("prepare-script") && !is_done("cleanup") {
        all.push("the post-install script and its join token may still exist: delete them at the provider and in kube-system".into());
    }
    let last = |name: &str| did(incident, name).filter_map(EffectState::done).max();
    if last("cordon").is_some_and(|cordoned| last("uncordon").is_none_or(|u| u < cordoned)) {
        all.push(format!(
            "{} may still be cordoned: look, and `kubectl uncordon` it",
            incident.node
        ));
    }
    if matches!(incident.standing, Standing::Parked) {
        all.push("it is parked: a person must decide".into());
    }
    all.into_iter().map(cut).take(LIST_MAX).collect()
}
