//! A controller that is killed between storing a password and telling the journal so.

use crate::support::{STYX, controller, controller_with, secrets};
use async_trait::async_trait;
use iaso_engine::effect::{Action, Effect, Outcome, Yield};
use iaso_engine::id::{EffectId, IncidentId, NodeName};
use iaso_engine::record::{Diagnosis, Record};
use iaso_providers::secrets::{FileStore, SecretError, SecretKey, SecretStore, Version, Versions};
use iaso_providers::{NoProvider, Secret};
use std::sync::Arc;

/// Stores what it is given, and never answers whoever reads it back.
struct StallsAfterStoring(FileStore);

#[async_trait]
impl SecretStore for StallsAfterStoring {
    async fn store_pending_as(
        &self,
        key: &SecretKey,
        version: &Version,
        secret: &Secret,
    ) -> Result<(), SecretError> {
        self.0.store_pending_as(key, version, secret).await
    }
    async fn read_back(&self, key: &SecretKey, version: &Version) -> Result<Secret, SecretError> {
        let found = self.0.read_back(key, version).await;
        match found {
            Ok(_) => std::future::pending().await,
            Err(error) => Err(error),
        }
    }
    async fn promote(&self, key: &SecretKey, version: &Version) -> Result<(), SecretError> {
        self.0.promote(key, version).await
    }
    async fn discard(&self, key: &SecretKey, version: &Version) -> Result<(), SecretError> {
        self.0.discard(key, version).await
    }
    async fn versions(&self, key: &SecretKey) -> Result<Versions, SecretError> {
        self.0.versions(key).await
    }
    async fn health(&self) -> Result<(), SecretError> {
        self.0.health().await
    }
}

fn key() -> SecretKey {
    "styx.root-password".parse().unwrap()
}

/// Catches: a resumed effect that draws a second password, and leaves the first one pending for ever.
#[tokio::test]
async fn a_password_that_was_stored_before_the_crash_is_taken_up_and_no_second_one_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let store = secrets(dir.path());
    let stalling = Arc::new(StallsAfterStoring(store.clone()));
    let running = controller_with(dir.path(), STYX, Arc::new(NoProvider), stalling).await;
    let id = EffectId("styx-9/1".into());
    let effect = Effect {
        id: id.clone(),
        incident: IncidentId("styx-9".into()),
        node: NodeName::new("styx").unwrap(),
        action: Action::StorePassword,
        evidence: Vec::new(),
    };
    let intended = move |view: &iaso_controller::driver::View<'_>| {
        Ok(vec![
            Record::IncidentOpened {
                incident: effect.incident.clone(),
                node: effect.node.clone(),
                since: view.now,
                diagnosis: Diagnosis::Isolated,
                evidence: Vec::new(),
            },
            Record::Intended { effect },
        ])
    };
    running.handle.change(intended).await.unwrap();
    let stored = loop {
        let pending = store.versions(&key()).await.unwrap().pending;
        if let Some(version) = pending.into_iter().next() {
            break version;
        }
        tokio::task::yield_now().await;
    };
    running.kill();

    let running = controller(dir.path(), STYX, Arc::new(NoProvider)).await;
    let told = loop {
        let id = id.clone();
        let latest = running
            .handle
            .ask(move |view| view.ledger.effect(&id).and_then(|e| e.latest.clone()))
            .await
            .unwrap();
        if let Some((_, outcome)) = latest {
            break outcome;
        }
        tokio::task::yield_now().await;
    };
    let Outcome::Done {
        yielded: Yield::Password { key: told },
        ..
    } = told
    else {
        panic!("{told:?}")
    };
    assert_eq!(told, format!("{}/{stored}", key()));
    assert_eq!(store.versions(&key()).await.unwrap().pending, [stored]);
    running.stop().await;
}
