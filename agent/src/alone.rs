//! What a cut-off agent does: asks [`autonomy`](crate::autonomy), saves what it is about to do, does it, and owes the controller a word of it.
//!
//! **Invariants**
//! - An act is on disk before it is begun; what cannot be counted over a restart is not done.
//! - The controller learns of every act that was begun: how it ended, or that nobody knows.

use std::{path::Path, sync::atomic::Ordering, time::Duration};

use iaso_proto::v1;
use prost::Message as _;
use tokio::time::Instant;

use crate::{
    agent::Agent,
    autonomy::{Absence, Act, Delegation, Rung, Step},
    config::chain,
    disk::{self, DiskError},
    orders::{INTERRUPTED, Outcome},
    outbox::Kind,
    wire,
};

const FILE: &str = "absence.json";
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Longest that a fix of our own may take.
const DEADLINE: Duration = Duration::from_mins(3);

/// What the last process left of an absence. One that cannot be understood leaves no attempts: they cannot be counted.
pub(crate) fn read(state_dir: &Path) -> Result<Absence, DiskError> {
    let Some(bytes) = disk::read_bounded(&state_dir.join(FILE), FILE_BYTES_MAX)? else {
        return Ok(Absence::default());
    };
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        tracing::warn!(%error, file = FILE, "what was done in this absence cannot be read: nothing more is done alone until the controller is back");
        Absence::spent()
    }))
}

impl Act {
    fn begun(&self) -> Outcome {
        let Rung { plugin, fix } = self.rung.clone();
        Outcome::begun(self.id.clone(), plugin, fix)
    }
}

impl Agent {
    /// While cut off: does the next delegated thing, if the engine wants one.
    pub async fn act_alone(&self) {
        // One remediation at a time: while an order runs, nothing is decided either.
        let Ok(_slot) = self.remediation.try_acquire() else {
            return;
        };
        let Some(act) = self.decide_alone() else {
            return;
        };
        tracing::warn!(
            plugin = act.rung.plugin,
            fix = act.rung.fix,
            attempt = self.autonomy().used(),
            why = act.why,
            "acting alone"
        );
        let blank = act.begun();
        let outcome = self.fix(blank, Instant::now() + DEADLINE).await;
        self.owe(&act, &outcome);
        self.end_alone(&act, &outcome.result, &outcome.reason);
    }

    /// Takes up the delegation of the last session, as it was found on disk.
    pub(crate) fn restore_delegation(&self, delegation: Delegation) {
        self.autonomy().delegated(delegation);
    }

    /// The controller is there: what was done in its absence is no longer counted.
    pub(crate) fn present(&self, delegation: Delegation) -> Result<(), DiskError> {
        self.autonomy().connected(delegation);
        self.save(&Absence::default())
    }

    /// Acts that the last process began and never ended: nobody knows how far they got, and that is what the controller is told.
    pub(crate) fn settle_what_was_interrupted(&self) {
        let acts = self.autonomy().in_doubt();
        for act in acts {
            let outcome = act.begun().ended("failed", INTERRUPTED);
            if !self.owes(&act.id) {
                self.owe(&act, &outcome);
            }
            self.end_alone(&act, &outcome.result, &outcome.reason);
        }
    }

    fn decide_alone(&self) -> Option<Act> {
        let reports: Vec<_> = self
            .believed()
            .into_iter()
            .filter_map(|(plugin, findings)| Some((plugin, findings.ok()?)))
            .collect();
        let mut autonomy = self.autonomy();
        let step: Step = autonomy.step(self.tick(), &reports).ok().flatten()?;
        if let Err(error) = self.save(&step.absence) {
            if !self.disk_trouble.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    error = chain(&error),
                    "not acting alone: what is to be done cannot be recorded"
                );
            }
            return None;
        }
        autonomy.commit(&step);
        for message in &step.unsaid {
            tracing::warn!("nobody can be told: {message}");
        }
        step.act
    }

    fn end_alone(&self, act: &Act, result: &str, reason: &str) {
        let mut autonomy = self.autonomy();
        let absence = autonomy.ended(self.tick(), &act.effect, result, reason);
        if let Err(error) = self.save(absence) {
            tracing::warn!(error = chain(&error), "the end of an act is not on record");
        }
    }

    fn owe(&self, act: &Act, outcome: &Outcome) {
        let appended = self.outbox().append(Kind::Durable, |sequence| {
            let action = v1::AutonomousAction {
                sequence,
                outcome: Some(wire::outcome(outcome, sequence)),
                why: act.why.clone(),
            };
            wire::message(v1::agent_message::Kind::Autonomous(action)).encode_to_vec()
        });
        self.appended(appended);
    }

    /// Whether the outbox has a word of this act already.
    fn owes(&self, id: &str) -> bool {
        let tells = |payload: &[u8]| {
            let kind = v1::AgentMessage::decode(payload).ok().and_then(|m| m.kind);
            matches!(kind, Some(v1::agent_message::Kind::Autonomous(action))
                if action.outcome.as_ref().is_some_and(|outcome| outcome.order_id == id))
        };
        self.outbox()
            .after(0, usize::MAX)
            .any(|record| tells(&record.payload))
    }

    fn save(&self, absence: &Absence) -> Result<(), DiskError> {
        let path = self.config.state_dir.join(FILE);
        let bytes = serde_json::to_vec(absence)
            .map_err(|error| DiskError::io("encode", &path, error.into()))?;
        disk::write_atomic(&path, &bytes)
    }
}
