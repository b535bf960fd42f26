//! The real host, as a component sees it.

use std::time::Duration;

use crate::Error;
use crate::bindings::capabilities::iaso::plugin as raw;
use crate::capability::{
    Answer, Chunk, ConnectOutcome, Control, CustomResource, Disk, Dns, Endpoint, EnvUrl, Facts,
    FileStat, Files, Host, Http, JournalLine, Kube, Link, Log, Net, Ping, PingOutcome, Pod,
    PodControl, PodState, Question, Request, Response, Route, ScriptOutcome, Scripts, Service,
    Services, State, StatusObject, Unit, Workload, Workloads, ms,
};

/// The host behind the component's imports. It has no size and no table of methods: what a plugin does not call is not in its component.
#[derive(Debug, Clone, Copy)]
pub struct Wasm;

impl Log for Wasm {
    fn log(&self, level: &str, message: &str) {
        raw::log::write(level, message);
    }
}

impl Net for Wasm {
    fn tcp_connect(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
    ) -> Result<ConnectOutcome, Error> {
        Ok(raw::net::tcp_connect(host, port, ms(timeout))?)
    }

    fn ping(&self, host: &str, ping: Ping) -> Result<PingOutcome, Error> {
        Ok(raw::net::ping(
            host,
            ping.count,
            ms(ping.timeout),
            ping.payload_bytes,
            ping.dont_fragment,
        )?)
    }

    fn unix_connect(&self, path: &str, timeout: Duration) -> Result<ConnectOutcome, Error> {
        Ok(raw::net::unix_connect(path, ms(timeout))?)
    }
}

impl Dns for Wasm {
    fn query(&self, question: &Question) -> Result<Answer, Error> {
        Ok(raw::dns::query(question)?)
    }
}

impl Http for Wasm {
    fn send(&self, request: &Request) -> Result<Response, Error> {
        Ok(raw::http::send(request)?)
    }
}

impl Services for Wasm {
    fn status(&self, unit: &str) -> Result<Unit, Error> {
        Ok(raw::services::status(unit)?)
    }

    fn journal(
        &self,
        unit: &str,
        max_lines: u32,
        max_age: Duration,
    ) -> Result<Vec<JournalLine>, Error> {
        Ok(raw::services::journal(
            unit,
            max_lines,
            u64::from(ms(max_age)),
        )?)
    }
}

impl Control for Wasm {
    fn restart(&self, unit: &str, timeout: Duration) -> Result<String, Error> {
        Ok(raw::services::restart(unit, ms(timeout))?)
    }

    fn start(&self, unit: &str, timeout: Duration) -> Result<String, Error> {
        Ok(raw::services::start(unit, ms(timeout))?)
    }

    fn stop(&self, unit: &str, timeout: Duration) -> Result<String, Error> {
        Ok(raw::services::stop(unit, ms(timeout))?)
    }
}

impl Scripts for Wasm {
    fn run(&self, name: &str, timeout: Duration) -> Result<ScriptOutcome, Error> {
        Ok(raw::scripts::run(name, ms(timeout))?)
    }
}

impl Host for Wasm {
    fn info(&self) -> Result<Facts, Error> {
        Ok(raw::host::info()?)
    }

    fn disks(&self) -> Result<Vec<Disk>, Error> {
        Ok(raw::host::disks()?)
    }

    fn routes(&self) -> Result<Vec<Route>, Error> {
        Ok(raw::host::routes()?)
    }

    fn links(&self) -> Result<Vec<Link>, Error> {
        Ok(raw::host::links()?)
    }

    fn resolvers(&self) -> Result<Vec<String>, Error> {
        Ok(raw::host::resolvers()?)
    }

    fn peers(&self) -> Result<Vec<(String, String)>, Error> {
        Ok(raw::host::peers()?)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(raw::host::monotonic_us())
    }

    fn pause(&self, time: Duration) {
        raw::host::pause_ms(ms(time));
    }

    fn random(&self) -> u64 {
        raw::host::random()
    }
}

impl Files for Wasm {
    fn stat(&self, path: &str) -> Result<FileStat, Error> {
        Ok(raw::files::stat(path)?)
    }

    fn read(&self, path: &str, offset: u64, max_bytes: u32) -> Result<Chunk, Error> {
        Ok(raw::files::read(path, offset, max_bytes)?)
    }
}

impl Kube for Wasm {
    fn pods_here(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>, Error> {
        Ok(raw::kube::pods_here(namespace, selector)?)
    }

    fn service(&self, namespace: &str, name: &str) -> Result<Service, Error> {
        Ok(raw::kube::get_service(namespace, name)?)
    }

    fn endpoints(&self, namespace: &str, name: &str) -> Result<Vec<Endpoint>, Error> {
        Ok(raw::kube::get_endpoints(namespace, name)?)
    }
}

impl Workloads for Wasm {
    fn pod_states(&self, namespace: &str) -> Result<Vec<PodState>, Error> {
        Ok(raw::kube::pod_states_here(namespace)?)
    }

    fn workloads(&self, namespace: &str) -> Result<Vec<Workload>, Error> {
        Ok(raw::kube::workloads_here(namespace)?)
    }

    fn env_urls(&self, namespace: &str) -> Result<Vec<EnvUrl>, Error> {
        Ok(raw::kube::env_urls_here(namespace)?)
    }

    fn conditions(
        &self,
        of: CustomResource<'_>,
        namespace: &str,
    ) -> Result<Vec<StatusObject>, Error> {
        Ok(raw::kube::conditions(
            of.group,
            of.version,
            of.resource,
            namespace,
        )?)
    }
}

impl PodControl for Wasm {
    fn delete_pod(&self, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
        Ok(raw::kube::delete_pod(namespace, name, uid)?)
    }
}

impl State for Wasm {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(raw::state::get(key)?)
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        Ok(raw::state::set(key, value)?)
    }

    fn delete(&self, key: &str) -> Result<(), Error> {
        Ok(raw::state::delete(key)?)
    }
}
