//! One runner from its hello to its end, as the agent sees it.
//!
//! **Invariants**
//! - Who asks is what was noted when the run was started; a run has one host call at a time and as many in all as its limits say.
//! - Whatever breaks the protocol ends the runner, in words that say what it was.
//! - When it ends, every run in flight is told.

use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{FuturesUnordered, StreamExt as _};
use iaso_host::{
    Broker, CallContext, CapError, ImportedFunctions, PluginFault, Request, Response, RunLimits,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::frame::{self, FrameError, Frames};
use crate::message::{FromRunner, Kind, Report, Task, ToRunner};
use crate::plugin::Registered;
use crate::socket::Socket;

/// Why a runner ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    #[error("its process ended")]
    Gone,
    #[error("its socket broke: {0}")]
    Socket(String),
    #[error("it sent {0}")]
    Frame(#[from] FrameError),
    #[error("it broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("it gave up: {0}")]
    Failed(String),
    #[error("{0}")]
    Killed(String),
    #[error("the agent stops")]
    Stopped,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Socket(error.to_string())
    }
}

/// A run whose runner ended under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) why: String,
    /// No other run was in flight.
    pub(crate) was_alone: bool,
}

pub(crate) type LoadResult = Result<Vec<ImportedFunctions>, PluginFault>;
type Done = oneshot::Sender<Result<Report, Lost>>;

/// A run that was started.
struct InFlight {
    context: CallContext,
    kind: Kind,
    calls_left: u32,
    is_asking: bool,
    cancelled: CancellationToken,
    done: Done,
}

#[derive(Default)]
struct Table {
    is_over: bool,
    last_run: u64,
    runs: BTreeMap<u64, InFlight>,
    /// Loaded in this runner, or why not; absent: not asked yet.
    loaded: BTreeMap<u64, LoadResult>,
    loading: BTreeMap<u64, Vec<oneshot::Sender<LoadResult>>>,
}

/// A runner that is ready.
pub(crate) struct Life {
    socket: Arc<Socket>,
    table: Mutex<Table>,
    killed: CancellationToken,
    why_killed: Mutex<Option<String>>,
    host_calls_max: usize,
}

/// A run in flight; dropped, nobody waits for it any more.
pub(crate) struct Ticket {
    pub(crate) life: Arc<Life>,
    run: u64,
    pub(crate) done: oneshot::Receiver<Result<Report, Lost>>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let run = self.life.table().runs.remove(&self.run);
        if let Some(run) = run {
            run.cancelled.cancel();
            let _ = self.life.say(&ToRunner::Cancel { run: self.run });
        }
    }
}

type Calls = FuturesUnordered<BoxFuture<'static, ()>>;

impl Life {
    pub(crate) fn new(socket: Arc<Socket>, host_calls_max: u32) -> Self {
        Self {
            socket,
            table: Mutex::default(),
            killed: CancellationToken::new(),
            why_killed: Mutex::default(),
            host_calls_max: host_calls_max as usize,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the runner.
    pub(crate) fn kill(&self, why: String) {
        let mut first = self
            .why_killed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(why);
        self.killed.cancel();
    }

    /// Errors are for the reader of the socket, who sees them too.
    fn say(&self, message: &ToRunner) -> Result<(), FrameError> {
        let frame = frame::encode(message)?;
        let _ = self.socket.send(frame, None);
        Ok(())
    }

    /// Notes a run, so that what becomes of the runner is told to it; none when the runner is over or about to be.
    pub(crate) fn begin(
        self: &Arc<Self>,
        context: CallContext,
        kind: Kind,
        limits: &RunLimits,
    ) -> Option<Ticket> {
        let (done, ended) = oneshot::channel();
        let mut table = self.table();
        if table.is_over || self.killed.is_cancelled() {
            return None;
        }
        table.last_run += 1;
        let run = table.last_run;
        let noted = InFlight {
            context,
            kind,
            calls_left: limits.host_calls,
            is_asking: false,
            cancelled: CancellationToken::new(),
            done,
        };
        table.runs.insert(run, noted);
        Some(Ticket {
            life: Arc::clone(self),
            run,
            done: ended,
        })
    }

    /// Starts a noted run.
    pub(crate) fn start(
        &self,
        ticket: &Ticket,
        plugin: u64,
        task: Task,
        limits: RunLimits,
    ) -> Result<(), FrameError> {
        self.say(&ToRunner::Run {
            run: ticket.run,
            plugin,
            task,
            limits,
        })
    }

    /// Loads a plugin, once for each runner. The error of the receiver means that the runner ended.
    pub(crate) fn load(&self, plugin: &Registered) -> oneshot::Receiver<LoadResult> {
        let (answer, loaded) = oneshot::channel();
        let mut table = self.table();
        if let Some(known) = table.loaded.get(&plugin.id) {
            let _ = answer.send(known.clone());
            return loaded;
        }
        let waiting = table.loading.entry(plugin.id).or_default();
        waiting.push(answer);
        if waiting.len() == 1 {
            let message = ToRunner::Load {
                plugin: plugin.id,
                name: plugin.name.clone(),
                sha256: plugin.code.sha256,
                bytes: plugin.code.bytes,
            };
            // A name and a digest fit a frame.
            if let Ok(frame) = frame::encode(&message) {
                let _ = self.socket.send(frame, Some(Arc::clone(&plugin.code.file)));
            }
        }
        loaded
    }

    /// The plugin goes.
    pub(crate) fn unload(&self, plugin: u64) {
        self.table().loaded.remove(&plugin);
        let _ = self.say(&ToRunner::Unload { plugin });
    }

    /// Carries out what the runner asks until it ends or is to end.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        mut frames: Frames,
        broker: Arc<dyn Broker>,
    ) -> End {
        let mut calls = Calls::new();
        let flush = self.socket.flush();
        tokio::pin!(flush);
        loop {
            loop {
                match frames.take() {
                    Ok(Some(message)) => {
                        if let Err(end) = self.handle(message, &calls, &broker) {
                            return end;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return error.into(),
                }
            }
            tokio::select! {
                biased;
                () = self.killed.cancelled() => {
                    let why = self.why_killed.lock().unwrap_or_else(PoisonError::into_inner);
                    return End::Killed(why.clone().unwrap_or_default());
                }
                more = self.socket.receive(&mut frames) => match more {
                    Ok(true) => {}
                    Ok(false) => return End::Gone,
                    Err(error) => return error.into(),
                },
                Some(()) = calls.next(), if !calls.is_empty() => {}
                error = &mut flush => return error.into(),
            }
        }
    }

    fn handle(
        self: &Arc<Self>,
        message: FromRunner,
        calls: &Calls,
        broker: &Arc<dyn Broker>,
    ) -> Result<(), End> {
        match message {
            FromRunner::Ready(_) => return Err(End::Protocol("it said twice that it is ready")),
            FromRunner::Failed(why) => return Err(End::Failed(why.chars().take(500).collect())),
            FromRunner::Loaded { plugin, result } => {
                let mut table = self.table();
                let waiting = table.loading.remove(&plugin);
                let waiting = waiting.ok_or(End::Protocol("it loaded what it was not told to"))?;
                for answer in waiting {
                    let _ = answer.send(result.clone());
                }
                table.loaded.insert(plugin, result);
            }
            FromRunner::Ask { run, request } => {
                if let Some(call) = self.call(run, request, calls.len(), broker)? {
                    calls.push(call);
                }
            }
            FromRunner::Done { run, report } => {
                let mut table = self.table();
                let Some(noted) = table.runs.remove(&run) else {
                    return table.is_past(run);
                };
                noted.cancelled.cancel();
                if noted.kind != report.kind() {
                    return Err(End::Protocol("it answered another task than it was given"));
                }
                let _ = noted.done.send(Ok(report));
            }
        }
        Ok(())
    }

    /// Checks who asks, and gives the call to be carried out.
    fn call(
        self: &Arc<Self>,
        run: u64,
        request: Request,
        under_way: usize,
        broker: &Arc<dyn Broker>,
    ) -> Result<Option<BoxFuture<'static, ()>>, End> {
        let (context, cancelled) = {
            let mut table = self.table();
            let Some(noted) = table.runs.get_mut(&run) else {
                return table.is_past(run).map(|()| None);
            };
            if noted.is_asking {
                return Err(End::Protocol("a run made two host calls at once"));
            }
            if noted.calls_left == 0 {
                return Err(End::Protocol("a run made more host calls than it may"));
            }
            noted.calls_left -= 1;
            noted.is_asking = true;
            (noted.context.clone(), noted.cancelled.clone())
        };
        let (life, broker) = (Arc::clone(self), Arc::clone(broker));
        let is_one_too_many = under_way >= self.host_calls_max;
        Ok(Some(Box::pin(async move {
            let answer = if is_one_too_many {
                Err(CapError::Unavailable(
                    "too many host calls at once on this agent; try later".to_owned(),
                ))
            } else {
                // What breaks here must not take the socket with it.
                let call = AssertUnwindSafe(broker.call(&context, request)).catch_unwind();
                tokio::select! {
                    () = cancelled.cancelled() => return,
                    answer = call => answer.unwrap_or_else(|_| {
                        Err(CapError::Other("the agent broke while it answered; please report this".to_owned()))
                    }),
                }
            };
            life.answer(run, answer);
        })))
    }

    fn answer(&self, run: u64, answer: Result<Response, CapError>) {
        if let Some(noted) = self.table().runs.get_mut(&run) {
            noted.is_asking = false;
        }
        if let Err(error) = self.say(&ToRunner::Answer { run, answer }) {
            let answer = Err(CapError::TooLarge(error.to_string()));
            let _ = self.say(&ToRunner::Answer { run, answer });
        }
    }

    /// The runner has ended: every run in flight is told. Gives how many there were.
    pub(crate) fn over(&self, why: &str) -> usize {
        let mut table = self.table();
        table.is_over = true;
        table.loading.clear();
        let runs = std::mem::take(&mut table.runs);
        let lost = Lost {
            why: why.to_owned(),
            // When it was ended here, that was for what another did, which has its fault already.
            was_alone: runs.len() == 1 && !self.killed.is_cancelled(),
        };
        let count = runs.len();
        for (_, run) in runs {
            run.cancelled.cancel();
            let _ = run.done.send(Err(lost.clone()));
        }
        count
    }
}

impl Table {
    /// An answer may cross with the word that nobody waits for it.
    fn is_past(&self, run: u64) -> Result<(), End> {
        if run <= self.last_run && run > 0 {
            Ok(())
        } else {
            Err(End::Protocol("it named a run that it was not given"))
        }
    }
}
