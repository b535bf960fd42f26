//! One decision: plan, vet, journal, fold, execute; again until the planner has nothing more to say.

use super::{ChangeError, Driver};
use crate::store::{SNAPSHOT_EVERY, Snapshot, reports};
use crate::text::chain;
use iaso_engine::fact::Observation;
use iaso_engine::id::IncidentId;
use iaso_engine::plan::{Plan, Situation};
use iaso_engine::record::{Entry, Record};
use iaso_engine::report::Report;
use iaso_engine::time::Tick;
use std::sync::Arc;
use std::time::Duration;

/// Most plans in one decision: the planner settles in two or three; more is a fault, and facts must go on coming in.
const PLANS_MAX: usize = 16;
/// How long to wait after the journal refused.
const STORE_RETRY: Duration = Duration::from_secs(2);
/// Written first after trouble.
const NOTE: &str = "the journal can be written again";

impl Driver {
    pub(super) async fn decide(&mut self) {
        if self.world.store.is_some() && !self.store_is_well_again().await {
            return;
        }
        for _ in 0..PLANS_MAX {
            // What is planned is journaled under the very time it was planned for: the fold that follows is the one the planner saw.
            let now = self.clock.now();
            let mut next = self.plan_vetted(now);
            let records = std::mem::take(&mut next.records);
            self.plan = next;
            if records.is_empty() {
                self.recorder.nothing(now, &self.ledger);
                break;
            }
            self.recorder.deciding(now);
            let count = records.len();
            if let Err(error) = self.journal_at(now, records).await {
                self.recorder.refused(&self.ledger, count);
                self.store_trouble(&error);
                return;
            }
        }
        self.recorder.settle(&self.world, &self.ledger);
        self.wake_at(self.plan.next_wake);
        let looks = std::mem::take(&mut self.plan.looks);
        self.looks.take(&looks, &mut self.pursuits);
        self.metrics.observe(self.planner.nodes(), &self.ledger);
    }

    fn situation(&self, now: Tick) -> Situation<'_> {
        Situation {
            now,
            ..self.view().situation()
        }
    }

    fn plan_vetted(&mut self, now: Tick) -> Plan {
        let touched = std::mem::take(&mut self.touched);
        let mut planner = std::mem::take(&mut self.planner);
        let situation = self.situation(now);
        let plan = planner.step(&situation, touched);
        let decision = iaso_replay::decide::vetted(&situation, plan);
        if !decision.vetoed.is_empty() || !decision.homeless.is_empty() {
            // What was decided has not happened.
            planner.look_again();
        }
        self.planner = planner;
        for incident in &decision.told {
            let why = decision.vetoed.get(incident);
            tracing::error!(%incident, why, "VETOED by the independent checker: the engine and the checker disagree; report this");
        }
        // Said once: such a plan is made again and again.
        for why in decision.homeless.difference(&self.homeless) {
            tracing::error!(
                why,
                "VETOED by the independent checker, and no incident can hold it: report this"
            );
        }
        self.metrics
            .vetoed(decision.vetoed.len().max(decision.homeless.len()));
        self.homeless = decision.homeless;
        decision.plan
    }

    /// Journals records that rest on no plan, now.
    pub(super) async fn journal(&mut self, records: Vec<Record>) -> Result<(), ChangeError> {
        self.journal_at(self.clock.now(), records).await
    }

    /// Appends records in one transaction, folds them, and executes the effects that they intend.
    async fn journal_at(&mut self, at: Tick, records: Vec<Record>) -> Result<(), ChangeError> {
        if records.is_empty() {
            return Ok(());
        }
        self.would_fold(&records, at)?;
        let entries = self
            .store
            .append(at, records)
            .await
            .map_err(|error| ChangeError::Store(chain(&error)))?;
        self.metrics.journaled(entries.len());
        self.recorder.entries(&entries);
        for entry in &entries {
            if let Err(error) = self.ledger.fold(entry) {
                // Tried beforehand on a copy, so this cannot be; if it is, nothing may be decided any more.
                tracing::error!(
                    error = chain(&error),
                    "the ledger and the journal differ: stopping"
                );
                self.stop.cancel();
                return Err(ChangeError::Store(chain(&error)));
            }
        }
        for entry in &entries {
            crate::store::note_operation(&mut self.operations, &entry.record);
            self.react(entry);
        }
        self.keep_snapshot(at);
        Ok(())
    }

    /// Now and then, in a task of its own: the next start then need not fold the whole journal.
    fn keep_snapshot(&mut self, last_at: Tick) {
        if self.ledger.sequence < self.snapshot.saturating_add(SNAPSHOT_EVERY) {
            return;
        }
        self.snapshot = self.ledger.sequence;
        let snapshot = Snapshot {
            ledger: self.ledger.clone(),
            operations: self.operations.clone(),
            last_at,
        };
        let store = Arc::clone(&self.store);
        tokio::spawn(async move {
            if let Err(error) = store.keep(snapshot).await {
                tracing::warn!(
                    error = chain(&error),
                    "no snapshot: the next start takes longer"
                );
            }
        });
    }

    fn would_fold(&self, records: &[Record], at: Tick) -> Result<(), ChangeError> {
        self.ledger.would_fold(at, records).map_err(|error| {
            tracing::error!(
                error = chain(&error),
                ?records,
                "not journaled, because it could never be read again"
            );
            ChangeError::Refused(chain(&error))
        })
    }

    fn react(&mut self, entry: &Entry) {
        let line = iaso_engine::timeline::describe(entry);
        tracing::info!(sequence = entry.sequence, kind = line.kind, "{}", line.text);
        match &entry.record {
            Record::Intended { effect } => {
                self.metrics.intended(effect.action.name());
                self.pursuits
                    .execute(effect.clone(), entry.at, &self.operations);
            }
            Record::Closed { incident, .. } => {
                self.pursuits.abort_incident(incident);
                self.write_report(incident, true);
            }
            Record::Parked { incident, .. } => self.write_report(incident, false),
            Record::ControllerStarted { .. }
            | Record::Noted { .. }
            | Record::IncidentOpened { .. }
            | Record::Diagnosed { .. }
            | Record::WaitingChanged { .. }
            | Record::RungStarted { .. }
            | Record::RungEnded { .. }
            | Record::Resolved { .. }
            | Record::WouldHave { .. }
            | Record::Approved { .. }
            | Record::Denied { .. }
            | Record::Paused { .. }
            | Record::Resumed { .. }
            | Record::Verifying { .. }
            | Record::VerifyFailed { .. } => {}
        }
    }

    /// In a task of its own: a slow disk for reports must not hold decisions up.
    fn write_report(&self, incident: &IncidentId, closed: bool) {
        let metrics = self.metrics.clone();
        let (store, incident, now) = (Arc::clone(&self.store), incident.clone(), self.clock.now());
        tokio::spawn(async move {
            let entries = match store.incident(incident.as_str()).await {
                Ok(entries) => entries,
                Err(error) => return tracing::error!(%incident, error = chain(&error), "no report"),
            };
            let Some(report) = Report::build(&entries, now) else {
                return;
            };
            if closed {
                let judged = report.would_have.iter();
                judged.for_each(|scored| metrics.observed(scored.verdict.name()));
            }
            let json = serde_json::to_string_pretty(&report).unwrap_or_default();
            for (extension, body) in [("md", report.markdown()), ("json", json)] {
                let path = reports::path(store.data_dir(), incident.as_str(), extension);
                let written = path.clone();
                match tokio::task::spawn_blocking(move || reports::write(&written, &body)).await {
                    Ok(Ok(())) => {
                        tracing::info!(%incident, path = %path.display(), "report written");
                    }
                    Ok(Err(error)) => {
                        tracing::error!(%incident, error = chain(&error), "no report");
                    }
                    Err(error) => tracing::error!(%incident, %error, "no report"),
                }
            }
        });
    }

    fn store_trouble(&mut self, error: &ChangeError) {
        tracing::error!(%error, "decisions wait: nothing is executed that is not journaled");
        self.planner.look_again();
        let trouble = Some(error.to_string());
        self.observe(vec![Observation::Store { trouble }]);
        self.wake_in(STORE_RETRY);
    }

    async fn store_is_well_again(&mut self) -> bool {
        let note = Record::Noted {
            node: None,
            incident: None,
            text: NOTE.into(),
            unwritten_secs: self.world.unwritten_secs(self.clock.now()),
        };
        match self.journal(vec![note]).await {
            Ok(()) => {
                self.observe(vec![Observation::Store { trouble: None }]);
                true
            }
            Err(error) => {
                self.store_trouble(&error);
                false
            }
        }
    }
}
