//! What effects are executed with.

use crate::cluster::Cluster;
use crate::config::PageConfig;
use crate::identity::Identities;
use crate::provider::Machines;
use crate::rejoin::Rejoin;
use crate::sessions::Sessions;
use iaso_engine::policy::Policy;
use iaso_providers::secrets::SecretStore;
use std::sync::Arc;

/// The tools. Cheap to clone.
#[derive(Clone)]
pub struct Hands {
    /// Agents.
    pub sessions: Arc<Sessions>,
    /// Machines at their providers.
    pub machines: Arc<Machines>,
    /// Kubernetes, if there is one.
    pub cluster: Option<Arc<dyn Cluster>>,
    /// Root passwords.
    pub secrets: Arc<dyn SecretStore>,
    /// How a recreated machine rejoins, if it is configured.
    pub rejoin: Option<Arc<Rejoin>>,
    /// Who is who.
    pub identities: Arc<Identities>,
    /// How people are told.
    pub page: PageConfig,
    /// How long things may take.
    pub policy: Policy,
}
