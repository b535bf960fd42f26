//! One node's planning: the standing of its incident first, then what the facts say. Works on a copy of the incident that takes every
//! record as the journal will, until nothing more follows: so a second call, after the records were folded, finds nothing to add.

use crate::diagnose::{Assessment, Assessments};
use crate::effect::{Action, Effect, Outcome};
use crate::gate::{self, Question};
use crate::id::{EffectId, NodeName};
use crate::ladder::{self, Next};
use crate::ledger::{EffectState, Incident, RungState, Standing};
use crate::plan::{Situation, verified};
use crate::policy::Mode;
use crate::record::{Closing, Diagnosis, Record, Rung, RungResult, Waiting};
use crate::saga;
use crate::time::Tick;
use std::collections::BTreeSet;
use std::time::Duration;

/// More steps than any incident takes at one moment.
const STEPS_MAX: usize = 32;
/// A node that looked well and was not so often is flapping: a person should know.
const FLAPS: u32 = 3;
/// Longest wait between two tries of the same step.
const RETRY_SECS_MAX: u64 = 300;

pub(crate) struct Work<'a> {
    pub(crate) s: &'a Situation<'a>,
    pub(crate) all: &'a Assessments,
    pub(crate) name: &'a NodeName,
    pub(crate) node: &'a Assessment,
    pub(crate) incident: Option<Incident>,
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
            incident: s.ledger.open_incident(name).cloned(),
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
            match self.incident.clone() {
                None => self.watch(),
                Some(incident) => self.step(&incident),
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
            Some(incident) => incident.apply(self.s.now, &record),
            None => self.incident = Incident::opened_by(self.s.now, &record),
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
        let until = since.after(Duration::from_secs(self.s.policy.verify_secs));
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
        self.waiting.insert(Waiting::Person {
            why: format!("parked; see the page of {}", incident.id),
        });
    }

    fn step_open(&mut self, incident: &Incident) {
        if incident.verify_failures >= FLAPS {
            self.page(
                "flapping",
                format!(
                    "{} is flapping: it looked well {FLAPS} times and was not",
                    self.name
                ),
            );
        }
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
        let patience = Duration::from_secs(self.s.policy.operation_secs);
        if self.s.now.since(effect.intended) >= patience {
            self.page(
                &format!("overdue {id}"),
                format!(
                    "{} on {} has no outcome after {} s ({id}). Iaso goes on asking and does not do it again; look at the provider's console",
                    effect.effect.action.name(),
                    self.name,
                    self.s.policy.operation_secs
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

    fn climb(&mut self, incident: &Incident) {
        let until = incident
            .diagnosed
            .after(Duration::from_secs(self.s.policy.confirm_secs));
        if self.s.now < until {
            self.waiting.insert(Waiting::Patience {
                until,
                of: "the facts must last before anything is done".into(),
            });
            self.explain_unknown(incident);
            return;
        }
        match ladder::next(self.s.policy, self.node, incident) {
            Next::Nothing => {}
            Next::Take { rung, why } if self.s.policy.mode(&rung) == Mode::Observe => {
                self.observe(incident, rung, why);
            }
            Next::Take { rung, why } => self.push(Record::RungStarted {
                incident: incident.id.clone(),
                attempt: incident.attempts(&rung).saturating_add(1),
                rung,
                why,
            }),
            Next::Tell { why } => self.tell(incident, why),
            Next::Exhausted { why } => self.park(incident, why),
        }
    }

    fn observe(&mut self, incident: &Incident, rung: Rung, why: String) {
        let closed = self.closed(incident, &rung, incident.diagnosed);
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

    fn tell(&mut self, incident: &Incident, why: String) {
        self.explain_unknown(incident);
        let first = self.all.nodes.iter().find(|(_, a)| {
            a.diagnosis == self.node.diagnosis
                && matches!(a.diagnosis, Diagnosis::ControllerCutOff | Diagnosis::Storm)
        });
        // One page for a cluster-wide hold, not one for each node.
        if first.is_none_or(|(name, _)| name == self.name) {
            let said = format!("{} is {}: {why}", self.name, self.node.diagnosis);
            self.page(&self.node.diagnosis.to_string(), said);
        }
        self.waiting.insert(Waiting::Person { why });
    }

    /// The reasons that keep a silent node from a diagnosis that could be acted on.
    fn explain_unknown(&mut self, incident: &Incident) {
        let held = match self.node.diagnosis {
            Diagnosis::ControllerCutOff | Diagnosis::Storm => true,
            Diagnosis::Unknown | Diagnosis::ProviderUnknown | Diagnosis::ProviderTrouble => false,
            Diagnosis::Healthy
            | Diagnosis::K3sAgentDown
            | Diagnosis::CheckFailing
            | Diagnosis::AgentLost
            | Diagnosis::PartialPartition
            | Diagnosis::Isolated
            | Diagnosis::PoweredOff
            | Diagnosis::GoneNoProvider
            | Diagnosis::NeverJoined => return,
        };
        for why in self.closed(incident, &Rung::Reboot, incident.opened) {
            let of_cluster = matches!(why, Waiting::AmICutOff { .. } | Waiting::Storm { .. });
            let of_facts = matches!(
                why,
                Waiting::Quorum { .. }
                    | Waiting::FreshFacts { .. }
                    | Waiting::ProviderUnknown { .. }
                    | Waiting::ProviderBusy { .. }
            );
            if of_cluster || (of_facts && !held) {
                self.waiting.insert(why);
            }
        }
    }

    pub(crate) fn park(&mut self, incident: &Incident, why: String) {
        self.push(Record::RungStarted {
            incident: incident.id.clone(),
            rung: Rung::Page,
            attempt: incident.attempts(&Rung::Page).saturating_add(1),
            why: why.clone(),
        });
        // Told each time: a person who opened it again waits for a word.
        let evidence = vec![format!("parked: {why}")];
        let message = format!("{} is parked: {why}", self.name);
        self.intend_with(Action::Page { message }, evidence);
        self.push(Record::RungEnded {
            incident: incident.id.clone(),
            rung: Rung::Page,
            result: RungResult::NoHelp,
            why: "a person was told".into(),
        });
        self.push(Record::Parked {
            incident: incident.id.clone(),
            why,
        });
    }

    /// Tells a person, once for each matter in an incident.
    pub(crate) fn page(&mut self, about: &str, message: String) {
        let told = self.incident.as_ref().is_some_and(|i| {
            i.effects.iter().any(|e| {
                matches!(e.effect.action, Action::Page { .. })
                    && e.effect.evidence.first().is_some_and(|a| a == about)
            })
        });
        if !told {
            self.intend_with(Action::Page { message }, vec![about.to_owned()]);
        }
    }

    pub(crate) fn intend(&mut self, action: Action) {
        let mut evidence = vec![format!("diagnosis {}", self.node.diagnosis)];
        evidence.extend(self.node.evidence.iter().cloned());
        self.intend_with(action, evidence);
    }

    fn intend_with(&mut self, action: Action, evidence: Vec<String>) {
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

    pub(crate) fn closed(&self, incident: &Incident, rung: &Rung, since: Tick) -> Vec<Waiting> {
        gate::closed(&Question {
            situation: self.s,
            all: self.all,
            node: self.node,
            incident,
            rung,
            since,
            claimed: self.claimed.as_ref(),
        })
    }

    /// The gates that stand before a rung with facts newer than `since`; open: true. Closed: what it waits for is noted, and whoever
    /// can open them is told.
    pub(crate) fn gates_open(&mut self, incident: &Incident, rung: &Rung, since: Tick) -> bool {
        let closed = self.closed(incident, rung, since);
        if closed.is_empty() {
            return true;
        }
        self.newer_than = Some(since);
        for why in &closed {
            if needs_person(why) {
                self.page(
                    &format!("{rung}: {}", why.name()),
                    format!(
                        "{rung} of {} is held: {why}. Decide with `iaso approve {id}` or `iaso deny {id}`",
                        self.name,
                        id = incident.id
                    ),
                );
            }
        }
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
        let pace = self.s.policy.probe_round_secs.max(1);
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

fn needs_person(why: &Waiting) -> bool {
    matches!(
        why,
        Waiting::Approval { .. }
            | Waiting::LocalData { .. }
            | Waiting::Budget { .. }
            | Waiting::SecretStore { .. }
    )
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
