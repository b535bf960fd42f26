//! Planted bugs: the engine as it would be if one thing were wrong with it. A simulator that does not catch these proves nothing.

use iaso_engine::effect::{Action, Outcome, Remembered, Yield};
use iaso_engine::fact::{Inventory, MachineSeen, Observer};
use iaso_engine::id::NodeName;
use iaso_engine::ledger::Ledger;
use iaso_engine::plan::{Plan, Planner, Situation, plan};
use iaso_engine::policy::{Mode, Policy};
use iaso_engine::world::World;
use iaso_engine_check::Veto;
use std::collections::BTreeSet;

/// What is wrong with the planner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plant {
    /// Nothing.
    #[default]
    None,
    /// Nothing, and the checker is asleep: what the engine alone would do.
    NoChecker,
    /// The controller's own word is enough, and what others say is not heard.
    QuorumIgnored,
    /// A provider that does not say is taken to say "running", and a call that never began for one that failed.
    UnknownIsFailed,
    /// Only a recreate that is done counts as the first.
    OnlyDoneRecreatesCount,
    /// What was cordoned is taken for cordoned by somebody else.
    CordonNeverUndone,
    /// Local data is expendable.
    LocalDataForgotten,
    /// Every mode is `auto`.
    ApprovalForgotten,
    /// Any number of nodes may be down at once, and no failure domain is known.
    StormIgnored,
    /// After a crash, orders without an outcome are sent again.
    RepeatsAfterCrash,
    /// The first bad fact is enough.
    NoPatience,
}

/// All of them, by name.
pub const ALL: [(&str, Plant); 11] = [
    ("none", Plant::None),
    ("no-checker", Plant::NoChecker),
    ("quorum-ignored", Plant::QuorumIgnored),
    ("unknown-is-failed", Plant::UnknownIsFailed),
    ("only-done-recreates-count", Plant::OnlyDoneRecreatesCount),
    ("cordon-never-undone", Plant::CordonNeverUndone),
    ("local-data-forgotten", Plant::LocalDataForgotten),
    ("approval-forgotten", Plant::ApprovalForgotten),
    ("storm-ignored", Plant::StormIgnored),
    ("repeats-after-crash", Plant::RepeatsAfterCrash),
    ("no-patience", Plant::NoPatience),
];

impl Plant {
    /// `planner`: the real driver's, which goes on. A planted bug shows another world each time, and needs a new one.
    pub(crate) fn plan(
        self,
        s: &Situation<'_>,
        planner: &mut Planner,
        touched: BTreeSet<NodeName>,
    ) -> Plan {
        match self {
            Self::None | Self::NoChecker | Self::RepeatsAfterCrash => planner.step(s, touched),
            Self::QuorumIgnored => plan(&Situation {
                policy: &self.policy(s.policy),
                world: &alone(s.world),
                ..*s
            }),
            Self::StormIgnored => plan(&Situation {
                policy: &self.policy(s.policy),
                inventory: &without_domains(s.inventory),
                ..*s
            }),
            Self::LocalDataForgotten | Self::ApprovalForgotten | Self::NoPatience => {
                plan(&Situation {
                    policy: &self.policy(s.policy),
                    ..*s
                })
            }
            Self::UnknownIsFailed => plan(&Situation {
                world: &known(s.world),
                ledger: &failed(s.ledger),
                ..*s
            }),
            Self::OnlyDoneRecreatesCount => plan(&Situation {
                ledger: &only_done(s.ledger),
                ..*s
            }),
            Self::CordonNeverUndone => plan(&Situation {
                ledger: &cordoned_before(s.ledger),
                ..*s
            }),
        }
    }

    fn policy(self, policy: &Policy) -> Policy {
        let mut policy = policy.clone();
        match self {
            Self::QuorumIgnored => policy.quorum = 1,
            Self::LocalDataForgotten => policy.local_data_expendable = true,
            Self::ApprovalForgotten => {
                policy.fix = Mode::Auto;
                policy.start = Mode::Auto;
                policy.reboot = Mode::Auto;
                policy.recreate = Mode::Auto;
            }
            Self::StormIgnored => policy.storm_limit = 10_000,
            Self::NoPatience => {
                policy.confirm_secs = 0;
                policy.agent_gone_secs = 6;
                policy.lease_stale_secs = 11;
                policy.reboot_wait_secs = 1;
            }
            Self::None
            | Self::NoChecker
            | Self::UnknownIsFailed
            | Self::OnlyDoneRecreatesCount
            | Self::CordonNeverUndone
            | Self::RepeatsAfterCrash => {}
        }
        policy
    }

    /// The checker sleeps where a bug is planted: else it would stop what is to be caught.
    pub(crate) fn vet(self, s: &Situation<'_>, plan: &Plan) -> Vec<Veto> {
        if self == Self::None {
            iaso_engine_check::vet(s, plan)
        } else {
            Vec::new()
        }
    }

    pub(crate) fn repeats_after_crash(self) -> bool {
        self == Self::RepeatsAfterCrash
    }
}

fn without_domains(inventory: &Inventory) -> Inventory {
    let mut inventory = inventory.clone();
    for node in inventory.nodes.values_mut() {
        node.domains.clear();
    }
    inventory
}

fn alone(world: &World) -> World {
    let mut world = world.clone();
    for facts in world.nodes.values_mut() {
        facts
            .probes
            .retain(|observer, _| *observer == Observer::Controller);
        facts.answered = None;
    }
    world
}

fn known(world: &World) -> World {
    let mut world = world.clone();
    for facts in world.nodes.values_mut() {
        if let Some(seen) = &mut facts.machine
            && matches!(seen.value, MachineSeen::Unknown { .. })
        {
            seen.value = MachineSeen::Known {
                state: iaso_engine::fact::MachineState::Running,
                locked: false,
                pending: None,
            };
        }
    }
    world
}

fn failed(ledger: &Ledger) -> Ledger {
    let mut ledger = ledger.clone();
    for incident in ledger.incidents.values_mut() {
        for effect in &mut incident.effects {
            let reboot = effect.effect.action == Action::Reboot;
            if let Some((_, outcome @ Outcome::NotStarted { .. })) = &mut effect.latest
                && reboot
            {
                let detail = "taken for failed".into();
                *outcome = Outcome::Failed { detail };
            }
        }
    }
    ledger
}

fn only_done(ledger: &Ledger) -> Ledger {
    let mut ledger = ledger.clone();
    for incident in ledger.incidents.values_mut() {
        for effect in &mut incident.effects {
            let recreate = matches!(effect.effect.action, Action::Recreate { .. });
            if let Some((_, outcome @ (Outcome::Failed { .. } | Outcome::InDoubt { .. }))) =
                &mut effect.latest
                && recreate
            {
                *outcome = Outcome::NotStarted {
                    class: "forgotten".into(),
                    detail: "forgotten".into(),
                };
            }
        }
    }
    ledger
}

fn cordoned_before(ledger: &Ledger) -> Ledger {
    let mut ledger = ledger.clone();
    for incident in ledger.incidents.values_mut() {
        for effect in &mut incident.effects {
            if let Some((
                _,
                Outcome::Done {
                    yielded: Yield::Remembered { remembered },
                    ..
                },
            )) = &mut effect.latest
            {
                *remembered = Remembered {
                    was_cordoned: true,
                    ..remembered.clone()
                };
            }
        }
    }
    ledger
}
