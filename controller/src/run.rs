//! Puts the parts together, runs them, and ends them in order.

use crate::api;
use crate::clock::Clock;
use crate::cluster::{Cluster, KubeCluster, Poller, Publisher};
use crate::config::Config;
use crate::driver::{Driver, Handle, Hands, Parts};
use crate::identity::{Identities, journal_changes, renew_own};
use crate::plugins::{self, Plugins};
use crate::probe::Rounds;
use crate::provider::Machines;
use crate::recorder::Recorder;
use crate::rejoin::Rejoin;
use crate::sessions::Sessions;
use crate::status::{self, Metrics};
use crate::store::Store;
use crate::text::{bounded, chain};
use anyhow::Context as _;
use iaso_engine::fact::Observation;
use iaso_identity::Acceptor;
use iaso_providers::hostinger::{Hostinger, HostingerConfig};
use iaso_providers::secrets::{FileStore, SecretStore};
use iaso_providers::{NoProvider, Provider};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often the secret store is asked whether a password could be kept.
const SECRET_HEALTH: Duration = Duration::from_secs(30);
/// Kubelets renew their leases every ten seconds.
const SILENT_MAX: Duration = Duration::from_secs(15);
/// How long everything may take to end.
const STOP_MAX: Duration = Duration::from_secs(10);

/// What reaches outside, so that tests can put their own in.
#[derive(Clone)]
pub struct Outside {
    /// The provider of all nodes that name one.
    pub provider: Arc<dyn Provider>,
    /// Kubernetes.
    pub cluster: Option<Arc<dyn Cluster>>,
    /// Where what the journal says is shown; `None`: nowhere.
    pub shown_in: Option<KubeCluster>,
    /// Root passwords.
    pub secrets: Arc<dyn SecretStore>,
}

/// A controller that runs.
#[derive(Debug)]
pub struct Running {
    /// Where gRPC is served.
    pub address: SocketAddr,
    /// Where metrics are served.
    pub status_address: SocketAddr,
    /// The driver.
    pub handle: Handle,
    /// The journal.
    pub store: Arc<Store>,
    /// Who is who.
    pub identities: Arc<Identities>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    driver: JoinHandle<()>,
}

impl Running {
    /// Ends everything, in order, within ten seconds.
    pub async fn stop(self) {
        self.stop.cancel();
        let ended = async {
            for task in self.tasks {
                // A task that panicked has said so already.
                let _ = task.await;
            }
            let _ = self.driver.await;
        };
        if tokio::time::timeout(STOP_MAX, ended).await.is_err() {
            tracing::warn!(
                "not everything ended in time: what was in flight is resolved at the next start"
            );
        }
    }

    /// As kill -9 would: nothing is said and nothing is finished.
    pub fn kill(self) {
        self.driver.abort();
        self.tasks.iter().for_each(JoinHandle::abort);
        self.stop.cancel();
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start.
pub async fn run(config: Config) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let outside = outside(&config).await?;
    let mut running = start(config, outside).await?;
    let lost = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        _ = &mut running.driver => true,
    };
    if lost {
        running.stop.cancel();
        anyhow::bail!(
            "the driver has ended: the log says why; what was in flight is resolved at the next start"
        );
    }
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

/// The real outside.
async fn outside(config: &Config) -> anyhow::Result<Outside> {
    // Both HTTPS clients use the process' default; a second installation is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let provider: Arc<dyn Provider> = match &config.provider.hostinger {
        Some(account) => Arc::new(Hostinger::new(HostingerConfig {
            base_url: account.base_url.clone(),
            timeout: Duration::from_secs(account.timeout_secs),
            min_interval: Duration::from_millis(account.min_interval_ms),
            ..HostingerConfig::new(account.token_file.clone())
        })?),
        None => Arc::new(NoProvider),
    };
    let mut shown_in = None;
    let cluster: Option<Arc<dyn Cluster>> = match &config.cluster {
        Some(settings) => {
            let cluster = KubeCluster::connect(settings).await?;
            tokio::spawn(say_missing_rights(cluster.clone(), settings.publish));
            shown_in = settings.publish.then(|| cluster.clone());
            let nodes: Vec<_> = config.nodes.iter().map(|node| node.name.clone()).collect();
            let cluster = cluster.watching(&nodes, silent_after(config));
            Some(Arc::new(cluster))
        }
        None => None,
    };
    make_private(&config.data_dir)?;
    let secrets =
        FileStore::open(config.data_dir.join("secrets")).context("cannot open the secret store")?;
    Ok(Outside {
        provider,
        cluster,
        shown_in,
        secrets: Arc::new(secrets),
    })
}

/// A node is asked about long before its lease counts as stale.
fn silent_after(config: &Config) -> Duration {
    SILENT_MAX.min(Duration::from_secs(config.policy.lease_stale_secs) / 2)
}

/// Says at the start what will be left out later. A server that cannot be asked is said by the poller.
async fn say_missing_rights(cluster: KubeCluster, publishes: bool) {
    match cluster.missing_rights().await {
        Ok(missing) => {
            let wanted = |right: &crate::cluster::Right| publishes || !right.publishes;
            for right in missing.into_iter().filter(wanted) {
                tracing::warn!(right = right.name(), "{}", right.denied());
            }
        }
        Err(error) => tracing::info!(%error, "rights are not looked at"),
    }
}

/// The journal's lock comes later; the secret store needs the directory first.
pub(crate) fn make_private(data_dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir);
    made.with_context(|| {
        format!(
            "cannot make data_dir {}: check the permissions above it",
            data_dir.display()
        )
    })
}

async fn listen(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| {
        let what_to_do = why_no_port(error.kind());
        anyhow::Error::new(error)
            .context(format!("cannot listen on {key} = {address}: {what_to_do}"))
    })
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

/// Starts a controller.
///
/// # Errors
/// With what is wrong and what to do: a taken port, a locked or damaged journal, an unreadable token, a bad template.
pub async fn start(config: Config, outside: Outside) -> anyhow::Result<Running> {
    let opened = Store::open(&config.data_dir)?;
    let who = who(&config)?;
    let listener = listen("listen", config.listen).await?;
    let status_listener = listen("status_listen", config.status_listen).await?;
    let (address, status_address) = (listener.local_addr()?, status_listener.local_addr()?);
    let (plugins, compiler) = read_plugins(&config)?;
    let clock = Clock::start(opened.last_at);
    let sessions = Arc::new(Sessions::new(config.heartbeat_timeout()));
    let rounds = Arc::new(Rounds::new(&config, Arc::clone(&sessions)));
    let machines = Arc::new(Machines::new(&config, "hostinger", &outside.provider)?);
    let (metrics, stop) = (Metrics::default(), CancellationToken::new());
    let term = opened.ledger.term + 1;
    let (recorder, archive) = Recorder::start(&config, &opened.ledger, metrics.clone());
    let hands = hands(&config, &outside, &who, &sessions, &machines);
    let (driver, handle) = Driver::new(Parts {
        store: Arc::clone(&opened.store),
        ledger: opened.ledger,
        operations: opened.operations,
        snapshot: opened.snapshot,
        clock,
        policy: config.policy.clone(),
        inventory: config.inventory(),
        hands,
        rounds: Arc::clone(&rounds),
        metrics: metrics.clone(),
        recorder,
        stop: stop.clone(),
    });
    let driver = spawn_driver(driver);
    let config = Arc::new(config);
    let shared = api::Shared {
        config: Arc::clone(&config),
        handle: handle.clone(),
        store: Arc::clone(&opened.store),
        archive,
        identities: Arc::clone(&who.identities),
        sessions,
        rounds: Arc::clone(&rounds),
        plugins,
        metrics: metrics.clone(),
        clock,
        term,
        stop: stop.clone(),
    };
    let mut tasks = watchers(&config, &outside, &handle, clock, &stop);
    tasks.extend(publish(outside, &handle, &opened.store, &stop));
    tasks.extend(lookers(&config, rounds, machines, &handle, &stop));
    tasks.extend(compile(compiler, &shared));
    tasks.push(tokio::spawn(status::serve(
        status_listener,
        metrics,
        handle.clone(),
        stop.clone(),
    )));
    tasks.extend(serve(listener, shared, &who));
    tracing::info!(%address, %status_address, nodes = config.nodes.len(), "serving");
    Ok(Running {
        address,
        status_address,
        handle,
        store: opened.store,
        identities: who.identities,
        stop,
        tasks,
        driver,
    })
}

fn read_plugins(config: &Config) -> anyhow::Result<(Arc<Plugins>, PathBuf)> {
    let compiler = plugins::find_compiler(config.compiler.as_deref());
    let plugins = Plugins::read(
        &config.plugins,
        config.plugin_trust.as_ref(),
        &config.data_dir,
        compiler.clone(),
    )?;
    Ok((Arc::new(plugins), compiler))
}

fn spawn_driver(driver: Driver) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = driver.run().await {
            tracing::error!(error = chain(&error), "the driver could not start");
        }
    })
}

/// Who is who, and what of it is needed at the start.
struct Who {
    identities: Arc<Identities>,
    acceptor: Arc<Acceptor>,
    rejoin: Option<Arc<Rejoin>>,
}

fn who(config: &Config) -> anyhow::Result<Who> {
    let identities = Arc::new(Identities::open(config)?);
    let rejoin = config.rejoin.clone().map(Rejoin::new).transpose()?;
    Ok(Who {
        acceptor: Arc::new(identities.acceptor()?),
        rejoin: rejoin.map(Arc::new),
        identities,
    })
}

fn hands(
    config: &Config,
    outside: &Outside,
    who: &Who,
    sessions: &Arc<Sessions>,
    machines: &Arc<Machines>,
) -> Hands {
    Hands {
        sessions: Arc::clone(sessions),
        machines: Arc::clone(machines),
        cluster: outside.cluster.clone(),
        secrets: Arc::clone(&outside.secrets),
        rejoin: who.rejoin.clone(),
        identities: Arc::clone(&who.identities),
        page: config.page.clone(),
        policy: config.policy.clone(),
    }
}

/// The listener, what keeps its certificate in its time, and what journals the command line's changes.
fn serve(listener: TcpListener, shared: api::Shared, who: &Who) -> [JoinHandle<()>; 3] {
    let (identities, acceptor) = (Arc::clone(&who.identities), Arc::clone(&who.acceptor));
    if let Err(error) = identities.measure(&shared.metrics, &shared.config.nodes) {
        tracing::warn!(
            error = chain(&error),
            "when certificates end is not in the metrics"
        );
    }
    let (handle, nodes) = (shared.handle.clone(), shared.config.nodes.clone());
    let told = journal_changes(Arc::clone(&identities), handle, nodes);
    let told = spawn_until(&shared.stop, told);
    let renewed = spawn_until(&shared.stop, renew_own(identities, Arc::clone(&acceptor)));
    let served = tokio::spawn(async move {
        if let Err(error) = api::serve(listener, shared, acceptor).await {
            tracing::error!(error = chain(&error), "the gRPC listener ended");
        }
    });
    [told, renewed, served]
}

/// A task that ends with the controller, wherever it is.
fn spawn_until(
    stop: &CancellationToken,
    work: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    })
}

fn lookers(
    config: &Config,
    rounds: Arc<Rounds>,
    machines: Arc<Machines>,
    handle: &Handle,
    stop: &CancellationToken,
) -> [JoinHandle<()>; 2] {
    let every = Duration::from_secs(config.policy.probe_fresh_secs) / 2;
    let every = every.max(Duration::from_millis(500));
    [
        tokio::spawn(rounds.baseline(handle.clone(), every, stop.clone())),
        spawn_until(stop, poll_machines(machines, handle.clone())),
    ]
}

fn watchers(
    config: &Arc<Config>,
    outside: &Outside,
    handle: &Handle,
    clock: Clock,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![tokio::spawn(watch_secrets(
        Arc::clone(&outside.secrets),
        handle.clone(),
        stop.clone(),
    ))];
    if let Some(cluster) = &outside.cluster {
        let every = config
            .cluster
            .as_ref()
            .map_or(5, |cluster| cluster.poll_secs);
        let nodes = config.nodes.iter().map(|node| node.name.clone()).collect();
        let every = Duration::from_secs(every);
        let poller = Poller::new(Arc::clone(cluster), handle.clone(), clock, nodes, every);
        tasks.push(tokio::spawn(poller.run(stop.clone())));
    }
    tasks
}

/// Shows in the cluster what the journal says, where that is wanted.
fn publish(
    outside: Outside,
    handle: &Handle,
    store: &Arc<Store>,
    stop: &CancellationToken,
) -> Option<JoinHandle<()>> {
    let publisher = Publisher::new(outside.shown_in?, handle.clone(), Arc::clone(store));
    Some(tokio::spawn(publisher.run(stop.clone())))
}

/// Slow looks at machines that nobody asks about; the driver looks quickly where it must.
async fn poll_machines(machines: Arc<Machines>, handle: Handle) {
    let mut ticks = tokio::time::interval(machines.poll.max(Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for node in machines.nodes() {
            let facts = machines.look(node, false).await;
            handle.tell(facts).await;
        }
    }
}

async fn watch_secrets(secrets: Arc<dyn SecretStore>, handle: Handle, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SECRET_HEALTH);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let trouble = secrets
            .health()
            .await
            .err()
            .map(|error| bounded(&chain(&error), 600));
        handle
            .tell(vec![Observation::SecretStore { trouble }])
            .await;
    }
}

fn compile(compiler: PathBuf, shared: &api::Shared) -> [JoinHandle<()>; 2] {
    let (plugins, handle) = (Arc::clone(&shared.plugins), shared.handle.clone());
    let ahead = compile_ahead(Arc::clone(&plugins), compiler, handle.clone());
    let again = compile_again(plugins, handle, Arc::clone(&shared.sessions));
    [
        spawn_until(&shared.stop, ahead),
        spawn_until(&shared.stop, again),
    ]
}

/// Compiles for the compiler's own engine before the first agent asks: they are most often of the same version.
async fn compile_ahead(plugins: Arc<Plugins>, compiler: PathBuf, handle: Handle) {
    for (plugin, why) in plugins.untrusted() {
        note_refused(&handle, &plugin, &why).await;
    }
    let Some(engine) = plugins::own_engine(&compiler).await else {
        tracing::info!(compiler = %compiler.display(), "the compiler does not say its engine: plugins are compiled when agents come");
        return;
    };
    for (plugin, why) in plugins.ensure(&engine).await {
        note_refused(&handle, &plugin, &why).await;
    }
}

/// Tries again what could not be compiled, and has what then can be assigned.
async fn compile_again(plugins: Arc<Plugins>, handle: Handle, sessions: Arc<Sessions>) {
    loop {
        let (news, more) = plugins.retry().await;
        for (plugin, why) in news {
            note_refused(&handle, &plugin, &why).await;
        }
        if more {
            tracing::info!("a plugin that did not compile does now: assigned anew");
            sessions.assign_anew();
        }
    }
}

/// Says, in the log and the events, that a plugin is not assigned.
pub(crate) async fn note_refused(handle: &Handle, plugin: &str, why: &str) {
    tracing::error!(plugin, why, "not assigned to any agent");
    let text = bounded(
        &format!("plugin {plugin} is not assigned to any agent: {why}"),
        1_500,
    );
    if let Err(error) = handle.note(None, text).await {
        tracing::warn!(%error, "could not be noted");
    }
}
