//! The agent as a service: its parts started, and stopped in order.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    agent::{Agent, StartError},
    compile,
    config::Config,
    notify, once, probe, schedule, session, status,
};

/// Why the service ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// It could not start.
    #[error("cannot start")]
    Start(#[from] StartError),
    /// A port is taken or refused.
    #[error("cannot listen on {address} (`{key}`): {}", why_no_port(source.kind()))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The configuration's key.
        key: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No signal handlers.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), ServiceError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServiceError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServiceError::Signals)?;
    let stop = CancellationToken::new();
    let service = start(config, stop.clone());
    tokio::pin!(service);
    let tasks = tokio::select! {
        started = &mut service => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    notify::send("READY=1");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    notify::send("STOPPING=1");
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Starts everything; the tasks end when `stop` is cancelled.
pub async fn start(config: Config, stop: CancellationToken) -> Result<TaskTracker, ServiceError> {
    let status_listener = listen(config.status_listen, "status_listen").await?;
    let probe_listener = listen(config.probe_listen, "probe_listen").await?;
    let agent = Agent::open(config)?;
    let tasks = TaskTracker::new();
    if let Some(listener) = status_listener {
        tasks.spawn(until(
            stop.clone(),
            status::serve(listener, Arc::clone(&agent)),
        ));
    }
    if let Some(listener) = probe_listener {
        tasks.spawn(until(stop.clone(), probe::answer(listener)));
    }
    tasks.spawn(until(stop.clone(), notify::watch()));
    match agent.config.controller.clone() {
        Some(url) => {
            session::assignment::restore(&agent).map_err(StartError::Disk)?;
            tasks.spawn(session::run(Arc::clone(&agent), url, stop.clone()));
            tasks.spawn(session::watch_absence(Arc::clone(&agent), stop.clone()));
        }
        None => standalone(&agent).await,
    }
    tasks.spawn(schedule::run(agent, stop));
    Ok(tasks)
}

fn why_no_port(kind: std::io::ErrorKind) -> &'static str {
    use std::io::ErrorKind;
    if kind == ErrorKind::AddrInUse {
        "the port is taken: `ss -ltnp` says by whom; end that, or use another port"
    } else if kind == ErrorKind::PermissionDenied {
        "a port below 1024 needs a right that this process has not: use a higher one"
    } else if kind == ErrorKind::AddrNotAvailable {
        "this machine has no such address: `ip address` lists those it has"
    } else {
        "use another address or port"
    }
}

async fn standalone(agent: &Agent) {
    let compiler = compile::compiler(agent.config.compiler.as_deref());
    for plugin in agent.config.plugins.clone() {
        once::install(&agent.plugins, plugin, &agent.cache_dir(), &compiler).await;
    }
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    // A service whose work ends early (no watchdog to feed) is done all the same.
    stop.run_until_cancelled(work).await;
}

async fn listen(
    address: Option<SocketAddr>,
    key: &'static str,
) -> Result<Option<TcpListener>, ServiceError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let bound = TcpListener::bind(address)
        .await
        .map_err(|source| ServiceError::Listen {
            address,
            key,
            source,
        })?;
    Ok(Some(bound))
}
