//! What the emulator needs from the machines behind it, and machines in memory for tests.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::Clock;

/// A machine as the provider sold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSpec {
    /// The provider's number.
    pub id: u64,
    /// Its host name.
    pub hostname: String,
    /// Its public addresses.
    pub addresses: Vec<IpAddr>,
}

/// The machine did not do what it was told: the action ends in `error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("machine {id}: {what}")]
pub struct MachineError {
    /// Which.
    pub id: u64,
    /// Why.
    pub what: String,
}

/// The hypervisor behind the emulator. Each call returns when the thing is done.
#[async_trait]
pub trait Machines: Send + Sync + 'static {
    /// The machines there are. Read once, at start.
    fn inventory(&self) -> Vec<MachineSpec>;

    /// Whether the machine is powered on. A cut wire does not count.
    async fn running(&self, id: u64) -> bool;

    /// Powers on.
    async fn start(&self, id: u64) -> Result<(), MachineError>;

    /// Powers off.
    async fn stop(&self, id: u64) -> Result<(), MachineError>;

    /// Full stop and start.
    async fn power_cycle(&self, id: u64) -> Result<(), MachineError>;

    /// Installs anew and boots. Without a password the provider draws one and tells nobody.
    async fn recreate(
        &self,
        id: u64,
        template: u64,
        password: Option<String>,
        script_content: Option<String>,
    ) -> Result<(), MachineError>;

    /// The first half of a recreate: the disk is empty and nothing boots.
    async fn wipe(&self, id: u64) -> Result<(), MachineError>;

    /// Boots the rescue image.
    async fn recovery_start(&self, id: u64, root_password: String) -> Result<(), MachineError>;

    /// Boots the machine's own disk again.
    async fn recovery_stop(&self, id: u64) -> Result<(), MachineError>;

    /// Changes the root password.
    async fn set_root_password(&self, id: u64, password: String) -> Result<(), MachineError>;

    /// Time since boot; 0 when off.
    async fn uptime_ms(&self, id: u64) -> u64;

    /// Bytes that came in since boot.
    async fn incoming_bytes(&self, id: u64) -> u64;
}

/// One recreate, as a [`FakeMachines`] saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeRecreate {
    /// The image.
    pub template: u64,
    /// The root password, when one was given.
    pub password: Option<String>,
    /// The script, when one was given.
    pub script: Option<String>,
}

#[derive(Debug, Clone)]
struct Fake {
    spec: MachineSpec,
    booted_at_ms: Option<i64>,
    boots: u32,
    wiped: bool,
    password: Option<String>,
    incoming: u64,
    recreates: Vec<FakeRecreate>,
}

/// Machines in memory. A clone is another handle on the same machines.
#[derive(Debug, Clone)]
pub struct FakeMachines {
    clock: Clock,
    machines: Arc<Mutex<BTreeMap<u64, Fake>>>,
    held: Arc<watch::Sender<bool>>,
}

impl FakeMachines {
    /// Machines that have been running for a day.
    #[must_use]
    pub fn running_for_a_day(specs: Vec<MachineSpec>, clock: Clock) -> Self {
        let booted_at_ms = Some(clock.now().as_millisecond() - 24 * 3600 * 1000);
        let fake = |spec: MachineSpec| {
            let machine = Fake {
                spec,
                booted_at_ms,
                boots: 1,
                wiped: false,
                password: None,
                incoming: 0,
                recreates: vec![],
            };
            (machine.spec.id, machine)
        };
        let machines = Arc::new(Mutex::new(specs.into_iter().map(fake).collect()));
        Self {
            clock,
            machines,
            held: Arc::new(watch::Sender::new(false)),
        }
    }

    /// From now on nothing that is begun ends, until [`FakeMachines::release`].
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Lets everything go on.
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// Pulls the plug.
    pub fn power_off(&self, id: u64) {
        self.change(id, |machine| machine.booted_at_ms = None);
    }

    /// Lets bytes come in.
    pub fn receive(&self, id: u64, bytes: u64) {
        self.change(id, |machine| machine.incoming += bytes);
    }

    /// How often the machine has booted.
    #[must_use]
    pub fn boots(&self, id: u64) -> u32 {
        self.look(id, |machine| machine.boots).unwrap_or_default()
    }

    /// Whether the machine's disk is empty.
    #[must_use]
    pub fn wiped(&self, id: u64) -> bool {
        self.look(id, |machine| machine.wiped).unwrap_or_default()
    }

    /// The root password that was set last.
    #[must_use]
    pub fn password(&self, id: u64) -> Option<String> {
        self.look(id, |machine| machine.password.clone()).flatten()
    }

    /// All recreates, in order.
    #[must_use]
    pub fn recreates(&self, id: u64) -> Vec<FakeRecreate> {
        self.look(id, |machine| machine.recreates.clone())
            .unwrap_or_default()
    }

    async fn released(&self) {
        // The sender lives in `self`, so this cannot end otherwise.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Fake>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<T>(&self, id: u64, read: impl FnOnce(&Fake) -> T) -> Option<T> {
        self.all().get(&id).map(read)
    }

    fn change<T>(&self, id: u64, change: impl FnOnce(&mut Fake) -> T) -> Option<T> {
        self.all().get_mut(&id).map(change)
    }

    async fn done(
        &self,
        id: u64,
        change: impl FnOnce(&mut Fake) + Send,
    ) -> Result<(), MachineError> {
        self.released().await;
        self.change(id, change).ok_or_else(|| MachineError {
            id,
            what: "no such machine".to_owned(),
        })
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().as_millisecond()
    }
}

impl Fake {
    fn boot(&mut self, now_ms: i64) {
        self.booted_at_ms = Some(now_ms);
        self.boots += 1;
        self.incoming = 0;
    }
}

#[async_trait]
impl Machines for FakeMachines {
    fn inventory(&self) -> Vec<MachineSpec> {
        self.all()
            .values()
            .map(|machine| machine.spec.clone())
            .collect()
    }

    async fn running(&self, id: u64) -> bool {
        self.look(id, |machine| machine.booted_at_ms.is_some())
            .unwrap_or_default()
    }

    async fn start(&self, id: u64) -> Result<(), MachineError> {
        let now = self.now_ms();
        self.done(id, |machine| {
            if machine.booted_at_ms.is_none() {
                machine.boot(now);
            }
        })
        .await
    }

    async fn stop(&self, id: u64) -> Result<(), MachineError> {
        self.done(id, |machine| machine.booted_at_ms = None).await
    }

    async fn power_cycle(&self, id: u64) -> Result<(), MachineError> {
        let now = self.now_ms();
        self.done(id, |machine| machine.boot(now)).await
    }

    async fn recreate(
        &self,
        id: u64,
        template: u64,
        password: Option<String>,
        script_content: Option<String>,
    ) -> Result<(), MachineError> {
        let now = self.now_ms();
        self.done(id, |machine| {
            machine.wiped = false;
            machine.password.clone_from(&password);
            machine.recreates.push(FakeRecreate {
                template,
                password,
                script: script_content,
            });
            machine.boot(now);
        })
        .await
    }

    async fn wipe(&self, id: u64) -> Result<(), MachineError> {
        self.done(id, |machine| {
            machine.wiped = true;
            machine.booted_at_ms = None;
        })
        .await
    }

    async fn recovery_start(&self, id: u64, _: String) -> Result<(), MachineError> {
        self.power_cycle(id).await
    }

    async fn recovery_stop(&self, id: u64) -> Result<(), MachineError> {
        self.power_cycle(id).await
    }

    async fn set_root_password(&self, id: u64, password: String) -> Result<(), MachineError> {
        self.done(id, |machine| machine.password = Some(password))
            .await
    }

    async fn uptime_ms(&self, id: u64) -> u64 {
        let booted = self.look(id, |machine| machine.booted_at_ms).flatten();
        booted
            .and_then(|at| u64::try_from(self.now_ms() - at).ok())
            .unwrap_or_default()
    }

    async fn incoming_bytes(&self, id: u64) -> u64 {
        self.look(id, |machine| machine.incoming)
            .unwrap_or_default()
    }
}
