//! Carries out an assignment: peers, delegation, and plugins that are fetched, checked and put in their places.
//!
//! **Invariants**
//! - Only bytes with the assigned digest are loaded, from the cache or from the controller.
//! - What runs goes on until its successor is loaded, and on if that cannot be; of two assignments the later one holds, however long the earlier one's fetches take.
//! - The last assignment is on disk: an agent that starts while cut off looks, and may act as delegated, all the same.

use std::{
    path::Path,
    sync::{Arc, PoisonError},
    time::Duration,
};

use iaso_host::{COMPILED_BYTES_MAX, Digest, FaultClass, PluginFault};
use iaso_proto::v1;
use prost::Message as _;

use super::Client;
use crate::{
    agent::Agent,
    disk::{self, DiskError},
    plugins::{Slot, Spec},
    runnable::Runnable,
    wire,
};

const FILE: &str = "assignment";
const FILE_BYTES_MAX: u64 = 4 << 20;
const FETCH_TIMEOUT: Duration = Duration::from_mins(1);
/// After so many failures in a row the plugin is reported as broken; it is still asked for.
const FETCH_RETRIES: u32 = 5;
const FETCH_WAIT_FIRST: Duration = Duration::from_millis(500);
const FETCH_WAIT_MAX: Duration = Duration::from_mins(1);

/// Where plugins come from.
#[derive(Clone)]
pub struct Source {
    /// The session's connection.
    pub client: Client,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the plugin is not in the cache, and there is no controller to fetch it from")]
    NoSource,
    #[error("the controller did not send the plugin: {0}")]
    Refused(String),
    #[error("the plugin is larger than {COMPILED_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the fetched bytes have digest {found}, not the assigned one")]
    WrongDigest { found: Digest },
    #[error("the plugin was not sent within {FETCH_TIMEOUT:?}")]
    Timeout,
    #[error("the plugin could not be loaded: {0}")]
    NotLoaded(PluginFault),
}

/// Takes up the assignment of the last session, if there is one, with the plugins that are in the cache.
pub fn restore(agent: &Arc<Agent>) -> Result<(), DiskError> {
    let Some(bytes) = disk::read_bounded(&agent.config.state_dir.join(FILE), FILE_BYTES_MAX)?
    else {
        return Ok(());
    };
    let Ok(assignment) = v1::Assignment::decode(bytes.as_slice()) else {
        tracing::warn!("the last assignment cannot be read; waiting for the controller");
        return Ok(());
    };
    agent.restore_delegation(wire::delegation(assignment.delegation.as_ref()));
    accept(agent, &assignment, None);
    Ok(())
}

/// Takes up an assignment. Fetching goes on in the background.
pub fn accept(agent: &Arc<Agent>, assignment: &v1::Assignment, source: Option<&Source>) {
    if source.is_some() {
        let delegation = wire::delegation(assignment.delegation.as_ref());
        let kept = agent.present(delegation).and_then(|()| {
            disk::write_atomic(
                &agent.config.state_dir.join(FILE),
                &assignment.encode_to_vec(),
            )
        });
        if let Err(error) = kept {
            tracing::warn!(
                error = crate::config::chain(&error),
                "the assignment is not on disk"
            );
        }
    }
    let peers = assignment
        .peers
        .iter()
        .map(|peer| (peer.key.clone(), peer.value.clone()))
        .collect();
    *agent.peers.write().unwrap_or_else(PoisonError::into_inner) = peers;
    let names: Vec<&str> = wire::plugins(assignment)
        .map(|plugin| plugin.name.as_str())
        .collect();
    let round = agent.assigned(&names);
    for assigned in wire::plugins(assignment) {
        match wire::spec(assigned) {
            Ok(spec) => {
                let in_place = agent.plugins.get(&spec.name);
                let same = |slot: &Arc<Slot>| slot.spec == spec && slot.loaded.is_ok();
                if let Some(slot) = in_place.filter(same) {
                    agent.is_as_assigned(&slot);
                } else {
                    let (agent, source) = (Arc::clone(agent), source.cloned());
                    tokio::spawn(install(agent, spec, source, round));
                }
            }
            Err(why) => {
                tracing::warn!(
                    plugin = assigned.name,
                    "an assigned plugin is refused: {why}"
                );
                let message = format!("its assignment cannot be used: {why}");
                if let Some(spec) = wire::bare(assigned) {
                    // What ran before goes too: nobody can say any more what it may do.
                    agent.place(
                        round,
                        Slot::broken(spec, refused(FaultClass::Refused, message)),
                    );
                }
            }
        }
    }
}

fn refused(class: FaultClass, message: String) -> PluginFault {
    PluginFault { class, message }
}

/// Goes on until the plugin is there, or another assignment came.
async fn install(agent: Arc<Agent>, spec: Spec, source: Option<Source>, round: u64) {
    let mut wait = FETCH_WAIT_FIRST;
    for attempt in 1_u32.. {
        match load(&agent, &spec, source.as_ref()).await {
            Ok(loaded) => {
                if loaded.is_ok() {
                    tracing::info!(plugin = %spec.name, version = %spec.version, "plugin loaded");
                }
                agent.settle(round, spec, loaded);
                return;
            }
            Err(error) => {
                let why = crate::config::chain(&error);
                let is_last = source.is_none() && !matches!(error, FetchError::NotLoaded(_));
                if is_last || attempt == FETCH_RETRIES {
                    tracing::warn!(plugin = %spec.name, error = why, "plugin not fetched");
                    // What already runs under that name is better than nothing.
                    if agent.plugins.get(&spec.name).is_none() {
                        let fault = refused(FaultClass::HostError, why);
                        agent.place(round, Slot::broken(spec.clone(), fault));
                    }
                } else {
                    tracing::info!(plugin = %spec.name, error = why, "plugin not fetched, trying again");
                }
                if is_last {
                    return;
                }
            }
        }
        tokio::time::sleep(wait).await;
        if !agent.is_assigned(round) {
            return;
        }
        wait = (wait * 2).min(FETCH_WAIT_MAX);
    }
}

/// The version as it will run, or why it never will; an error may pass.
async fn load(
    agent: &Agent,
    spec: &Spec,
    source: Option<&Source>,
) -> Result<Result<Runnable, PluginFault>, FetchError> {
    let bytes = obtain(agent, spec, source).await?;
    match agent.plugins.load(spec, &bytes).await {
        Err(fault) if is_passing(fault.class) => Err(FetchError::NotLoaded(fault)),
        settled => Ok(settled),
    }
}

/// Says more about this machine at this moment than about the version.
fn is_passing(class: FaultClass) -> bool {
    match class {
        FaultClass::RunnerLost | FaultClass::HostError | FaultClass::Deadline => true,
        FaultClass::Trap
        | FaultClass::OutOfMemory
        | FaultClass::BadOutput
        | FaultClass::Refused
        | FaultClass::NotWasm
        | FaultClass::MissingGrant => false,
    }
}

async fn obtain(
    agent: &Agent,
    spec: &Spec,
    source: Option<&Source>,
) -> Result<Vec<u8>, FetchError> {
    let digest = spec.compiled.ok_or(FetchError::NoSource)?;
    let directory = agent.cache_dir();
    let path = directory.join(format!("{digest}.cwasm"));
    if let Some(bytes) = cached(&directory, &path, digest) {
        return Ok(bytes);
    }
    let source = source.ok_or(FetchError::NoSource)?;
    let fetched = tokio::time::timeout(FETCH_TIMEOUT, fetch(agent, source, digest)).await;
    let bytes = fetched.map_err(|_| FetchError::Timeout)??;
    if let Err(error) =
        disk::private_dir(&directory).and_then(|()| disk::write_atomic(&path, &bytes))
    {
        tracing::warn!(
            error = crate::config::chain(&error),
            "a fetched plugin is not cached"
        );
    }
    Ok(bytes)
}

fn cached(directory: &Path, path: &Path, digest: Digest) -> Option<Vec<u8>> {
    disk::private_dir(directory).ok()?;
    let bytes = disk::read_bounded(path, COMPILED_BYTES_MAX as u64).ok()??;
    (Digest::of(&bytes) == digest).then_some(bytes)
}

async fn fetch(agent: &Agent, source: &Source, digest: Digest) -> Result<Vec<u8>, FetchError> {
    let body = v1::FetchPluginRequest {
        node: agent.config.node.clone(),
        compiled_digest: digest.to_string(),
    };
    let refused = |status: tonic::Status| FetchError::Refused(status.message().to_owned());
    let mut chunks = source
        .client
        .clone()
        .fetch_plugin(body)
        .await
        .map_err(refused)?
        .into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await.map_err(refused)? {
        if bytes.len() + chunk.data.len() > COMPILED_BYTES_MAX {
            return Err(FetchError::TooLarge);
        }
        bytes.extend_from_slice(&chunk.data);
    }
    let found = Digest::of(&bytes);
    if found == digest {
        Ok(bytes)
    } else {
        Err(FetchError::WrongDigest { found })
    }
}
