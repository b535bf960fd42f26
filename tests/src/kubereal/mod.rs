//! A real Kubernetes for tests: etcd, kube-apiserver and kube-controller-manager as processes on loopback.
//!
//! Everybody is known by a bearer token and may do what RBAC says; kubelets are bound by the node authorizer. There is no scheduler and
//! no container: a pod runs where a test, or [`kubelet`](crate::kubelet), says that it does.
//!
//! **Invariants**
//! - It ends with whoever started it: by drop, by kill, by the death of the process.
//! - A stopped API server keeps every object, and comes back at the same address with the same certificate.

mod borrowed;
mod owned;
mod processes;
mod seed;
mod site;

pub use borrowed::{KUBECONFIG_VARIABLE, borrowed};
pub use owned::RUN_LABEL;
pub use site::Site;

pub use seed::{Seed, lease_now, lease_of};

use crate::callers::LAB_VARIABLE;
use crate::programs;
use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use owned::Names;
use processes::{Place, Ports, Program};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

/// How long a server may take to be ready: seconds on a quiet machine.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// Ports are looked for and then taken: somebody may be faster.
const STARTS_MAX: usize = 3;
/// Everything that a test starts or runs.
const PROGRAMS: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kubectl",
];

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// May do everything.
    Admin,
    /// The service account that the shipped manifests give the controller: may do what they say.
    Iaso,
    /// The kubelet of a node.
    Kubelet(&'static str),
}

/// Nodes whose kubelets have a token.
pub const NODES: [&str; 4] = ["tethys", "styx", "calypso", "cerberus"];

impl User {
    /// Its bearer token. It opens nothing but a server on this machine's loopback that a test started.
    #[must_use]
    pub fn token(&self) -> String {
        match self {
            Self::Admin => crate::kubeapi::ADMIN_TOKEN.into(),
            Self::Iaso => "lab-iaso".into(),
            Self::Kubelet(node) => format!("kubelet-{node}"),
        }
    }

    /// A row of the server's table: token, name, uid, groups.
    fn row(self) -> String {
        let token = self.token();
        match self {
            Self::Admin => format!("{token},admin,admin,system:masters\n"),
            Self::Iaso => {
                format!("{token},system:serviceaccount:iaso-system:iaso-controller,iaso\n")
            }
            Self::Kubelet(node) => format!("{token},system:node:{node},{node},system:nodes\n"),
        }
    }
}

/// How fast the real controllers are.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Starts the controller-manager.
    pub controllers: bool,
    /// And with it the garbage collector: pods must name owners that exist.
    pub collector: bool,
    /// A lease older than this makes Ready unknown.
    pub grace: Duration,
    /// A pod on an unreachable node is evicted after this.
    pub toleration: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controllers: false,
            collector: false,
            grace: Duration::from_secs(4),
            toleration: Duration::from_secs(4),
        }
    }
}

/// Why there can be none here; `None`: there can.
#[must_use]
pub fn obstacle() -> Option<String> {
    let Some(directory) = assets() else {
        return Some("KUBEBUILDER_ASSETS is not set: run `cargo xtask assets` once, and the tests by `cargo xtask test`".into());
    };
    let missing = PROGRAMS
        .iter()
        .find(|program| !directory.join(program).is_file());
    if let Some(program) = missing {
        return Some(format!(
            "there is no {program} in KUBEBUILDER_ASSETS ({})",
            directory.display()
        ));
    }
    crate::story::missing_programs(&["iaso-lab"])
}

fn assets() -> Option<PathBuf> {
    std::env::var_os("KUBEBUILDER_ASSETS")
        .filter(|directory| !directory.is_empty())
        .map(PathBuf::from)
}

/// A running cluster without machines.
pub struct RealKube {
    place: Place,
    options: Options,
    manager: Option<Program>,
    api: Option<Program>,
    _etcd: Program,
    _own: Option<TempDir>,
}

impl RealKube {
    /// Starts one in a directory of its own, for a test; `None` when it cannot be had here, which is an error under `IASO_REQUIRE_ALL`,
    /// or when the run plays on somebody else's cluster.
    pub async fn for_test(name: &str, options: Options) -> Result<Option<Self>> {
        if needs_its_own(name) || crate::story::skipped(name, obstacle())? {
            return Ok(None);
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let own = tempfile::Builder::new().prefix("iaso-kube-").tempdir()?;
        let mut started = Self::start(own.path(), own.path(), options).await?;
        started._own = Some(own);
        Ok(Some(started))
    }

    /// Starts one whose files are in `directory`, as a part of the lab in `lab`.
    pub async fn start(directory: &Path, lab: &Path, options: Options) -> Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let mut tries = 1;
        loop {
            match Self::start_once(directory, lab, options).await {
                Err(error)
                    if tries < STARTS_MAX
                        && format!("{error:#}").contains("address already in use") =>
                {
                    tries += 1;
                }
                done @ (Ok(_) | Err(_)) => return done,
            }
        }
    }

    async fn start_once(directory: &Path, lab: &Path, options: Options) -> Result<Self> {
        let ports = Ports::find()?;
        processes::write_secrets(directory).await?;
        let place = Place {
            directory: directory.to_owned(),
            lab: lab.to_owned(),
            ports,
        };
        let etcd = processes::etcd(&place)?;
        let mut cluster = Self {
            place,
            options,
            manager: None,
            api: None,
            _etcd: etcd,
            _own: None,
        };
        cluster.start_api().await?;
        if options.controllers {
            let kubeconfig = cluster.kubeconfig(User::Admin)?;
            cluster.manager = Some(processes::manager(&cluster.place, &kubeconfig, options)?);
        }
        Ok(cluster)
    }

    /// Where the API server listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.place.ports.api)
    }

    /// The certificate by which the server is known.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.place.directory.join("pki/apiserver.crt")
    }

    /// Kills the API server. Its objects stay in etcd.
    pub async fn stop_api(&mut self) {
        if let Some(mut api) = self.api.take() {
            api.kill().await;
        }
    }

    /// Starts the API server, and waits until it is ready.
    pub async fn start_api(&mut self) -> Result<()> {
        let mut api = processes::api(&self.place, self.options)?;
        let (this, mut ended) = (&*self, None);
        let ready = crate::until(READY_WITHIN, "the API server to be ready", || {
            ended = api.ended();
            let gone = ended.is_some();
            async move { gone || this.is_ready().await }
        });
        let ready = ready.await;
        if ready.is_err() || ended.is_some() {
            bail!(
                "the API server is not ready ({ready:?}, {ended:?}):\n{}",
                api.last_words()
            );
        }
        self.api = Some(api);
        Ok(())
    }

    async fn is_ready(&self) -> bool {
        let Ok(client) = self.client(User::Admin).await else {
            return false;
        };
        let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else {
            return false;
        };
        client.request_text(request).await.is_ok()
    }

    /// Writes a kubeconfig for somebody and answers where.
    pub fn kubeconfig(&self, user: User) -> Result<PathBuf> {
        let token = user.token();
        let path = self.place.directory.join(format!("{token}.kubeconfig"));
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: real\n  cluster:\n    server: {}\n    certificate-authority: {}\n\
             users:\n- name: real\n  user:\n    token: {token}\ncontexts:\n- name: real\n  context:\n    cluster: real\n    user: real\n\
             current-context: real\n",
            self.url(),
            self.authority().display()
        );
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A client of somebody's.
    pub async fn client(&self, user: User) -> Result<Client> {
        client_of(&self.kubeconfig(user)?).await
    }

    /// An administrator's hands, for what a test begins with.
    pub async fn seed(&self) -> Result<Seed> {
        Ok(Seed::new(self.client(User::Admin).await?, Names::own()))
    }

    /// Runs kubectl as an administrator and answers what it printed.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let kubeconfig = self.kubeconfig(User::Admin)?;
        kubectl_at(&kubeconfig, &self.place.directory, arguments).await
    }

    /// What the processes said last.
    #[must_use]
    pub fn last_words(&self) -> String {
        [&self.api, &self.manager]
            .into_iter()
            .flatten()
            .map(Program::last_words)
            .collect()
    }
}

/// Says that a test is left out on somebody else's cluster, if the run plays on one.
#[must_use]
pub fn needs_its_own(name: &str) -> bool {
    let given = borrowed().is_some();
    if given {
        eprintln!(
            "LEFT OUT {name}: it needs a cluster of its own, and {KUBECONFIG_VARIABLE} names somebody else's"
        );
    }
    given
}

async fn client_of(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(Duration::from_secs(20));
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn kubectl_at(kubeconfig: &Path, home: &Path, arguments: &[&str]) -> Result<String> {
    let program = match assets() {
        Some(directory) => directory.join("kubectl"),
        None => programs::system("kubectl")
            .context("there is no kubectl: install it, or run `cargo xtask assets` once")?,
    };
    let output = Command::new(program)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        .env("HOME", home)
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot start kubectl")?;
    if !output.status.success() {
        bail!(
            "kubectl {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).context("kubectl printed something that is not text")
}

fn program(name: &str) -> Result<PathBuf> {
    let directory = assets().context("KUBEBUILDER_ASSETS is not set")?;
    Ok(directory.join(name))
}

/// A command that dies with us, and that the next lab finds if it did not.
fn tethered(name: &str, place: &Place) -> Result<Command> {
    let mut command = Command::new(programs::program("iaso-lab")?);
    command
        .arg("tether")
        .arg("--")
        .arg(program(name)?)
        .current_dir(&place.directory)
        .env(LAB_VARIABLE, &place.lab)
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}
