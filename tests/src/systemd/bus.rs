//! The D-Bus face: the manager, and one object for each unit.

use super::service::{Job, Supervisor, Unit};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, ObjectServer, interface};
use zbus::{ObjectPath, OwnedObjectPath};

const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "/org/freedesktop/systemd1";

/// Errors under systemd's own names.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum BusError {
    /// Of the bus itself.
    #[zbus(error)]
    ZBus(zbus::Error),
    /// There is no such unit.
    NoSuchUnit(String),
}

/// Serves the supervisor on a bus.
pub(crate) async fn serve(address: &str, supervisor: Supervisor) -> Result<Connection> {
    let manager = Manager {
        supervisor,
        jobs: Arc::default(),
    };
    zbus::connection::Builder::address(address)
        .name(NAME)
        .serve_at(MANAGER, manager)
        .build()
        .await
        .with_context(|| format!("cannot serve on the bus at {address}"))
}

struct Manager {
    supervisor: Supervisor,
    jobs: Arc<AtomicU32>,
}

impl Manager {
    async fn object(
        &self,
        server: &ObjectServer,
        unit: &Unit,
    ) -> Result<OwnedObjectPath, BusError> {
        let path = OwnedObjectPath::try_from(format!("{MANAGER}/unit/{}", escape(&unit.name)))
            .map_err(BusError::ZBus)?;
        // A unit that was not there may have been written since: its object is made anew.
        let _ = server.remove::<UnitObject, _>(&path).await;
        let _ = server.remove::<ServiceObject, _>(&path).await;
        server.at(&path, UnitObject(unit.clone())).await?;
        server.at(&path, ServiceObject(unit.clone())).await?;
        Ok(path)
    }

    fn job(
        &self,
        name: &str,
        job: Job,
        emitter: &SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, BusError> {
        let unit = self.supervisor.unit(name);
        if unit.file.is_none() {
            return Err(BusError::NoSuchUnit(format!("Unit {name} not found.")));
        }
        let id = self.jobs.fetch_add(1, Ordering::Relaxed) + 1;
        let path =
            OwnedObjectPath::try_from(format!("{MANAGER}/job/{id}")).map_err(BusError::ZBus)?;
        let ended = unit.queue(job);
        let emitter = emitter.to_owned();
        let (job_path, name) = (path.clone(), name.to_owned());
        tokio::spawn(async move {
            let result = ended.await.unwrap_or("canceled");
            let _ = Manager::job_removed(&emitter, id, job_path.into(), &name, result).await;
        });
        Ok(path)
    }
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    async fn get_unit(
        &self,
        name: &str,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath, BusError> {
        let unit = self.supervisor.unit(name);
        if unit.file.is_none() {
            return Err(BusError::NoSuchUnit(format!("Unit {name} not loaded.")));
        }
        self.object(server, &unit).await
    }

    async fn load_unit(
        &self,
        name: &str,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<OwnedObjectPath, BusError> {
        self.object(server, &self.supervisor.unit(name)).await
    }

    async fn start_unit(
        &self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, BusError> {
        self.job(name, Job::Start, &emitter)
    }

    async fn stop_unit(
        &self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, BusError> {
        self.job(name, Job::Stop, &emitter)
    }

    async fn restart_unit(
        &self,
        name: &str,
        _mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<OwnedObjectPath, BusError> {
        self.job(name, Job::Restart, &emitter)
    }

    async fn kill_unit(&self, name: &str, _whom: &str, signal: i32) -> Result<(), BusError> {
        let unit = self.supervisor.unit(name);
        if let Ok(signal) = Signal::try_from(signal) {
            unit.kill(signal);
        }
        Ok(())
    }

    async fn list_units(&self) -> Vec<(String, String, String, String, String)> {
        let units = self.supervisor.all();
        units
            .iter()
            .map(|unit| {
                let status = unit.status.borrow().clone();
                (
                    unit.name.clone(),
                    status.load,
                    status.active,
                    status.sub,
                    status.main_pid.to_string(),
                )
            })
            .collect()
    }

    async fn subscribe(&self) {}

    async fn unsubscribe(&self) {}

    async fn reload(&self) {}

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: ObjectPath<'_>,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

struct UnitObject(Unit);

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl UnitObject {
    #[zbus(property(emits_changed_signal = "false"))]
    fn id(&self) -> String {
        self.0.name.clone()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn description(&self) -> String {
        self.0
            .file
            .as_ref()
            .map(|file| file.description.clone())
            .unwrap_or_default()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn load_state(&self) -> String {
        self.0.status.borrow().load.clone()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn active_state(&self) -> String {
        self.0.status.borrow().active.clone()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn sub_state(&self) -> String {
        self.0.status.borrow().sub.clone()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn state_change_timestamp_monotonic(&self) -> u64 {
        self.0.status.borrow().changed_us
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn active_enter_timestamp_monotonic(&self) -> u64 {
        self.0.status.borrow().active_enter_us
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn active_exit_timestamp_monotonic(&self) -> u64 {
        self.0.status.borrow().active_exit_us
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn inactive_enter_timestamp_monotonic(&self) -> u64 {
        self.0.status.borrow().inactive_enter_us
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn inactive_exit_timestamp_monotonic(&self) -> u64 {
        self.0.status.borrow().inactive_exit_us
    }
}

struct ServiceObject(Unit);

#[interface(name = "org.freedesktop.systemd1.Service")]
impl ServiceObject {
    #[zbus(property(emits_changed_signal = "false"))]
    fn r#type(&self) -> String {
        self.0
            .file
            .as_ref()
            .map(|file| file.kind.clone())
            .unwrap_or_default()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn result(&self) -> String {
        self.0.status.borrow().result.clone()
    }

    #[zbus(property(emits_changed_signal = "false"), name = "NRestarts")]
    fn restarts(&self) -> u32 {
        self.0.status.borrow().restarts
    }

    #[zbus(property(emits_changed_signal = "false"), name = "MainPID")]
    fn main_pid(&self) -> u32 {
        self.0.status.borrow().main_pid
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn exec_main_status(&self) -> i32 {
        self.0.status.borrow().exit_status
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn exec_main_code(&self) -> i32 {
        self.0.status.borrow().exit_code
    }
}

/// As systemd escapes a unit's name in an object path.
fn escape(name: &str) -> String {
    name.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("_{byte:02x}")
            }
        })
        .collect()
}
