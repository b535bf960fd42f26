//! The lab's Hostinger: the provider's HTTP API over machines that the lab owns, with faults to switch on.
//!
//! It is written from the API's description, not from our client, so that the two can disagree. It speaks the calls that Iaso uses
//! and answers 404 to the others.
//!
//! **Invariants**
//! - Every call is counted, twice: as it came, and when it was taken. "Exactly one recreate" is read from the second.
//! - An action that was taken runs to its end, whether or not anybody heard the answer.
//! - The emulator never decides how a machine really is: it asks [`Machines`], unless a fault makes it lie.
//!
//! Its bearer token guards the API only; `/lab/*` is open, because the emulator is never run outside of a lab.

mod answer;
mod api;
mod calls;
mod connection;
mod control;
mod faults;
mod lifecycle;
mod machines;
mod scripts;
#[cfg(test)]
mod tests;
mod world;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use calls::{CallKind, Calls};
pub use connection::{Cut, CuttableListener};
pub use faults::{Faults, HalfDone, RateLimit};
pub use machines::{FakeMachines, FakeRecreate, MachineError, MachineSpec, Machines};
pub use world::Clock;

use world::World;

/// Choices that a lab or a test may want to change.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long an action stays `created` before it is `sent`.
    pub created_for: Duration,
    /// How long a `sent` action takes besides what the machine needs.
    pub sent_for: Duration,
    /// How often uptime and traffic are sampled in the background. `None`: only when something happens or is asked.
    pub sample_every: Option<Duration>,
    /// Images that exist: id and name.
    pub templates: Vec<(u64, String)>,
    /// Passwords that are in the leak database.
    pub leaked: Vec<String>,
    /// Entries on a page of a list.
    pub per_page: usize,
    /// What time it is.
    pub clock: Clock,
    /// The bearer token. `None`: one is drawn.
    pub token: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            created_for: Duration::from_millis(500),
            sent_for: Duration::from_secs(1),
            sample_every: Some(Duration::from_secs(1)),
            templates: vec![
                (1077, "Ubuntu 24.04 LTS".to_owned()),
                (1013, "Debian 12".to_owned()),
            ],
            leaked: vec!["Password1234".to_owned(), "Correct-Horse-1".to_owned()],
            per_page: 50,
            clock: Clock::System,
            token: None,
        }
    }
}

/// Why there is no emulator.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The address cannot be listened on.
    #[error(
        "the Hostinger emulator cannot listen on {address}: is the port taken, or the address not on this machine?"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// No token could be drawn.
    #[error("cannot draw a token for the Hostinger emulator")]
    Token(#[source] getrandom::Error),
}

/// A running emulator. It stops when this is dropped.
#[derive(Debug)]
pub struct Emulator {
    address: SocketAddr,
    world: Arc<World>,
    stopping: CancellationToken,
    server: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Starts with default [`Options`].
    pub async fn start(
        bind: SocketAddr,
        machines: Box<dyn Machines>,
    ) -> Result<Self, EmulatorError> {
        Self::start_with(bind, machines, Options::default()).await
    }

    /// Starts; port 0 takes a free one.
    pub async fn start_with(
        bind: SocketAddr,
        machines: Box<dyn Machines>,
        options: Options,
    ) -> Result<Self, EmulatorError> {
        let failed = |source| EmulatorError::Bind {
            address: bind,
            source,
        };
        let listener = tokio::net::TcpListener::bind(bind).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let token = match options.token.clone() {
            Some(token) => token,
            None => draw_token().map_err(EmulatorError::Token)?,
        };
        let stopping = CancellationToken::new();
        let world = Arc::new(World::new(machines, options, token, stopping.clone()));
        world.sample_all().await;
        if let Some(every) = world.options.sample_every {
            tokio::spawn(sample_for_ever(Arc::clone(&world), every, stopping.clone()));
        }
        let service =
            control::router(Arc::clone(&world)).into_make_service_with_connect_info::<Cut>();
        let serving = axum::serve(CuttableListener::new(listener), service)
            .with_graceful_shutdown(stopping.clone().cancelled_owned());
        let server = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the Hostinger emulator stopped serving");
            }
        });
        Ok(Self {
            address,
            world,
            stopping,
            server: Some(server),
        })
    }

    /// What a client's `base_url` must be.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The token that is taken now.
    #[must_use]
    pub fn token(&self) -> String {
        self.world.state().token.clone()
    }

    /// Makes the old token worthless and returns the new one.
    pub fn rotate_token(&self) -> Result<String, EmulatorError> {
        let token = draw_token().map_err(EmulatorError::Token)?;
        self.world.state().token.clone_from(&token);
        Ok(token)
    }

    /// Replaces all faults.
    pub fn set_faults(&self, faults: Faults) {
        self.world.state().faults = faults;
    }

    /// The faults that are on.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.world.state().faults.clone()
    }

    /// How often each call came, and was taken.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.world.state().calls.clone()
    }

    /// Names and contents of the stored scripts: what the real provider's support could read.
    #[must_use]
    pub fn scripts(&self) -> Vec<(String, String)> {
        self.world.state().scripts.all()
    }

    /// What the emulator takes for the present.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.world.options.clock.now()
    }

    /// Waits until no action is running. One that [`HalfDone::StaysPending`] keeps open does not count.
    pub async fn settled(&self) {
        self.world.settled().await;
    }

    /// Stops, and returns when the port is free again.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        if let Some(server) = self.server.take() {
            // It ends by itself; a panic in it has been reported by the runtime.
            let _ = server.await;
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

fn draw_token() -> Result<String, getrandom::Error> {
    Ok(format!(
        "lab-{:016x}{:016x}",
        getrandom::u64()?,
        getrandom::u64()?
    ))
}

async fn sample_for_ever(world: Arc<World>, every: Duration, stopping: CancellationToken) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while stopping.run_until_cancelled(ticks.tick()).await.is_some() {
        world.sample_all().await;
    }
}
