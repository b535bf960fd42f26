//! The three programs: their arguments, their files, their end.

use super::{NODES, Options, User, program, tethered};
use anyhow::{Context, Result, bail};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use tokio::process::{Child, Command};

/// What of the controller-manager runs. Not always the garbage collector: most tests name owners that do not exist.
const CONTROLLERS: &str =
    "nodelifecycle,podgc,disruption,replicaset,attachdetach,namespace,pv-protection";
const MANAGER: &str = "kube-controller-manager";
/// Lines of a log that are told.
const LAST_LINES: usize = 40;

/// Below the ports that the kernel gives to outgoing connections: those come and go between looking and listening.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Ports that are tried for one.
const PORT_TRIES: usize = 100;

/// Free ports at the moment of looking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    etcd: u16,
    peers: u16,
    pub(super) api: u16,
}

impl Ports {
    pub(super) fn find() -> Result<Self> {
        // All are held until all are found, so that no two are the same.
        let (etcd, peers, api) = (free()?, free()?, free()?);
        let port = |listener: &TcpListener| Ok::<_, std::io::Error>(listener.local_addr()?.port());
        Ok(Self {
            etcd: port(&etcd)?,
            peers: port(&peers)?,
            api: port(&api)?,
        })
    }
}

fn free() -> Result<TcpListener> {
    let width = u32::from(PORTS.end - PORTS.start);
    for _ in 0..PORT_TRIES {
        let mut random = [0_u8; 4];
        getrandom::fill(&mut random).context("no randomness")?;
        let offset = u16::try_from(u32::from_ne_bytes(random) % width)?;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", PORTS.start + offset)) {
            return Ok(listener);
        }
    }
    bail!(
        "there is no free port from {} to {}",
        PORTS.start,
        PORTS.end
    )
}

/// Where a cluster's files are, whose it is, and where it listens.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) lab: PathBuf,
    pub(super) ports: Ports,
}

/// A running program and its log.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    fn start(mut command: Command, place: &Place, name: &str) -> Result<Self> {
        let log = place.directory.join(format!("{name}.log"));
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, log })
    }

    pub(super) async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub(super) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let start = lines.len().saturating_sub(LAST_LINES);
        let last = lines.get(start..).unwrap_or_default().join("\n");
        format!("--- {}\n{last}\n", self.log.display())
    }
}

/// The table of tokens, and the key of service accounts' tokens.
pub(super) async fn write_secrets(directory: &Path) -> Result<()> {
    let users = [User::Admin, User::Iaso]
        .into_iter()
        .chain(NODES.map(User::Kubelet));
    let table: String = users.map(User::row).collect();
    std::fs::write(directory.join("tokens.csv"), table)?;
    let key = directory.join("accounts.key");
    if key.is_file() {
        return Ok(());
    }
    let made = Command::new("openssl")
        .args(["genrsa", "-out"])
        .arg(&key)
        .arg("2048")
        .output()
        .await
        .context("openssl is not here to make a key: install openssl")?;
    if !made.status.success() {
        bail!(
            "openssl made no key: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
    Ok(())
}

pub(super) fn etcd(place: &Place) -> Result<Program> {
    let ports = &place.ports;
    let (clients, peers) = (
        format!("http://127.0.0.1:{}", ports.etcd),
        format!("http://127.0.0.1:{}", ports.peers),
    );
    let mut command = tethered("etcd", place)?;
    command
        .arg("--data-dir")
        .arg(place.directory.join("etcd"))
        .args(["--listen-client-urls", &clients])
        .args(["--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", &peers])
        .args(["--initial-advertise-peer-urls", &peers])
        .args(["--initial-cluster", &format!("default={peers}")]);
    Program::start(command, place, "etcd")
}

pub(super) fn api(place: &Place, options: Options) -> Result<Program> {
    let toleration = options.toleration.as_secs();
    let mut command = tethered("kube-apiserver", place)?;
    command
        .arg(format!(
            "--etcd-servers=http://127.0.0.1:{}",
            place.ports.etcd
        ))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .arg(format!("--secure-port={}", place.ports.api))
        // The server makes its own certificate at the first start, and keeps it.
        .args(["--cert-dir=pki", "--token-auth-file=tokens.csv"])
        .args([
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
        ])
        // Nobody makes accounts in new namespaces here, and pods would wait for them.
        .arg("--disable-admission-plugins=ServiceAccount")
        .args([
            "--service-account-issuer=https://lab",
            "--service-account-key-file=accounts.key",
        ])
        .arg("--service-account-signing-key-file=accounts.key")
        .args([
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.43.0.0/16",
        ])
        .arg(format!(
            "--default-not-ready-toleration-seconds={toleration}"
        ))
        .arg(format!(
            "--default-unreachable-toleration-seconds={toleration}"
        ));
    Program::start(command, place, "kube-apiserver")
}

pub(super) fn manager(place: &Place, kubeconfig: &Path, options: Options) -> Result<Program> {
    let collector = if options.collector {
        ",garbagecollector"
    } else {
        ""
    };
    let mut command = tethered(MANAGER, place)?;
    if has_fixed_port()? {
        command.arg("--port=0");
    }
    command
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .args(["--bind-address=127.0.0.1", "--leader-elect=false"])
        // Nobody asks it anything.
        .arg("--secure-port=0")
        .arg(format!("--controllers={CONTROLLERS}{collector}"))
        .arg("--node-monitor-period=1s")
        .arg(format!(
            "--node-monitor-grace-period={}s",
            options.grace.as_secs()
        ))
        .args([
            "--node-eviction-rate=10",
            "--service-account-private-key-file=accounts.key",
        ]);
    Program::start(command, place, MANAGER)
}

/// Until 1.23 it also listened on 10252, where there is room for one on a machine; later ones do not know the word.
fn has_fixed_port() -> Result<bool> {
    let asked = std::process::Command::new(program(MANAGER)?)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot start {MANAGER}"))?;
    let version = String::from_utf8_lossy(&asked.stdout).into_owned();
    let minor = version.trim().strip_prefix("Kubernetes v1.");
    let minor = minor.and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    let minor = minor.with_context(|| format!("{MANAGER} does not say its version: {version}"))?;
    Ok(minor < 24)
}
