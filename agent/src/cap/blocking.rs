//! System calls that may hang (a dead NFS mount, a resolver without servers), on threads that can be left behind.
//!
//! **Invariants**
//! - The caller waits for its timeout and no longer.
//! - At most [`THREADS_MAX`] threads are out; more calls are refused at once, never queued.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use iaso_host::CapError;
use tokio::sync::oneshot;

/// Most threads of this kind at once, hung ones included.
pub const THREADS_MAX: usize = 32;

/// Starts such threads and counts them.
#[derive(Debug, Clone, Default)]
pub struct Threads {
    out: Arc<AtomicUsize>,
    abandoned: Arc<AtomicUsize>,
}

/// Lowers a count when its thread or its wait is over, however it ends.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Threads {
    /// None are out.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Threads that nobody waits for any more.
    #[must_use]
    pub fn abandoned(&self) -> usize {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Runs `work` and waits for it, at most `timeout`.
    pub async fn run<T: Send + 'static>(
        &self,
        timeout: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CapError> {
        let out = Counted::new(&self.out);
        if self.out.load(Ordering::Relaxed) > THREADS_MAX {
            return Err(CapError::Unavailable(format!(
                "{THREADS_MAX} earlier calls of this kind hang on this host (a dead network mount?); the agent starts no more"
            )));
        }
        let (done, answer) = oneshot::channel();
        let abandoned = Arc::clone(&self.abandoned);
        std::thread::Builder::new()
            .name("iaso-blocking".into())
            .spawn(move || {
                let _out = out;
                if let Err(_late) = done.send(work()) {
                    abandoned.fetch_sub(1, Ordering::Relaxed);
                }
            })
            .map_err(|error| CapError::Unavailable(format!("cannot start a thread: {error}")))?;
        let mut wait = Wait {
            answer: Some(answer),
            abandoned: &self.abandoned,
        };
        wait.answer(timeout).await
    }
}

/// Counts the thread as abandoned when the wait is given up, also by being dropped.
struct Wait<'a, T> {
    answer: Option<oneshot::Receiver<T>>,
    abandoned: &'a AtomicUsize,
}

impl<T> Wait<'_, T> {
    async fn answer(&mut self, timeout: Duration) -> Result<T, CapError> {
        let Some(answer) = self.answer.as_mut() else {
            return Err(CapError::Timeout);
        };
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => {
                self.answer = None;
                answer.map_err(|_| {
                    CapError::Other("the call's thread ended without an answer".into())
                })
            }
            Err(_) => Err(CapError::Timeout),
        }
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        let Some(mut answer) = self.answer.take() else {
            return;
        };
        // Count first: the thread lowers the count only if it finds the channel closed.
        self.abandoned.fetch_add(1, Ordering::Relaxed);
        answer.close();
        if answer.try_recv().is_ok() {
            self.abandoned.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_hangs_is_left_behind_counted_and_counted_off_when_it_returns() {
        let threads = Threads::new();
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let answer = threads
            .run(Duration::from_millis(20), move || hold.recv().is_ok())
            .await;
        assert_eq!(answer, Err(CapError::Timeout));
        assert_eq!(threads.abandoned(), 1);
        drop(release);
        while threads.abandoned() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn when_too_many_hang_more_are_refused_at_once() {
        let threads = Threads::new();
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let hold = Arc::new(std::sync::Mutex::new(hold));
        for _ in 0..THREADS_MAX {
            let hold = Arc::clone(&hold);
            let hang = move || drop(hold.lock().map(|hold| hold.recv()));
            assert_eq!(
                threads.run(Duration::ZERO, hang).await,
                Err(CapError::Timeout)
            );
        }
        assert!(matches!(
            threads.run(Duration::from_secs(9), || ()).await,
            Err(CapError::Unavailable(_))
        ));
        drop(release);
    }
}
