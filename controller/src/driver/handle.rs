//! How everybody else reaches the driver: facts, questions, and changes that it journals.

use iaso_engine::effect::Outcome;
use iaso_engine::fact::{Inventory, Observation};
use iaso_engine::id::{EffectId, NodeName};
use iaso_engine::ledger::Ledger;
use iaso_engine::plan::{NodePlan, Situation};
use iaso_engine::policy::Policy;
use iaso_engine::record::Record;
use iaso_engine::time::Tick;
use iaso_engine::world::World;
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};

/// The driver's state, to be read.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The time.
    pub now: Tick,
    /// What the operator allows.
    pub policy: &'a Policy,
    /// What the operator declared.
    pub inventory: &'a Inventory,
    /// What is known.
    pub world: &'a World,
    /// What has happened.
    pub ledger: &'a Ledger,
    /// Each node's part of the latest plan.
    pub nodes: &'a BTreeMap<NodeName, NodePlan>,
}

impl<'a> View<'a> {
    /// The same as the engine's input.
    #[must_use]
    pub fn situation(&self) -> Situation<'a> {
        Situation {
            now: self.now,
            policy: self.policy,
            inventory: self.inventory,
            world: self.world,
            ledger: self.ledger,
        }
    }
}

/// The driver has stopped.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the controller is stopping: try again in a moment")]
pub struct Gone;

/// Why a change was not journaled.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It does not fit the state; the text says why.
    #[error("{0}")]
    Refused(String),
    /// The journal refused.
    #[error("the journal could not be written: {0}")]
    Store(String),
    /// The driver has stopped.
    #[error(transparent)]
    Gone(#[from] Gone),
}

type Question = Box<dyn FnOnce(&View<'_>) + Send>;
type Change = Box<dyn FnOnce(&View<'_>) -> Result<Vec<Record>, String> + Send>;

pub(super) enum Input {
    Observe {
        observations: Vec<Observation>,
        reply: Option<oneshot::Sender<()>>,
    },
    Ask(Question),
    Change {
        change: Change,
        reply: oneshot::Sender<Result<(), ChangeError>>,
    },
}

/// The driver's inbox.
#[derive(Clone)]
pub struct Handle {
    inbox: mpsc::Sender<Input>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    pub(super) fn new(inbox: mpsc::Sender<Input>) -> Self {
        Self { inbox }
    }

    /// Hands facts in, and waits until what they lead to is journaled.
    ///
    /// # Errors
    /// When the driver has stopped.
    pub async fn observe(&self, observations: Vec<Observation>) -> Result<(), Gone> {
        let (reply, answer) = oneshot::channel();
        let input = Input::Observe {
            observations,
            reply: Some(reply),
        };
        self.inbox.send(input).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// Hands facts in, and waits only for room in the inbox.
    pub async fn tell(&self, observations: Vec<Observation>) {
        // The driver has stopped: facts no longer matter.
        let _ = self
            .inbox
            .send(Input::Observe {
                observations,
                reply: None,
            })
            .await;
    }

    /// Reads the state.
    ///
    /// # Errors
    /// When the driver has stopped.
    pub async fn ask<T, F>(&self, question: F) -> Result<T, Gone>
    where
        T: Send + 'static,
        F: FnOnce(&View<'_>) -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |view| {
            let _ = reply.send(question(view));
        });
        self.inbox
            .send(Input::Ask(question))
            .await
            .map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// Journals what `change` makes of the state.
    ///
    /// # Errors
    /// When it refuses, or the journal does.
    pub async fn change<F>(&self, change: F) -> Result<(), ChangeError>
    where
        F: FnOnce(&View<'_>) -> Result<Vec<Record>, String> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.inbox
            .send(Input::Change {
                change: Box::new(change),
                reply,
            })
            .await
            .map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)?
    }

    /// Journals an outcome, unless the effect is unknown, has settled, or the same was said before.
    ///
    /// # Errors
    /// When it could not be journaled.
    pub async fn resolve(&self, effect: EffectId, outcome: Outcome) -> Result<(), ChangeError> {
        self.change(move |view| {
            let Some(state) = view.ledger.effect(&effect) else {
                return Ok(Vec::new());
            };
            let repeated = state
                .latest
                .as_ref()
                .is_some_and(|(_, latest)| *latest == outcome);
            if state.is_settled() || repeated {
                return Ok(Vec::new());
            }
            Ok(vec![Record::Resolved { effect, outcome }])
        })
        .await
    }

    /// Journals a note.
    ///
    /// # Errors
    /// When it could not be journaled.
    pub async fn note(&self, node: Option<NodeName>, text: String) -> Result<(), ChangeError> {
        self.change(move |view| {
            let incident = node
                .as_ref()
                .and_then(|node| view.ledger.open_incident(node))
                .map(|i| i.id.clone());
            Ok(vec![Record::Noted {
                node,
                incident,
                text,
                unwritten_secs: 0,
            }])
        })
        .await
    }
}
