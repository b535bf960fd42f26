//! Keeps one runner running: starts it, serves it, and starts another when it ends.
//!
//! **Invariants**
//! - There is at most one runner, and it ends with this.
//! - The waits between runners grow while they end soon, up to [`WAIT_MAX`], and begin anew after one that lived for [`LIVED`].

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iaso_grants::Grants;
use iaso_host::{Broker, Digest, FaultClass, PluginFault};
use nix::sys::signal::Signal;
use tokio::process::{Child, Command};
use tokio::sync::{RwLock, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::frame::{self, Frames};
use crate::life::{End, Life};
use crate::message::{FromRunner, Hello, PROTOCOL, Ready, ToRunner};
use crate::plugin::{Plugin, fault};
use crate::sandbox::{Layer, Layers, Limits};
use crate::socket::Socket;

/// Longest from the start of the process until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// The first wait for another runner.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// The longest: a host without checks is worse than one more process every few seconds.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A runner that lived for so long is no sign of trouble.
const LIVED: Duration = Duration::from_secs(30);
/// Longest for a process that was killed to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// How the runner is started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// How it is locked in.
    pub limits: Limits,
    /// Runs at once; more wait for their turn, and their clocks start only then.
    pub runs_max: u32,
    /// Host calls at once; more are refused.
    pub host_calls_max: u32,
    /// How much later than a run's deadline the runner may say that it ended. It keeps the deadline itself; one that does not is ended.
    pub grace: Duration,
}

impl Settings {
    /// This very program, as it was when it was started, with the subcommand `runner`.
    #[must_use]
    pub fn of_this_program(limits: Limits) -> Self {
        Self {
            program: "/proc/self/exe".into(),
            arguments: vec!["runner".into()],
            limits,
            runs_max: 8,
            host_calls_max: 64,
            grace: Duration::from_secs(5),
        }
    }
}

/// What the runner does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is being started.
    Starting,
    /// It takes runs.
    Up {
        /// Its process.
        pid: u32,
    },
    /// It ended, and is started again after a wait.
    Waiting,
}

/// The runner, for metrics and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it does now.
    pub state: State,
    /// How it is locked in, or the one before it was; none when none was ever ready.
    pub layers: Option<Layers>,
    /// Processes that were ready.
    pub starts: u64,
    /// Processes that ended by themselves or had to be ended.
    pub ends: u64,
    /// Runs in flight that were lost with them.
    pub runs_lost: u64,
    /// Why the last one ended.
    pub last_end: Option<String>,
}

/// What the parts on this side share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    broker: Arc<dyn Broker>,
    life: watch::Sender<Option<Arc<Life>>>,
    status: Mutex<Status>,
    pub(crate) turns: Semaphore,
    /// Held for writing by a plugin that runs alone.
    pub(crate) gate: RwLock<()>,
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runner that is ready now.
    pub(crate) fn life(&self) -> Option<Arc<Life>> {
        self.life.borrow().clone()
    }

    /// Waits for a runner that is ready.
    pub(crate) async fn next_life(&self) -> Arc<Life> {
        let mut lives = self.life.subscribe();
        loop {
            let now = lives.borrow_and_update().clone();
            if let Some(life) = now {
                return life;
            }
            if lives.changed().await.is_err() {
                return std::future::pending().await; // The sender lives in `self`.
            }
        }
    }

    /// There was none in time.
    pub(crate) fn no_runner(&self) -> PluginFault {
        let last = self.status().last_end.clone();
        let last = last.unwrap_or_else(|| "it has not been ready yet".to_owned());
        let message = format!(
            "there was no turn in a process that runs plugins before the run's time was over; about the last one: {last}"
        );
        fault(FaultClass::RunnerLost, message)
    }
}

/// The runner, kept running until this is dropped.
pub struct Runner {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl Runner {
    /// Starts to keep one running; `broker` answers its plugins' calls. Within a runtime whose threads stay: the runner ends with the
    /// thread that started it.
    #[must_use]
    pub fn start(settings: Settings, broker: Arc<dyn Broker>) -> Self {
        let status = Status {
            state: State::Starting,
            layers: None,
            starts: 0,
            ends: 0,
            runs_lost: 0,
            last_end: None,
        };
        let shared = Arc::new(Shared {
            turns: Semaphore::new(settings.runs_max.max(1) as usize),
            settings,
            broker,
            life: watch::Sender::new(None),
            status: Mutex::new(status),
            gate: RwLock::new(()),
        });
        let stop = CancellationToken::new();
        tokio::spawn(keep(Arc::clone(&shared), stop.clone()));
        Self {
            shared,
            _stop: stop.drop_guard(),
        }
    }

    /// A plugin that can be run, of compiled bytes whose SHA-256 is `expected`. What it imports is looked at when it first runs.
    ///
    /// `grants` are what the broker lent for this version.
    pub fn plugin(
        &self,
        name: &str,
        compiled: &[u8],
        expected: &Digest,
        grants: Arc<Grants>,
    ) -> Result<Plugin, PluginFault> {
        Plugin::new(Arc::clone(&self.shared), name, compiled, expected, grants)
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status().clone()
    }

    /// Waits until a runner is ready.
    pub async fn ready(&self) {
        self.shared.next_life().await;
    }
}

async fn keep(shared: Arc<Shared>, stop: CancellationToken) {
    let mut wait = WAIT_FIRST;
    loop {
        shared.status().state = State::Starting;
        let began = Instant::now();
        let why = match one(&shared, &stop).await {
            Ok(End::Stopped) => return,
            Ok(end) => end.to_string(),
            Err(why) => why,
        };
        if began.elapsed() >= LIVED {
            wait = WAIT_FIRST;
        }
        {
            let mut status = shared.status();
            status.state = State::Waiting;
            status.ends += 1;
            status.last_end = Some(why.clone());
        }
        tracing::warn!(
            why,
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "the process that runs plugins ended; another is started"
        );
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
        wait = wait.saturating_mul(2).min(WAIT_MAX);
    }
}

/// One runner from its start to its end; an error is one that never was ready.
async fn one(shared: &Arc<Shared>, stop: &CancellationToken) -> Result<End, String> {
    let (mut child, socket) = spawn(&shared.settings)?;
    let socket = Arc::new(socket);
    let mut frames = Frames::default();
    let ready = tokio::select! {
        ready = tokio::time::timeout(READY_WITHIN, ready(&shared.settings, &socket, &mut frames)) => {
            ready.unwrap_or_else(|_| Err(format!("it was not ready within {READY_WITHIN:?}")))
        }
        () = stop.cancelled() => return Ok(End::Stopped),
    };
    let ready = match ready {
        Ok(ready) => ready,
        Err(why) => return Err(format!("{why}; {}", gone(&mut child).await)),
    };
    welcome(shared, &child, &ready);
    let life = Arc::new(Life::new(
        Arc::clone(&socket),
        shared.settings.host_calls_max,
    ));
    shared.life.send_replace(Some(Arc::clone(&life)));
    let end = tokio::select! {
        end = life.serve(frames, Arc::clone(&shared.broker)) => end,
        () = stop.cancelled() => End::Stopped,
    };
    shared.life.send_replace(None);
    let how = gone(&mut child).await;
    let end = match end {
        End::Gone | End::Socket(_) => End::Killed(how),
        End::Killed(why) => End::Killed(why),
        other @ (End::Frame(_) | End::Protocol(_) | End::Failed(_) | End::Stopped) => other,
    };
    let lost = life.over(&end.to_string());
    shared.status().runs_lost += lost as u64;
    Ok(end)
}

fn spawn(settings: &Settings) -> Result<(Child, Socket), String> {
    let cannot = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    let (ours, theirs) = UnixStream::pair().map_err(|e| cannot("there is no socket for it", &e))?;
    let child = Command::new(&settings.program)
        .args(&settings.arguments)
        .arg0("iaso-agent")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| cannot("it cannot be started", &e))?;
    let socket = Socket::new(ours).map_err(|e| cannot("its socket cannot be used", &e))?;
    Ok((child, socket))
}

/// Says hello and waits until the runner is locked in.
async fn ready(settings: &Settings, socket: &Socket, frames: &mut Frames) -> Result<Ready, String> {
    let hello = ToRunner::Hello(Hello {
        protocol: PROTOCOL,
        limits: settings.limits,
        runs_max: settings.runs_max,
        host_calls_max: settings.host_calls_max,
    });
    let frame = frame::encode(&hello).map_err(|error| error.to_string())?;
    socket
        .send(frame, None)
        .map_err(|error| error.to_string())?;
    loop {
        match frames.take().map_err(|error| error.to_string())? {
            Some(FromRunner::Ready(ready)) if ready.protocol == PROTOCOL => return Ok(ready),
            Some(FromRunner::Ready(_)) => return Err("it is of another version".to_owned()),
            Some(FromRunner::Failed(why)) => return Err(why.chars().take(500).collect()),
            Some(_) => return Err("it said something before it was ready".to_owned()),
            None => {}
        }
        match socket.receive(frames).await {
            Ok(true) => {}
            Ok(false) => return Err("it ended before it was ready".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Notes it, and says aloud which layers of the lock this machine does not give.
fn welcome(shared: &Shared, child: &Child, ready: &Ready) {
    let is_news = {
        let mut status = shared.status();
        let is_news = status.layers.as_ref() != Some(&ready.layers);
        status.starts += 1;
        status.state = State::Up {
            pid: child.id().unwrap_or_default(),
        };
        status.layers = Some(ready.layers.clone());
        is_news
    };
    if !is_news {
        return;
    }
    for (layer, state) in ready.layers.all() {
        match state {
            Layer::On => {}
            Layer::Partly(why) => {
                tracing::warn!(layer, why, "a layer round the plugins holds in part");
            }
            Layer::Off(why) => tracing::warn!(layer, why, "a layer round the plugins is missing"),
        }
    }
    if !ready.is_pooled {
        tracing::warn!(
            "no memory pool for plugins: each run will be several times slower; raise the address-space limit (RLIMIT_AS)"
        );
    }
    tracing::info!(
        layers = ready.layers.words(),
        "plugins run in a process of their own"
    );
}

/// Ends the process and says how it ended.
async fn gone(child: &mut Child) -> String {
    // It may be gone already, by itself: that is what is asked for.
    if let Ok(Some(status)) = child.try_wait() {
        return ended(status);
    }
    // A socket that closed comes a moment before its process is gone.
    if let Ok(Ok(status)) = tokio::time::timeout(Duration::from_millis(200), child.wait()).await {
        return ended(status);
    }
    let _ = child.start_kill();
    match tokio::time::timeout(GONE_WITHIN, child.wait()).await {
        Ok(Ok(_)) => "it was ended".to_owned(),
        Ok(Err(error)) => format!("nobody knows how it ended: {error}"),
        Err(_) => "it was killed and does not go".to_owned(),
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let name = Signal::try_from(signal).map_or("an unknown signal", Signal::as_str);
            format!("it was ended by {name}")
        }
        (None, Some(code)) => format!("it ended with exit code {code}"),
        (None, None) => "it ended".to_owned(),
    }
}
