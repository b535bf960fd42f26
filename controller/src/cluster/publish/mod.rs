//! Shows in the cluster what the journal says: `Incident` objects, Events, and each node's condition `IasoHealthy`.
//!
//! **Invariants**
//! - The journal is the truth. What is shown may lag, is never read back, and heals: by what is journaled, and from a list of all every
//!   half minute and after every trouble.
//! - One task, and nobody waits for it: it is woken by the journal's stream, which drops what it does not take in time; what it then shows it
//!   asks of the ledger, or reads in the journal.
//! - What one part may not do, or cannot, does not keep the others from theirs; it is said once, and tried again later and later.

mod condition;
mod events;
mod incidents;

use super::ClusterError;
use super::kube::KubeCluster;
use crate::driver::Handle;
use crate::store::Store;
use condition::Conditions;
use events::Events;
use iaso_engine::record::Entry;
use incidents::Incidents;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What the journal says in so short a time is shown together.
const TOGETHER: Duration = Duration::from_millis(500);
/// What changes without a journal entry, and what others did to what is shown, is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Pauses after trouble: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Shows one controller's journal in one cluster.
pub struct Publisher {
    shown: Shown,
    parts: [Part; 3],
}

/// What all parts need.
struct Shown {
    cluster: KubeCluster,
    handle: Handle,
    store: Arc<Store>,
}

/// One of the things that are shown.
enum What {
    Incidents(Incidents),
    Conditions(Conditions),
    Events(Events),
}

/// And how it goes with it.
struct Part {
    what: What,
    next: Instant,
    pause: Duration,
    /// The latest trouble, which was said.
    said: Option<String>,
}

impl Part {
    fn new(what: What) -> Self {
        Self {
            what,
            next: Instant::now(),
            pause: PAUSE.0,
            said: None,
        }
    }

    fn name(&self) -> &'static str {
        match self.what {
            What::Incidents(_) => "incidents",
            What::Conditions(_) => "node conditions",
            What::Events(_) => "events",
        }
    }

    /// Shows it unless it pauses; what went wrong, if anything.
    async fn show(&mut self, shown: &Shown) -> Option<ClusterError> {
        if Instant::now() < self.next {
            return None;
        }
        let result = match &mut self.what {
            What::Incidents(incidents) => incidents.show(shown).await,
            What::Conditions(conditions) => conditions.show(shown).await,
            What::Events(events) => events.show(shown).await,
        };
        match result {
            Ok(()) => {
                if self.said.take().is_some() {
                    tracing::info!(what = self.name(), "shown in the cluster again");
                }
                self.pause = PAUSE.0;
                None
            }
            Err(error) => {
                if self.said.as_ref() != Some(&error.detail) {
                    tracing::warn!(
                        what = self.name(),
                        error = error.detail,
                        "not shown in the cluster, or as it was: tried again"
                    );
                }
                self.said = Some(error.detail.clone());
                self.next = Instant::now() + self.pause;
                self.pause = (self.pause * 2).min(PAUSE.1);
                Some(error)
            }
        }
    }
}

impl Publisher {
    /// One that does nothing until [`Publisher::run`].
    #[must_use]
    pub fn new(cluster: KubeCluster, handle: Handle, store: Arc<Store>) -> Self {
        Self {
            shown: Shown {
                cluster,
                handle,
                store,
            },
            parts: [
                Part::new(What::Incidents(Incidents::default())),
                Part::new(What::Conditions(Conditions::default())),
                Part::new(What::Events(Events::default())),
            ],
        }
    }

    /// Shows until it is stopped. What is shown then stays.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut live = self.shown.store.subscribe();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = self.show() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = news(&mut live) => {}
            }
        }
    }

    /// Shows once whatever does not pause after trouble, and answers the trouble that it met.
    pub async fn show(&mut self) -> Vec<ClusterError> {
        let mut troubles = Vec::new();
        for part in &mut self.parts {
            troubles.extend(part.show(&self.shown).await);
        }
        troubles
    }
}

/// Waits for something to be journaled, or for the next look. Entries that were dropped because nobody took them are news as well.
async fn news(live: &mut broadcast::Receiver<Arc<Entry>>) {
    let heard = async {
        if matches!(live.recv().await, Err(RecvError::Closed)) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(TOGETHER).await;
    };
    if tokio::time::timeout(LOOK_EVERY, heard).await.is_ok() {
        // All that is waiting is looked at in one go: the ledger knows the sum of it.
        while !matches!(
            live.try_recv(),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed)
        ) {}
    }
}

/// The driver has stopped: there is nothing to show any more.
fn stopping() -> ClusterError {
    ClusterError {
        class: "unavailable",
        detail: "the controller is stopping".into(),
    }
}
