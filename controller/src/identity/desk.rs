//! What the controller's own command line changes: kept beside the change until the controller has journaled it.
//!
//! **Invariants**
//! - The change and the word of it are written together, or neither.
//! - It is journaled at least once: a controller that ends in between says it again.

use super::store::Store;
use super::{Identities, IdentityError};
use crate::config::{Config, NodeConfig};
use crate::driver::Handle;
use crate::text::{bounded, chain};
use iaso_engine::id::NodeName;
use std::sync::Arc;
use std::time::Duration;

/// How often the controller looks.
const LOOK: Duration = Duration::from_secs(2);
/// Longest name of who sits there, in bytes.
const WHO_BYTES_MAX: usize = 64;

/// What was changed.
pub(super) struct Change {
    pub(super) id: i64,
    pub(super) node: Option<String>,
    pub(super) text: String,
}

impl Identities {
    /// As [`Identities::open`], for the command line: what is changed through it is told to the controller.
    ///
    /// # Errors
    /// As there.
    pub fn at_the_desk(config: &Config) -> Result<Self, IdentityError> {
        let mut identities = Self::open(config)?;
        identities.desk = Some(who());
        Ok(identities)
    }

    /// Changes the record, and keeps the word of it for the journal if it is the command line that does.
    pub(super) fn changed<T>(
        &self,
        node: Option<&str>,
        words: impl FnOnce(&T) -> String,
        work: impl FnOnce(&Store) -> Result<T, IdentityError>,
    ) -> Result<T, IdentityError> {
        let store = self.store();
        store.together(|| {
            let done = work(&store)?;
            if let Some(who) = &self.desk {
                let text = format!("the controller's command line, as {who}: {}", words(&done));
                store.tell(node, &text)?;
            }
            Ok(done)
        })
    }
}

/// The user, and for whom they say that they are it.
fn who() -> String {
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid);
    let name = user
        .ok()
        .flatten()
        .map_or_else(|| format!("uid {uid}"), |user| user.name);
    match std::env::var("SUDO_USER") {
        Ok(other) if !other.is_empty() => {
            let plain = |c: &char| c.is_ascii_graphic();
            let other: String = other.chars().filter(plain).take(WHO_BYTES_MAX).collect();
            format!("{name} (sudo by {other})")
        }
        Ok(_) | Err(_) => name,
    }
}

/// Journals what the command line changed, for ever.
pub async fn journal_changes(identities: Arc<Identities>, handle: Handle, nodes: Vec<NodeConfig>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let changes = match identities.store().changes() {
            Ok(changes) => changes,
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "what was changed by the command line cannot be read"
                );
                continue;
            }
        };
        for change in changes {
            let node = declared(&nodes, change.node.as_deref());
            if let Err(error) = handle.note(node, bounded(&change.text, 1_500)).await {
                tracing::warn!(
                    error = chain(&error),
                    "what was changed by the command line is not journaled yet"
                );
                break;
            }
            tracing::info!(target: "iaso_controller::audit", text = change.text, "changed");
            if let Err(error) = identities.store().journaled(change.id) {
                tracing::warn!(
                    error = chain(&error),
                    "what was journaled will be journaled again"
                );
                break;
            }
        }
    }
}

/// The journal is about nodes of the configuration only; the command line may have had another.
fn declared(nodes: &[NodeConfig], name: Option<&str>) -> Option<NodeName> {
    let found = nodes.iter().find(|node| Some(node.name.as_str()) == name);
    found.map(|node| node.name.clone())
}
