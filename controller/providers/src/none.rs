//! The provider of machines that nobody rents out: a box at home. Its ladder ends at a page.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    Capabilities, Machine, MachineId, Metrics, Operation, OperationId, Provider, ProviderError,
    RecreateSpec, Recreation, Script, ScriptId, Secret,
};

/// Answers every call with [`ProviderError::Unsupported`].
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProvider;

fn refuse<T>(call: &'static str) -> Result<T, ProviderError> {
    Err(ProviderError::Unsupported {
        provider: "none",
        call,
        advice: "nobody but a person can reach this machine from outside; set `provider` for its node if that is wrong",
    })
}

#[async_trait]
impl Provider for NoProvider {
    fn name(&self) -> &'static str {
        "none"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            power: false,
            recreate: None,
            recovery: false,
            metrics: false,
            operations: false,
            root_password: false,
        }
    }

    async fn get(&self, _: &MachineId) -> Result<Machine, ProviderError> {
        refuse("get")
    }

    async fn start(&self, _: &MachineId) -> Result<Operation, ProviderError> {
        refuse("start")
    }

    async fn power_cycle(&self, _: &MachineId) -> Result<Operation, ProviderError> {
        refuse("power cycle")
    }

    async fn recreate(&self, _: &MachineId, _: &RecreateSpec) -> Result<Recreation, ProviderError> {
        refuse("recreate")
    }

    async fn recovery_start(&self, _: &MachineId, _: &Secret) -> Result<Operation, ProviderError> {
        refuse("recovery start")
    }

    async fn recovery_stop(&self, _: &MachineId) -> Result<Operation, ProviderError> {
        refuse("recovery stop")
    }

    async fn set_root_password(
        &self,
        _: &MachineId,
        _: &Secret,
    ) -> Result<Operation, ProviderError> {
        refuse("set root password")
    }

    async fn actions(&self, _: &MachineId, _: Timestamp) -> Result<Vec<Operation>, ProviderError> {
        refuse("list actions")
    }

    async fn poll(&self, _: &MachineId, _: &OperationId) -> Result<Operation, ProviderError> {
        refuse("poll")
    }

    async fn metrics(
        &self,
        _: &MachineId,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<Metrics, ProviderError> {
        refuse("metrics")
    }

    async fn put_script(&self, _: &str, _: &Secret) -> Result<ScriptId, ProviderError> {
        refuse("put script")
    }

    async fn list_scripts(&self) -> Result<Vec<Script>, ProviderError> {
        refuse("list scripts")
    }

    async fn delete_script(&self, _: &ScriptId) -> Result<(), ProviderError> {
        refuse("delete script")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_without_provider_refuses_in_words() {
        let machine = MachineId::from(1);
        let error = NoProvider
            .power_cycle(&machine)
            .await
            .expect_err("nothing can be power cycled here");
        assert_eq!(error.class(), "unsupported");
        assert!(!error.means_unknown() && !error.may_have_acted());
        assert!(error.to_string().contains("power cycle"), "{error}");
    }
}
