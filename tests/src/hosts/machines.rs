//! The provider's view of the lab's hosts.

use super::Host;
use crate::hostinger::{MachineError, MachineSpec, Machines};
use anyhow::Result;
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Hosts by the provider's machine id.
pub struct HostMachines {
    hosts: BTreeMap<u64, Arc<dyn Host>>,
    /// In the rescue image: powered up, as the provider sees it, with none of the machine's services.
    rescued: Mutex<BTreeSet<u64>>,
}

impl HostMachines {
    /// The provider owns these.
    #[must_use]
    pub fn new(hosts: BTreeMap<u64, Arc<dyn Host>>) -> Self {
        Self {
            hosts,
            rescued: Mutex::default(),
        }
    }

    fn rescued(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.rescued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn host(&self, id: u64) -> Result<&Arc<dyn Host>, MachineError> {
        self.hosts.get(&id).ok_or_else(|| MachineError {
            id,
            what: "no such machine".into(),
        })
    }
}

fn told(id: u64, result: Result<()>) -> Result<(), MachineError> {
    result.map_err(|error| MachineError {
        id,
        what: format!("{error:#}"),
    })
}

#[async_trait]
impl Machines for HostMachines {
    fn inventory(&self) -> Vec<MachineSpec> {
        self.hosts
            .iter()
            .map(|(id, host)| MachineSpec {
                id: *id,
                hostname: host.name().to_owned(),
                addresses: vec![host.address()],
            })
            .collect()
    }

    async fn running(&self, id: u64) -> bool {
        self.rescued().contains(&id) || self.host(id).is_ok_and(|host| host.life().running())
    }

    async fn start(&self, id: u64) -> Result<(), MachineError> {
        told(id, self.host(id)?.power_on().await)
    }

    async fn stop(&self, id: u64) -> Result<(), MachineError> {
        self.rescued().remove(&id);
        told(id, self.host(id)?.power_off().await)
    }

    async fn power_cycle(&self, id: u64) -> Result<(), MachineError> {
        let host = self.host(id)?;
        told(id, host.power_off().await)?;
        told(id, host.power_on().await)
    }

    async fn recreate(
        &self,
        id: u64,
        _template: u64,
        _password: Option<String>,
        script_content: Option<String>,
    ) -> Result<(), MachineError> {
        self.rescued().remove(&id);
        let script = script_content.unwrap_or_default();
        told(id, self.host(id)?.recreate(&script).await)
    }

    async fn wipe(&self, id: u64) -> Result<(), MachineError> {
        told(id, self.host(id)?.wipe().await)
    }

    async fn recovery_start(&self, id: u64, _root_password: String) -> Result<(), MachineError> {
        told(id, self.host(id)?.power_off().await)?;
        self.rescued().insert(id);
        Ok(())
    }

    async fn recovery_stop(&self, id: u64) -> Result<(), MachineError> {
        self.rescued().remove(&id);
        told(id, self.host(id)?.power_on().await)
    }

    async fn set_root_password(&self, id: u64, _password: String) -> Result<(), MachineError> {
        self.host(id).map(drop)
    }

    async fn uptime_ms(&self, id: u64) -> u64 {
        let uptime = self.host(id).map(|host| host.life().uptime());
        uptime.map_or(0, |uptime| {
            u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)
        })
    }

    async fn incoming_bytes(&self, id: u64) -> u64 {
        // The lab does not meter: a kilobyte for each second of life, as a quiet machine.
        self.uptime_ms(id).await
    }
}
