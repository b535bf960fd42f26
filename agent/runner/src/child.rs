//! The process that runs plugins: locked in first, then it loads and runs what the agent says, and asks the agent for everything.
//!
//! **Invariants**
//! - What an engine needs of the machine is opened before the lock, what a plugin is made of is read after it.
//! - One thread runs all plugins; a second one interrupts those that compute. So plugins take one processor at most.
//! - It ends when the agent's end of the socket closes.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iaso_host::{
    Allocator, Digest, FaultClass, LoadedPlugin, PluginEngine, PluginFault, PluginHost, RunLimits,
};
use nix::sys::signal::{SigSet, Signal};
use tokio::task::AbortHandle;

use crate::frame::{self, FrameError, Frames};
use crate::message::{FromRunner, Hello, PROTOCOL, Ready, Report, Task, ToRunner};
use crate::remote::{RUN, Remote};
use crate::socket::Socket;
use crate::{code, sandbox};

/// Why the runner ended; the agent reads it when it is still there.
#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("the agent's message: {0}")]
    Frame(#[from] FrameError),
    #[error("the socket: {0}")]
    Socket(#[from] io::Error),
    #[error("the agent speaks protocol {0}, this runner {PROTOCOL}: they must be of one version")]
    Protocol(u32),
    #[error("the agent said something else than hello first")]
    NoHello,
    #[error("{0}")]
    Engine(#[from] iaso_host::EngineError),
    #[error("a plugin came without its bytes")]
    NoFile,
}

/// Runs plugins until the agent is gone. The agent starts this with a socket as standard input; there is nothing for a person to do here.
#[must_use]
pub fn main() -> ExitCode {
    let _ = nix::sys::prctl::set_name(c"iaso-runner");
    // What stops the agent is often sent to both; the agent ends this when it is done.
    let asked_to_end: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
        .into_iter()
        .collect();
    let _ = asked_to_end.thread_block();
    let Ok(socket) = sandbox::adopt_socket() else {
        eprintln!(
            "iaso-agent runner: the agent starts this for its plugins; start `iaso-agent run` instead"
        );
        return ExitCode::from(2);
    };
    let last_word = socket.as_fd().try_clone_to_owned();
    match serve(socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Ok(fd) = last_word {
                say_last(&fd, &error.to_string());
            }
            ExitCode::FAILURE
        }
    }
}

/// Best effort: what is on its way already goes first, and what does not fit is lost.
fn say_last(fd: &OwnedFd, words: &str) {
    if let Ok(frame) = frame::encode(&FromRunner::Failed(words.to_owned())) {
        let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
        let _ = rustix::net::send(fd, &frame, flags);
    }
}

fn serve(mut socket: UnixStream) -> Result<(), ChildError> {
    let (hello, frames) = hello(&mut socket)?;
    end_on_panic(socket.as_fd().try_clone_to_owned()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let engine = PluginEngine::new(hello.runs_max)?;
    let _entered = runtime.enter();
    let socket = Arc::new(Socket::new(socket)?);
    let mut layers = sandbox::lock(&hello.limits);
    let remote = Arc::new(Remote::new(Arc::clone(&socket)));
    let is_pooled = engine.allocator() == Allocator::Pooled;
    let broker = Arc::clone(&remote) as Arc<dyn iaso_host::Broker>;
    let host = PluginHost::with_engine(engine, hello.host_calls_max, broker)?;
    sandbox::no_more_threads(&mut layers);
    let ready = FromRunner::Ready(Ready {
        protocol: PROTOCOL,
        layers,
        is_pooled,
    });
    socket.send(frame::encode(&ready)?, None)?;
    let session = Session {
        socket,
        remote,
        host,
        plugins: HashMap::new(),
        runs: Arc::default(),
        files: VecDeque::new(),
    };
    runtime.block_on(session.serve(frames))
}

/// A plugin cannot make the runner panic; what does is a bug here, and a runner that has one is replaced as a whole.
fn end_on_panic(fd: OwnedFd) {
    std::panic::set_hook(Box::new(move |panic| {
        say_last(&fd, &panic.to_string());
        std::process::exit(101);
    }));
}

/// The first message, and what came after it.
fn hello(socket: &mut UnixStream) -> Result<(Hello, Frames), ChildError> {
    let mut frames = Frames::default();
    loop {
        match frames.take()? {
            Some(ToRunner::Hello(hello)) if hello.protocol == PROTOCOL => {
                return Ok((hello, frames));
            }
            Some(ToRunner::Hello(hello)) => return Err(ChildError::Protocol(hello.protocol)),
            Some(_) => return Err(ChildError::NoHello),
            None => {}
        }
        let bytes = socket.read(frames.room())?;
        if bytes == 0 {
            return Err(ChildError::NoHello);
        }
        frames.filled(bytes);
    }
}

type Runs = Arc<Mutex<HashMap<u64, AbortHandle>>>;

fn locked(runs: &Runs) -> MutexGuard<'_, HashMap<u64, AbortHandle>> {
    runs.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Session {
    socket: Arc<Socket>,
    remote: Arc<Remote>,
    host: PluginHost,
    plugins: HashMap<u64, Arc<LoadedPlugin>>,
    runs: Runs,
    files: VecDeque<OwnedFd>,
}

impl Session {
    async fn serve(mut self, mut frames: Frames) -> Result<(), ChildError> {
        let socket = Arc::clone(&self.socket);
        let flush = socket.flush();
        tokio::pin!(flush);
        loop {
            while let Some(message) = frames.take()? {
                self.handle(message)?;
            }
            tokio::select! {
                biased;
                more = socket.receive_with_files(&mut frames, &mut self.files) => {
                    if !more? {
                        return Ok(());
                    }
                }
                error = &mut flush => return Err(error.into()),
            }
        }
    }

    fn handle(&mut self, message: ToRunner) -> Result<(), ChildError> {
        match message {
            ToRunner::Hello(_) => return Err(ChildError::NoHello),
            ToRunner::Load {
                plugin,
                name,
                sha256,
                bytes,
            } => {
                let file = self.files.pop_front().ok_or(ChildError::NoFile)?;
                let result = self.load(&name, &Digest::from_bytes(sha256), file, bytes);
                let result = result.map(|loaded| {
                    let imports = loaded.imported_functions().to_vec();
                    self.plugins.insert(plugin, Arc::new(loaded));
                    imports
                });
                self.say(&FromRunner::Loaded { plugin, result })?;
            }
            ToRunner::Unload { plugin } => {
                self.plugins.remove(&plugin);
            }
            ToRunner::Run {
                run,
                plugin,
                task,
                limits,
            } => self.run(run, plugin, task, limits),
            ToRunner::Cancel { run } => {
                if let Some(task) = locked(&self.runs).remove(&run) {
                    task.abort();
                }
            }
            ToRunner::Answer { run, answer } => self.remote.answered(run, answer),
        }
        Ok(())
    }

    fn say(&self, message: &FromRunner) -> Result<(), ChildError> {
        Ok(self.socket.send(frame::encode(message)?, None)?)
    }

    fn load(
        &self,
        name: &str,
        digest: &Digest,
        file: OwnedFd,
        bytes: u64,
    ) -> Result<LoadedPlugin, PluginFault> {
        let code = code::read(file, bytes).map_err(|error| {
            let why = format!("the plugin's bytes cannot be read: {error}");
            fault(FaultClass::HostError, why)
        })?;
        self.host.load_ungranted(name, &code, digest)
    }

    fn run(&self, run: u64, plugin: u64, task: Task, limits: RunLimits) {
        let plugin = self.plugins.get(&plugin).cloned();
        let (socket, runs) = (Arc::clone(&self.socket), Arc::clone(&self.runs));
        let work = async move {
            let report = carry_out(plugin, task, &limits).await;
            locked(&runs).remove(&run);
            // The other side is gone when this fails, and the loop sees that too.
            let _ = socket.send(done(run, report), None);
        };
        let task = tokio::spawn(RUN.scope(run, work));
        // There is one thread, so the task has not begun yet, let alone ended.
        locked(&self.runs).insert(run, task.abort_handle());
    }
}

async fn carry_out(plugin: Option<Arc<LoadedPlugin>>, task: Task, limits: &RunLimits) -> Report {
    let Some(plugin) = plugin else {
        let fault = fault(FaultClass::HostError, "it was not loaded".to_owned());
        return Report::broken(task.kind(), fault);
    };
    match task {
        Task::Check { config } => Report::Findings(plugin.check(&config, limits).await),
        Task::Fixes => Report::Fixes(plugin.fixes(limits).await),
        Task::Plan { fix, config } => Report::Plan(plugin.plan(&fix, &config, limits).await),
        Task::Apply { fix, config } => Report::Applied(plugin.apply(&fix, &config, limits).await),
    }
}

fn fault(class: FaultClass, message: String) -> PluginFault {
    PluginFault { class, message }
}

fn done(run: u64, report: Report) -> Vec<u8> {
    let kind = report.kind();
    let too_large = |error: FrameError| {
        let fault = fault(FaultClass::BadOutput, error.to_string());
        let report = Report::broken(kind, fault);
        frame::encode(&FromRunner::Done { run, report })
    };
    frame::encode(&FromRunner::Done { run, report })
        .or_else(too_large)
        .unwrap_or_default() // A fault of a few words always fits.
}
