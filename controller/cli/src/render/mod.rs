//! What answers look like. Pure: a model and a [`Style`] in, text out.

mod backtest;
mod event;
mod explain;
mod incident;
pub(crate) mod layout;
mod node;
mod policy;
mod replay;
#[cfg(test)]
mod sample;
mod simulate;
mod style;
#[cfg(test)]
mod tests;

pub(crate) use backtest::{backtest, model as backtest_model};
pub(crate) use event::event;
pub(crate) use explain::explanation;
pub(crate) use incident::{Timeline, incident_header, incidents};
pub(crate) use node::{node, nodes};
pub(crate) use policy::{model as policy_model, policy};
pub(crate) use replay::{model as replay_model, replay};
pub(crate) use simulate::simulation;
pub(crate) use style::Style;

use crate::text;
use serde::Serialize;

/// One JSON object on one line.
pub(crate) fn json(model: &impl Serialize) -> String {
    let line = serde_json::to_string(model)
        .expect("the model has only string keys and cannot fail to serialise");
    text::json(&line) + "\n"
}
