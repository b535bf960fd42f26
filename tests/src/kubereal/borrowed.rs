//! Somebody else's cluster, that a kubeconfig names: everything is made under names of its own, and goes with the test.
//!
//! **Invariants**
//! - Nothing that is there is changed: objects are created, never applied over, and every name carries the test's own.
//! - The controller's adapter has the shipped roles and no more, under other names.

use super::owned::Names;
use super::seed::Seed;
use super::{client_of, kubectl_at};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Names the file.
pub const KUBECONFIG_VARIABLE: &str = "IASO_TEST_KUBECONFIG";
/// The shipped names.
const NAMESPACE: &str = "iaso-system";
const NAME: &str = "iaso-controller";
/// How long the adapter may act, in seconds: the shortest that servers take.
const TOKEN_SECS: u64 = 3600;

/// The file, if a run was given one.
#[must_use]
pub fn borrowed() -> Option<PathBuf> {
    std::env::var_os(KUBECONFIG_VARIABLE)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// One test's part of it.
pub(super) struct Borrowed {
    kubeconfig: PathBuf,
    seed: Seed,
    test: String,
    own: TempDir,
}

impl Borrowed {
    /// Makes the test's namespace. Nothing else is there yet.
    ///
    /// # Errors
    /// When the cluster cannot be asked, or refuses: its administrator's kubeconfig is needed.
    pub(super) async fn begin(kubeconfig: &Path) -> Result<Self> {
        let mut random = [0_u8; 4];
        getrandom::fill(&mut random).context("no randomness")?;
        let test = format!("iaso-test-{:08x}", u32::from_ne_bytes(random));
        let client = client_of(kubeconfig).await?;
        let mut names = Names {
            prefix: format!("{test}-"),
            namespace: test.clone(),
            account: "web".into(),
            run: Some(test.clone()),
            owner: None,
        };
        let seed = Seed::new(client.clone(), names.clone());
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": test}});
        seed.create("/api/v1/namespaces", &namespace)
            .await
            .with_context(|| {
                format!(
                    "{} names no cluster where namespaces may be made: the tests need an administrator's",
                    kubeconfig.display()
                )
            })?;
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}});
        let path = within(&test, "serviceaccounts");
        let made = match seed.create(&path, &account).await {
            Ok(made) => made,
            Err(error) => {
                seed.remove_all().await?;
                return Err(error);
            }
        };
        // Any object that is there: a collector that finds no owner takes the pod for an orphan.
        names.owner = Some(json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "name": "web", "controller": true,
            "uid": made.pointer("/metadata/uid"),
        }));
        Ok(Self {
            kubeconfig: kubeconfig.to_owned(),
            seed: seed.known_as(names),
            test,
            own: tempfile::Builder::new().prefix("iaso-kube-").tempdir()?,
        })
    }

    /// The shipped manifests, under this test's names.
    pub(super) async fn manifests(&self, base: &str) -> Result<Vec<(String, Value)>> {
        let printed = self
            .kubectl(&[
                "create",
                "-k",
                base,
                "--dry-run=client",
                "--validate=false",
                "--output=json",
            ])
            .await?;
        let mut objects = Vec::new();
        for document in serde_json::Deserializer::from_str(&printed).into_iter::<Value>() {
            let document = document.context("kubectl printed something that is not JSON")?;
            match document.get("items").and_then(Value::as_array) {
                Some(items) => objects.extend(items.iter().cloned()),
                None => objects.push(document),
            }
        }
        objects
            .into_iter()
            // A kind is everybody's: it cannot have the test's own name.
            .filter(|object| {
                let kind = object.get("kind");
                ![json!("Namespace"), json!("CustomResourceDefinition")]
                    .iter()
                    .any(|left_out| kind == Some(left_out))
            })
            .map(|object| self.renamed(object))
            .collect()
    }

    /// An object with its collection's path.
    fn renamed(&self, mut object: Value) -> Result<(String, Value)> {
        let role = self.role();
        for pointer in ["/metadata/name", "/roleRef/name", "/subjects/0/name"] {
            if let Some(name) = object.pointer_mut(pointer)
                && *name == json!(NAME)
            {
                *name = json!(role);
            }
        }
        for pointer in ["/metadata/namespace", "/subjects/0/namespace"] {
            if let Some(namespace) = object.pointer_mut(pointer)
                && *namespace == json!(NAMESPACE)
            {
                *namespace = json!(self.test);
            }
        }
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let (kind, version) = (
            text("/kind").context("no kind")?,
            text("/apiVersion").context("no apiVersion")?,
        );
        let root = if version.contains('/') { "apis" } else { "api" };
        let resource = format!("{}s", kind.to_lowercase());
        let path = match text("/metadata/namespace") {
            Some(namespace) => format!("/{root}/{version}/namespaces/{namespace}/{resource}"),
            None => format!("/{root}/{version}/{resource}"),
        };
        Ok((path, object))
    }

    /// Name of the roles here.
    pub(super) fn role(&self) -> String {
        format!("{NAME}-{}", self.test)
    }

    pub(super) async fn install(&self, base: &str) -> Result<()> {
        for (path, object) in self.manifests(base).await? {
            self.seed.create(&path, &object).await?;
        }
        Ok(())
    }

    /// A kubeconfig of the adapter's service account, whose token ends by itself.
    pub(super) async fn kubeconfig(&self) -> Result<PathBuf> {
        let path = format!(
            "{}/{}/token",
            within(&self.test, "serviceaccounts"),
            self.role()
        );
        let asked = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECS},
        });
        let answer = self.seed.call("POST", &path, &asked).await?;
        let token = answer
            .pointer("/status/token")
            .context("the cluster gave no token for the service account")?;
        let mut config: Value = serde_json::from_str(
            &self
                .kubectl(&[
                    "config",
                    "view",
                    "--minify",
                    "--flatten",
                    "--raw",
                    "--output=json",
                ])
                .await?,
        )?;
        let user = config
            .pointer_mut("/users/0/user")
            .context("the kubeconfig has no user")?;
        *user = json!({"token": token});
        let file = self.own.path().join("adapter.kubeconfig");
        std::fs::write(&file, config.to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    pub(super) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        kubectl_at(&self.kubeconfig, self.own.path(), arguments).await
    }

    pub(super) fn seed(&self) -> &Seed {
        &self.seed
    }
}

fn within(namespace: &str, resource: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{resource}")
}
