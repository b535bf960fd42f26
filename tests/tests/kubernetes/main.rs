//! What Iaso's cluster adapter does, on a real kube-apiserver: where Kubernetes and the lab's small one differ, Kubernetes is right.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value that is not there is null, which fails the assertion"
)]

mod cordon;
mod facts;
mod night;
mod release;
mod restore;
mod rights;

use anyhow::Result;
use iaso_controller::cluster::KubeCluster;
use iaso_controller::config::ClusterConfig;
use iaso_engine::id::NodeName;
use iaso_tests::kubereal::{RealKube, Seed, User};

/// A cluster with the shipped roles, the controller's adapter under them, and an administrator's hands.
struct Scene {
    kube: RealKube,
    iaso: KubeCluster,
    seed: Seed,
}

impl Scene {
    async fn new(kube: RealKube) -> Result<Self> {
        kube.kubectl(&["apply", "-k", &manifests("base")]).await?;
        let iaso = adapter(&kube, 0, false).await?;
        let seed = kube.seed().await?;
        granted(&iaso).await?;
        Ok(Self { kube, iaso, seed })
    }
}

/// Roles count when the server's authorizer has seen them.
async fn granted(iaso: &KubeCluster) -> Result<()> {
    iaso_tests::until(
        std::time::Duration::from_secs(20),
        "the shipped roles to count",
        || async {
            iaso.missing_rights()
                .await
                .is_ok_and(|missing| missing.is_empty())
        },
    )
    .await
}

async fn adapter(kube: &RealKube, evict_secs: u64, overrule_budgets: bool) -> Result<KubeCluster> {
    let config = ClusterConfig {
        kubeconfig: kube.kubeconfig(User::Iaso)?,
        poll_secs: 1,
        timeout_secs: 10,
        evict_secs,
        overrule_budgets,
    };
    Ok(KubeCluster::connect(&config).await?)
}

fn manifests(name: &str) -> String {
    format!("{}/../deploy/kustomize/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).expect("a node's name")
}
