//! Units of systemd, over D-Bus.
//!
//! **Invariants**
//! - A job is queued without blocking (`replace`), and its end is listened for before it is queued: it cannot be missed.
//! - No bus is `unavailable`, in words; a bus that died is connected to anew at the next call.
//!
//! Source: `org.freedesktop.systemd1(5)`.

use std::{collections::HashMap, time::Duration};

use futures::StreamExt as _;
use iaso_host::{CapError, Job, types::Unit};
use tokio::sync::Mutex;
use zbus::{
    Connection, OwnedObjectPath, Proxy, connection, proxy::CacheProperties, zvariant::OwnedVariant,
};

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const UNIT_SERVICE: &str = "org.freedesktop.systemd1.Service";
/// Longest wait for a bus that may be hung.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for anything but a job.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

type Properties = HashMap<String, OwnedVariant>;

/// A connection to systemd, made when it is first needed.
pub struct Systemd {
    address: Option<String>,
    connection: Mutex<Option<Connection>>,
}

impl Systemd {
    /// `address`: of the bus; the system bus when there is none.
    #[must_use]
    pub fn new(address: Option<String>) -> Self {
        Self {
            address,
            connection: Mutex::new(None),
        }
    }

    /// The state of one unit.
    pub async fn status(&self, unit: &str, timeout: Duration) -> Result<Unit, CapError> {
        let look = async {
            let connection = self.connection().await?;
            let outcome = read_unit(&connection, unit).await;
            self.settle(outcome, unit).await
        };
        within(timeout.min(CALL_TIMEOUT), look).await
    }

    /// Queues a job and waits for its result, at most `timeout`; then the answer is `timeout` and the job goes on.
    pub async fn job(&self, unit: &str, job: Job, timeout: Duration) -> Result<String, CapError> {
        let connection = self.connection().await?;
        let run = run_job(&connection, unit, job);
        match tokio::time::timeout(timeout, run).await {
            Ok(outcome) => self.settle(outcome, unit).await,
            Err(_) => Ok("timeout".into()),
        }
    }

    /// Has the unit files read again (`systemctl daemon-reload`).
    pub async fn reload(&self) -> Result<(), CapError> {
        self.tell("Reload", &(), "its units").await
    }

    /// Kills all processes of a unit at once (SIGKILL). Fails if there are none.
    pub async fn kill(&self, unit: &str) -> Result<(), CapError> {
        self.tell("KillUnit", &(unit, "all", 9_i32), unit).await
    }

    /// One call of the manager's that answers nothing; `about` is for its errors.
    async fn tell<B>(&self, method: &str, body: &B, about: &str) -> Result<(), CapError>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType + Sync,
    {
        let ask = async {
            let connection = self.connection().await?;
            let outcome = async {
                let manager = manager(&connection).await?;
                manager.call_method(method, body).await.map(drop)
            };
            self.settle(outcome.await, about).await
        };
        within(CALL_TIMEOUT, ask).await
    }

    async fn connection(&self) -> Result<Connection, CapError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = held.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let connect = async {
            let builder = match &self.address {
                Some(address) => connection::Builder::address(address.as_str()),
                None => connection::Builder::system(),
            };
            builder.method_timeout(CALL_TIMEOUT).build().await
        };
        let made = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
        let connection = made
            .map_err(|_| self.no_bus("it does not answer"))?
            .map_err(|error| self.no_bus(&error.to_string()))?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    fn no_bus(&self, why: &str) -> CapError {
        let which = self.address.as_deref().unwrap_or("the system bus");
        CapError::Unavailable(format!(
            "there is no systemd here that the agent can talk to: no D-Bus at {which} ({why})"
        ))
    }

    /// After an error of the connection itself, the next call connects anew.
    async fn settle<T>(&self, outcome: zbus::Result<T>, unit: &str) -> Result<T, CapError> {
        match outcome {
            Ok(value) => Ok(value),
            Err(error) => {
                if is_transport(&error) {
                    *self.connection.lock().await = None;
                }
                Err(explain(&error, unit))
            }
        }
    }
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, CapError>>,
) -> Result<T, CapError> {
    tokio::time::timeout(timeout, work)
        .await
        .unwrap_or(Err(CapError::Timeout))
}

async fn proxy<'a>(
    connection: &Connection,
    path: OwnedObjectPath,
    interface: &'static str,
) -> zbus::Result<Proxy<'a>> {
    zbus::proxy::Builder::new(connection)
        .destination(SERVICE)
        .path(path)
        .interface(interface)
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

async fn manager<'a>(connection: &Connection) -> zbus::Result<Proxy<'a>> {
    proxy(
        connection,
        OwnedObjectPath::try_from(MANAGER_PATH)?,
        MANAGER,
    )
    .await
}

async fn read_unit(connection: &Connection, name: &str) -> zbus::Result<Unit> {
    let manager = manager(connection).await?;
    // LoadUnit also knows a unit that is not in memory, and says `not-found` of one that does not exist.
    let path: OwnedObjectPath = manager.call("LoadUnit", &(name,)).await?;
    let properties = proxy(connection, path, "org.freedesktop.DBus.Properties").await?;
    let unit: Properties = properties.call("GetAll", &(UNIT,)).await?;
    // Only services have the second set.
    let service: Properties = properties
        .call("GetAll", &(UNIT_SERVICE,))
        .await
        .unwrap_or_default();
    Ok(to_unit(name, &unit, &service))
}

fn to_unit(name: &str, unit: &Properties, service: &Properties) -> Unit {
    let active_state = text(unit, "ActiveState");
    let entered = match active_state.as_str() {
        "active" | "reloading" => "ActiveEnterTimestampMonotonic",
        "activating" => "InactiveExitTimestampMonotonic",
        "deactivating" => "ActiveExitTimestampMonotonic",
        _ => "InactiveEnterTimestampMonotonic",
    };
    let since = [entered, "StateChangeTimestampMonotonic"]
        .iter()
        .map(|key| number(unit, key))
        .find(|us| *us > 0);
    Unit {
        name: name.to_owned(),
        load_state: text(unit, "LoadState"),
        sub_state: text(unit, "SubState"),
        last_result: text(service, "Result"),
        restarts: u32::try_from(number(service, "NRestarts")).unwrap_or(u32::MAX),
        in_state_ms: since.and_then(|us| Some(monotonic_us()?.saturating_sub(us) / 1000)),
        main_pid: u32::try_from(number(service, "MainPID")).unwrap_or(0),
        exit_status: i32::try_from(signed(service, "ExecMainStatus")).unwrap_or(-1),
        attributes: attributes(unit, service),
        active_state,
    }
}

fn attributes(unit: &Properties, service: &Properties) -> Vec<(String, String)> {
    let fields = [
        ("unit-file-state", text(unit, "UnitFileState")),
        ("description", text(unit, "Description")),
        ("status-text", text(service, "StatusText")),
        ("type", text(service, "Type")),
    ];
    fields
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn text(properties: &Properties, key: &str) -> String {
    properties
        .get(key)
        .and_then(|value| value.downcast_ref::<&str>().ok())
        .unwrap_or_default()
        .to_owned()
}

fn number(properties: &Properties, key: &str) -> u64 {
    u64::try_from(signed(properties, key)).unwrap_or(0)
}

fn signed(properties: &Properties, key: &str) -> i64 {
    let Some(value) = properties.get(key) else {
        return 0;
    };
    let wide = value
        .downcast_ref::<u64>()
        .ok()
        .and_then(|n| i64::try_from(n).ok());
    wide.or_else(|| value.downcast_ref::<u32>().ok().map(i64::from))
        .or_else(|| value.downcast_ref::<i32>().ok().map(i64::from))
        .or_else(|| value.downcast_ref::<i64>().ok())
        .unwrap_or(0)
}

fn monotonic_us() -> Option<u64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).ok()?;
    let seconds = u64::try_from(now.tv_sec()).ok()?;
    let micros = u64::try_from(now.tv_nsec() / 1000).ok()?;
    Some(seconds.saturating_mul(1_000_000).saturating_add(micros))
}

async fn run_job(connection: &Connection, unit: &str, job: Job) -> zbus::Result<String> {
    let manager = manager(connection).await?;
    let mut removed = manager.receive_signal("JobRemoved").await?;
    // Without a subscriber systemd sends no signals. Subscribed already is as good.
    let _ = manager.call_method("Subscribe", &()).await;
    let method = match job {
        Job::Restart => "RestartUnit",
        Job::Start => "StartUnit",
        Job::Stop => "StopUnit",
    };
    let queued: OwnedObjectPath = manager.call(method, &(unit, "replace")).await?;
    while let Some(signal) = removed.next().await {
        let (_, path, _, result): (u32, OwnedObjectPath, String, String) =
            signal.body().deserialize()?;
        if path == queued {
            return Ok(result);
        }
    }
    Err(zbus::Error::InputOutput(std::sync::Arc::new(
        std::io::Error::from(std::io::ErrorKind::ConnectionAborted),
    )))
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "only these two mean that the connection is gone"
)]
fn is_transport(error: &zbus::Error) -> bool {
    matches!(
        error,
        zbus::Error::InputOutput(_) | zbus::Error::Handshake(_)
    )
}

fn explain(error: &zbus::Error, unit: &str) -> CapError {
    let text = error.to_string();
    let says = |word: &str| text.contains(word);
    if says("NoSuchUnit") {
        return CapError::Unavailable(format!("systemd knows no unit {unit}"));
    }
    if says("AccessDenied") || says("InteractiveAuthorizationRequired") {
        return CapError::Unavailable(format!(
            "systemd does not let the agent's user do this to {unit}: run the agent as root"
        ));
    }
    if says("ServiceUnknown") || says("NameHasNoOwner") {
        return CapError::Unavailable(
            "there is no systemd here: the bus knows no org.freedesktop.systemd1".into(),
        );
    }
    if is_transport(error) {
        return CapError::Unavailable(format!("the connection to systemd broke: {text}"));
    }
    if says("timed out") || says("NoReply") {
        return CapError::Timeout;
    }
    CapError::Other(format!("systemd: {text}"))
}
