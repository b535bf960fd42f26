//! Advances the engine's epoch, so that computing plugins are interrupted: an OS thread of its own, awake only while a run is.
//!
//! A task of the async runtime would not do: busy plugins could keep it from being polled.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmtime::Engine;

/// How often a computing plugin is interrupted, to let others run and to look at the clock.
pub(crate) const TICK: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: u32,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread; it ends with this value.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

/// The epoch advances while one of these lives.
pub(crate) struct Ticking {
    shared: Arc<Shared>,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, seen) = (engine.clone(), Arc::clone(&shared));
        std::thread::Builder::new()
            .name("iaso-epoch".to_owned())
            .spawn(move || tick(&engine, &seen))?;
        Ok(Self { shared })
    }

    pub(crate) fn ticking(&self) -> Ticking {
        self.shared.lock().running += 1;
        self.shared.changed.notify_all();
        Ticking {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.running = state.running.saturating_sub(1);
    }
}

fn tick(engine: &Engine, shared: &Shared) {
    let mut state = shared.lock();
    while !state.stopped {
        if state.running == 0 {
            state = shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        drop(state);
        std::thread::sleep(TICK);
        engine.increment_epoch();
        state = shared.lock();
    }
}
