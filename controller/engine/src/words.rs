//! Names and short sentences for what the journal holds: one wording for the timeline, the report, the CLI and metrics.

use crate::record::{Diagnosis, Rung, RungResult, Waiting};
use crate::time::Tick;
use std::fmt;

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
            Self::K3sAgentDown => "k3s-agent-down",
            Self::CheckFailing => "check-failing",
            Self::NotReady => "not-ready",
            Self::AgentLost => "agent-lost",
            Self::Hung => "hung",
            Self::PartialPartition => "partial-partition",
            Self::Flapping => "flapping",
            Self::Isolated => "isolated",
            Self::PoweredOff => "powered-off",
            Self::ProviderTrouble => "provider-trouble",
            Self::ProviderUnknown => "provider-unknown",
            Self::GoneNoProvider => "gone-no-provider",
            Self::ControllerCutOff => "controller-cut-off",
            Self::Storm => "storm",
            Self::NeverJoined => "never-joined",
        })
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fix(name) => write!(f, "fix {name}"),
            Self::Start => f.write_str("start"),
            Self::Reboot => f.write_str("reboot"),
            Self::Rescue => f.write_str("rescue"),
            Self::Recreate => f.write_str("recreate"),
            Self::Page => f.write_str("page"),
        }
    }
}

impl fmt::Display for RungResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recovered => "recovered",
            Self::NoHelp => "no help",
            Self::Failed => "failed",
            Self::Moot => "not needed",
        })
    }
}

impl Waiting {
    /// Short name for metrics: `quorum`, `approval`, …
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Quorum { .. } => "quorum",
            Self::FreshFacts { .. } => "fresh-facts",
            Self::Patience { .. } => "patience",
            Self::AmICutOff { .. } => "am-i-cut-off",
            Self::Storm { .. } => "storm",
            Self::Domain { .. } => "domain",
            Self::Canary { .. } => "canary",
            Self::Disruption { .. } => "disruption",
            Self::EtcdQuorum { .. } => "etcd-quorum",
            Self::Cooldown { .. } => "cooldown",
            Self::Window { .. } => "window",
            Self::OptOut { .. } => "opt-out",
            Self::InFlight { .. } => "in-flight",
            Self::ProviderUnknown { .. } => "provider-unknown",
            Self::ProviderOutage { .. } => "provider-outage",
            Self::ProviderBusy { .. } => "provider-busy",
            Self::KubeUnknown { .. } => "kube-unknown",
            Self::LocalData { .. } => "local-data",
            Self::Approval { .. } => "approval",
            Self::ObserveOnly { .. } => "observe-only",
            Self::Denied { .. } => "denied",
            Self::Paused { .. } => "paused",
            Self::Budget { .. } => "budget",
            Self::ControlPlane => "control-plane",
            Self::SecretStore { .. } => "secret-store",
            Self::Journal { .. } => "journal",
            Self::Vetoed { .. } => "vetoed",
            Self::Verifying { .. } => "verifying",
            Self::Person { .. } => "person",
        }
    }

    /// When it ends by itself, if it does.
    #[must_use]
    pub fn until(&self) -> Option<Tick> {
        match self {
            Self::Patience { until, .. }
            | Self::Verifying { until }
            | Self::Cooldown { until, .. }
            | Self::Window { until, .. } => Some(*until),
            Self::Quorum { .. }
            | Self::FreshFacts { .. }
            | Self::AmICutOff { .. }
            | Self::Storm { .. }
            | Self::Domain { .. }
            | Self::Canary { .. }
            | Self::Disruption { .. }
            | Self::EtcdQuorum { .. }
            | Self::OptOut { .. }
            | Self::InFlight { .. }
            | Self::ProviderUnknown { .. }
            | Self::ProviderOutage { .. }
            | Self::ProviderBusy { .. }
            | Self::KubeUnknown { .. }
            | Self::LocalData { .. }
            | Self::Approval { .. }
            | Self::ObserveOnly { .. }
            | Self::Denied { .. }
            | Self::Paused { .. }
            | Self::Budget { .. }
            | Self::ControlPlane
            | Self::SecretStore { .. }
            | Self::Journal { .. }
            | Self::Vetoed { .. }
            | Self::Person { .. } => None,
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quorum { have, need } => write!(
                f,
                "too few observers: {have} healthy ones say that it is silent, {need} must, and one of them is the controller"
            ),
            Self::FreshFacts { channel } => write!(f, "a fresh word from {channel} is needed"),
            Self::Patience { until: _, of } => write!(f, "giving time: {of}"),
            Self::AmICutOff { lost, of } => write!(
                f,
                "the controller lost {lost} of {of} nodes and reaches none of them: it may be the one cut off"
            ),
            Self::Storm { down, limit } => {
                write!(
                    f,
                    "{down} nodes are down at once, Iaso acts on {limit} at most"
                )
            }
            Self::Domain { domain, down, of } => write!(
                f,
                "{down} of the {of} nodes with {domain} are down: what they share is the fault, not each of them"
            ),
            Self::Canary { incident } => write!(
                f,
                "after the storm one node is repaired and watched first: {incident}"
            ),
            Self::Disruption { away, limit } => write!(
                f,
                "it still answers, and {away} others are down or cordoned: {limit} may be away at once"
            ),
            Self::EtcdQuorum { have, need } => write!(
                f,
                "without it {have} healthy servers are left, {need} must agree: a reboot could end the control plane"
            ),
            Self::Cooldown { rung, until: _ } => {
                write!(f, "the last {rung} of this node is not long enough ago")
            }
            Self::Window { rung, until: _ } => {
                write!(f, "the repair window of {rung} is closed")
            }
            Self::OptOut { reason } => write!(f, "the node is opted out of repairs: {reason}"),
            Self::InFlight { effect } => write!(f, "effect {effect} is under way"),
            Self::ProviderUnknown { class, message } => {
                write!(f, "the provider's word is unknown ({class}): {message}")
            }
            Self::ProviderOutage { provider, machines } => write!(
                f,
                "provider {provider} says nothing useful of any of {machines} machines: it is the one in trouble, or its token is"
            ),
            Self::ProviderBusy { what } => write!(f, "the provider is busy with it: {what}"),
            Self::KubeUnknown { why } => write!(f, "Kubernetes does not answer: {why}"),
            Self::LocalData { volumes } => {
                write!(
                    f,
                    "a recreate would destroy local data: {}",
                    volumes.join(", ")
                )
            }
            Self::Approval { rung } => write!(f, "a person's yes to {rung}"),
            Self::ObserveOnly { rung } => {
                write!(f, "the policy only observes: {rung} is not taken")
            }
            Self::Denied { rung } => write!(f, "a person said no to {rung}"),
            Self::Paused { reason } => write!(f, "paused by a person: {reason}"),
            Self::Budget { what } => write!(f, "used up: {what}"),
            Self::ControlPlane => f.write_str("a server node never goes past a reboot by itself"),
            Self::SecretStore { why } => write!(f, "the secret store does not answer: {why}"),
            Self::Journal { why } => write!(f, "the journal cannot be written: {why}"),
            Self::Vetoed { why } => write!(f, "the independent checker vetoed the step: {why}"),
            Self::Verifying { until: _ } => f.write_str("watching that it stays well"),
            Self::Person { why } => write!(f, "a person must act: {why}"),
        }
    }
}
