//! Rungs as the policy writes them: which, in which order, and on what terms.

use crate::policy::{Mode, Policy};
use crate::record::{Diagnosis, Rung};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A machine that boots answers before anything on it lives: so long before it is taken for hung.
const HUNG_SECS: u64 = 300;

/// A kind of rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// The remedies that the findings name, best first.
    Fix,
    /// Power on by the provider.
    Start,
    /// Reboot by the provider.
    Reboot,
    /// The provider's rescue image, to tell a fault of the machine's own system from one outside it.
    Rescue,
    /// Recreate the machine and rejoin it.
    Recreate,
    /// Tell a person, and stop.
    Page,
}

impl StepKind {
    /// The kind of a rung.
    #[must_use]
    pub fn of(rung: &Rung) -> Self {
        match rung {
            Rung::Fix(_) => Self::Fix,
            Rung::Start => Self::Start,
            Rung::Reboot => Self::Reboot,
            Rung::Rescue => Self::Rescue,
            Rung::Recreate => Self::Recreate,
            Rung::Page => Self::Page,
        }
    }

    /// It needs a provider.
    #[must_use]
    pub fn is_power(self) -> bool {
        matches!(
            self,
            Self::Start | Self::Reboot | Self::Rescue | Self::Recreate
        )
    }
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fix => "fix",
            Self::Start => "start",
            Self::Reboot => "reboot",
            Self::Rescue => "rescue",
            Self::Recreate => "recreate",
            Self::Page => "page",
        })
    }
}

/// When a rung has helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// Every channel says that the node is well.
    #[default]
    Healthy,
    /// Kubernetes says Ready with a fresh lease; the agent may still be away. What is left is diagnosed anew.
    Ready,
}

/// One rung of a ladder. What is not said has the policy's default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Which.
    pub rung: StepKind,
    /// Whether it is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Most times in one incident. A recreate is taken once, whatever is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Precondition: the diagnosis has stood for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_secs: Option<u64>,
    /// Shortest time between two of these on one node, over all incidents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_secs: Option<u64>,
    /// So long to help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_secs: Option<u64>,
    /// An outcome that is later than this is paged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u64>,
    /// When it has helped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
    /// The node must stay well for so long afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_secs: Option<u64>,
}

impl Step {
    /// A rung on the policy's default terms.
    #[must_use]
    pub fn new(rung: StepKind) -> Self {
        Self {
            rung,
            mode: None,
            attempts: None,
            after_secs: None,
            cooldown_secs: None,
            wait_secs: None,
            timeout_secs: None,
            verify: None,
            verify_secs: None,
        }
    }
}

/// One rung with everything said. Durations in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Which.
    pub kind: StepKind,
    /// Whether it is taken.
    pub mode: Mode,
    /// Most times in one incident.
    pub attempts: u32,
    /// The diagnosis must have stood for so long.
    pub after_secs: u64,
    /// Shortest time between two on one node.
    pub cooldown_secs: u64,
    /// So long to help.
    pub wait_secs: u64,
    /// An outcome that is later is paged.
    pub timeout_secs: u64,
    /// When it has helped.
    pub verify: Verify,
    /// Stay well for so long.
    pub verify_secs: u64,
}

/// The rungs that a policy may put into the ladder of a diagnosis. An empty list: no rung mends that, a person is told.
#[must_use]
pub fn allowed(diagnosis: Diagnosis) -> &'static [StepKind] {
    use StepKind::{Fix, Page, Reboot, Recreate, Rescue, Start};
    match diagnosis {
        Diagnosis::CheckFailing | Diagnosis::NotReady => &[Fix, Page],
        // The machine's kernel answers: rebooted where the policy says so, never wiped.
        Diagnosis::K3sAgentDown => &[Fix, Reboot, Page],
        Diagnosis::Hung => &[Reboot, Page],
        Diagnosis::Isolated => &[Reboot, Rescue, Recreate, Page],
        Diagnosis::PoweredOff => &[Start, Reboot, Recreate, Page],
        Diagnosis::Healthy
        | Diagnosis::Unknown
        | Diagnosis::AgentLost
        | Diagnosis::PartialPartition
        | Diagnosis::Flapping
        | Diagnosis::ProviderTrouble
        | Diagnosis::ProviderUnknown
        | Diagnosis::GoneNoProvider
        | Diagnosis::ControllerCutOff
        | Diagnosis::Storm
        | Diagnosis::NeverJoined => &[],
    }
}

/// The ladder of a diagnosis where the policy has none of its own. Nobody's machine is booted into a rescue image unless its owner's
/// policy says so: that rung is worth its minutes only where the disk holds something.
#[must_use]
pub fn usual(diagnosis: Diagnosis) -> &'static [StepKind] {
    use StepKind::{Fix, Reboot, Recreate, Start};
    match diagnosis {
        Diagnosis::CheckFailing | Diagnosis::NotReady | Diagnosis::K3sAgentDown => &[Fix],
        Diagnosis::Hung => &[Reboot],
        Diagnosis::Isolated => &[Reboot, Recreate],
        Diagnosis::PoweredOff => &[Start, Reboot, Recreate],
        Diagnosis::Healthy
        | Diagnosis::Unknown
        | Diagnosis::AgentLost
        | Diagnosis::PartialPartition
        | Diagnosis::Flapping
        | Diagnosis::ProviderTrouble
        | Diagnosis::ProviderUnknown
        | Diagnosis::GoneNoProvider
        | Diagnosis::ControllerCutOff
        | Diagnosis::Storm
        | Diagnosis::NeverJoined => &[],
    }
}

impl Policy {
    /// The ladder of a diagnosis, on its full terms, without the page that ends each.
    #[must_use]
    pub fn steps(&self, diagnosis: Diagnosis) -> Vec<Terms> {
        match self.ladder.get(&diagnosis) {
            Some(steps) => steps
                .iter()
                .filter(|s| s.rung != StepKind::Page)
                .map(|s| self.full(diagnosis, s))
                .collect(),
            None => usual(diagnosis)
                .iter()
                .map(|kind| self.full(diagnosis, &Step::new(*kind)))
                .collect(),
        }
    }

    /// The terms of a kind of rung for a diagnosis; the default ones where its ladder does not have it: the facts may have changed
    /// while the rung was being taken.
    #[must_use]
    pub fn terms(&self, diagnosis: Diagnosis, kind: StepKind) -> Terms {
        let step = self
            .ladder
            .get(&diagnosis)
            .and_then(|steps| steps.iter().find(|s| s.rung == kind));
        match step {
            Some(step) => self.full(diagnosis, step),
            None => self.full(diagnosis, &Step::new(kind)),
        }
    }

    fn full(&self, diagnosis: Diagnosis, step: &Step) -> Terms {
        let kind = step.rung;
        let after_secs = if diagnosis == Diagnosis::Hung {
            HUNG_SECS
        } else {
            0
        };
        let (attempts, cooldown_secs, wait_secs) = match kind {
            StepKind::Fix => (self.fix_attempts, 0, self.fix_wait_secs),
            StepKind::Start | StepKind::Reboot => {
                (1, self.reboot_cooldown_secs, self.reboot_wait_secs)
            }
            StepKind::Rescue => (1, self.reboot_cooldown_secs, self.rescue_wait_secs),
            StepKind::Recreate => (1, self.recreate_cooldown_secs, self.rejoin_secs),
            StepKind::Page => (1, 0, 0),
        };
        Terms {
            kind,
            mode: step.mode.unwrap_or_else(|| self.mode_of(kind)),
            attempts: step.attempts.unwrap_or(attempts),
            after_secs: step.after_secs.unwrap_or(after_secs),
            cooldown_secs: step.cooldown_secs.unwrap_or(cooldown_secs),
            wait_secs: step.wait_secs.unwrap_or(wait_secs),
            timeout_secs: step.timeout_secs.unwrap_or(self.operation_secs),
            verify: step.verify.unwrap_or_default(),
            verify_secs: step.verify_secs.unwrap_or(self.verify_secs),
        }
    }
}
