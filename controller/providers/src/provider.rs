//! What every company that rents out machines can be asked, in one trait.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    Capabilities, Machine, MachineId, Metrics, Operation, OperationId, ProviderError, RecreateSpec,
    Recreation, Script, ScriptId, Secret,
};

/// A company's API, or the lack of one.
///
/// Calls that act (`start`, `power_cycle`, `recreate`, …) answer as soon as the provider has taken the order; use
/// [`Provider::poll`] to learn how it ended. They are never sent twice by an implementation.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The provider's name as the configuration writes it.
    fn name(&self) -> &'static str;

    /// What this provider can do at all. Known without asking it.
    fn capabilities(&self) -> Capabilities;

    /// Looks at one machine.
    async fn get(&self, machine: &MachineId) -> Result<Machine, ProviderError>;

    /// Starts a stopped machine. Does nothing to a running one.
    async fn start(&self, machine: &MachineId) -> Result<Operation, ProviderError>;

    /// Full stop and start, from outside.
    async fn power_cycle(&self, machine: &MachineId) -> Result<Operation, ProviderError>;

    /// Installs the machine anew. **All its data and all its snapshots go.**
    async fn recreate(
        &self,
        machine: &MachineId,
        spec: &RecreateSpec,
    ) -> Result<Recreation, ProviderError>;

    /// Boots a rescue image, with the machine's own disk attached beside it.
    async fn recovery_start(
        &self,
        machine: &MachineId,
        root_password: &Secret,
    ) -> Result<Operation, ProviderError>;

    /// Boots the machine's own disk again.
    async fn recovery_stop(&self, machine: &MachineId) -> Result<Operation, ProviderError>;

    /// Changes the root password of the installed system.
    async fn set_root_password(
        &self,
        machine: &MachineId,
        password: &Secret,
    ) -> Result<Operation, ProviderError>;

    /// Everything the provider did to the machine since `since`, oldest first: what really happened, after a crash or a
    /// lost answer. `since` is compared with the provider's clock, so subtract a margin for the difference. Complete or
    /// an error: never a shortened list.
    async fn actions(
        &self,
        machine: &MachineId,
        since: Timestamp,
    ) -> Result<Vec<Operation>, ProviderError>;

    /// Looks at one operation.
    async fn poll(
        &self,
        machine: &MachineId,
        operation: &OperationId,
    ) -> Result<Operation, ProviderError>;

    /// What the hypervisor measured between two instants.
    async fn metrics(
        &self,
        machine: &MachineId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Metrics, ProviderError>;

    /// Stores a script to be run at first boot, under a name of which there is one: the same name again replaces it.
    /// It may be readable by whoever has access to the account: only short-lived tokens belong in it.
    async fn put_script(&self, name: &str, content: &Secret) -> Result<ScriptId, ProviderError>;

    /// The stored scripts, without their content.
    async fn list_scripts(&self) -> Result<Vec<Script>, ProviderError>;

    /// Deletes a script. One that is not there is `NotFound`, which a wrong `base_url` answers too: list to be sure.
    async fn delete_script(&self, script: &ScriptId) -> Result<(), ProviderError>;
}
