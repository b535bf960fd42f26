//! Hosts made of systemd-nspawn containers: real systemd and D-Bus, an own network behind a bridge, an own boot time.
//!
//! What they cannot show: a kernel of their own.

mod base;
mod bootstrap;
pub mod network;

pub(crate) use base::ensure;
pub use base::missing;

use super::{Host, Life, image};
use crate::callers::LAB_VARIABLE;
use crate::programs;
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

const BOOT_WITHIN: Duration = Duration::from_mins(1);
const COMMAND_WITHIN: Duration = Duration::from_secs(30);
/// Programs of ours that a container sees, read-only.
const PROGRAMS: [&str; 2] = ["iaso-agent", "iaso-lab"];

#[derive(Debug)]
struct Boot {
    container: Child,
    leader: i32,
}

/// One host.
#[derive(Debug)]
pub struct NspawnHost {
    name: String,
    address: Ipv4Addr,
    lab: PathBuf,
    boot: Mutex<Option<Boot>>,
    /// There is something on the disk to boot from.
    installed: AtomicBool,
    life: Life,
}

impl NspawnHost {
    /// A machine with an empty disk, at 10.77.0.`index`.
    #[must_use]
    pub fn new(name: &str, index: u8, lab: &Path) -> Self {
        Self {
            name: name.to_owned(),
            address: Ipv4Addr::new(10, 77, 0, index),
            lab: lab.to_path_buf(),
            boot: Mutex::new(None),
            installed: AtomicBool::new(false),
            life: Life::default(),
        }
    }

    fn disk(&self) -> PathBuf {
        self.lab.join(&self.name)
    }

    fn install(&self, script: &str) -> Result<()> {
        let root = base::lay(&base::directory()?, &self.disk())?;
        image::put(&root, "etc/hostname", &format!("{}\n", self.name))?;
        image::put(&root, "post_install", script)?;
        image::enable(&root, "lab-network.service", &network_unit(self.address))?;
        image::enable(
            &root,
            "ssh.service",
            "[Unit]\nAfter=lab-network.service\n[Service]\nType=notify\nExecStart=/usr/local/bin/iaso-lab listen 0.0.0.0:22\nRestart=always\n",
        )?;
        image::enable(
            &root,
            "post-install.service",
            "[Unit]\nAfter=lab-network.service dbus.service\nConditionPathExists=!/post_install.done\n\
             [Service]\nType=oneshot\nExecStart=/bin/sh -c 'exec /bin/sh /post_install >/post_install.log 2>&1'\nExecStartPost=/bin/touch /post_install.done\n",
        )?;
        for program in PROGRAMS {
            image::put(&root, &format!("usr/local/bin/{program}"), "")?;
        }
        let agent = format!(
            "probe_listen = \"0.0.0.0:7444\"\nprobe_advertise = \"{}:7444\"\nkubeconfig = \"/var/lib/rancher/k3s/agent/kubelet.kubeconfig\"\n\
             [session]\nreconnect_max_ms = 1000\nconnect_timeout_ms = 1500\n[scripts]\nk3s-killall = \"/usr/local/bin/k3s-killall.sh\"\n",
            self.address
        );
        image::write(
            &root,
            &image::Machine {
                programs: "/usr/local/bin",
                address: self.address.into(),
                listen: Ipv4Addr::UNSPECIFIED.into(),
                health: Ipv4Addr::LOCALHOST.into(),
                agent: &agent,
            },
        )?;
        self.installed.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn container(&self) -> Result<Command> {
        let log = std::fs::File::create(self.lab.join(format!("{}-console.log", self.name)))?;
        let unshare = programs::system("unshare").context("unshare is not installed")?;
        let nspawn =
            programs::system("systemd-nspawn").context("systemd-nspawn is not installed")?;
        let mut command = Command::new(programs::program("iaso-lab")?);
        command.arg("tether").arg("--").arg(unshare);
        // A boot time of its own, as a machine of its own has.
        command.args(["--time", "--boottime", &format!("-{}", up_secs()?)]);
        command.arg(nspawn).args([
            "--quiet",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--link-journal=no",
        ]);
        command.args(["--console=pipe", "--resolv-conf=off", "--timezone=off"]);
        command.arg("--directory").arg(self.disk().join("root"));
        command.arg("--machine").arg(&self.name);
        command.arg(format!("--network-bridge={}", network::BRIDGE));
        // The container's first process carries the lab's name, so that it is found if this process is killed.
        command.arg(format!("--setenv={LAB_VARIABLE}={}", self.lab.display()));
        for program in PROGRAMS {
            let path = programs::program(program)?;
            command.arg(format!(
                "--bind-ro={}:/usr/local/bin/{program}",
                path.display()
            ));
        }
        command
            .env(LAB_VARIABLE, &self.lab)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs a program inside and answers what it printed.
    async fn inside(&self, arguments: &[&str]) -> Result<String> {
        let leader = self.boot.lock().await.as_ref().map(|boot| boot.leader);
        let leader = leader.with_context(|| format!("{} is off", self.name))?;
        enter(leader, arguments).await
    }

    async fn signal_all(&self, signal: Signal) {
        let Some(leader) = self.boot.lock().await.as_ref().map(|boot| boot.leader) else {
            return;
        };
        for pid in same_namespace(leader) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

#[async_trait]
impl Host for NspawnHost {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> IpAddr {
        self.address.into()
    }

    fn life(&self) -> &Life {
        &self.life
    }

    async fn power_on(&self) -> Result<()> {
        let mut boot = self.boot.lock().await;
        if boot.is_some() {
            return Ok(());
        }
        if !self.installed.load(Ordering::Relaxed) {
            bail!("{} has nothing to boot from: its disk is empty", self.name);
        }
        let mut container = self
            .container()?
            .spawn()
            .context("cannot start systemd-nspawn")?;
        let console = self.lab.join(format!("{}-console.log", self.name));
        let started = Instant::now();
        let leader = loop {
            if let Some(leader) = container.id().and_then(leader_of)
                && enter(leader, &["/usr/bin/systemctl", "is-active", "dbus.service"])
                    .await
                    .is_ok()
            {
                break leader;
            }
            if container.try_wait()?.is_some() || started.elapsed() > BOOT_WITHIN {
                let why = std::fs::read_to_string(&console).unwrap_or_default();
                bail!("the container {} did not boot: {}", self.name, why.trim());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        *boot = Some(Boot { container, leader });
        self.life.booted(started);
        Ok(())
    }

    async fn power_off(&self) -> Result<()> {
        let mut boot = self.boot.lock().await;
        self.life.off();
        if let Some(mut off) = boot.take() {
            // The container's first process takes everything in it along; nspawn then tidies up after itself.
            let _ = kill(Pid::from_raw(off.leader), Signal::SIGKILL);
            if tokio::time::timeout(COMMAND_WITHIN, off.container.wait())
                .await
                .is_err()
            {
                bail!("the container {} does not end", self.name);
            }
        }
        Ok(())
    }

    async fn cut(&self) -> Result<()> {
        network::cut(&self.name)
    }

    async fn heal(&self) -> Result<()> {
        network::heal(&self.name)
    }

    async fn freeze(&self) -> Result<()> {
        self.signal_all(Signal::SIGSTOP).await;
        Ok(())
    }

    async fn thaw(&self) -> Result<()> {
        self.signal_all(Signal::SIGCONT).await;
        Ok(())
    }

    async fn kill_unit(&self, unit: &str) -> Result<()> {
        let script = format!(
            "mkdir -p /run/systemd/system/{unit}.d && printf '[Service]\\nRestart=no\\n' > /run/systemd/system/{unit}.d/lab.conf \
             && systemctl daemon-reload && systemctl kill --kill-whom=main --signal=KILL {unit}"
        );
        self.inside(&["/bin/sh", "-c", &script]).await.map(drop)
    }

    async fn freeze_unit(&self, unit: &str) -> Result<()> {
        let stop = ["/usr/bin/systemctl", "kill", "--signal=STOP", unit];
        self.inside(&stop).await.map(drop)
    }

    async fn unit(&self, unit: &str) -> Result<(String, u32)> {
        let shown = self
            .inside(&[
                "/usr/bin/systemctl",
                "show",
                "-p",
                "ActiveState",
                "-p",
                "MainPID",
                unit,
            ])
            .await?;
        let value = |key: &str| {
            shown
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .unwrap_or_default()
                .to_owned()
        };
        Ok((value("ActiveState"), value("MainPID").parse().unwrap_or(0)))
    }

    async fn wipe(&self) -> Result<()> {
        self.power_off().await?;
        self.installed.store(false, Ordering::Relaxed);
        base::strip(&self.disk()).map(drop)
    }

    async fn recreate(&self, script: &str) -> Result<()> {
        self.wipe().await?;
        self.install(script)?;
        self.life.installed();
        network::heal(&self.name)?;
        self.power_on().await
    }

    async fn logs(&self) -> String {
        let journal = self
            .inside(&[
                "/usr/bin/journalctl",
                "--no-pager",
                "-n",
                "60",
                "-o",
                "short-precise",
            ])
            .await;
        let script =
            std::fs::read_to_string(self.disk().join("root/post_install.log")).unwrap_or_default();
        format!(
            "{}\n--- post_install.log\n{script}",
            journal.unwrap_or_else(|error| format!("{error:#}"))
        )
    }
}

fn network_unit(address: Ipv4Addr) -> String {
    let outside = network::OUTSIDE;
    // The port may come a moment after the first process: tried again until the way out is there, and a failure is the unit's.
    format!(
        "[Unit]\nDefaultDependencies=no\nBefore=network.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=/bin/sh -c 'ip link set lo up; for try in $$(seq 100); do \
         ip address replace {address}/24 dev host0 && ip link set host0 up && ip route replace default via {outside} && exit 0; \
         sleep 0.1; done; exit 1'\n"
    )
}

fn up_secs() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/uptime").context("cannot read /proc/uptime")?;
    let whole = text.split('.').next().unwrap_or_default();
    whole.parse().context("/proc/uptime is not a number")
}

async fn enter(leader: i32, arguments: &[&str]) -> Result<String> {
    let nsenter = programs::system("nsenter").context("nsenter is not installed")?;
    let mut command = Command::new(nsenter);
    command.arg("--target").arg(leader.to_string());
    command
        .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--"])
        .args(arguments);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(COMMAND_WITHIN, command.output())
        .await
        .context("a program inside the container does not end")??;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed: {}", arguments.join(" "), why.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The container's first process: the one below nspawn that is 1 inside.
fn leader_of(container: u32) -> Option<i32> {
    let mut below = vec![i32::try_from(container).ok()?];
    while let Some(pid) = below.pop() {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let mut ids = inside.unwrap_or_default().split_whitespace();
        if ids.next().is_some()
            && ids.next_back() == Some("1")
            && status.starts_with("Name:\tsystemd\n")
        {
            return Some(pid);
        }
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        below.extend(
            children
                .split_whitespace()
                .filter_map(|child| child.parse::<i32>().ok()),
        );
    }
    None
}

fn same_namespace(leader: i32) -> Vec<i32> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(wanted) = namespace(leader) else {
        return Vec::new();
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
        .filter(|pid| namespace(*pid).as_ref() == Some(&wanted))
        .collect()
}
