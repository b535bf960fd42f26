//! Which version of each plugin each node runs, as its agent last said. Memory, not journal: it is heard again after a restart.
//!
//! **Invariants**
//! - Bounded by the configured nodes and [`PLUGINS_MAX`] names each; what is beyond is not kept.

use iaso_engine::id::NodeName;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use tokio::time::Instant;

/// Most plugins of one node: as many as an agent takes.
const PLUGINS_MAX: usize = 64;

/// What is wrong with a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// As the agent classes it.
    pub class: String,
    /// For a person.
    pub message: String,
}

/// A version that a node was assigned and could not load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// As assigned.
    pub version: String,
    /// Of its component, hexadecimal.
    pub digest: String,
    /// Why.
    pub fault: Fault,
}

/// What runs under a plugin's name on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// As assigned.
    pub version: String,
    /// Of its component, hexadecimal.
    pub digest: String,
    /// Set when its last run broke.
    pub fault: Option<Fault>,
    /// What was to run in its place, and cannot.
    pub refused: Option<Refused>,
    /// When it was heard.
    pub at: Instant,
}

/// All nodes.
#[derive(Debug, Default)]
pub struct Heard {
    nodes: RwLock<BTreeMap<NodeName, BTreeMap<String, Running>>>,
}

impl Heard {
    /// Takes note of what a node runs.
    pub fn note(&self, node: &NodeName, plugin: &str, running: Running) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let plugins = nodes.entry(node.clone()).or_default();
        if plugins.len() < PLUGINS_MAX || plugins.contains_key(plugin) {
            plugins.insert(plugin.to_owned(), running);
        }
    }

    /// What a node runs, by plugin.
    #[must_use]
    pub fn of(&self, node: &NodeName) -> BTreeMap<String, Running> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.get(node).cloned().unwrap_or_default()
    }
}
