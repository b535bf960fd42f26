//! From an order to its end: `created` → `sent` → `success` or `error`, while the machine is locked.

use std::sync::Arc;

use serde_json::Value;

use super::{
    CallKind, HalfDone, MachineError,
    answer::Refusal,
    world::{Action, World},
};

/// What a machine is ordered to do.
#[derive(Debug, Clone)]
pub(super) enum Order {
    Start,
    Stop,
    Restart,
    Recreate {
        template: u64,
        password: Option<String>,
        script: Option<String>,
    },
    RootPassword(String),
    RecoveryStart(String),
    RecoveryStop,
}

impl Order {
    fn kind(&self) -> CallKind {
        match self {
            Self::Start => CallKind::Start,
            Self::Stop => CallKind::Stop,
            Self::Restart => CallKind::Restart,
            Self::Recreate { .. } => CallKind::Recreate,
            Self::RootPassword(_) => CallKind::RootPassword,
            Self::RecoveryStart(_) => CallKind::RecoveryStart,
            Self::RecoveryStop => CallKind::RecoveryStop,
        }
    }

    /// The free text of the action.
    fn name(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Recreate { .. } => "recreate",
            Self::RootPassword(_) => "set_root_password",
            Self::RecoveryStart(_) => "start_recovery",
            Self::RecoveryStop => "stop_recovery",
        }
    }

    /// The machine's state meanwhile.
    fn transition(&self) -> Option<&'static str> {
        match self {
            Self::Start | Self::Restart | Self::RecoveryStart(_) => Some("starting"),
            Self::Stop => Some("stopping"),
            Self::Recreate { .. } => Some("recreating"),
            Self::RecoveryStop => Some("stopping_recovery"),
            Self::RootPassword(_) => None,
        }
    }
}

/// How an order ended.
enum End {
    Success,
    Error,
    Never,
}

/// Takes an order and returns its action; the rest happens on its own.
pub(super) async fn take(world: &Arc<World>, id: u64, order: Order) -> Result<Value, Refusal> {
    world.sample(id).await;
    let action = {
        let mut state = world.state();
        let next = state.last_action + 1;
        let vm = state.vms.get_mut(&id).ok_or_else(Refusal::not_found)?;
        if vm.locked {
            return Err(Refusal::locked());
        }
        let now = world.options.clock.text();
        let action = Action {
            id: next,
            name: order.name(),
            state: "created",
            created_at: now.clone(),
            updated_at: now,
        };
        vm.locked = true;
        vm.transition = order.transition();
        vm.push(action.clone());
        state.last_action = next;
        state.calls.count_taken(order.kind());
        action
    };
    world.running_actions.send_modify(|running| *running += 1);
    let world = Arc::clone(world);
    let number = action.id;
    tokio::spawn(async move {
        let stopping = world.stopping.clone();
        stopping
            .run_until_cancelled(run(&world, id, number, order))
            .await;
        world.running_actions.send_modify(|running| *running -= 1);
    });
    Ok(action.shown())
}

async fn run(world: &World, id: u64, number: u64, order: Order) {
    tokio::time::sleep(world.options.created_for).await;
    mark(world, id, number, "sent");
    tokio::time::sleep(world.options.sent_for).await;
    let end = match perform(world, id, order.clone()).await {
        Ok(end) => end,
        Err(error) => {
            tracing::warn!(%error, "an action of the Hostinger emulator ended in error");
            End::Error
        }
    };
    world.sample(id).await;
    finish(world, id, number, &order, &end);
}

fn mark(world: &World, id: u64, number: u64, reached: &'static str) {
    let now = world.options.clock.text();
    if let Some(action) = world
        .state()
        .vms
        .get_mut(&id)
        .and_then(|vm| vm.action(number))
    {
        action.state = reached;
        action.updated_at = now;
    }
}

fn finish(world: &World, id: u64, number: u64, order: &Order, end: &End) {
    let reached = match end {
        End::Success => "success",
        End::Error => "error",
        End::Never => return,
    };
    mark(world, id, number, reached);
    let mut state = world.state();
    let Some(vm) = state.vms.get_mut(&id) else {
        return;
    };
    vm.locked = false;
    vm.transition = None;
    match (end, order) {
        (End::Success, Order::Recreate { template, .. }) => {
            vm.template = *template;
            vm.broken = false;
            vm.in_recovery = false;
        }
        (End::Success, Order::RecoveryStart(_)) => vm.in_recovery = true,
        (End::Success, Order::RecoveryStop) => vm.in_recovery = false,
        (End::Error, Order::Recreate { .. }) => vm.broken = true,
        (End::Success | End::Error | End::Never, _) => {}
    }
}

/// Does it, unless a fault says otherwise. Faults are read now, so that a test can switch one on in the middle.
async fn perform(world: &World, id: u64, order: Order) -> Result<End, MachineError> {
    let faults = world.state().faults.clone();
    let machines = &world.machines;
    match order {
        Order::Restart if faults.reboot_fails => return Ok(End::Error),
        Order::Restart if faults.reboot_does_nothing => {}
        Order::Restart => machines.power_cycle(id).await?,
        Order::Start => machines.start(id).await?,
        Order::Stop => machines.stop(id).await?,
        Order::Recreate {
            template,
            password,
            script,
        } => {
            machines.wipe(id).await?;
            match faults.recreate_half_done {
                Some(HalfDone::StaysPending) => return Ok(End::Never),
                Some(HalfDone::EndsInError) => return Ok(End::Error),
                None => machines.recreate(id, template, password, script).await?,
            }
        }
        Order::RootPassword(password) => machines.set_root_password(id, password).await?,
        Order::RecoveryStart(password) => machines.recovery_start(id, password).await?,
        Order::RecoveryStop => machines.recovery_stop(id).await?,
    }
    Ok(End::Success)
}
