//! Between plugin and broker: every call is known by its line, and can be made to fail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use iaso_grants::Grants;
use iaso_host::{Broker, CallContext, CapError, GrantedBroker, Phase, Request, Response};

use crate::fault::Fault;
use crate::fixture::Fixture;
use crate::line::line_of;
use crate::script::{Names, Script};

/// Which calls fail, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Injected {
    /// None.
    Nothing,
    /// The one of this number, counted from 0.
    One(usize, Fault),
    /// Every one, those to `state` left out.
    All(Fault),
}

/// One call and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Called {
    pub(crate) line: String,
    pub(crate) answer: Result<Response, CapError>,
}

/// The host of one run.
pub(crate) struct Stage {
    broker: GrantedBroker<Script, Names>,
    grants: Arc<Grants>,
    pub(crate) script: Script,
    injected: Mutex<Injected>,
    called: Mutex<Vec<Called>>,
}

impl Stage {
    /// For one run of `plugin`. What `state` holds before is put there as the plugin would.
    pub(crate) async fn new(plugin: &str, grants: &Arc<Grants>, fixture: &Fixture) -> Self {
        let script = Script::new(fixture);
        let broker = GrantedBroker::new(script.clone(), Names(fixture.names.clone()));
        let grants = broker.grant(plugin, Arc::clone(grants));
        let stage = Self {
            broker,
            grants,
            script,
            injected: Mutex::new(Injected::Nothing),
            called: Mutex::default(),
        };
        let context = CallContext {
            plugin: plugin.to_owned(),
            phase: Phase::Check,
            deadline: std::time::Instant::now() + std::time::Duration::from_secs(10),
            grants: Arc::clone(&stage.grants),
        };
        for (key, value) in &fixture.state {
            let request = Request::StateSet {
                key: key.clone(),
                value: value.clone().into_bytes(),
            };
            // Over the quota: the plugin sees what fits, and the fixture's expectation tells.
            let _ = stage.broker.call(&context, request).await;
        }
        stage
    }

    pub(crate) fn inject(&self, injected: Injected) {
        *self.injected.lock().unwrap_or_else(PoisonError::into_inner) = injected;
    }

    pub(crate) fn called(&self) -> MutexGuard<'_, Vec<Called>> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `state` holds under a key now.
    pub(crate) async fn state(&self, plugin: &str, key: &str) -> Option<Vec<u8>> {
        let context = CallContext {
            plugin: plugin.to_owned(),
            phase: Phase::Check,
            deadline: std::time::Instant::now() + std::time::Duration::from_secs(10),
            grants: Arc::clone(&self.grants),
        };
        let request = Request::StateGet {
            key: key.to_owned(),
        };
        match self.broker.call(&context, request).await {
            Ok(Response::Value(value)) => value,
            Ok(_) | Err(_) => None,
        }
    }

    fn fault_of(&self, number: usize, line: &str) -> Option<Fault> {
        let injected = *self.injected.lock().unwrap_or_else(PoisonError::into_inner);
        match injected {
            Injected::Nothing => None,
            Injected::One(at, fault) => (at == number).then_some(fault),
            Injected::All(fault) => (!line.starts_with("state ")).then_some(fault),
        }
    }
}

#[async_trait]
impl Broker for Stage {
    async fn call(&self, context: &CallContext, request: Request) -> Result<Response, CapError> {
        let line = line_of(&request);
        let number = self.called().len();
        self.script.lock().line.clone_from(&line);
        let good = self.broker.call(context, request).await;
        let fault = self.fault_of(number, &line);
        let answer = fault.and_then(|fault| fault.applied(&good)).unwrap_or(good);
        self.called().push(Called {
            line,
            answer: answer.clone(),
        });
        answer
    }
}
