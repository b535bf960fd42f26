//! Hosts made of processes: a private message bus, the lab's systemd on it, and the real agent. They run anywhere, without root.
//!
//! What they cannot show: a kernel of their own (no ICMP, one clock, one boot time), real systemd, real network interfaces.

mod commons;

pub use commons::Commons;
pub(crate) use commons::Inside;

use super::{Host, Life, image};
use crate::callers::{self, HOST_VARIABLE, LAB_VARIABLE};
use crate::programs;
use crate::wires::{Links, Port, Wire};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, watch};

/// The outside world's address on the hosts' network.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 77, 1);
/// The stand-in for port 22, which only root may listen on.
pub const SSH_PORT: u16 = 10_022;
/// What the outside world may reach on a host.
const PUBLIC_PORTS: [u16; 3] = [SSH_PORT, 10_250, 7_444];
const BOOT_WITHIN: Duration = Duration::from_secs(20);

/// One host.
#[derive(Debug)]
pub struct ProcessHost {
    name: String,
    index: u8,
    root: PathBuf,
    shared: PathBuf,
    port: watch::Sender<Port>,
    cut: AtomicBool,
    /// The bus and systemd; killed when dropped.
    programs: Mutex<Option<[Child; 2]>>,
    life: Life,
    _wires: Vec<Wire>,
}

impl ProcessHost {
    /// A machine with an empty disk. `index` makes its addresses: 127.0.77.`index` outside, 127.0.79.`index` inside.
    pub fn new(name: &str, index: u8, lab: &Path, links: &Links) -> Result<Self> {
        let port = links.of(name);
        port.send_modify(|port| port.up = false);
        let public = IpAddr::V4(Ipv4Addr::new(127, 0, 77, index));
        let inside = inside_address(index);
        let wires: Result<Vec<Wire>> = PUBLIC_PORTS
            .iter()
            .map(|number| {
                let [outside, inside] =
                    [public, inside].map(|address| SocketAddr::new(address, *number));
                Wire::lay(outside, inside, Some(port.subscribe()), links.clone())
            })
            .collect();
        Ok(Self {
            name: name.to_owned(),
            index,
            root: lab.join(name),
            shared: lab.to_path_buf(),
            port,
            cut: AtomicBool::new(false),
            programs: Mutex::new(None),
            life: Life::default(),
            _wires: wires?,
        })
    }

    pub(crate) fn inside(&self) -> Inside {
        Inside {
            address: inside_address(self.index),
            root: self.root.clone(),
        }
    }

    /// The port is up when the machine has power and nobody has cut it.
    fn relink(&self) {
        let up = self.life.running() && !self.cut.load(Ordering::Relaxed);
        self.port.send_modify(|port| port.up = up);
    }

    fn bus(&self) -> String {
        format!("unix:path={}", self.root.join("run/bus").display())
    }

    /// A program of this host: it finds the host's own `systemctl` first, and carries the host's name.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env(
                "PATH",
                format!("{}:{path}", self.root.join("bin").display()),
            )
            .env(HOST_VARIABLE, &self.name)
            .env(LAB_VARIABLE, &self.shared)
            .env("IASO_LAB_ROOT", &self.root)
            .env("DBUS_SYSTEM_BUS_ADDRESS", self.bus())
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    fn tethered(&self, program: &Path) -> Result<Command> {
        let mut command = self.command(&programs::program("iaso-lab")?);
        command.arg("tether").arg("--").arg(program);
        Ok(command)
    }

    /// Writes a fresh disk.
    fn install(&self) -> Result<()> {
        if self.root.exists() {
            std::fs::remove_dir_all(&self.root).context("cannot empty the disk")?;
        }
        let root = &self.root;
        let lab = programs::program("iaso-lab")?;
        for directory in [
            "run",
            "bin",
            "var/log/journal",
            "var/lib/iaso",
            "usr/local/bin",
        ] {
            std::fs::create_dir_all(root.join(directory))?;
        }
        let (at, shown) = (root.display(), lab.display());
        for tool in ["systemctl", "journalctl"] {
            let text = format!("#!/bin/sh\nexec {shown} {tool} --root {at} \"$@\"\n");
            executable(root, &format!("bin/{tool}"), &text)?;
        }
        let bus = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig>\n<listen>{}</listen>\n<auth>EXTERNAL</auth>\n\
             <policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/><allow user=\"*\"/></policy>\n</busconfig>\n",
            self.bus()
        );
        image::put(root, "etc/dbus.conf", &bus)?;
        let inside = inside_address(self.index);
        image::put(
            root,
            "etc/systemd/system/ssh.service",
            &format!(
                "[Service]\nType=notify\nExecStart={shown} listen {inside}:{SSH_PORT}\nRestart=always\n"
            ),
        )?;
        let wants = root.join("etc/systemd/system/multi-user.target.wants");
        std::fs::create_dir_all(&wants)?;
        std::os::unix::fs::symlink(
            root.join("etc/systemd/system/ssh.service"),
            wants.join("ssh.service"),
        )?;
        let public = self.address();
        let agent = format!(
            "state_dir = \"{at}/var/lib/iaso\"\nstatus_listen = \"{inside}:9464\"\nprobe_listen = \"{inside}:7444\"\nprobe_advertise = \"{public}:7444\"\n\
             dbus_address = \"{bus}\"\njournalctl = \"{at}/bin/journalctl\"\nkubeconfig = \"{at}/var/lib/rancher/k3s/agent/kubelet.kubeconfig\"\n\
             [session]\nreconnect_max_ms = 1000\nconnect_timeout_ms = 1500\n[scripts]\nk3s-killall = \"{at}/usr/local/bin/k3s-killall.sh\"\n",
            bus = self.bus(),
        );
        let programs = programs::directory()?;
        image::write(
            root,
            &image::Machine {
                programs: &programs.display().to_string(),
                address: public,
                listen: inside,
                health: inside,
                agent: &agent,
            },
        )
    }

    async fn start_programs(&self) -> Result<[Child; 2]> {
        let daemon = programs::system("dbus-daemon").context(
            "dbus-daemon is not installed, and process hosts need a message bus of their own: install the package dbus",
        )?;
        let mut bus = self.tethered(&daemon)?;
        bus.arg("--config-file")
            .arg(self.root.join("etc/dbus.conf"));
        bus.args(["--nofork", "--nopidfile", "--print-address=1"]);
        let bus = said(
            &mut bus,
            "unix:",
            &self.shared.join(format!("{}-bus.log", self.name)),
        )
        .await?;
        let mut systemd = self.tethered(&programs::program("iaso-lab")?)?;
        systemd.arg("systemd").arg("--root").arg(&self.root);
        let log = self.shared.join(format!("{}-systemd.log", self.name));
        let systemd = said(&mut systemd, "ready", &log).await?;
        Ok([bus, systemd])
    }

    fn signal_all(&self, signal: Signal) {
        for pid in callers::processes_of(&self.name) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    async fn signal_unit(&self, unit: &str, signal: Signal) -> Result<()> {
        let manager = self.proxy().await?;
        manager
            .call_method("KillUnit", &(unit, "all", signal as i32))
            .await?;
        Ok(())
    }

    async fn proxy(&self) -> Result<zbus::Proxy<'static>> {
        let connection = zbus::connection::Builder::address(self.bus().as_str())
            .build()
            .await
            .context("the host's bus does not answer")?;
        let manager = zbus::Proxy::new(
            &connection,
            "org.freedesktop.systemd1",
            "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager",
        );
        Ok(manager.await?)
    }
}

#[async_trait]
impl Host for ProcessHost {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, 0, 77, self.index))
    }

    fn life(&self) -> &Life {
        &self.life
    }

    async fn power_on(&self) -> Result<()> {
        let mut programs = self.programs.lock().await;
        if programs.is_some() {
            return Ok(());
        }
        if !self.root.join("etc").is_dir() {
            bail!("{} has nothing to boot from: its disk is empty", self.name);
        }
        *programs = Some(self.start_programs().await?);
        self.life.booted(Instant::now());
        self.relink();
        Ok(())
    }

    async fn power_off(&self) -> Result<()> {
        let mut programs = self.programs.lock().await;
        self.life.off();
        self.port.send_modify(|port| {
            port.up = false;
            port.power_losses += 1;
        });
        *programs = None;
        crate::until(BOOT_WITHIN, "the host's programs to end", || {
            self.signal_all(Signal::SIGKILL);
            std::future::ready(callers::processes_of(&self.name).is_empty())
        })
        .await
    }

    async fn cut(&self) -> Result<()> {
        self.cut.store(true, Ordering::Relaxed);
        self.relink();
        Ok(())
    }

    async fn heal(&self) -> Result<()> {
        self.cut.store(false, Ordering::Relaxed);
        self.relink();
        Ok(())
    }

    async fn freeze(&self) -> Result<()> {
        self.signal_all(Signal::SIGSTOP);
        Ok(())
    }

    async fn thaw(&self) -> Result<()> {
        self.signal_all(Signal::SIGCONT);
        Ok(())
    }

    async fn kill_unit(&self, unit: &str) -> Result<()> {
        let path = self.root.join("etc/systemd/system").join(unit);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} has no {unit}", self.name))?;
        std::fs::write(&path, text.replace("Restart=always", "Restart=no"))?;
        self.signal_unit(unit, Signal::SIGKILL).await
    }

    async fn freeze_unit(&self, unit: &str) -> Result<()> {
        self.signal_unit(unit, Signal::SIGSTOP).await
    }

    async fn unit(&self, unit: &str) -> Result<(String, u32)> {
        let manager = self.proxy().await?;
        let units: Vec<(String, String, String, String, String)> =
            manager.call("ListUnits", &()).await?;
        let found = units.into_iter().find(|(name, ..)| name == unit);
        let (_, _, active, _, pid) =
            found.with_context(|| format!("{} has no {unit}", self.name))?;
        Ok((active, pid.parse().unwrap_or(0)))
    }

    async fn wipe(&self) -> Result<()> {
        self.power_off().await?;
        if self.root.exists() {
            std::fs::remove_dir_all(&self.root).context("cannot empty the disk")?;
        }
        Ok(())
    }

    async fn recreate(&self, script: &str) -> Result<()> {
        self.power_off().await?;
        self.install()?;
        image::put(&self.root, "post_install", script)?;
        self.life.installed();
        self.cut.store(false, Ordering::Relaxed);
        self.power_on().await?;
        let log = std::fs::File::create(self.root.join("post_install.log"))?;
        let mut install = self.tethered(Path::new("/bin/sh"))?;
        install
            .arg(self.root.join("post_install"))
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut install = install
            .spawn()
            .context("cannot run the post-install script")?;
        // As on a real machine, nobody waits for it: it is judged by what it brings up.
        tokio::spawn(async move { install.wait().await });
        Ok(())
    }

    async fn logs(&self) -> String {
        let journal = self.root.join("var/log/journal");
        let units = ["iaso-agent.service", "k3s-agent.service"]
            .map(|unit| journal.join(format!("{unit}.jsonl")));
        let mut out = String::new();
        for path in units.iter().chain([&self.root.join("post_install.log")]) {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let start = lines.len().saturating_sub(40);
            let last = lines.get(start..).unwrap_or_default().join("\n");
            out.push_str(&format!("--- {}\n{last}\n", path.display()));
        }
        out
    }
}

fn inside_address(index: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 79, index))
}

fn executable(root: &Path, path: &str, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    image::put(root, path, text)?;
    std::fs::set_permissions(root.join(path), std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Starts a program and waits until it has said a line that begins so; its further words go to a log.
async fn said(command: &mut Command, beginning: &str, log: &Path) -> Result<Child> {
    let errors = std::fs::File::create(log)?;
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .context("cannot start a host's program")?;
    let stdout = child.stdout.take().context("the program has no output")?;
    let heard = tokio::time::timeout(BOOT_WITHIN, hear(stdout, beginning)).await;
    if let Ok(true) = heard {
        Ok(child)
    } else {
        let why = std::fs::read_to_string(log).unwrap_or_default();
        bail!("a host's program did not come up: {}", why.trim());
    }
}

async fn hear(stdout: impl AsyncRead + Unpin, beginning: &str) -> bool {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.starts_with(beginning) {
            return true;
        }
    }
    false
}
