//! Services: one task for each, which starts, watches and restarts its program.

use super::journal::Journal;
use super::unit_file::{self, Restart, UnitFile};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

/// How long a program may take to end when asked.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// `loaded` or `not-found`.
    pub load: String,
    /// `active`, `activating`, `inactive`, `failed`, `deactivating`.
    pub active: String,
    /// `running`, `start`, `auto-restart`, `dead`, …
    pub sub: String,
    /// `success`, `exit-code`, `signal`.
    pub result: String,
    /// Automatic restarts since it was last started by hand.
    pub restarts: u32,
    /// 0: none.
    pub main_pid: u32,
    /// Exit code or signal of the last program.
    pub exit_status: i32,
    /// 1 exited, 2 killed, 0 never ended.
    pub exit_code: i32,
    /// When the active state last changed, and when it last became active, inactive, left each: microseconds of the monotonic clock.
    pub changed_us: u64,
    /// As above.
    pub active_enter_us: u64,
    /// As above.
    pub active_exit_us: u64,
    /// As above.
    pub inactive_enter_us: u64,
    /// As above.
    pub inactive_exit_us: u64,
}

#[derive(Debug)]
enum Order {
    Start(Done),
    Stop(Done),
    Restart(Done),
    Kill(Signal),
}

/// Told when a job has ended, and how.
type Done = oneshot::Sender<&'static str>;

/// One unit's handle.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) file: Option<UnitFile>,
    commands: mpsc::UnboundedSender<Order>,
    pub(crate) status: watch::Receiver<Status>,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    Start,
    Stop,
    Restart,
}

/// All units.
#[derive(Debug, Clone)]
pub(crate) struct Supervisor {
    root: PathBuf,
    units: Arc<Mutex<BTreeMap<String, Unit>>>,
}

impl Supervisor {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self {
            root,
            units: Arc::default(),
        }
    }

    /// The unit, loaded if it was not. A unit that did not exist is looked for again.
    pub(crate) fn unit(&self, name: &str) -> Unit {
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unit) = units.get(name).filter(|unit| unit.file.is_some()) {
            return unit.clone();
        }
        let file = unit_file::load(&self.root, name);
        let (commands, receiver) = mpsc::unbounded_channel();
        let loaded = if file.is_some() {
            "loaded"
        } else {
            "not-found"
        };
        let first = Status {
            load: loaded.into(),
            active: "inactive".into(),
            sub: "dead".into(),
            result: "success".into(),
            ..Status::default()
        };
        let (sender, status) = watch::channel(first);
        let unit = Unit {
            name: name.to_owned(),
            file: file.clone(),
            commands,
            status,
        };
        if let Some(file) = file {
            let service = Service {
                name: name.to_owned(),
                root: self.root.clone(),
                file,
                status: sender,
                journal: Journal::new(&self.root, name),
            };
            tokio::spawn(service.run(receiver));
        }
        units.insert(name.to_owned(), unit.clone());
        unit
    }

    pub(crate) fn all(&self) -> Vec<Unit> {
        let units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        units.values().cloned().collect()
    }

    /// Starts without waiting.
    pub(crate) fn start(&self, name: &str) {
        drop(self.unit(name).queue(Job::Start));
    }

    pub(crate) async fn stop_all(&self) {
        let jobs: Vec<_> = self
            .all()
            .iter()
            .map(|unit| unit.queue(Job::Stop))
            .collect();
        for job in jobs {
            let _ = job.await;
        }
    }
}

impl Unit {
    /// Queues a job; the receiver gets its result.
    pub(crate) fn queue(&self, job: Job) -> oneshot::Receiver<&'static str> {
        let (done, ended) = oneshot::channel();
        let command = match job {
            Job::Start => Order::Start(done),
            Job::Stop => Order::Stop(done),
            Job::Restart => Order::Restart(done),
        };
        let _ = self.commands.send(command);
        ended
    }

    pub(crate) fn kill(&self, signal: Signal) {
        let _ = self.commands.send(Order::Kill(signal));
    }
}

/// Why the running program is no longer watched.
enum Ended {
    Exited(Option<ExitStatus>),
    Stop(Done),
    Restart(Done),
    /// Nobody can command it any more.
    Orphaned,
}

struct Service {
    name: String,
    root: PathBuf,
    file: UnitFile,
    status: watch::Sender<Status>,
    journal: Journal,
}

impl Service {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Order>) {
        let mut starting: Option<Done> = None;
        let mut go = false;
        loop {
            if !go {
                match commands.recv().await {
                    Some(Order::Start(done) | Order::Restart(done)) => {
                        self.status.send_modify(|status| status.restarts = 0);
                        starting = Some(done);
                    }
                    Some(Order::Stop(done)) => {
                        let _ = done.send("done");
                        continue;
                    }
                    Some(Order::Kill(_)) => continue,
                    None => return,
                }
            }
            match self.once(&mut commands, starting.take()).await {
                Ended::Exited(status) => go = self.after_exit(status, &mut commands).await,
                Ended::Stop(done) => {
                    let _ = done.send("done");
                    go = false;
                }
                Ended::Restart(done) => {
                    self.status.send_modify(|status| status.restarts = 0);
                    starting = Some(done);
                    go = true;
                }
                Ended::Orphaned => return,
            }
        }
    }

    /// Starts the program and watches it until it ends or is told to.
    async fn once(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Order>,
        done: Option<Done>,
    ) -> Ended {
        // The file may have been written anew: `daemon-reload` is implied.
        if let Some(file) = unit_file::load(&self.root, &self.name) {
            self.file = file;
        }
        let notify = self.notify_socket();
        let mut child = match self.spawn(notify.as_ref().map(|(path, _)| path)) {
            Ok(child) => child,
            Err(error) => {
                self.journal.write(3, &format!("cannot execute: {error}"));
                finish(done, "failed");
                return Ended::Exited(None);
            }
        };
        self.journal.follow(&mut child);
        let pid = child.id().unwrap_or(0);
        self.status.send_modify(|status| status.main_pid = pid);
        let mut done = done;
        if notify.is_some() || self.file.kind == "oneshot" {
            self.enter("activating", "start");
        } else {
            self.enter("active", "running");
            finish(done.take(), "done");
        }
        loop {
            tokio::select! {
                status = child.wait() => {
                    let result = if status.as_ref().is_ok_and(ExitStatus::success) { "done" } else { "failed" };
                    finish(done, result);
                    return Ended::Exited(status.ok());
                }
                () = ready(notify.as_ref().map(|(_, socket)| socket)), if self.is("activating") => {
                    self.enter("active", "running");
                    finish(done.take(), "done");
                }
                command = commands.recv() => match command {
                    Some(Order::Start(another)) => {
                        if self.is("active") { let _ = another.send("done"); } else { finish(done.replace(another), "done"); }
                    }
                    Some(Order::Stop(another)) => {
                        self.stop(&mut child).await;
                        finish(done, "canceled");
                        return Ended::Stop(another);
                    }
                    Some(Order::Restart(another)) => {
                        self.stop(&mut child).await;
                        finish(done, "canceled");
                        return Ended::Restart(another);
                    }
                    Some(Order::Kill(signal)) => send(pid, signal),
                    None => {
                        self.stop(&mut child).await;
                        return Ended::Orphaned;
                    }
                },
            }
        }
    }

    /// Whether it is to be started again, after its pause.
    async fn after_exit(
        &mut self,
        exit: Option<ExitStatus>,
        commands: &mut mpsc::UnboundedReceiver<Order>,
    ) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let success = exit.is_some_and(|exit| exit.success());
        let signal = exit.and_then(|exit| exit.signal());
        self.status.send_modify(|status| {
            status.main_pid = 0;
            status.exit_code = if signal.is_some() { 2 } else { 1 };
            status.exit_status = signal
                .or_else(|| exit.and_then(|exit| exit.code()))
                .unwrap_or(203);
            status.result = match (success, signal) {
                (true, _) => "success",
                (false, Some(_)) => "signal",
                (false, None) => "exit-code",
            }
            .into();
        });
        let file = unit_file::load(&self.root, &self.name).unwrap_or_else(|| self.file.clone());
        let again = match file.restart {
            Restart::Always => true,
            Restart::OnFailure => !success,
            Restart::Never => false,
        };
        if !again {
            self.enter(
                if success { "inactive" } else { "failed" },
                if success { "dead" } else { "failed" },
            );
            return false;
        }
        self.enter("activating", "auto-restart");
        let pause = tokio::time::sleep(self.file.restart_after);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => {
                    self.status.send_modify(|status| status.restarts += 1);
                    return true;
                }
                command = commands.recv() => match command {
                    Some(Order::Stop(done)) => {
                        self.enter("inactive", "dead");
                        let _ = done.send("done");
                        return false;
                    }
                    Some(Order::Start(done) | Order::Restart(done)) => {
                        self.status.send_modify(|status| status.restarts = 0);
                        let _ = done.send("done");
                        return true;
                    }
                    Some(Order::Kill(_)) => {}
                    None => return false,
                },
            }
        }
    }

    async fn stop(&mut self, child: &mut Child) {
        self.enter("deactivating", "stop-sigterm");
        let pid = child.id().unwrap_or(0);
        send(pid, Signal::SIGTERM);
        if tokio::time::timeout(STOP_WITHIN, child.wait())
            .await
            .is_err()
        {
            send(pid, Signal::SIGKILL);
            let _ = child.wait().await;
        }
        self.status.send_modify(|status| {
            status.main_pid = 0;
            status.result = "success".into();
        });
        self.enter("inactive", "dead");
    }

    fn notify_socket(&self) -> Option<(PathBuf, UnixDatagram)> {
        if self.file.kind != "notify" {
            return None;
        }
        let directory = self.root.join("run/notify");
        std::fs::create_dir_all(&directory).ok()?;
        let path = directory.join(&self.name);
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).ok()?;
        Some((path, socket))
    }

    fn spawn(&self, notify: Option<&PathBuf>) -> std::io::Result<Child> {
        let mut words = self.file.exec.iter();
        let program = words
            .next()
            .ok_or_else(|| std::io::Error::other("no ExecStart"))?;
        // Tied to us, so that a killed lab leaves nothing.
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("tether").arg("--").arg(program).args(words);
        for path in &self.file.environment_files {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            command.envs(text.lines().filter_map(unit_file::pair));
        }
        command.envs(self.file.environment.iter().cloned());
        match notify {
            Some(path) => command.env("NOTIFY_SOCKET", path),
            None => command.env_remove("NOTIFY_SOCKET"),
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    fn is(&self, active: &str) -> bool {
        self.status.borrow().active == active
    }

    fn enter(&self, active: &str, sub: &str) {
        let now = monotonic_us();
        self.status.send_modify(|status| {
            let before = std::mem::replace(&mut status.active, active.into());
            status.sub = sub.into();
            if before == active {
                return;
            }
            status.changed_us = now;
            match before.as_str() {
                "active" => status.active_exit_us = now,
                "inactive" | "failed" => status.inactive_exit_us = now,
                _ => {}
            }
            match active {
                "active" => status.active_enter_us = now,
                "inactive" | "failed" => status.inactive_enter_us = now,
                // systemd passes through inactive on an automatic restart.
                "activating" => status.inactive_exit_us = now,
                _ => {}
            }
        });
    }
}

fn finish(done: Option<Done>, result: &'static str) {
    if let Some(done) = done {
        let _ = done.send(result);
    }
}

/// Ends when the program said that it is ready; never when it cannot.
async fn ready(socket: Option<&UnixDatagram>) {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    let mut message = [0_u8; 4096];
    loop {
        let Ok(length) = socket.recv(&mut message).await else {
            return std::future::pending().await;
        };
        let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default());
        if text.lines().any(|line| line == "READY=1") {
            return;
        }
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 0) {
        let _ = killpg(Pid::from_raw(pid), signal);
    }
}

fn monotonic_us() -> u64 {
    let Ok(now) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC) else {
        return 0;
    };
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    let micros = u64::try_from(now.tv_nsec() / 1000).unwrap_or(0);
    seconds * 1_000_000 + micros
}
