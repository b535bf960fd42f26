//! Orders to agents and to providers: sent once, followed to their end.

use super::doubt;
use super::effects::Pursuit;
use crate::provider::{Owned, class};
use crate::sessions::{Order, OrderError};
use crate::text::chain;
use iaso_engine::effect::{Action, Outcome, Yield};
use iaso_engine::fact::OperationRef;
use iaso_engine::id::OperationId as EngineOperationId;
use iaso_providers::secrets::{SecretKey, Version};
use iaso_providers::{
    MachineState, Operation, OperationId, OperationState, ProviderError, RebootProof, RecreateSpec,
    ScriptId, Secret, reboot_proof,
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How often a fix that is under way is looked at.
const FIX_LOOK: Duration = Duration::from_secs(2);
/// How long a meter may take to show a reboot.
const PROOF_MAX: Duration = Duration::from_mins(1);
/// In these a machine is on its own disk, or on none.
const AT_REST: [MachineState; 3] = [
    MachineState::Running,
    MachineState::Stopped,
    MachineState::Error,
];
/// How far before a reboot the meters are read.
const PROOF_BEFORE: SignedDuration = SignedDuration::from_mins(30);

/// Orders a fix, again to each new session of the agent until it answers or its deadline has passed for certain.
/// `again`: a controller before this one may have sent it, so only the agent can say that it never began.
pub(super) async fn apply_fix(pursuit: &Pursuit, plugin: &str, fix: &str, again: bool) {
    let (node, sessions) = (&pursuit.effect.node, &pursuit.hands.sessions);
    let deadline = Duration::from_secs(pursuit.hands.policy.fix_wait_secs);
    let grace = Duration::from_secs(pursuit.hands.policy.doubt_secs);
    let mut changes = sessions.changes();
    let mut ordered_to = None;
    loop {
        let spent = pursuit.clock.now().since(pursuit.intended);
        if spent > deadline + grace {
            return pursuit.failed("the agent gave no outcome, and its deadline has passed: the fix does not run any more").await;
        }
        let generation = sessions.generation(node);
        if generation.is_some() && generation != ordered_to && spent < deadline {
            let order = Order::Fix {
                id: pursuit.effect.id.0.clone(),
                plugin: plugin.into(),
                fix: fix.into(),
                deadline: deadline.saturating_sub(spent),
                term: pursuit.term,
                reason: pursuit.effect.evidence.join("; "),
            };
            match sessions.order(node, order) {
                Ok(()) => ordered_to = generation,
                // Nothing was sent and nothing was before: that is known.
                Err(error @ OrderError::Full) if ordered_to.is_none() && !again => {
                    return pursuit.not_started("unavailable", error.to_string()).await;
                }
                Err(OrderError::Full | OrderError::NotConnected) => {}
            }
        }
        if generation.is_none() {
            if ordered_to.is_some() || again {
                pursuit.in_doubt("the agent's session ended before it answered; it is asked again when it is back").await;
            } else if spent < deadline {
                return pursuit
                    .not_started("unavailable", OrderError::NotConnected.to_string())
                    .await;
            }
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = pursuit.pause(FIX_LOOK) => {}
        }
        let id = pursuit.effect.id.clone();
        let settled = pursuit
            .handle
            .ask(move |view| {
                view.ledger
                    .effect(&id)
                    .is_none_or(iaso_engine::ledger::EffectState::is_settled)
            })
            .await;
        if settled.unwrap_or(true) {
            return;
        }
    }
}

/// Gives one order to the provider and follows it.
pub(super) async fn order(pursuit: &Pursuit) {
    let Some(owned) = pursuit.hands.machines.of(&pursuit.effect.node) else {
        let detail =
            "this node has no machine at a provider: set provider and machine in its [[nodes]]";
        return pursuit.not_started("unsupported", detail).await;
    };
    let answer = match &pursuit.effect.action {
        Action::Start => owned.provider.start(&owned.id).await,
        Action::Recreate {
            password_key,
            script,
        } => {
            let spec = match recreate_spec(pursuit, password_key, script).await {
                Ok(spec) => spec,
                Err((class, detail)) => return pursuit.not_started(class, detail).await,
            };
            owned
                .provider
                .recreate(&owned.id, &spec)
                .await
                .map(|recreation| recreation.operation)
        }
        Action::Rescue { password_key } => match password(pursuit, password_key).await {
            Ok(password) => owned.provider.recovery_start(&owned.id, &password).await,
            Err((class, detail)) => return pursuit.not_started(class, detail).await,
        },
        Action::LeaveRescue => match owned.provider.get(&owned.id).await {
            Ok(machine) if machine.state == MachineState::Recovery => {
                owned.provider.recovery_stop(&owned.id).await
            }
            Ok(machine) if AT_REST.contains(&machine.state) => {
                let detail = "it does not run the rescue image: nothing to leave";
                return pursuit.done(detail, Yield::Nothing).await;
            }
            Ok(machine) => {
                let detail = format!("the machine is {}: asked again", machine.state.as_str());
                return pursuit.not_started("busy", detail).await;
            }
            Err(error) => Err(error),
        },
        Action::Reboot
        | Action::ApplyFix { .. }
        | Action::Remember
        | Action::Cordon
        | Action::StorePassword
        | Action::PrepareScript
        | Action::Release
        | Action::Restore { .. }
        | Action::Uncordon
        | Action::PromotePassword { .. }
        | Action::DiscardPassword { .. }
        | Action::Cleanup { .. }
        | Action::Page { .. } => owned.provider.power_cycle(&owned.id).await,
    };
    match answer {
        Ok(operation) => begun(pursuit, &operation).await,
        Err(error) if error.may_have_acted() => {
            pursuit.in_doubt(chain(&error)).await;
            doubt::resolve(pursuit).await;
        }
        // Asking again would say the same, and the next rung may do.
        Err(error @ ProviderError::Unsupported { .. }) if is_rescue(pursuit) => {
            pursuit.failed(chain(&error)).await;
        }
        Err(error) => pursuit.not_started(&class(&error), chain(&error)).await,
    }
}

fn is_rescue(pursuit: &Pursuit) -> bool {
    matches!(pursuit.effect.action, Action::Rescue { .. })
}

/// Journals that the provider took the order, and follows it.
pub(super) async fn begun(pursuit: &Pursuit, operation: &Operation) {
    let reference = OperationRef {
        id: EngineOperationId(operation.id.as_str().to_owned()),
        name: operation.name.clone(),
    };
    pursuit
        .tell(Outcome::Started {
            operation: Some(reference.clone()),
        })
        .await;
    follow(pursuit, reference).await;
}

async fn recreate_spec(
    pursuit: &Pursuit,
    password_key: &str,
    script: &str,
) -> Result<RecreateSpec, (&'static str, String)> {
    let rejoin = pursuit
        .hands
        .rejoin
        .as_ref()
        .ok_or_else(|| ("unavailable", "there is no [rejoin]: add it".to_owned()))?;
    let password = password(pursuit, password_key).await?;
    let script = ScriptId::new(script).map_err(|error| ("unavailable", error.to_string()))?;
    Ok(RecreateSpec {
        template_id: rejoin.template_id(),
        password,
        script_id: Some(script),
    })
}

/// A pending password, read back.
async fn password(pursuit: &Pursuit, key: &str) -> Result<Secret, (&'static str, String)> {
    let (key, version) = split_key(key).ok_or_else(|| {
        let detail = format!("{key:?} is no key of a password");
        ("unavailable", detail)
    })?;
    let secrets = &pursuit.hands.secrets;
    let read = secrets.read_back(&key, &version).await;
    read.map_err(|error| ("unavailable", chain(&error)))
}

/// A password's key in the journal: `<key>/<version>`.
pub(super) fn split_key(text: &str) -> Option<(SecretKey, Version)> {
    let (key, version) = text.rsplit_once('/')?;
    Some((key.parse().ok()?, version.parse().ok()?))
}

/// Polls an operation until the provider says how it ended.
pub(super) async fn follow(pursuit: &Pursuit, reference: OperationRef) {
    let Some(owned) = pursuit.hands.machines.of(&pursuit.effect.node) else {
        return pursuit
            .in_doubt("the node's machine is not configured any more: nobody can be asked")
            .await;
    };
    let Ok(id) = OperationId::new(reference.id.as_str()) else {
        return pursuit
            .in_doubt("the provider's operation id is not readable: look at the machine's actions")
            .await;
    };
    let mut last_error = String::new();
    loop {
        match owned.provider.poll(&owned.id, &id).await {
            Ok(operation) => match operation.state {
                OperationState::Done => return ended(pursuit, owned, &operation).await,
                OperationState::Failed => {
                    let detail = format!(
                        "the provider says that its operation {} ({}) failed",
                        id, operation.name
                    );
                    return pursuit.failed(detail).await;
                }
                OperationState::Pending => {}
            },
            Err(error) => note_once(pursuit, &mut last_error, &error),
        }
        pursuit.pause(pursuit.hands.machines.poll_quick).await;
    }
}

pub(super) fn note_once(pursuit: &Pursuit, last: &mut String, error: &ProviderError) {
    let text = chain(error);
    if *last != text {
        tracing::warn!(effect = %pursuit.effect.id, error = text, "the provider does not say how it goes; asking on");
        *last = text;
    }
}

async fn ended(pursuit: &Pursuit, owned: &Owned, operation: &Operation) {
    let detail = format!(
        "the provider says that its operation {} ({}) is done",
        operation.id, operation.name
    );
    if pursuit.effect.action == Action::Reboot {
        let proven = proof(pursuit, owned, operation).await;
        return pursuit.done(detail, Yield::Reboot { proven }).await;
    }
    pursuit.done(detail, Yield::Nothing).await;
}

/// Whether the machine was up for less long after the reboot than before it.
async fn proof(pursuit: &Pursuit, owned: &Owned, operation: &Operation) -> Option<bool> {
    if !owned.provider.capabilities().metrics {
        return None;
    }
    let from = operation.created_at.checked_sub(PROOF_BEFORE).ok()?;
    let patience = PROOF_MAX.min(Duration::from_secs(pursuit.hands.policy.reboot_wait_secs) / 3);
    let begun = tokio::time::Instant::now();
    let mut verdict = None;
    while begun.elapsed() <= patience {
        if let Ok(metrics) = owned
            .provider
            .metrics(&owned.id, from, Timestamp::now())
            .await
        {
            match reboot_proof(&metrics.uptime_ms, operation.created_at) {
                RebootProof::Proven { .. } => return Some(true),
                // Only a sample from after the end of the operation can say no.
                RebootProof::NotYet
                    if metrics
                        .uptime_ms
                        .iter()
                        .any(|s| s.at > operation.updated_at) =>
                {
                    verdict = Some(false);
                }
                RebootProof::NotYet | RebootProof::NoData => {}
            }
        }
        pursuit.pause(pursuit.hands.machines.poll_quick).await;
    }
    verdict
}
