//! What the emulated provider knows: machines, actions, scripts, samples, and who may ask.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Calls, Faults, MachineSpec, Machines, Options, scripts::Scripts};

/// Samples of one machine that are kept: an hour at one a second.
const SAMPLES_MAX: usize = 3600;
/// Actions of one machine that are kept.
const ACTIONS_MAX: usize = 5000;

/// What time it is for the emulated provider.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The system's.
    System,
    /// Milliseconds since 1970, set by a test.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands still until it is moved.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(start.as_millisecond())))
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Manual(ms) => Timestamp::from_millisecond(ms.load(Ordering::SeqCst))
                .unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }

    /// Moves a manual clock. The system's stays as it is.
    pub fn advance_secs(&self, secs: i64) {
        if let Self::Manual(ms) = self {
            ms.fetch_add(secs * 1000, Ordering::SeqCst);
        }
    }

    /// Now as the API writes it: to the second.
    pub(super) fn text(&self) -> String {
        Timestamp::from_second(self.now().as_second())
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .to_string()
    }
}

#[derive(Debug, Clone)]
pub(super) struct Action {
    pub(super) id: u64,
    pub(super) name: &'static str,
    pub(super) state: &'static str,
    pub(super) created_at: String,
    pub(super) updated_at: String,
}

impl Action {
    pub(super) fn shown(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "state": self.state,
            "created_at": self.created_at, "updated_at": self.updated_at,
        })
    }
}

#[derive(Debug)]
pub(super) struct Vm {
    spec: MachineSpec,
    pub(super) template: u64,
    created_at: String,
    /// The state while an action runs.
    pub(super) transition: Option<&'static str>,
    pub(super) locked: bool,
    pub(super) broken: bool,
    pub(super) in_recovery: bool,
    pub(super) actions: Vec<Action>,
    uptime_ms: BTreeMap<i64, u64>,
    incoming: BTreeMap<i64, u64>,
    incoming_total: u64,
}

impl Vm {
    fn state(&self, running: bool) -> &'static str {
        match self.transition {
            Some(transition) => transition,
            None if self.broken => "error",
            None if self.in_recovery && running => "recovery",
            None if running => "running",
            None => "stopped",
        }
    }

    pub(super) fn action(&mut self, id: u64) -> Option<&mut Action> {
        self.actions.iter_mut().find(|action| action.id == id)
    }

    pub(super) fn push(&mut self, action: Action) {
        if self.actions.len() == ACTIONS_MAX {
            self.actions.remove(0);
        }
        self.actions.push(action);
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) token: String,
    pub(super) faults: Faults,
    pub(super) calls: Calls,
    pub(super) scripts: Scripts,
    pub(super) vms: BTreeMap<u64, Vm>,
    pub(super) last_action: u64,
}

/// Everything, shared by handlers and running actions.
pub(super) struct World {
    pub(super) machines: Box<dyn Machines>,
    pub(super) options: Options,
    pub(super) stopping: CancellationToken,
    pub(super) running_actions: watch::Sender<usize>,
    state: Mutex<State>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn new(
        machines: Box<dyn Machines>,
        options: Options,
        token: String,
        stopping: CancellationToken,
    ) -> Self {
        let template = options.templates.first().map_or(0, |(id, _)| *id);
        let created_at = options.clock.text();
        let vm = |spec: MachineSpec| {
            let vm = Vm {
                template,
                created_at: created_at.clone(),
                transition: None,
                locked: false,
                broken: false,
                in_recovery: false,
                actions: Vec::new(),
                uptime_ms: BTreeMap::new(),
                incoming: BTreeMap::new(),
                incoming_total: 0,
                spec,
            };
            (vm.spec.id, vm)
        };
        let state = State {
            token,
            faults: Faults::default(),
            calls: Calls::default(),
            scripts: Scripts::default(),
            vms: machines.inventory().into_iter().map(vm).collect(),
            last_action: 8_123_000,
        };
        Self {
            machines,
            options,
            stopping,
            running_actions: watch::Sender::new(0),
            state: Mutex::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn settled(&self) {
        // The sender lives in `self`, so this cannot end otherwise.
        let _ = self
            .running_actions
            .subscribe()
            .wait_for(|running| *running == 0)
            .await;
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.state().vms.keys().copied().collect()
    }

    pub(super) async fn sample_all(&self) {
        for id in self.ids() {
            self.sample(id).await;
        }
    }

    /// Notes uptime and traffic, as a hypervisor does, whatever faults are on.
    pub(super) async fn sample(&self, id: u64) {
        let uptime_ms = self.machines.uptime_ms(id).await;
        let total = self.machines.incoming_bytes(id).await;
        let second = self.options.clock.now().as_second();
        let mut state = self.state();
        let Some(vm) = state.vms.get_mut(&id) else {
            return;
        };
        vm.uptime_ms.insert(second, uptime_ms);
        // The machine's counter begins again at each boot.
        let came = total.checked_sub(vm.incoming_total).unwrap_or(total);
        *vm.incoming.entry(second).or_default() += came;
        vm.incoming_total = total;
        while vm.uptime_ms.len() > SAMPLES_MAX {
            vm.uptime_ms.pop_first();
            vm.incoming.pop_first();
        }
    }

    /// The samples between two seconds, as the API shows them.
    pub(super) fn metrics(&self, id: u64, from: i64, to: i64) -> Option<Value> {
        let state = self.state();
        let vm = state.vms.get(&id)?;
        let series = |unit: &str, samples: &BTreeMap<i64, u64>| {
            let within = samples
                .iter()
                .filter(|(second, _)| (from..=to).contains(*second));
            let usage: Map<_, _> = within
                .map(|(second, value)| (second.to_string(), json!(value)))
                .collect();
            json!({ "unit": unit, "usage": usage })
        };
        Some(json!({
            "uptime": series("milliseconds", &vm.uptime_ms),
            "incoming_traffic": series("bytes", &vm.incoming),
            "outgoing_traffic": series("bytes", &BTreeMap::new()),
            "cpu_usage": series("%", &BTreeMap::new()),
            "ram_usage": series("bytes", &BTreeMap::new()),
            "disk_space": series("bytes", &BTreeMap::new()),
        }))
    }

    /// A machine as the API shows it.
    pub(super) async fn machine(&self, id: u64) -> Option<Value> {
        let running = self.machines.running(id).await;
        let state = self.state();
        let vm = state.vms.get(&id)?;
        let address = |version_4: bool| {
            let all = vm
                .spec
                .addresses
                .iter()
                .filter(|address| address.is_ipv4() == version_4);
            all.zip(1..)
                .map(|(address, nth)| json!({ "id": nth, "address": address, "ptr": null }))
                .collect::<Vec<_>>()
        };
        let ipv6 = Some(address(false)).filter(|all| !all.is_empty());
        let names = self.options.templates.iter();
        let name = names
            .clone()
            .find(|(id, _)| *id == vm.template)
            .map_or("unknown", |(_, name)| name);
        let shown = if state.faults.says_running {
            "running"
        } else {
            vm.state(running)
        };
        Some(json!({
            "id": id, "firewall_group_id": null, "subscription_id": "lab", "plan": "KVM 2",
            "hostname": vm.spec.hostname, "state": shown,
            "actions_lock": if vm.locked { "locked" } else { "unlocked" },
            "cpus": 2, "memory": 8192, "disk": 102_400, "ipv4": address(true), "ipv6": ipv6,
            "template": { "id": vm.template, "name": name, "description": "" }, "created_at": vm.created_at,
        }))
    }
}
