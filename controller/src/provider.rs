//! From provider types to the engine's: which machine belongs to which node, and what its provider says.

use crate::config::Config;
use crate::text::{bounded, chain};
use iaso_engine::fact::{MachineMetrics, MachineSeen, MachineState as Seen, Observation};
use iaso_engine::id::NodeName;
use iaso_providers::{Machine, MachineId, MachineState, OperationState, Provider, ProviderError};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How far back an operation that is under way is looked for.
const PENDING_WITHIN: SignedDuration = SignedDuration::from_hours(6);
/// How far back meters are read.
const METRICS_WITHIN: SignedDuration = SignedDuration::from_mins(30);

/// A node's machine.
#[derive(Clone)]
pub struct Owned {
    /// Its provider.
    pub provider: Arc<dyn Provider>,
    /// Its id there.
    pub id: MachineId,
}

/// All machines.
#[derive(Clone, Default)]
pub struct Machines {
    by_node: BTreeMap<NodeName, Owned>,
    /// How often a healthy machine is asked about.
    pub poll: Duration,
    /// How often one with an operation under way is.
    pub poll_quick: Duration,
}

impl std::fmt::Debug for Machines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.by_node.iter().map(|(node, owned)| (node, &owned.id)))
            .finish()
    }
}

impl Machines {
    /// The machines of the configured nodes, at one provider by name.
    ///
    /// # Errors
    /// When a machine's id is none.
    pub fn new(config: &Config, name: &str, provider: &Arc<dyn Provider>) -> anyhow::Result<Self> {
        let mut by_node = BTreeMap::new();
        for node in config.nodes.iter().filter(|node| node.provider == name) {
            if let Some(id) = &node.machine {
                let owned = Owned {
                    provider: Arc::clone(provider),
                    id: MachineId::new(id.as_str())?,
                };
                by_node.insert(node.name.clone(), owned);
            }
        }
        let account = config.provider.hostinger.clone().unwrap_or_default();
        let quick = account.min_interval_ms.saturating_mul(2).clamp(200, 5_000);
        Ok(Self {
            by_node,
            poll: Duration::from_secs(account.poll_secs.max(1)),
            poll_quick: Duration::from_millis(quick),
        })
    }

    /// A node's machine.
    #[must_use]
    pub fn of(&self, node: &NodeName) -> Option<&Owned> {
        self.by_node.get(node)
    }

    /// All nodes that have one.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.by_node.keys()
    }

    /// Asks about one machine; about its meters too, when asked to. Errors become facts.
    pub async fn look(&self, node: &NodeName, meters: bool) -> Vec<Observation> {
        let Some(owned) = self.of(node) else {
            return Vec::new();
        };
        let seen = match owned.provider.get(&owned.id).await {
            Ok(machine) => known(owned, &machine).await,
            Err(error) => unknown(&error),
        };
        let answered = matches!(seen, MachineSeen::Known { .. });
        let mut facts = vec![Observation::Machine {
            node: node.clone(),
            seen,
        }];
        if meters && answered && owned.provider.capabilities().metrics {
            facts.extend(metrics(owned, node).await);
        }
        facts
    }
}

async fn known(owned: &Owned, machine: &Machine) -> MachineSeen {
    let state = state(&machine.state);
    let busy = machine.locked || matches!(state, Seen::Changing(_));
    let pending = if busy { pending(owned).await } else { None };
    MachineSeen::Known {
        state,
        locked: machine.locked,
        pending,
    }
}

async fn pending(owned: &Owned) -> Option<String> {
    let since = Timestamp::now().checked_sub(PENDING_WITHIN).ok()?;
    let actions = owned.provider.actions(&owned.id, since).await.ok()?;
    let last = actions
        .into_iter()
        .rev()
        .find(|action| action.state == OperationState::Pending)?;
    Some(bounded(&last.name, 200))
}

async fn metrics(owned: &Owned, node: &NodeName) -> Option<Observation> {
    let to = Timestamp::now();
    let from = to.checked_sub(METRICS_WITHIN).ok()?;
    let metrics = match owned.provider.metrics(&owned.id, from, to).await {
        Ok(metrics) => metrics,
        Err(error) => {
            tracing::info!(%node, error = chain(&error), "the provider's meters did not answer");
            return None;
        }
    };
    let last =
        |series: &[iaso_providers::Sample]| series.last().and_then(|sample| whole(sample.value));
    let metrics = MachineMetrics {
        uptime_ms: last(&metrics.uptime_ms),
        incoming_bytes: last(&metrics.incoming_bytes),
    };
    Some(Observation::Metrics {
        node: node.clone(),
        metrics,
    })
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be finite and within the range in which every whole f64 is exact"
)]
fn whole(value: f64) -> Option<u64> {
    (value.is_finite() && (0.0..9.0e15).contains(&value)).then_some(value as u64)
}

fn state(state: &MachineState) -> Seen {
    match state {
        MachineState::Running => Seen::Running,
        MachineState::Stopped => Seen::Stopped,
        MachineState::Recovery => Seen::Recovery,
        MachineState::Starting
        | MachineState::Stopping
        | MachineState::Creating
        | MachineState::Recreating
        | MachineState::Restoring
        | MachineState::StoppingRecovery
        | MachineState::Unsuspending => Seen::Changing(state.as_str().to_owned()),
        MachineState::Initial
        | MachineState::Error
        | MachineState::Suspending
        | MachineState::Suspended
        | MachineState::Destroying
        | MachineState::Destroyed
        | MachineState::Other(_) => Seen::Blocked(bounded(state.as_str(), 100)),
    }
}

fn unknown(error: &ProviderError) -> MachineSeen {
    if matches!(error, ProviderError::Unsupported { .. }) {
        return MachineSeen::NoProvider;
    }
    MachineSeen::Unknown {
        class: class(error),
        message: bounded(&chain(error), 1_000),
    }
}

/// The engine's word for a provider's error.
#[must_use]
pub fn class(error: &ProviderError) -> String {
    match error {
        // A token that cannot be read is to the operator what an expired one is: renew it.
        ProviderError::Token { .. } => "unauthorized".into(),
        ProviderError::Unauthorized { .. }
        | ProviderError::Forbidden { .. }
        | ProviderError::NotFound { .. }
        | ProviderError::Conflict { .. }
        | ProviderError::Invalid { .. }
        | ProviderError::RateLimited { .. }
        | ProviderError::Server { .. }
        | ProviderError::Unexpected { .. }
        | ProviderError::Transport { .. }
        | ProviderError::Ambiguous { .. }
        | ProviderError::Unsupported { .. } => error.class().replace('_', "-"),
    }
}
