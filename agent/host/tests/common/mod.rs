//! Components made from text, compiled by the real `iaso-compile`, and a broker whose answers the test decides.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(unused_imports, reason = "each test binary uses a part of it")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

pub(crate) use iaso_components::{
    OK_EMPTY, PING, USE_PING, checker, compile, compile_with, compiler, component, data, encode,
    module, words,
};

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use iaso_grants::Grants;
use iaso_host::types::ConnectOutcome;
use iaso_host::{
    Broker, CallContext, CapError, Digest, HostConfig, LoadedPlugin, PluginFault, PluginHost,
    Request, Response, RunLimits,
};

/// Grants as TOML would have them, in JSON.
pub(crate) fn grants(json: &str) -> Grants {
    serde_json::from_str(json).expect("good grants")
}

/// Answers every connection with "connected", but one to the host `never` never.
pub(crate) struct MockBroker;

#[async_trait]
impl Broker for MockBroker {
    async fn call(&self, _context: &CallContext, request: Request) -> Result<Response, CapError> {
        let Request::TcpConnect { host, .. } = request else {
            return Err(CapError::Unavailable(format!("{request:?}")));
        };
        if host == "never" {
            return std::future::pending().await;
        }
        Ok(Response::Connect(ConnectOutcome {
            outcome: "connected".to_owned(),
            address: "10.0.0.7".to_owned(),
            elapsed_us: 1,
            detail: String::new(),
        }))
    }
}

pub(crate) fn host() -> PluginHost {
    PluginHost::new(HostConfig::default(), Arc::new(MockBroker)).expect("the engine starts")
}

pub(crate) fn load(
    host: &PluginHost,
    component: &[u8],
    grants: &Grants,
) -> Result<LoadedPlugin, PluginFault> {
    let compiled = compile(component);
    host.load(
        "hostile",
        &compiled,
        &Digest::of(&compiled),
        &Arc::new(grants.clone()),
    )
}

/// Short, so that tests of deadlines are short.
pub(crate) fn limits() -> RunLimits {
    RunLimits {
        cpu: Duration::from_millis(300),
        host_calls: 1500,
        ..RunLimits::with_timeout(Duration::from_secs(2))
    }
}
