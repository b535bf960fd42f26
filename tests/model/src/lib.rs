//! A bounded model check of the action protocol: controllers, journal, agent, provider and the network between them, in every order.
//!
//! What decides is the real thing: [`plan`](iaso_engine::plan::plan), the journal's fold and the checker. What acts is a small model of the
//! driver, the agent's record of orders and the provider, which follows them step by step.
//!
//! **Bounds** ([`Bounds`]): one sick worker, one healthy peer, time in ticks of ten seconds up to a horizon, and so many controller starts,
//! lost and repeated messages, restarts of the agent and changes of who reaches whom.
//!
//! **Assumptions**, each of which a planted bug ([`Bug`]) takes away:
//! - The journal refuses a term that is over.
//! - A controller sends an order within a tick of having journaled it, or never; a provider's call arrives within a tick of being sent,
//!   or never. Both together are shorter than `doubt_secs`.
//! - The provider's list of operations is complete.
//!
//! Left out: Kubernetes (no cluster is configured), secrets, the content of facts. The simulator has those.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a model: actions outside its bounds are all treated alike"
)]

mod actor;
mod closure;
mod controller;
mod property;
mod sight;
mod state;
mod step;

pub use state::{Bounds, Bug, Kind, Message, Peer, State};
pub use step::Step;

use stateright::{Checker, HasDiscoveries, Model, Property};
use std::time::{Duration, Instant};

/// The protocol within its bounds, sound or with a bug.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// How far it is looked at.
    pub bounds: Bounds,
    /// What is broken on purpose.
    pub bug: Bug,
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        State::initial(self)
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend(step::enabled(self, state));
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        step::take(self, &mut next, &step);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        property::all()
    }
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Different states that were looked at.
    pub states: usize,
    /// Longest path.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Properties that do not hold, each with the steps that lead there.
    pub broken: Vec<(String, Vec<String>)>,
    /// What should happen somewhere within the bounds, and did not: the run proves less than it seems to.
    pub missing: Vec<String>,
}

/// Looks at every state within the bounds.
#[must_use]
pub fn check(protocol: Protocol) -> Outcome {
    run(protocol, HasDiscoveries::All)
}

/// Looks until the first property is broken.
#[must_use]
pub fn find(protocol: Protocol) -> Outcome {
    run(protocol, HasDiscoveries::AnyFailures)
}

fn run(protocol: Protocol, until: HasDiscoveries) -> Outcome {
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = protocol
        .checker()
        .threads(threads)
        .finish_when(until)
        .spawn_bfs()
        .join();
    let found = checker.discoveries();
    let mut broken = Vec::new();
    let mut missing = Vec::new();
    for property in checker.model().properties() {
        match (
            property.expectation.discovery_is_failure(),
            found.get(property.name),
        ) {
            (true, Some(path)) => {
                let steps = path.clone().into_actions();
                let steps = steps.iter().map(|step| format!("{step:?}")).collect();
                broken.push((property.name.to_owned(), steps));
            }
            (false, None) => missing.push(property.name.to_owned()),
            (true, None) | (false, Some(_)) => {}
        }
    }
    Outcome {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: begun.elapsed(),
        broken,
        missing,
    }
}
