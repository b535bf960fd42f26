//! What a fix would do, and what it did.

use crate::bindings::capabilities::iaso::plugin::types::{FixOutcome, FixPlan};
use crate::{Check, Config};

/// One fix that a plugin offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixInfo {
    /// The name that findings give as a remedy.
    pub name: &'static str,
    /// One sentence: what it does.
    pub summary: &'static str,
    /// True when it interrupts something that works.
    pub disruptive: bool,
}

/// Acts. Implemented beside [`Check`], for hosts with the capabilities that acting needs.
pub trait Fix<H>: Check<H> {
    /// What the plugin offers; another name is refused before `plan` is called.
    const FIXES: &'static [FixInfo];

    /// Looks, touches nothing. An `Err` says why it could not look.
    fn plan(host: &H, fix: &str, config: &Config) -> Result<Plan, String>;

    /// Acts on a plan that said [`Verdict::Apply`] a moment ago, in this same run. An `Err` says why it could not even begin.
    fn apply(host: &H, fix: &str, config: &Config, plan: &Plan) -> Result<Outcome, String>;
}

/// What a plan says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It would act.
    Apply,
    /// It would not help, or is not allowed now.
    Refuse,
    /// Already well.
    Nothing,
}

/// What a fix would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Whether it would act.
    pub verdict: Verdict,
    /// Why, for a person. A refusal says what would help instead.
    pub reason: String,
    /// What will be done, in order.
    pub steps: Vec<String>,
    /// Evidence, and what `apply` has to know.
    pub attributes: Vec<(String, String)>,
}

impl Plan {
    fn new(verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            verdict,
            reason: reason.into(),
            steps: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// It would act, for this reason.
    #[must_use]
    pub fn apply(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Apply, reason)
    }

    /// It refuses; the reason says what would help instead.
    #[must_use]
    pub fn refuse(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Refuse, reason)
    }

    /// There is nothing to do.
    #[must_use]
    pub fn nothing(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Nothing, reason)
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: impl Into<String>) -> Self {
        self.steps.push(step.into());
        self
    }

    /// Adds one piece of evidence.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }

    /// What [`Self::attribute`] added under this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.as_str())
    }
}

/// How a fix ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    /// Acted, and the thing was seen to be well.
    Fixed,
    /// Nothing changed for the better.
    Unchanged,
    /// Did not act.
    Refused,
    /// Acted, or tried to, and it went wrong.
    Failed,
}

/// What a fix did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub kind: OutcomeKind,
    /// Why, for a person.
    pub reason: String,
    /// What was done, in order.
    pub steps: Vec<String>,
    /// Evidence.
    pub attributes: Vec<(String, String)>,
}

impl Outcome {
    /// An outcome without steps.
    #[must_use]
    pub fn new(kind: OutcomeKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
            steps: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// What was done, in order.
    #[must_use]
    pub fn steps(mut self, steps: Vec<String>) -> Self {
        self.steps = steps;
        self
    }

    /// Adds one piece of evidence.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }
}

impl From<Plan> for FixPlan {
    fn from(plan: Plan) -> Self {
        let verdict = match plan.verdict {
            Verdict::Apply => "apply",
            Verdict::Refuse => "refuse",
            Verdict::Nothing => "nothing",
        };
        Self {
            verdict: verdict.to_owned(),
            reason: plan.reason,
            steps: plan.steps,
            attributes: plan.attributes,
        }
    }
}

impl From<Outcome> for FixOutcome {
    fn from(outcome: Outcome) -> Self {
        let kind = match outcome.kind {
            OutcomeKind::Fixed => "fixed",
            OutcomeKind::Unchanged => "unchanged",
            OutcomeKind::Refused => "refused",
            OutcomeKind::Failed => "failed",
        };
        Self {
            outcome: kind.to_owned(),
            reason: outcome.reason,
            steps: outcome.steps,
            attributes: outcome.attributes,
        }
    }
}
