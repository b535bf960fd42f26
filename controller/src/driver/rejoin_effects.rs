//! Effects around a recreate: what Kubernetes keeps, passwords, the post-install script, and telling a person.
//!
//! All of these may be done twice with the same end: a resumed one is simply done again.

use super::effects::Pursuit;
use super::machine_effects::split_key;
use crate::cluster::ClusterError;
use crate::identity::JoinToken;
use crate::provider::class;
use crate::text::{bounded, chain, hex, short_digest};
use iaso_engine::effect::{Action, Remembered, Yield};
use iaso_engine::fact::Observation;
use iaso_engine::timeline::belongings;
use iaso_providers::secrets::{SecretError, SecretKey, SecretStore, Version};
use iaso_providers::{ProviderError, ScriptId, draw_password};
use sha2::{Digest as _, Sha256};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// Whose join tokens these are, in the record of identities.
const REJOIN: &str = "rejoin";

/// Effects on Kubernetes. Without a cluster there is nothing to do, and that is done.
pub(super) async fn cluster(pursuit: &Pursuit) {
    let node = &pursuit.effect.node;
    let Some(cluster) = &pursuit.hands.cluster else {
        let yielded = if pursuit.effect.action == Action::Remember {
            Yield::Remembered {
                remembered: Remembered::default(),
            }
        } else {
            Yield::Nothing
        };
        return pursuit
            .done("no Kubernetes is configured: nothing to do", yielded)
            .await;
    };
    let result: Result<(String, Yield), ClusterError> = match &pursuit.effect.action {
        Action::Remember => cluster.remember(node).await.map(|remembered| {
            let detail = format!(
                "wrote down {}, kubelet {}",
                belongings(&remembered),
                remembered.kubelet_version
            );
            (detail, Yield::Remembered { remembered })
        }),
        Action::Cordon => cluster
            .cordon(node)
            .await
            .map(|detail| (detail, Yield::Nothing)),
        Action::Uncordon => cluster
            .uncordon(node)
            .await
            .map(|detail| (detail, Yield::Nothing)),
        Action::Release => cluster
            .release(node)
            .await
            .map(|detail| (detail, Yield::Nothing)),
        Action::Restore { remembered } => cluster.restore(node, remembered).await.map(|()| {
            (
                "labels, taints and annotations are back".into(),
                Yield::Nothing,
            )
        }),
        other @ (Action::ApplyFix { .. }
        | Action::Reboot
        | Action::Rescue { .. }
        | Action::LeaveRescue
        | Action::Start
        | Action::Recreate { .. }
        | Action::StorePassword
        | Action::PrepareScript
        | Action::PromotePassword { .. }
        | Action::DiscardPassword { .. }
        | Action::Cleanup { .. }
        | Action::Page { .. }) => {
            let detail = format!("{} is no effect on Kubernetes", other.name());
            return pursuit.not_started("unsupported", detail).await;
        }
    };
    match result {
        Ok((detail, yielded)) => pursuit.done(detail, yielded).await,
        Err(error) => pursuit.not_started(error.class, chain(&error)).await,
    }
}

/// Under what name a node's password is kept. Long node names are shortened by a hash, so that no two share one.
fn secret_key(node: &str) -> Option<SecretKey> {
    let plain = format!("{node}.root-password");
    plain
        .parse()
        .ok()
        .or_else(|| format!("{}.root-password", short_digest(node)).parse().ok())
}

/// The name of the version that an effect stores: the same whenever it is begun again.
fn version_of(pursuit: &Pursuit) -> Option<Version> {
    let digest = hex(&Sha256::digest(pursuit.effect.id.as_str().as_bytes()));
    let own: String = digest.chars().take(16).collect();
    // Milliseconds first, so that versions sort by age.
    format!("{:013}-{own}", pursuit.intended.0).parse().ok()
}

/// Draws a password, keeps it as pending, and reads it back. One that a controller before us stored for this very effect is taken up.
pub(super) async fn store_password(pursuit: &Pursuit) {
    let result: Result<String, String> = async {
        let key = secret_key(pursuit.effect.node.as_str())
            .ok_or("the node's name cannot name a secret")?;
        let version = version_of(pursuit).ok_or("the effect's id cannot name a version")?;
        keep(pursuit.hands.secrets.as_ref(), &key, &version).await?;
        Ok(format!("{key}/{version}"))
    }
    .await;
    secret_health(pursuit, result.as_ref().err()).await;
    match result {
        Ok(key) => {
            let detail =
                format!("a new root password is stored as pending and was read back, as {key}");
            pursuit.done(detail, Yield::Password { key }).await;
        }
        Err(detail) => pursuit.not_started("unavailable", detail).await,
    }
}

async fn keep(secrets: &dyn SecretStore, key: &SecretKey, version: &Version) -> Result<(), String> {
    match secrets.read_back(key, version).await {
        Ok(_) => return Ok(()),
        Err(SecretError::Missing { .. }) => {}
        // Half written by a crash: no machine was given it, for its key was never told.
        Err(SecretError::Damaged { .. }) => secrets
            .discard(key, version)
            .await
            .map_err(|error| chain(&error))?,
        Err(error) => return Err(chain(&error)),
    }
    let password = draw_password().map_err(|error| chain(&error))?;
    secrets
        .store_pending_as(key, version, &password)
        .await
        .map_err(|error| chain(&error))?;
    let wrong = match secrets.read_back(key, version).await {
        Ok(back) if back.same_as(&password) => return Ok(()),
        Ok(_) => "the secret store gave back another password than was stored: do not trust it"
            .to_owned(),
        Err(error) => chain(&error),
    };
    if let Err(error) = secrets.discard(key, version).await {
        // It waits for promotion for ever, and does no harm there.
        tracing::warn!(%key, %version, error = chain(&error), "a password that no machine was given is left pending");
    }
    Err(wrong)
}

async fn secret_health(pursuit: &Pursuit, trouble: Option<&String>) {
    pursuit
        .handle
        .tell(vec![Observation::SecretStore {
            trouble: trouble.cloned(),
        }])
        .await;
}

/// Makes the pending password the current one.
pub(super) async fn promote(pursuit: &Pursuit, password_key: &str) {
    let Some((key, version)) = split_key(password_key) else {
        return pursuit
            .not_started(
                "invalid",
                format!("{password_key:?} is no key of a password"),
            )
            .await;
    };
    let promoted: Result<(), SecretError> = pursuit.hands.secrets.promote(&key, &version).await;
    match promoted {
        Ok(()) => {
            pursuit
                .done(
                    "the new root password is the current one, the one before is kept",
                    Yield::Nothing,
                )
                .await;
        }
        Err(error) => pursuit.not_started("unavailable", chain(&error)).await,
    }
}

/// Forgets a pending password that no machine was given.
pub(super) async fn discard(pursuit: &Pursuit, password_key: &str) {
    let Some((key, version)) = split_key(password_key) else {
        let detail = format!("{password_key:?} is no key of a password");
        return pursuit.not_started("invalid", detail).await;
    };
    match pursuit.hands.secrets.discard(&key, &version).await {
        Ok(()) => {
            let detail = "the pending password is forgotten: no machine was given it";
            pursuit.done(detail, Yield::Nothing).await;
        }
        Err(error) => pursuit.not_started("unavailable", chain(&error)).await,
    }
}

/// Mints a join token and leaves the post-install script with the provider.
pub(super) async fn prepare_script(pursuit: &Pursuit) {
    let hands = &pursuit.hands;
    let Some(rejoin) = &hands.rejoin else {
        return pursuit
            .not_started(
                "unavailable",
                "there is no [rejoin]: add it, so that a new machine can join",
            )
            .await;
    };
    let (Some(cluster), Some(owned)) = (&hands.cluster, hands.machines.of(&pursuit.effect.node))
    else {
        let detail = "a rejoin needs [cluster] for the join token and a provider for the script";
        return pursuit.not_started("unsupported", detail).await;
    };
    let version = match rejoin.version() {
        Some(version) => version.to_owned(),
        None => match cluster.server_version().await {
            Ok(version) => version,
            Err(error) => return pursuit.not_started(error.class, chain(&error)).await,
        },
    };
    let token = match cluster
        .mint_token(
            pursuit.effect.id.as_str(),
            rejoin.token_ttl(),
            rejoin.k3s_url(),
        )
        .await
    {
        Ok(token) => token,
        Err(error) => return pursuit.not_started(error.class, chain(&error)).await,
    };
    let own = match join_token(pursuit, rejoin.token_ttl()).await {
        Ok(own) => own,
        Err(detail) => return pursuit.not_started("unavailable", detail).await,
    };
    let script = rejoin.render(
        pursuit.effect.node.as_str(),
        &version,
        &token.secret,
        &own.secret,
    );
    let script = match script {
        Ok(script) => script,
        Err(error) => return pursuit.not_started("invalid", chain(&error)).await,
    };
    let name = script_name(pursuit.effect.node.as_str());
    match owned.provider.put_script(&name, &script).await {
        Ok(id) => {
            let detail = format!(
                "script {id} carries k3s's join token {} and Iaso's {}, and installs k3s {version}",
                token.name, own.id
            );
            let yielded = Yield::Script {
                script: id.as_str().to_owned(),
                token: token.name,
            };
            pursuit.done(detail, yielded).await;
        }
        Err(error) => pursuit.not_started(&class(&error), chain(&error)).await,
    }
}

fn script_name(node: &str) -> String {
    format!("iaso-{}", node.chars().take(90).collect::<String>())
}

/// A join token for the new machine's agent, in place of one that an earlier attempt made.
async fn join_token(pursuit: &Pursuit, ttl: Duration) -> Result<JoinToken, String> {
    let (identities, node) = (
        Arc::clone(&pursuit.hands.identities),
        pursuit.effect.node.clone(),
    );
    let made = tokio::task::spawn_blocking(move || {
        identities.void_join_tokens(&node, Some(REJOIN))?;
        identities.join_token(&node, ttl, REJOIN)
    });
    match made.await {
        Ok(made) => made.map_err(|error| chain(&error)),
        Err(_) => Err("the controller is stopping".into()),
    }
}

/// Takes back what the new machine did not use.
async fn void_join_token(pursuit: &Pursuit) {
    let (identities, node) = (
        Arc::clone(&pursuit.hands.identities),
        pursuit.effect.node.clone(),
    );
    let voided =
        tokio::task::spawn_blocking(move || identities.void_join_tokens(&node, Some(REJOIN)));
    if let Ok(Err(error)) = voided.await {
        // It ends by itself within the hour.
        tracing::warn!(node = %pursuit.effect.node, error = chain(&error), "a join token is not taken back");
    }
}

/// Deletes the script and the join tokens.
pub(super) async fn cleanup(pursuit: &Pursuit, script: &str, token: &str) {
    void_join_token(pursuit).await;
    if let (Some(owned), Ok(id)) = (
        pursuit.hands.machines.of(&pursuit.effect.node),
        ScriptId::new(script),
    ) {
        match owned.provider.delete_script(&id).await {
            Ok(()) => {}
            // Gone, or a wrong address: only the list tells them apart.
            Err(ProviderError::NotFound { .. }) => match owned.provider.list_scripts().await {
                Ok(scripts) if scripts.iter().all(|script| script.id != id) => {}
                Ok(_) => {
                    return pursuit
                        .not_started(
                            "not-found",
                            format!("script {id} is listed and cannot be deleted"),
                        )
                        .await;
                }
                Err(error) => return pursuit.not_started(&class(&error), chain(&error)).await,
            },
            Err(error) => return pursuit.not_started(&class(&error), chain(&error)).await,
        }
    }
    if let Some(cluster) = &pursuit.hands.cluster
        && let Err(error) = cluster.delete_token(token).await
    {
        return pursuit.not_started(error.class, chain(&error)).await;
    }
    pursuit
        .done(
            "the post-install script and the join tokens are deleted",
            Yield::Nothing,
        )
        .await;
}

/// Tells a person: the log and the events always, a program if one is configured.
pub(super) async fn page(pursuit: &Pursuit, message: &str) {
    tracing::warn!(node = %pursuit.effect.node, incident = %pursuit.effect.incident, message, "PAGE");
    let page = &pursuit.hands.page;
    let Some((program, arguments)) = page.command.split_first() else {
        return pursuit
            .done(
                "said in the log and the events; no [page] command is configured",
                Yield::Nothing,
            )
            .await;
    };
    let run = run_page(program, arguments, pursuit, message);
    match tokio::time::timeout(Duration::from_secs(page.timeout_secs), run).await {
        Ok(Ok(detail)) => pursuit.done(detail, Yield::Nothing).await,
        Ok(Err(error)) => {
            pursuit
                .failed(format!("the page command {program} failed: {error}"))
                .await;
        }
        Err(_) => {
            pursuit
                .failed(format!(
                    "the page command {program} took more than {} s",
                    page.timeout_secs
                ))
                .await;
        }
    }
}

async fn run_page(
    program: &str,
    arguments: &[String],
    pursuit: &Pursuit,
    message: &str,
) -> std::io::Result<String> {
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env("IASO_NODE", pursuit.effect.node.as_str())
        .env("IASO_INCIDENT", pursuit.effect.incident.as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A program that reads nothing is no failure; its exit code tells.
        let _ = input.write_all(message.as_bytes()).await;
    }
    let status = child.wait().await?;
    if status.success() {
        Ok(bounded(&format!("told by {program}"), 500))
    } else {
        Err(std::io::Error::other(status.to_string()))
    }
}
