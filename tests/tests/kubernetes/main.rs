//! What Iaso's cluster adapter does, on a real kube-apiserver: where Kubernetes and the lab's small one differ, Kubernetes is right.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value that is not there is null, which fails the assertion"
)]

mod borrowed;
mod cordon;
mod facts;
mod night;
mod publish;
mod release;
mod restore;
mod rights;
mod watch;

use anyhow::Result;
use futures::FutureExt;
use iaso_controller::cluster::KubeCluster;
use iaso_controller::config::ClusterConfig;
use iaso_engine::id::NodeName;
use iaso_tests::kubereal::{Options, RealKube, Seed, Site, User};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

/// A cluster with the shipped roles, the controller's adapter under them, and an administrator's hands.
struct Scene<'a> {
    site: &'a Site,
    iaso: KubeCluster,
    seed: Seed,
}

impl Scene<'_> {
    /// What a node of this short name is called here.
    fn node(&self, name: &str) -> NodeName {
        node(&self.seed.name(name))
    }
}

/// Plays a test on a cluster of its own, or on the one that the run was given; there, what it made goes however it ends.
async fn on_a_cluster(
    name: &str,
    options: Options,
    test: impl AsyncFnOnce(&Scene<'_>) -> Result<()>,
) -> Result<()> {
    let Some(site) = Site::for_test(name, options).await? else {
        return Ok(());
    };
    let played = AssertUnwindSafe(async {
        let iaso = adapter(site.kubeconfig().await?, 0, false).await?;
        granted(&iaso).await?;
        let seed = site.seed().clone();
        let scene = Scene {
            site: &site,
            iaso,
            seed,
        };
        test(&scene).await
    });
    let played = played.catch_unwind().await;
    let left = site.leave().await;
    match played {
        Ok(result) => result.and(left),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A controller's adapter with the rights that the shipped manifests give.
async fn installed(kube: &RealKube) -> Result<KubeCluster> {
    kube.kubectl(&["apply", "-k", &manifests("base")]).await?;
    let iaso = adapter(kube.kubeconfig(User::Iaso)?, 0, false).await?;
    granted(&iaso).await?;
    Ok(iaso)
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

async fn adapter(
    kubeconfig: PathBuf,
    evict_secs: u64,
    overrule_budgets: bool,
) -> Result<KubeCluster> {
    let config = ClusterConfig {
        kubeconfig,
        poll_secs: 1,
        timeout_secs: 10,
        evict_secs,
        overrule_budgets,
        publish: false,
    };
    Ok(KubeCluster::connect(&config).await?)
}

fn manifests(name: &str) -> String {
    format!("{}/../deploy/kustomize/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).expect("a node's name")
}
