//! Executes effects, each in a task of its own that pursues it until its outcome is journaled.
//!
//! **Invariants**
//! - One pursuit for each effect. A resumed one of a provider call only asks; it never calls again.
//! - A pursuit goes on telling its outcome until the journal has it: an outcome that happened is never lost while we live.

use super::{Handle, Hands, doubt, machine_effects, rejoin_effects};
use crate::clock::Clock;
use crate::store::Operations;
use crate::text::bounded;
use iaso_engine::effect::{Action, Effect, Outcome, Yield};
use iaso_engine::id::{EffectId, IncidentId};
use iaso_engine::ledger::EffectState;
use iaso_engine::time::Tick;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long to wait before an outcome is told again to a journal that refused it.
const RETELL: Duration = Duration::from_secs(1);

/// Everything one pursuit needs.
#[derive(Clone)]
pub(super) struct Pursuit {
    pub(super) hands: Hands,
    pub(super) handle: Handle,
    pub(super) clock: Clock,
    pub(super) effect: Effect,
    pub(super) intended: Tick,
    pub(super) term: u64,
    /// Woken when the planner wants to know now.
    pub(super) nudge: Arc<Notify>,
    /// Operations that other effects already own: none of them can be this one's.
    pub(super) claimed: BTreeSet<String>,
}

impl Pursuit {
    /// Tells an outcome until the journal has it.
    pub(super) async fn tell(&self, outcome: Outcome) {
        loop {
            match self
                .handle
                .resolve(self.effect.id.clone(), outcome.clone())
                .await
            {
                Ok(()) => return,
                Err(super::ChangeError::Store(error)) => {
                    tracing::error!(effect = %self.effect.id, error, "its outcome is not journaled yet");
                    tokio::time::sleep(RETELL).await;
                }
                Err(error @ (super::ChangeError::Refused(_) | super::ChangeError::Gone(_))) => {
                    tracing::info!(effect = %self.effect.id, %error, "its outcome is not wanted any more");
                    return;
                }
            }
        }
    }

    pub(super) async fn done(&self, detail: impl Into<String>, yielded: Yield) {
        self.tell(Outcome::Done {
            detail: detail.into(),
            yielded,
        })
        .await;
    }

    pub(super) async fn not_started(&self, class: &str, detail: impl AsRef<str>) {
        let detail = bounded(detail.as_ref(), 2_000);
        self.tell(Outcome::NotStarted {
            class: class.into(),
            detail,
        })
        .await;
    }

    pub(super) async fn failed(&self, detail: impl AsRef<str>) {
        self.tell(Outcome::Failed {
            detail: bounded(detail.as_ref(), 2_000),
        })
        .await;
    }

    pub(super) async fn in_doubt(&self, detail: impl AsRef<str>) {
        self.tell(Outcome::InDoubt {
            detail: bounded(detail.as_ref(), 2_000),
        })
        .await;
    }

    /// Waits for a while, or until the planner wants to know, but never less than a fifth of it.
    pub(super) async fn pause(&self, span: Duration) {
        tokio::time::sleep(span / 5).await;
        tokio::select! {
            () = tokio::time::sleep(span.saturating_sub(span / 5)) => {}
            () = self.nudge.notified() => {}
        }
    }

    async fn execute(self) {
        match &self.effect.action {
            Action::ApplyFix { plugin, fix } => {
                machine_effects::apply_fix(&self, plugin, fix, false).await;
            }
            Action::Reboot
            | Action::Start
            | Action::Rescue { .. }
            | Action::LeaveRescue
            | Action::Recreate { .. } => {
                machine_effects::order(&self).await;
            }
            Action::Remember
            | Action::Cordon
            | Action::Release
            | Action::Restore { .. }
            | Action::Uncordon => rejoin_effects::cluster(&self).await,
            Action::StorePassword => rejoin_effects::store_password(&self).await,
            Action::PrepareScript => rejoin_effects::prepare_script(&self).await,
            Action::PromotePassword { password_key } => {
                rejoin_effects::promote(&self, password_key).await;
            }
            Action::DiscardPassword { password_key } => {
                rejoin_effects::discard(&self, password_key).await;
            }
            Action::Cleanup { script, token } => {
                rejoin_effects::cleanup(&self, script, token).await;
            }
            Action::Page { message } => rejoin_effects::page(&self, message).await,
        }
    }

    async fn resume(self, latest: Option<Outcome>) {
        let operation = match latest {
            Some(Outcome::Started {
                operation: Some(operation),
            }) => Some(operation),
            None
            | Some(
                Outcome::Started { operation: None }
                | Outcome::InDoubt { .. }
                | Outcome::Done { .. }
                | Outcome::Failed { .. }
                | Outcome::NotStarted { .. },
            ) => None,
        };
        match &self.effect.action {
            Action::Reboot
            | Action::Start
            | Action::Rescue { .. }
            | Action::LeaveRescue
            | Action::Recreate { .. } => {
                if let Some(operation) = operation {
                    return machine_effects::follow(&self, operation).await;
                }
                self.in_doubt("the controller ended before it knew the provider's answer")
                    .await;
                doubt::resolve(&self).await;
            }
            Action::ApplyFix { plugin, fix } => {
                machine_effects::apply_fix(&self, plugin, fix, true).await;
            }
            // These may be done twice: their end state is the same.
            Action::Remember
            | Action::Cordon
            | Action::StorePassword
            | Action::PrepareScript
            | Action::Release
            | Action::Restore { .. }
            | Action::Uncordon
            | Action::PromotePassword { .. }
            | Action::DiscardPassword { .. }
            | Action::Cleanup { .. }
            | Action::Page { .. } => self.execute().await,
        }
    }
}

struct Task {
    nudge: Arc<Notify>,
    join: JoinHandle<()>,
}

/// All pursuits.
pub(super) struct Pursuits {
    hands: Hands,
    handle: Handle,
    clock: Clock,
    term: u64,
    stop: CancellationToken,
    tasks: BTreeMap<EffectId, Task>,
}

impl Pursuits {
    pub(super) fn new(hands: Hands, handle: Handle, clock: Clock, stop: CancellationToken) -> Self {
        Self {
            hands,
            handle,
            clock,
            term: 0,
            stop,
            tasks: BTreeMap::new(),
        }
    }

    pub(super) fn set_term(&mut self, term: u64) {
        self.term = term;
    }

    pub(super) fn execute(&mut self, effect: Effect, intended: Tick, operations: &Operations) {
        let pursuit = self.pursuit(effect, intended, operations);
        self.spawn(pursuit, Pursuit::execute);
    }

    pub(super) fn resume(&mut self, state: EffectState, operations: &Operations) {
        let pursuit = self.pursuit(state.effect, state.intended, operations);
        let latest = state.latest.map(|(_, outcome)| outcome);
        self.spawn(pursuit, |pursuit| pursuit.resume(latest));
    }

    fn pursuit(&self, effect: Effect, intended: Tick, operations: &Operations) -> Pursuit {
        Pursuit {
            hands: self.hands.clone(),
            handle: self.handle.clone(),
            clock: self.clock,
            intended,
            term: self.term,
            nudge: Arc::new(Notify::new()),
            claimed: operations
                .iter()
                .filter(|(_, owner)| **owner != effect.id)
                .map(|(operation, _)| operation.clone())
                .collect(),
            effect,
        }
    }

    fn spawn<F>(&mut self, pursuit: Pursuit, run: impl FnOnce(Pursuit) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.retain(|_, task| !task.join.is_finished());
        let (id, nudge, stop) = (
            pursuit.effect.id.clone(),
            Arc::clone(&pursuit.nudge),
            self.stop.clone(),
        );
        let work = run(pursuit);
        let join = tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
        self.tasks.insert(id, Task { nudge, join });
    }

    pub(super) fn nudge(&mut self, effect: &EffectId) {
        if let Some(task) = self.tasks.get(effect) {
            task.nudge.notify_one();
        }
    }

    pub(super) fn abort_incident(&mut self, incident: &IncidentId) {
        let prefix = format!("{incident}/");
        self.tasks.retain(|id, task| {
            let of_incident = id.as_str().starts_with(&prefix);
            if of_incident {
                task.join.abort();
            }
            !of_incident
        });
    }

    pub(super) fn abort_all(&mut self) {
        self.tasks.values().for_each(|task| task.join.abort());
        self.tasks.clear();
    }
}

impl Drop for Pursuits {
    fn drop(&mut self) {
        self.abort_all();
    }
}
