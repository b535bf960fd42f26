//! Every plan of a night is made both ways: anew, and by a planner that goes on.

use super::Night;
use iaso_engine::fact::Inventory;
use iaso_engine::id::NodeName;
use iaso_engine::plan::{Plan, Planner};
use iaso_engine::policy::Policy;
use std::collections::BTreeSet;

/// The planner that goes on, the rules that it was made under, and what it has not looked at yet.
#[derive(Clone, Default)]
pub struct GoingOn {
    planner: Planner,
    rules: Option<(Policy, Inventory)>,
    pub touched: BTreeSet<NodeName>,
}

impl Night {
    /// Catches: a planner that goes on and forgets a node whose facts came in, grew old, or weigh differently.
    pub fn assert_the_planner_agrees(&mut self, made: &Plan) {
        let rules = (self.policy.clone(), self.inventory.clone());
        let mut going_on = std::mem::take(&mut self.going_on);
        if going_on.rules.as_ref() != Some(&rules) {
            going_on.planner = Planner::default();
            going_on.rules = Some(rules);
        }
        let touched = std::mem::take(&mut going_on.touched);
        let stepped = going_on.planner.step(&self.situation(), touched);
        let stepped = Plan {
            nodes: going_on.planner.nodes().clone(),
            ..stepped
        };
        assert_eq!(&stepped, made, "at {} s", self.second);
        self.going_on = going_on;
    }
}
