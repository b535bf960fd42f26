//! The provider: machines' states as it tells them, and operations that take time.

use crate::scenario::{Fault, Ix, Ms};
use crate::truth::Truth;
use iaso_engine::fact::{MachineSeen, MachineState};
use iaso_engine::id::EffectId;

/// What an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Start,
    Reboot,
    Recreate,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Reboot => "restart",
            Self::Recreate => "recreate",
        }
    }
}

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Pending,
    Done,
    Failed,
}

#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) node: Ix,
    pub(crate) kind: Kind,
    pub(crate) created: Ms,
    pub(crate) ends: Ms,
    pub(crate) state: State,
    /// Whose call it was: the judge's knowledge, not the provider's.
    pub(crate) effect: EffectId,
    /// The machine was in fact rebooted.
    pub(crate) acted: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Cloud {
    operations: Vec<Operation>,
    /// Passwords refused so far.
    pub(crate) refused_passwords: u32,
}

impl Cloud {
    /// Takes an order; its number.
    pub(crate) fn take(&mut self, operation: Operation) -> u64 {
        self.operations.push(operation);
        self.operations.len() as u64
    }

    pub(crate) fn operation(&self, number: u64) -> Option<&Operation> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.operations.get(index)
    }

    pub(crate) fn operation_mut(&mut self, number: u64) -> Option<&mut Operation> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.operations.get_mut(index)
    }

    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u64, &Operation)> {
        (1_u64..).zip(self.operations.iter())
    }

    /// The operation under way on a machine.
    pub(crate) fn pending(&self, node: Ix) -> Option<&Operation> {
        self.operations
            .iter()
            .find(|o| o.node == node && o.state == State::Pending)
    }

    /// Nothing is under way anywhere.
    pub(crate) fn is_idle(&self) -> bool {
        self.operations.iter().all(|o| o.state != State::Pending)
    }

    /// The provider's word about a machine, right or wrong.
    pub(crate) fn word(&self, truth: &Truth<'_>, node: Ix) -> MachineSeen {
        if let Some(class) = truth.provider_trouble() {
            return MachineSeen::Unknown {
                class: class.into(),
                message: "the provider does not say".into(),
            };
        }
        let mut locked = false;
        let mut state = if truth.hosts[node].power {
            MachineState::Running
        } else {
            MachineState::Stopped
        };
        for (_, strike) in truth.on(node) {
            locked |= strike.fault == Fault::Locked;
            if strike.fault == Fault::Suspended {
                state = MachineState::Blocked("suspended".into());
            } else if strike.fault == Fault::SaysRunning {
                state = MachineState::Running;
            } else if strike.fault == Fault::SaysStopped {
                state = MachineState::Stopped;
            }
        }
        let pending = self.pending(node).map(|o| {
            state = MachineState::Changing(o.kind.name().into());
            locked = true;
            o.kind.name().to_owned()
        });
        MachineSeen::Known {
            state,
            locked,
            pending,
        }
    }
}
