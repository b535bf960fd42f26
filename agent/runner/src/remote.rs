//! The runner's broker: every call goes to the agent, under the number of the run that makes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use iaso_host::{Broker, CallContext, CapError, Request, Response};
use tokio::sync::oneshot;

use crate::frame;
use crate::message::FromRunner;
use crate::socket::Socket;

tokio::task_local! {
    /// The run that a task carries out.
    pub(crate) static RUN: u64;
}

type Answer = Result<Response, CapError>;

/// Asks the agent.
pub(crate) struct Remote {
    socket: Arc<Socket>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
}

/// A call that is given up is not waited for.
struct Asked<'a> {
    remote: &'a Remote,
    run: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.remote.waiting().remove(&self.run);
    }
}

impl Remote {
    pub(crate) fn new(socket: Arc<Socket>) -> Self {
        Self {
            socket,
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent answered the call of that run.
    pub(crate) fn answered(&self, run: u64, answer: Answer) {
        let waiting = self.waiting().remove(&run);
        if let Some(waiting) = waiting {
            // The run may have ended meanwhile.
            let _ = waiting.send(answer);
        }
    }
}

#[async_trait]
impl Broker for Remote {
    async fn call(&self, _context: &CallContext, request: Request) -> Answer {
        let run = RUN.try_with(|run| *run).map_err(|_| {
            CapError::Other("a call outside of a run; please report this".to_owned())
        })?;
        let frame = frame::encode(&FromRunner::Ask { run, request })
            .map_err(|error| CapError::TooLarge(error.to_string()))?;
        let (answer, answered) = oneshot::channel();
        self.waiting().insert(run, answer);
        let _asked = Asked { remote: self, run };
        let gone = || CapError::Unavailable("the agent is gone".to_owned());
        self.socket.send(frame, None).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}
