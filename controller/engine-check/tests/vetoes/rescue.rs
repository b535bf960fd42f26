//! The rescue image's invariants, each broken on purpose and vetoed by name.

use crate::before::night::{Night, done, in_state, name};
use crate::before::{
    before, check_in, effect, facts, named, past, styx_begins, tell, the_incident,
};
use iaso_engine::effect::Action;
use iaso_engine::fact::{MachineState, Role};
use iaso_engine::policy::Mode;
use iaso_engine::policy::step::{Step, StepKind};
use iaso_engine::record::{Diagnosis, Record};
use std::sync::LazyLock;

/// Styx is cut off, its reboot fails, nobody reaches its rescue image either, and it is recreated.
pub fn rescued() -> &'static Night {
    static TOLD: LazyLock<Night> = LazyLock::new(|| tell(rescued_begins()));
    &TOLD
}

fn rescued_begins() -> Night {
    let mut night = styx_begins();
    let ladder = [StepKind::Reboot, StepKind::Rescue, StepKind::Recreate];
    let steps = ladder.into_iter().map(Step::new).collect();
    night.policy.ladder.insert(Diagnosis::Isolated, steps);
    night.policy.rescue = Mode::Auto;
    night
}

fn forget_leaving(night: &mut Night) {
    past(night, "leave-rescue").latest = None;
}

#[test]
fn a_machine_is_wiped_only_from_its_own_disk() {
    check_in(rescued(), "recreate", &[], |_, _| {});
    check_in(rescued(), "recreate", &["own-disk-first"], |n, _| {
        forget_leaving(n);
    });
}

#[test]
fn one_rescue_image_is_booted_at_a_time() {
    check_in(rescued(), "rescue", &["own-disk-first"], |n, _| {
        let mut on = past(n, "store-password").clone();
        on.effect.action = Action::Rescue {
            password_key: "another".into(),
        };
        let at = n.now();
        on.latest = Some((at, done()));
        the_incident(n).effects.push(on);
    });
}

#[test]
fn the_rescue_image_needs_what_every_switch_needs() {
    check_in(rescued(), "rescue", &[], |_, _| {});
    check_in(rescued(), "rescue", &["password-stored-first"], |_, p| {
        effect(p).action = Action::Rescue {
            password_key: "another".into(),
        };
    });
    check_in(rescued(), "rescue", &["approval-first"], |n, _| {
        n.policy.rescue = Mode::Approve;
    });
    check_in(rescued(), "rescue", &["reboot-budget"], |n, _| {
        n.policy.reboots_per_day = 1;
    });
    check_in(rescued(), "rescue", &["secret-store-works"], |n, _| {
        n.world.secret_store = Some("sealed".into());
    });
    check_in(rescued(), "rescue", &["provider-known-and-idle"], |n, _| {
        crate::before::machine(n, in_state(MachineState::Recovery));
    });
    check_in(rescued(), "rescue", &["silence-of-all"], |n, _| {
        let now = n.now();
        facts(n, "styx").heartbeat = Some(now);
    });
    check_in(rescued(), "rescue", &["server-never-recreated"], |n, _| {
        if let Some(node) = n.inventory.nodes.get_mut(&name("styx")) {
            node.role = Role::Server;
        }
    });
}

#[test]
fn only_our_own_rescue_image_is_left() {
    check_in(rescued(), "leave-rescue", &[], |_, _| {});
    check_in(
        rescued(),
        "leave-rescue",
        &["leave-only-our-own-rescue"],
        |n, _| {
            the_incident(n)
                .effects
                .retain(|e| e.effect.action.name() != "rescue");
        },
    );
}

#[test]
fn the_password_of_a_running_rescue_image_is_kept() {
    check_in(
        rescued(),
        "discard-password",
        &["used-password-kept"],
        |n, _| {
            forget_leaving(n);
        },
    );
}

#[test]
fn no_incident_ends_in_the_rescue_image() {
    let closes = |r: &Record| matches!(r, Record::Closed { .. });
    let (mut night, plan) = before(rescued(), closes);
    assert_eq!(named(&night, &plan), [""; 0]);
    forget_leaving(&mut night);
    assert_eq!(named(&night, &plan), ["never-left-in-rescue"]);
}
