//! One node's planning: the standing of its incident first, then what the facts say. Works on a copy of the incident that takes every
//! record as the journal will, until nothing more follows: so a second call, after the records were folded, finds nothing to add.

use crate::diagnose::{Assessment, Assessments};
use crate::effect::{Action, Effect, Outcome};
use crate::gate::{self, Question};
use crate::id::{EffectId, NodeName};
use crate::ladder::{self, Next};
use crate::ledger::{EffectState, Incident, RungState, Standing};
use crate::plan::{Situation, verified};
use crate::policy::outlook::span;
use crate::policy::step::{StepKind, Terms};
use crate::policy::{Mode, Policy};
use crate::record::{Closing, Diagnosis, Record, Rung, RungResult, Waiting};
use crate::saga;
use crate::time::Tick;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

/// More steps than any incident takes at one moment.
const STEPS_MAX: usize = 32;
/// Longest wait between two tries of the same step.
const RETRY_SECS_MAX: u64 = 300;

pub(crate) struct Work<'a> {
    pub(crate) s: &'a Situation<'a>,
    pub(crate) all: &'a Assessments,
    pub(crate) name: &'a NodeName,
    pub(crate) node: &'a Assessment,
    /// The policy that holds for this node.
    pub(crate) policy: &'a Policy,
    /// The ledger's until this work adds a record, then a copy.
    pub(crate) incident: Option<Cow<'a, Incident>>,
    pub(crate) records: Vec<Record>,
    pub(crate) waiting: BTreeSet<Waiting>,
    /// Facts newer than this are wanted.
    pub(crate) newer_than: Option<Tick>,
    /// A disruptive effect that this plan begins on another node.
    claimed: Option<EffectId>,
    /// A disruptive effect that this work begins.
    pub(crate) claims: Option<EffectId>,
}

impl<'a> Work<'a> {
    pub(crate) fn new(
        s: &'a Situation<'a>,
        all: &'a Assessments,
        name: &'a NodeName,
        node: &'a Assessment,
        claimed: Option<EffectId>,
    ) -> Self {
        Self {
            s,
            all,
            name,
            node,
            policy: all.policy(s, name),
            incident: s.ledger.open_incident(name).map(Cow::Borrowed),
            records: Vec::new(),
            waiting: BTreeSet::new(),
            newer_than: None,
            claimed,
            claims: None,
        }
    }

    pub(crate) fn run(&mut self) {
        for _ in 0..STEPS_MAX {
            let before = self.records.len();
            self.waiting.clear();
            self.newer_than = None;
            match &self.incident {
                None => self.watch(),
                Some(Cow::Borrowed(incident)) => {
                    let incident: &'a Incident = incident;
                    self.step(incident);
                }
                Some(Cow::Owned(incident)) => {
                    let incident = incident.clone();
                    self.step(&incident);
                }
            }
            if self.records.len() == before {
                break;
            }
        }
        self.note_waiting();
    }

    /// What its own effects are doing is in the journal already; everything else that it waits for is noted when it changes.
    fn note_waiting(&mut self) {
        let Some(incident) = &self.incident else {
            return;
        };
        if matches!(incident.standing, Standing::Closed(..)) {
            self.waiting.clear();
            return;
        }
        let own = |w: &&Waiting| {
            !matches!(w, Waiting::InFlight { effect }
                if incident.effects.iter().any(|e| &e.effect.id == effect))
        };
        let waiting: Vec<Waiting> = self.waiting.iter().filter(own).cloned().collect();
        if waiting != incident.waiting {
            let incident = incident.id.clone();
            self.push(Record::WaitingChanged { incident, waiting });
        }
    }

    pub(crate) fn push(&mut self, record: Record) {
        match &mut self.incident {
            Some(incident) => incident.to_mut().apply(self.s.now, &record),
            None => self.incident = Incident::opened_by(self.s.now, &record).map(Cow::Owned),
        }
        self.records.push(record);
    }

    fn watch(&mut self) {
        let Some(since) = self.node.bad_since else {
            return;
        };
        self.push(Record::IncidentOpened {
            incident: self.s.ledger.next_incident(self.name),
            node: self.name.clone(),
            since,
            diagnosis: self.node.diagnosis,
            evidence: self.node.evidence.clone(),
        });
    }

    fn step(&mut self, incident: &Incident) {
        if self.rediagnose(incident) {
            return;
        }
        let veto = incident.waiting.iter().find_map(|w| {
            if let Waiting::Vetoed { why } = w {
                Some(why.clone())
            } else {
                None
            }
        });
        match incident.standing {
            Standing::Closed(..) => {}
            Standing::Verifying(since) => self.step_verifying(incident, since),
            Standing::Parked => self.step_parked(incident),
            Standing::Open => match veto {
                Some(why) => self.step_vetoed(why),
                None => self.step_open(incident),
            },
        }
    }

    /// Not noted while a rung runs and nothing is known for a moment: the machine is on its way down or up.
    fn rediagnose(&mut self, incident: &Incident) -> bool {
        let found = self.node.diagnosis;
        let on_its_way = incident.running().is_some() && found == Diagnosis::Unknown;
        if found == incident.diagnosis || on_its_way {
            return false;
        }
        self.push(Record::Diagnosed {
            incident: incident.id.clone(),
            diagnosis: found,
            evidence: self.node.evidence.clone(),
        });
        true
    }

    fn step_vetoed(&mut self, why: String) {
        self.page(
            "veto",
            format!(
                "the independent checker vetoed a step on {}: {why}. Nothing disruptive is done until the facts or a person say something new",
                self.name
            ),
        );
        self.waiting.insert(Waiting::Vetoed { why });
    }

    fn step_verifying(&mut self, incident: &Incident, since: Tick) {
        let last = incident.rungs.iter().rev();
        let secs = last
            .map(|r| self.terms(incident, &r.rung).verify_secs)
            .next()
            .unwrap_or(self.policy.verify_secs);
        let until = since.after(Duration::from_secs(secs));
        // A call that was taken for never begun may have begun after all.
        if self.busy(incident) {
            return;
        }
        if self.node.bad_since.is_some() {
            self.push(Record::VerifyFailed {
                incident: incident.id.clone(),
                why: self.node.evidence.join("; "),
            });
        } else if self.s.now < until {
            self.waiting.insert(Waiting::Verifying { until });
        } else if self.node.diagnosis == Diagnosis::Healthy {
            self.push(Record::Closed {
                incident: incident.id.clone(),
                closing: if incident.was_touched() {
                    Closing::Recovered
                } else {
                    Closing::RecoveredByItself
                },
                verified: verified::seen(self),
            });
        } else {
            self.wait_fresh("every channel");
        }
    }

    fn step_parked(&mut self, incident: &Incident) {
        if self.busy(incident) {
            return;
        }
        if self.node.diagnosis == Diagnosis::Healthy {
            if saga::undo(self, incident) {
                self.verify(incident, "it is well again while parked");
            }
            return;
        }
        let left = saga::left_behind(incident);
        let left = if left.is_empty() {
            String::new()
        } else {
            format!("; left behind: {}", left.join("; "))
        };
        self.waiting.insert(Waiting::Person {
            why: format!("parked; see the page of {}{left}", incident.id),
        });
    }

    fn step_open(&mut self, incident: &Incident) {
        if self.busy(incident) {
            return;
        }
        if let Some(rung) = incident.running().cloned() {
            self.step_rung(incident, &rung);
        } else if self.node.diagnosis == Diagnosis::Healthy {
            if saga::undo(self, incident) {
                self.verify(incident, "every channel says that it is well");
            }
        } else if self.node.bad_since.is_none() {
            self.wait_fresh("every channel");
        } else {
            self.climb(incident);
        }
    }

    fn verify(&mut self, incident: &Incident, why: &str) {
        self.push(Record::Verifying {
            incident: incident.id.clone(),
            why: why.into(),
        });
    }

    /// One effect at a time: the next step rests on the outcome of the one before. Pages hold nothing up.
    fn busy(&mut self, incident: &Incident) -> bool {
        let Some(effect) = incident.effects.iter().find(|e| self.holds_up(e)) else {
            return false;
        };
        let id = &effect.effect.id;
        let kind = effect.effect.action.kind().unwrap_or(StepKind::Recreate);
        let patience = self.policy.terms(incident.diagnosis, kind).timeout_secs;
        if self.s.now.since(effect.intended) >= Duration::from_secs(patience) {
            self.page(
                &format!("overdue {id}"),
                format!(
                    "{} on {} has no outcome after {} s ({id}). Iaso goes on asking and does not do it again; look at the provider's console",
                    effect.effect.action.name(),
                    self.name,
                    patience
                ),
            );
        }
        self.waiting
            .insert(Waiting::InFlight { effect: id.clone() });
        true
    }

    fn holds_up(&self, effect: &EffectState) -> bool {
        !matches!(effect.effect.action, Action::Page { .. })
            && effect.is_in_flight(self.s.policy, self.s.now)
    }

    /// The terms of a rung, for what the incident's diagnosis is.
    pub(crate) fn terms(&self, incident: &Incident, rung: &Rung) -> Terms {
        self.policy.terms(incident.diagnosis, StepKind::of(rung))
    }

    fn climb(&mut self, incident: &Incident) {
        let stands = |secs: u64| incident.diagnosed.after(Duration::from_secs(secs));
        let until = stands(self.policy.confirm_secs);
        // A node that flaps is well again before its facts could last.
        if self.s.now < until && self.node.diagnosis != Diagnosis::Flapping {
            self.waiting.insert(Waiting::Patience {
                until,
                of: "the facts must last before anything is done".into(),
            });
            self.tell_restless(incident);
            self.explain_unknown(incident);
            return;
        }
        let (rung, why) = match ladder::next(self.policy, self.node, incident) {
            Next::Nothing => return,
            Next::Tell { why } => return self.tell(incident, why),
            Next::Exhausted { why } => return self.park(incident, why),
            Next::Take { rung, why } => (rung, why),
        };
        let terms = self.terms(incident, &rung);
        let until = stands(terms.after_secs);
        if self.s.now < until {
            let of = format!(
                "the policy lets {} stand for {} before {rung}",
                self.node.diagnosis,
                span(terms.after_secs)
            );
            self.waiting.insert(Waiting::Patience { until, of });
        } else if terms.mode == Mode::Observe {
            self.observe(incident, rung, why);
        } else {
            self.push(Record::RungStarted {
                incident: incident.id.clone(),
                attempt: incident.attempts(&rung).saturating_add(1),
                rung,
                why,
            });
        }
    }

    fn observe(&mut self, incident: &Incident, rung: Rung, why: String) {
        let closed = self.closed(incident, &rung, incident.diagnosed);
        self.tell_observed(&rung, &closed);
        let only = |w: &Waiting| matches!(w, Waiting::ObserveOnly { .. });
        let would = closed.iter().all(only);
        self.waiting.extend(closed);
        if would && !incident.would_have.contains(&rung) {
            self.push(Record::WouldHave {
                incident: incident.id.clone(),
                rung,
                why,
            });
        }
    }

    pub(crate) fn intend(&mut self, action: Action) {
        let mut evidence = vec![format!("diagnosis {}", self.node.diagnosis)];
        evidence.extend(self.node.evidence.iter().cloned());
        self.intend_with(action, evidence);
    }

    pub(super) fn intend_with(&mut self, action: Action, evidence: Vec<String>) {
        let Some(incident) = &self.incident else {
            return;
        };
        let effect = Effect {
            id: incident.next_effect(),
            incident: incident.id.clone(),
            node: self.name.clone(),
            action,
            evidence,
        };
        if effect.action.is_disruptive() {
            self.claims = Some(effect.id.clone());
        }
        self.push(Record::Intended { effect });
    }

    fn question<'q>(&'q self, incident: &'q Incident, rung: &'q Rung, since: Tick) -> Question<'q> {
        Question {
            situation: self.s,
            all: self.all,
            node: self.node,
            policy: self.policy,
            incident,
            rung,
            since,
            claimed: self.claimed.as_ref(),
        }
    }

    pub(crate) fn closed(&self, incident: &Incident, rung: &Rung, since: Tick) -> Vec<Waiting> {
        gate::closed(&self.question(incident, rung, since))
    }

    /// The gates that stand before a rung with facts newer than `since`; open: true. Closed: what it waits for is noted, and whoever
    /// can open them is told.
    pub(crate) fn gates_open(&mut self, incident: &Incident, rung: &Rung, since: Tick) -> bool {
        let question = self.question(incident, rung, since);
        let newer_than = question.asked_after();
        let closed = gate::closed(&question);
        if closed.is_empty() {
            return true;
        }
        self.newer_than = Some(newer_than);
        self.ask(incident, rung, &closed);
        self.waiting.extend(closed);
        false
    }

    pub(crate) fn end(
        &mut self,
        incident: &Incident,
        rung: &RungState,
        result: RungResult,
        why: impl Into<String>,
    ) {
        self.push(Record::RungEnded {
            incident: incident.id.clone(),
            rung: rung.rung.clone(),
            result,
            why: why.into(),
        });
    }

    pub(crate) fn wait_fresh(&mut self, channel: &str) {
        self.waiting.insert(Waiting::FreshFacts {
            channel: channel.into(),
        });
    }

    /// When a step that did not happen may be tried again: later each time.
    pub(crate) fn retry_at(&self, last: Tick, tries: usize) -> Tick {
        let tries = u64::try_from(tries).unwrap_or(u64::MAX);
        let pace = self.policy.probe_round_secs.max(1);
        let wait = tries.saturating_mul(tries).saturating_mul(pace);
        last.after(Duration::from_secs(wait.min(RETRY_SECS_MAX)))
    }

    /// Why Kubernetes cannot be asked to change anything now.
    pub(crate) fn kube_trouble(&self) -> Option<Waiting> {
        let why = match &self.s.world.kube_api {
            None => "the API server was not asked yet".into(),
            Some(api) => api.value.clone()?,
        };
        Some(Waiting::KubeUnknown { why })
    }
}

/// The detail of an outcome that says why nothing happened.
pub(crate) fn trouble(outcome: &Outcome) -> (&str, &str) {
    match outcome {
        Outcome::NotStarted { class, detail } => (class, detail),
        Outcome::Failed { detail } => ("failed", detail),
        Outcome::Done { detail, .. } => ("done", detail),
        Outcome::InDoubt { detail } => ("in-doubt", detail),
        Outcome::Started { .. } => ("started", ""),
    }
}
