//! What was really so, turn by turn, for pictures and reports. Kept only where a run is told; nothing in the run reads it.

use crate::scenario::{Ix, Ms};
use crate::sim::Sim;
use std::collections::BTreeMap;

/// Most turns that are kept: a run of a file has far fewer.
const TURNS_MAX: usize = 100_000;

/// A change of what a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// When.
    pub at: Ms,
    /// Which node, by its place in the scenario.
    pub node: usize,
    /// As a person would have it.
    pub well: bool,
    /// The strikes that are on it, by their place in the scenario.
    pub faults: Vec<usize>,
}

/// All of them, in the order of time.
#[derive(Debug, Clone, Default)]
pub struct Chronicle {
    /// Of nodes.
    pub nodes: Vec<Turn>,
    /// When the controller began (`true`) and when it died.
    pub controller: Vec<(Ms, bool)>,
    last: BTreeMap<usize, usize>,
}

impl Chronicle {
    /// The last change of a node at or before a moment.
    pub fn before(&self, node: usize, at: Ms) -> impl Iterator<Item = &Turn> {
        let own = self.nodes.iter().rev();
        own.filter(move |turn| turn.node == node && turn.at <= at)
    }
}

impl Sim<'_> {
    /// Notes what a node is now, if that is new.
    pub(crate) fn chronicle(&mut self, ix: Ix) {
        if self.happenings.is_none() || self.chronicle.nodes.len() >= TURNS_MAX {
            return;
        }
        let host = &self.truth.hosts[ix];
        let turn = Turn {
            at: self.now,
            node: ix.0,
            well: host.shape.is_well(),
            faults: host.active.clone(),
        };
        let last = self.chronicle.last.get(&ix.0);
        let before = last.and_then(|at| self.chronicle.nodes.get(*at));
        if before.is_some_and(|b| (b.well, &b.faults) == (turn.well, &turn.faults)) {
            return;
        }
        self.chronicle.last.insert(ix.0, self.chronicle.nodes.len());
        self.chronicle.nodes.push(turn);
    }

    pub(crate) fn chronicle_controller(&mut self, up: bool) {
        if self.happenings.is_some() && self.chronicle.controller.len() < TURNS_MAX {
            self.chronicle.controller.push((self.now, up));
        }
    }
}
