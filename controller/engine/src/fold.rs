//! The fold: how each journal entry changes the [`Ledger`]. Strict: an entry that does not follow from the ones before is an error.

use crate::effect::{Effect, Outcome};
use crate::id::{EffectId, IncidentId};
use crate::ledger::{EffectState, FoldError, Incident, Ledger, RungState, Standing};
use crate::record::{Diagnosis, Entry, Record, Rung, Waiting};
use crate::time::Tick;
use std::time::Duration;

/// In so long a machine may have come back and gone away again.
const ABSENCE: Duration = Duration::from_secs(30);

impl Ledger {
    /// Folds one entry in.
    ///
    /// # Errors
    /// When the entry does not follow from what came before: the journal is damaged, and nothing may be decided on it. The ledger
    /// is then unchanged.
    pub fn fold(&mut self, entry: &Entry) -> Result<(), FoldError> {
        if entry.sequence != self.sequence.saturating_add(1) {
            return Err(FoldError::Sequence {
                expected_after: self.sequence,
                found: entry.sequence,
            });
        }
        match &entry.record {
            Record::ControllerStarted { version: _, term } => {
                self.term = self.term.max(*term);
                self.took_over(entry.at);
            }
            Record::Noted { unwritten_secs, .. } => {
                if *unwritten_secs >= ABSENCE.as_secs() {
                    self.unwatched(entry.at);
                }
                if let Some(id) = entry.record.incident() {
                    self.live(entry.sequence, id)?
                        .apply(entry.at, &entry.record);
                }
            }
            Record::IncidentOpened { .. } => self.open(entry)?,
            Record::Paused {
                node,
                who: _,
                reason,
            } => {
                self.paused.insert(node.clone(), reason.clone());
            }
            Record::Resumed { node, .. } => {
                self.paused.remove(node);
            }
            Record::Resolved { effect, outcome } => {
                self.resolve(entry.sequence, entry.at, effect, outcome)?;
            }
            Record::Intended { effect } => self.intend(entry, effect)?,
            record @ (Record::Diagnosed { .. }
            | Record::WaitingChanged { .. }
            | Record::RungStarted { .. }
            | Record::RungEnded { .. }
            | Record::WouldHave { .. }
            | Record::Approved { .. }
            | Record::Denied { .. }
            | Record::Verifying { .. }
            | Record::VerifyFailed { .. }
            | Record::Parked { .. }
            | Record::Closed { .. }) => {
                if let Some(id) = record.incident() {
                    self.live(entry.sequence, id)?.apply(entry.at, record);
                }
            }
        }
        self.sequence = entry.sequence;
        self.last = Some(entry.at);
        Ok(())
    }

    /// Nobody watched for as long as the journal was silent, or may have: what was known and not written down is forgotten as well.
    fn took_over(&mut self, at: Tick) {
        if self.last.is_some_and(|last| at.since(last) >= ABSENCE) {
            self.unwatched(at);
        }
    }

    fn unwatched(&mut self, at: Tick) {
        let open = |i: &&mut Incident| !matches!(i.standing, Standing::Closed(..));
        for incident in self.incidents.values_mut().filter(open) {
            incident.unwatched = Some(at);
        }
    }

    /// Whether these records, one after the other, would fold. Costs what the incidents that they speak of hold, not what the ledger does.
    ///
    /// # Errors
    /// That of [`Ledger::fold`] for the first one that would not.
    pub fn would_fold(&self, at: Tick, records: &[Record]) -> Result<(), FoldError> {
        let mut trial = self.excerpt(records);
        for record in records {
            let entry = Entry {
                sequence: trial.sequence.saturating_add(1),
                at,
                record: record.clone(),
            };
            trial.fold(&entry)?;
        }
        Ok(())
    }

    /// What of the ledger decides whether the records fold: the incidents that they name, and the open ones of nodes that they open one for.
    fn excerpt(&self, records: &[Record]) -> Self {
        let mut excerpt = Self {
            sequence: self.sequence,
            last: self.last,
            term: self.term,
            ..Self::default()
        };
        for record in records {
            let incident = match record {
                Record::Resolved { effect, .. } => self.holder(effect),
                Record::Intended { effect } => {
                    // An id that another incident used is used all the same.
                    excerpt.take(self.holder(&effect.id));
                    self.incidents.get(&effect.incident)
                }
                Record::IncidentOpened { incident, node, .. } => {
                    excerpt.take(self.open_incident(node));
                    self.incidents.get(incident)
                }
                other @ (Record::ControllerStarted { .. }
                | Record::Noted { .. }
                | Record::Diagnosed { .. }
                | Record::WaitingChanged { .. }
                | Record::RungStarted { .. }
                | Record::RungEnded { .. }
                | Record::WouldHave { .. }
                | Record::Approved { .. }
                | Record::Denied { .. }
                | Record::Paused { .. }
                | Record::Resumed { .. }
                | Record::Verifying { .. }
                | Record::VerifyFailed { .. }
                | Record::Parked { .. }
                | Record::Closed { .. }) => other.incident().and_then(|id| self.incidents.get(id)),
            };
            excerpt.take(incident);
        }
        excerpt
    }

    fn take(&mut self, incident: Option<&Incident>) {
        if let Some(incident) = incident
            && !self.incidents.contains_key(&incident.id)
        {
            self.incidents.insert(incident.id.clone(), incident.clone());
        }
    }

    /// The incident that an effect belongs to.
    fn holder(&self, effect: &EffectId) -> Option<&Incident> {
        let mut all = self.incidents.values();
        all.find(|incident| incident.effects.iter().any(|e| &e.effect.id == effect))
    }

    fn open(&mut self, entry: &Entry) -> Result<(), FoldError> {
        let Some(incident) = Incident::opened_by(entry.at, &entry.record) else {
            return Ok(());
        };
        let repeated = |id: &IncidentId| FoldError::Repeated {
            sequence: entry.sequence,
            id: id.to_string(),
        };
        if self.incidents.contains_key(&incident.id) {
            return Err(repeated(&incident.id));
        }
        if let Some(open) = self.open_incident(&incident.node) {
            return Err(repeated(&open.id));
        }
        self.incidents.insert(incident.id.clone(), incident);
        Ok(())
    }

    fn intend(&mut self, entry: &Entry, effect: &Effect) -> Result<(), FoldError> {
        if self.effect(&effect.id).is_some() {
            return Err(FoldError::Repeated {
                sequence: entry.sequence,
                id: effect.id.to_string(),
            });
        }
        self.live(entry.sequence, &effect.incident)?
            .apply(entry.at, &entry.record);
        Ok(())
    }

    /// A late outcome is taken even after the incident has ended: a page that was sent, a password that was promoted.
    fn resolve(
        &mut self,
        sequence: u64,
        at: Tick,
        effect: &EffectId,
        outcome: &Outcome,
    ) -> Result<(), FoldError> {
        let state = self
            .incidents
            .values_mut()
            .find_map(|i| i.effects.iter_mut().find(|e| &e.effect.id == effect));
        let Some(state) = state else {
            return Err(FoldError::UnknownEffect {
                sequence,
                effect: effect.clone(),
            });
        };
        state.settle(at, outcome);
        Ok(())
    }

    fn live(&mut self, sequence: u64, id: &IncidentId) -> Result<&mut Incident, FoldError> {
        let Some(incident) = self.incidents.get_mut(id) else {
            return Err(FoldError::UnknownIncident {
                sequence,
                incident: id.clone(),
            });
        };
        if matches!(incident.standing, Standing::Closed(..)) {
            return Err(FoldError::Closed {
                sequence,
                incident: id.clone(),
            });
        }
        Ok(incident)
    }
}

impl EffectState {
    /// `Done` and `Failed` are final. `NotStarted` gives way to a later word that it did start after all.
    pub(crate) fn settle(&mut self, at: Tick, outcome: &Outcome) {
        let last_word = matches!(
            self.latest,
            Some((_, Outcome::Done { .. } | Outcome::Failed { .. }))
        );
        if !last_word {
            self.latest = Some((at, outcome.clone()));
        }
    }
}

impl Incident {
    /// The incident that a record opens.
    pub(crate) fn opened_by(at: Tick, record: &Record) -> Option<Self> {
        let Record::IncidentOpened {
            incident,
            node,
            since,
            diagnosis,
            evidence: _,
        } = record
        else {
            return None;
        };
        Some(Self {
            id: incident.clone(),
            node: node.clone(),
            since: *since,
            opened: at,
            diagnosis: *diagnosis,
            diagnosed: at,
            answered: None,
            unwatched: None,
            joined: diagnosis.shows_joined(),
            off: (*diagnosis == Diagnosis::PoweredOff).then_some(at),
            on: None,
            standing: Standing::Open,
            rungs: Vec::new(),
            effects: Vec::new(),
            waiting: Vec::new(),
            decisions: Vec::new(),
            would_have: Vec::new(),
            parked: None,
            verify_failures: 0,
            verify_failed: None,
            held: is_held(*diagnosis).then_some(at),
        })
    }

    /// How one record of this incident changes it. The planner uses the same on a copy, so that what it decides next always rests on
    /// what the journal will say.
    pub(crate) fn apply(&mut self, at: Tick, record: &Record) {
        match record {
            Record::Diagnosed { diagnosis, .. } => {
                if is_held(*diagnosis) || is_held(self.diagnosis) {
                    self.held = Some(at);
                }
                if *diagnosis == Diagnosis::PoweredOff {
                    (self.off, self.on) = (Some(at), None);
                } else if *diagnosis == Diagnosis::Isolated && self.off.is_some() {
                    self.on = self.on.or(Some(at));
                }
                self.diagnosis = *diagnosis;
                self.diagnosed = at;
                if diagnosis.is_answered() {
                    self.answered = Some(at);
                }
                self.joined = diagnosis.shows_joined().or(self.joined);
                self.forget_veto();
            }
            Record::WaitingChanged { waiting, .. } => self.waiting.clone_from(waiting),
            Record::RungStarted { rung, attempt, .. } => self.rungs.push(RungState {
                rung: rung.clone(),
                attempt: *attempt,
                started: at,
                effects_before: self.effects.len(),
                ended: None,
            }),
            Record::RungEnded { rung, result, .. } => {
                let running = self.rungs.iter_mut().rev();
                if let Some(state) = running
                    .filter(|r| r.ended.is_none())
                    .find(|r| &r.rung == rung)
                {
                    state.ended = Some((at, *result));
                }
            }
            Record::Intended { effect } => self.effects.push(EffectState {
                effect: effect.clone(),
                intended: at,
                latest: None,
            }),
            Record::WouldHave { rung, .. } => self.would_have.push(rung.clone()),
            Record::Approved { rung, .. } => self.decided(at, rung.clone(), true),
            Record::Denied { rung, .. } => self.decided(at, rung.clone(), false),
            Record::Verifying { .. } => self.standing = Standing::Verifying(at),
            Record::VerifyFailed { .. } => {
                self.verify_failures = self.verify_failures.saturating_add(1);
                self.verify_failed = Some(at);
                self.standing = match self.parked {
                    Some(_) => Standing::Parked,
                    None => Standing::Open,
                };
            }
            Record::Parked { .. } => {
                self.standing = Standing::Parked;
                self.parked = Some(at);
            }
            Record::Closed { closing, .. } => {
                self.standing = Standing::Closed(at, *closing);
                self.waiting.clear();
            }
            Record::Noted { .. }
            | Record::ControllerStarted { .. }
            | Record::IncidentOpened { .. }
            | Record::Resolved { .. }
            | Record::Paused { .. }
            | Record::Resumed { .. } => {}
        }
    }

    fn decided(&mut self, at: Tick, rung: crate::record::Rung, yes: bool) {
        self.decisions.push((at, rung, yes));
        self.forget_veto();
        if yes && self.standing == Standing::Parked {
            self.standing = Standing::Open;
            self.parked = None;
        }
    }

    /// A veto holds until the facts or a person say something new: else plan and checker would argue in the journal for ever.
    fn forget_veto(&mut self) {
        self.waiting
            .retain(|w| !matches!(w, Waiting::Vetoed { .. }));
    }
}

fn is_held(diagnosis: Diagnosis) -> bool {
    matches!(diagnosis, Diagnosis::Storm | Diagnosis::ControllerCutOff)
}

impl Record {
    /// A person's word on a rung of an incident.
    #[must_use]
    pub fn decision(
        incident: IncidentId,
        rung: Rung,
        yes: bool,
        who: String,
        reason: String,
    ) -> Self {
        if yes {
            Self::Approved {
                incident,
                rung,
                who,
                reason,
            }
        } else {
            Self::Denied {
                incident,
                rung,
                who,
                reason,
            }
        }
    }

    /// The incident that a record speaks of, if it names one.
    #[must_use]
    pub fn incident(&self) -> Option<&IncidentId> {
        match self {
            Self::Noted { incident, .. } => incident.as_ref(),
            Self::IncidentOpened { incident, .. }
            | Self::Diagnosed { incident, .. }
            | Self::WaitingChanged { incident, .. }
            | Self::RungStarted { incident, .. }
            | Self::RungEnded { incident, .. }
            | Self::WouldHave { incident, .. }
            | Self::Approved { incident, .. }
            | Self::Denied { incident, .. }
            | Self::Verifying { incident, .. }
            | Self::VerifyFailed { incident, .. }
            | Self::Parked { incident, .. }
            | Self::Closed { incident, .. } => Some(incident),
            Self::Intended { effect } => Some(&effect.incident),
            Self::ControllerStarted { .. }
            | Self::Resolved { .. }
            | Self::Paused { .. }
            | Self::Resumed { .. } => None,
        }
    }
}
