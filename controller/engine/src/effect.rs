//! Effects: what the driver is to do, as data. Each carries its idempotency key and the evidence it rests on.

use crate::fact::OperationRef;
use crate::id::{EffectId, IncidentId, NodeName};
use crate::policy::step::StepKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// Order the node's agent to apply one fix of one plugin.
    ApplyFix {
        /// The plugin.
        plugin: String,
        /// Its fix.
        fix: String,
    },
    /// Reboot through the provider. Done when the provider's operation has ended; proof is uptime falling.
    Reboot,
    /// Power on through the provider.
    Start,
    /// Boot the provider's rescue image, with the machine's own disk beside it. Its root password is the pending one of `password_key`.
    Rescue {
        /// Key of the pending password in the secret store.
        password_key: String,
    },
    /// Boot the machine's own disk again. Done at once where it runs no rescue image.
    LeaveRescue,
    /// Write down what the node is to Kubernetes: labels, taints, annotations, version, flags.
    Remember,
    /// Mark the node unschedulable.
    Cordon,
    /// Draw a root password, store it as pending and read it back. Its key is the effect's id.
    StorePassword,
    /// Create a short-lived, agent-only join token and the post-install script that carries it.
    PrepareScript,
    /// Reinstall the machine. Uses the pending password of `password_key` and the script of `script`.
    Recreate {
        /// Key of the pending password in the secret store.
        password_key: String,
        /// The provider's id of the post-install script.
        script: String,
    },
    /// Clear what the dead machine left: stuck Terminating pods, volume attachments, the stale node-password Secret. Fenced only.
    Release,
    /// Put back the labels, taints and annotations that `Remember` wrote down.
    Restore {
        /// What `Remember` returned.
        remembered: Remembered,
    },
    /// Make the node schedulable again.
    Uncordon,
    /// The pending password becomes the current one; the previous is kept.
    PromotePassword {
        /// Key of the pending password.
        password_key: String,
    },
    /// Forget a pending password that was certainly never used.
    DiscardPassword {
        /// Its key in the secret store.
        password_key: String,
    },
    /// Delete the post-install script and the join token.
    Cleanup {
        /// The provider's id of the script.
        script: String,
        /// Name of the token, never its secret.
        token: String,
    },
    /// Tell a person.
    Page {
        /// What they should know and do.
        message: String,
    },
}

impl Action {
    /// Whether it interrupts the node: it must pass every gate, and only one such effect is in flight at a time.
    #[must_use]
    pub fn is_disruptive(&self) -> bool {
        match self {
            Self::Reboot
            | Self::Start
            | Self::Rescue { .. }
            | Self::Recreate { .. }
            | Self::ApplyFix { .. } => true,
            // It takes back what the rescue did, on a machine that serves nobody.
            Self::LeaveRescue
            | Self::Remember
            | Self::Cordon
            | Self::StorePassword
            | Self::PrepareScript
            | Self::Release
            | Self::Restore { .. }
            | Self::Uncordon
            | Self::PromotePassword { .. }
            | Self::DiscardPassword { .. }
            | Self::Cleanup { .. }
            | Self::Page { .. } => false,
        }
    }

    /// It interrupts a machine and leaves its disk as it is.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        matches!(self, Self::Reboot | Self::Start | Self::Rescue { .. })
    }

    /// The kind of rung that this is the act of; `None`: of none, or of a recreate's preparation.
    #[must_use]
    pub fn kind(&self) -> Option<StepKind> {
        match self {
            Self::ApplyFix { .. } => Some(StepKind::Fix),
            Self::Start => Some(StepKind::Start),
            Self::Reboot => Some(StepKind::Reboot),
            Self::Rescue { .. } | Self::LeaveRescue => Some(StepKind::Rescue),
            Self::Recreate { .. } => Some(StepKind::Recreate),
            Self::Remember
            | Self::Cordon
            | Self::StorePassword
            | Self::PrepareScript
            | Self::Release
            | Self::Restore { .. }
            | Self::Uncordon
            | Self::PromotePassword { .. }
            | Self::DiscardPassword { .. }
            | Self::Cleanup { .. }
            | Self::Page { .. } => None,
        }
    }

    /// Short name for timelines and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ApplyFix { .. } => "apply-fix",
            Self::Reboot => "reboot",
            Self::Start => "start",
            Self::Rescue { .. } => "rescue",
            Self::LeaveRescue => "leave-rescue",
            Self::Remember => "remember",
            Self::Cordon => "cordon",
            Self::StorePassword => "store-password",
            Self::PrepareScript => "prepare-script",
            Self::Recreate { .. } => "recreate",
            Self::Release => "release",
            Self::Restore { .. } => "restore",
            Self::Uncordon => "uncordon",
            Self::PromotePassword { .. } => "promote-password",
            Self::DiscardPassword { .. } => "discard-password",
            Self::Cleanup { .. } => "cleanup",
            Self::Page { .. } => "page",
        }
    }
}

/// What a node was to Kubernetes before its machine was wiped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Remembered {
    /// Labels that are not Kubernetes' own.
    pub labels: BTreeMap<String, String>,
    /// `key=value:effect`, without those that Kubernetes or Iaso put there.
    pub taints: Vec<String>,
    /// Annotations that are not Kubernetes' or k3s's own.
    pub annotations: BTreeMap<String, String>,
    /// Version of the kubelet, to reinstall the same.
    pub kubelet_version: String,
    /// It was cordoned by somebody else before: then it stays so.
    pub was_cordoned: bool,
}

/// One intended effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// The idempotency key.
    pub id: EffectId,
    /// Whose incident.
    pub incident: IncidentId,
    /// Which node.
    pub node: NodeName,
    /// What to do.
    pub action: Action,
    /// The facts it rests on, in words.
    pub evidence: Vec<String>,
}

/// How an effect ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Done, with what it yielded.
    Done {
        /// In words.
        detail: String,
        /// What later steps need.
        yielded: Yield,
    },
    /// It is known not to have worked.
    Failed {
        /// In words.
        detail: String,
    },
    /// It is known not to have happened at all: it may be tried again, under the same id.
    NotStarted {
        /// `unauthorized`, `not-found`, `rate-limited`, `transport`, `unavailable`, …
        class: String,
        /// For the operator, with what to do.
        detail: String,
    },
    /// Nobody knows yet: the driver goes on asking, and answers with another outcome later.
    InDoubt {
        /// Why.
        detail: String,
    },
    /// Accepted and under way; another outcome follows.
    Started {
        /// The provider's operation, if it named one.
        operation: Option<OperationRef>,
    },
}

/// What a finished effect hands to later steps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Yield {
    /// Nothing.
    #[default]
    Nothing,
    /// Of `Remember`.
    Remembered {
        /// What was written down.
        remembered: Remembered,
    },
    /// Of `StorePassword`.
    Password {
        /// Key in the secret store.
        key: String,
    },
    /// Of `PrepareScript`.
    Script {
        /// The provider's id.
        script: String,
        /// Name of the join token.
        token: String,
    },
    /// Of `ApplyFix`: `fixed`, `unchanged`, `refused`, …
    Fix {
        /// The agent's word.
        result: String,
    },
    /// Of `Reboot`: whether uptime was seen to fall. `None`: the provider has no meter.
    Reboot {
        /// Proven, disproven or unknown.
        proven: Option<bool>,
    },
}
