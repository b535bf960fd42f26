//! The plugins that this agent runs: loaded, granted, run one at a time each, replaced without a gap.
//!
//! **Invariants**
//! - A version is lent its grants before it is loaded; they are taken away when the plugin goes, and are no other version's.
//! - A version takes another's place only once it is loaded where it will run. One that cannot be is refused, by name, and what runs goes on.
//! - A plugin of which no version can be loaded is here too, with its fault: it is reported, not forgotten.
//! - One run of a plugin at a time, check or fix, whatever version of it is in its place.

mod slot;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use iaso_grants::Grants;
use iaso_host::{
    Digest, EngineError, FaultClass, GrantedBroker, PluginFault, SystemResolver, types::Attributes,
};

use crate::{
    cap::HostCapabilities,
    config::RunnerConfig,
    runnable::{Place, Runnable},
};

pub use slot::{CheckRun, FixRun, Refused, Seat, Slot, Turn};

/// Longest to load a version before it takes its place.
const LOAD_MAX: Duration = Duration::from_secs(30);

/// The broker with the rights of this process.
pub type Broker = GrantedBroker<HostCapabilities, SystemResolver>;

/// What to run and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Its name here.
    pub name: String,
    /// As assigned; may be empty.
    pub version: String,
    /// Of the component, hexadecimal.
    pub digest: String,
    /// Of the compiled bytes; none when there are none.
    pub compiled: Option<Digest>,
    /// Between two runs.
    pub interval: Duration,
    /// For one run.
    pub timeout: Duration,
    /// The operator's settings.
    pub config: Attributes,
    /// What it may do.
    pub grants: Grants,
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn unix_ms() -> i64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// All plugins of this agent.
pub struct Plugins {
    place: Place,
    broker: Arc<Broker>,
    slots: RwLock<BTreeMap<String, Arc<Slot>>>,
    /// Of every name that has a slot, or had one that still runs.
    seats: Mutex<BTreeMap<String, Arc<Seat>>>,
}

impl Plugins {
    /// None yet.
    pub fn new(capabilities: HostCapabilities, runner: &RunnerConfig) -> Result<Self, EngineError> {
        let broker = Arc::new(GrantedBroker::new(capabilities, SystemResolver::default()));
        let place = Place::new(runner, Arc::clone(&broker) as Arc<dyn iaso_host::Broker>)?;
        Ok(Self {
            place,
            broker,
            slots: RwLock::default(),
            seats: Mutex::default(),
        })
    }

    /// The rights behind the plugins.
    #[must_use]
    pub fn capabilities(&self) -> &HostCapabilities {
        self.broker.capabilities()
    }

    /// How the process is that plugins run in; none when they run in this one.
    #[must_use]
    pub fn runner(&self) -> Option<iaso_runner::Status> {
        self.place.status()
    }

    /// Loads `compiled` where it will run, beside what runs under that name. A fault says why it cannot be used.
    pub async fn load(&self, spec: &Spec, compiled: &[u8]) -> Result<Runnable, PluginFault> {
        let digest = spec.compiled.as_ref().ok_or_else(|| PluginFault {
            class: FaultClass::Refused,
            message: "there are no compiled bytes to load".into(),
        })?;
        let lent = self.broker.grant(&spec.name, spec.grants.clone());
        let loaded = self.place.load(&spec.name, compiled, digest, &lent)?;
        loaded.load(LOAD_MAX).await?;
        Ok(loaded)
    }

    /// Loads a plugin and puts it in its place, with its fault if it cannot be used and nothing runs under its name.
    pub async fn install(&self, spec: Spec, compiled: &[u8]) -> Arc<Slot> {
        let loaded = self.load(&spec, compiled).await;
        self.settle(spec, loaded)
    }

    /// Puts a version in its place; one that could not be loaded does not take the place of one that was.
    pub fn settle(&self, spec: Spec, loaded: Result<Runnable, PluginFault>) -> Arc<Slot> {
        let in_place = self.get(&spec.name);
        match (loaded, in_place) {
            (Ok(loaded), _) => self.place(Slot::new(spec, Ok(loaded))),
            // Other settings for the same code, grants among them, are the operator's word about what runs now.
            (Err(fault), Some(slot)) if slot.outlives(&spec) => {
                tracing::warn!(
                    plugin = %spec.name, class = %fault.class, version = %spec.version, digest = %spec.digest,
                    "a version is refused, and the one that runs goes on: {fault}"
                );
                slot.seat.refuse(Some(Refused {
                    version: spec.version,
                    digest: spec.digest,
                    fault,
                }));
                slot
            }
            (Err(fault), _) => self.place(Slot::broken(spec, fault)),
        }
    }

    /// Puts a plugin in its place, loaded or with its fault.
    pub fn place(&self, mut slot: Slot) -> Arc<Slot> {
        if let Err(fault) = &slot.loaded {
            tracing::warn!(plugin = %slot.spec.name, class = %fault.class, "plugin refused: {fault}");
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let name = slot.spec.name.clone();
        slot.seat = Arc::clone(self.seats().entry(name.clone()).or_default());
        slot.seat.refuse(None);
        let slot = Arc::new(slot);
        if slots.insert(name, Arc::clone(&slot)).is_some() {
            slot.seat.poke.notify_one();
        }
        slot
    }

    /// Keeps only the plugins that `keep` names; the others lose their grants, a run in flight too.
    pub fn retain(&self, keep: &[&str]) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|name, _| {
            let stays = keep.contains(&name.as_str());
            if !stays {
                self.broker.revoke(name);
            }
            stays
        });
        // A seat that a run still holds stays: the name may come back before that run ends.
        self.seats()
            .retain(|name, seat| slots.contains_key(name) || Arc::strong_count(seat) > 1);
    }

    fn seats(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing else of that name runs; then whatever is in its place may. None when there is no such plugin.
    pub async fn turn(&self, name: &str) -> Option<Turn> {
        let seat = Arc::clone(&self.get(name)?.seat);
        let alone = seat.alone().await;
        // What took its place meanwhile runs, with the grants of now.
        Some(Turn::new(self.get(name)?, alone))
    }

    /// The plugin of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Slot>> {
        self.slots
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Slot>> {
        self.slots
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}
