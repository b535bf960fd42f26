//! Where a test of the cluster plays: on a cluster of its own, or on one that the run was given.

use super::borrowed::{Borrowed, borrowed};
use super::{Options, RealKube, Seed, User};
use anyhow::Result;
use std::path::PathBuf;

/// The shipped manifests.
const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kustomize/base");
/// Where the shipped manifests are on a cluster of the test's own.
const ROLE: &str = "iaso-controller";

enum Ground {
    Own(Box<RealKube>),
    Borrowed(Box<Borrowed>),
}

/// A cluster with the shipped roles on it.
pub struct Site {
    ground: Ground,
    seed: Seed,
}

impl Site {
    /// A site for one test; `None` when it cannot be had here, which is an error under `IASO_REQUIRE_ALL`.
    ///
    /// # Errors
    /// When the cluster does not start, or does not take what a test begins with.
    pub async fn for_test(name: &str, options: Options) -> Result<Option<Self>> {
        let ground = match borrowed() {
            Some(kubeconfig) => {
                let _ = rustls::crypto::ring::default_provider().install_default();
                Ground::Borrowed(Box::new(Borrowed::begin(&kubeconfig).await?))
            }
            None => match RealKube::for_test(name, options).await? {
                Some(kube) => Ground::Own(Box::new(kube)),
                None => return Ok(None),
            },
        };
        let seed = match &ground {
            Ground::Own(kube) => kube.seed().await?,
            Ground::Borrowed(part) => part.seed().clone(),
        };
        let site = Self { ground, seed };
        if let Err(error) = site.install().await {
            site.seed.remove_all().await?;
            return Err(error);
        }
        Ok(Some(site))
    }

    async fn install(&self) -> Result<()> {
        match &self.ground {
            Ground::Own(kube) => kube.kubectl(&["apply", "-k", BASE]).await.map(drop),
            Ground::Borrowed(part) => part.install(BASE).await,
        }
    }

    /// An administrator's hands. Names are the test's own.
    #[must_use]
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Whether it is somebody else's.
    #[must_use]
    pub fn is_borrowed(&self) -> bool {
        matches!(self.ground, Ground::Borrowed(_))
    }

    /// What the shipped roles are called here.
    #[must_use]
    pub fn role(&self) -> String {
        match &self.ground {
            Ground::Own(_) => ROLE.into(),
            Ground::Borrowed(part) => part.role(),
        }
    }

    /// The kubeconfig of who has the shipped roles and no more.
    ///
    /// # Errors
    /// When the cluster gives no token for it.
    pub async fn kubeconfig(&self) -> Result<PathBuf> {
        match &self.ground {
            Ground::Own(kube) => kube.kubeconfig(User::Iaso),
            Ground::Borrowed(part) => part.kubeconfig().await,
        }
    }

    /// Runs kubectl as an administrator and answers what it printed.
    ///
    /// # Errors
    /// With kubectl's words.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        match &self.ground {
            Ground::Own(kube) => kube.kubectl(arguments).await,
            Ground::Borrowed(part) => part.kubectl(arguments).await,
        }
    }

    /// Removes what the test made, and nothing else. A cluster of its own goes whole.
    ///
    /// # Errors
    /// With what is still there.
    pub async fn leave(&self) -> Result<()> {
        match &self.ground {
            Ground::Own(_) => Ok(()),
            Ground::Borrowed(_) => self.seed.remove_all().await,
        }
    }
}
