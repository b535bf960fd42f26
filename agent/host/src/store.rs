//! What one run of a plugin owns: its context, its counters, its log, its limits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::ResourceLimiter;

use crate::broker::{Broker, CallContext, CapError, Request, Response};
use crate::engine::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};
use crate::run::{LogLevel, LogLine, RunLimits};

/// Why the host ended a run; carried through wasmtime as its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    #[error("made more than {0} host calls in one run")]
    HostCalls(u32),
    #[error("computed for more than {0:?}")]
    Cpu(Duration),
    #[error("was not done after {0:?}")]
    Wall(Duration),
}

/// Memory and tables of one store, summed: wasmtime's own limits are for each of them apart.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    memory_bytes: usize,
    table_elements: usize,
    pub(crate) memory_peak_bytes: usize,
    /// Something was refused, which a plugin seldom survives.
    pub(crate) was_refused: bool,
}

pub(crate) struct RunState {
    pub(crate) cx: CallContext,
    pub(crate) limits: RunLimits,
    pub(crate) usage: Usage,
    pub(crate) host_calls: u32,
    pub(crate) log: Vec<LogLine>,
    pub(crate) log_lines_dropped: u32,
    log_bytes: usize,
    broker: Arc<dyn Broker>,
    /// Host calls of all plugins together.
    call_slots: Arc<Semaphore>,
}

impl RunState {
    pub(crate) fn new(
        cx: CallContext,
        limits: RunLimits,
        broker: Arc<dyn Broker>,
        call_slots: Arc<Semaphore>,
    ) -> Self {
        Self {
            cx,
            limits,
            usage: Usage::default(),
            host_calls: 0,
            log: Vec::new(),
            log_lines_dropped: 0,
            log_bytes: 0,
            broker,
            call_slots,
        }
    }

    /// Counts a host call; an error ends the run.
    pub(crate) fn count_call(&mut self) -> Result<(), Stopped> {
        self.host_calls = self.host_calls.saturating_add(1);
        if self.host_calls > self.limits.host_calls {
            return Err(Stopped::HostCalls(self.limits.host_calls));
        }
        Ok(())
    }

    /// Asks the broker. When too many calls are under way the answer is no at once: waiting could be for ourselves.
    pub(crate) async fn ask(
        &mut self,
        request: Request,
    ) -> Result<Result<Response, CapError>, Stopped> {
        self.count_call()?;
        let Ok(_slot) = self.call_slots.try_acquire() else {
            return Ok(Err(CapError::Unavailable(
                "too many host calls at once on this agent; try later".to_owned(),
            )));
        };
        Ok(self.broker.call(&self.cx, request).await)
    }

    /// Keeps a line if it still fits, else counts it.
    pub(crate) fn write_log(&mut self, level: LogLevel, message: &str) {
        /// What a line costs besides its text, so that empty lines are bounded too.
        const LINE_COST: usize = 16;
        let cost = message.len().saturating_add(LINE_COST);
        if self.log_bytes.saturating_add(cost) > self.limits.log_bytes {
            self.log_lines_dropped = self.log_lines_dropped.saturating_add(1);
            return;
        }
        self.log_bytes += cost;
        let message: String = message
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let plugin = &self.cx.plugin;
        match level {
            LogLevel::Debug => tracing::debug!(target: "iaso::plugin", %plugin, "{message}"),
            LogLevel::Info => tracing::info!(target: "iaso::plugin", %plugin, "{message}"),
            // A plugin's warning is not the agent's: nobody is to be woken by it.
            LogLevel::Warn | LogLevel::Error => {
                tracing::info!(target: "iaso::plugin", %plugin, ?level, "{message}");
            }
        }
        self.log.push(LogLine { level, message });
    }
}

impl ResourceLimiter for RunState {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .usage
            .memory_bytes
            .saturating_add(desired.saturating_sub(current));
        if total > self.limits.memory_bytes || maximum.is_some_and(|maximum| desired > maximum) {
            self.usage.was_refused = true;
            return Ok(false);
        }
        self.usage.memory_bytes = total;
        self.usage.memory_peak_bytes = self.usage.memory_peak_bytes.max(total);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.usage.was_refused = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .usage
            .table_elements
            .saturating_add(desired.saturating_sub(current));
        if total > self.limits.table_elements || maximum.is_some_and(|maximum| desired > maximum) {
            self.usage.was_refused = true;
            return Ok(false);
        }
        self.usage.table_elements = total;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.usage.was_refused = true;
        Ok(())
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }
}
