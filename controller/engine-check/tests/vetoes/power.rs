//! Each invariant of a disruption, broken on purpose in a night that is otherwise right, and vetoed by name.

use crate::before::night::{in_state, name, unknown};
use crate::before::{check, effect, facts, forget, incident, machine, probe};
use iaso_engine::fact::{MachineState, Observer, ProbeOutcome, Role};
use iaso_engine::id::EffectId;
use iaso_engine::policy::Mode;
use iaso_engine::record::{Record, Rung};

#[test]
fn what_is_right_is_let_through() {
    for action in [
        "reboot",
        "remember",
        "cordon",
        "store-password",
        "prepare-script",
        "recreate",
        "release",
        "restore",
        "uncordon",
        "promote-password",
        "cleanup",
    ] {
        check(action, &[], |_, _| {});
    }
}

#[test]
fn a_server_is_never_recreated() {
    check("recreate", &["server-never-recreated"], |n, _| {
        n.inventory
            .nodes
            .get_mut(&name("styx"))
            .expect("it is there")
            .role = Role::Server;
    });
}

#[test]
fn one_answer_to_anybody_forbids_reboot_and_recreate() {
    for (action, broken) in [
        // Some answer and some do not: neither silence nor an answer of all.
        ("reboot", "quorum-of-answers"),
        ("recreate", "silence-of-all"),
    ] {
        check(action, &[broken], |n, _| {
            probe(n, Observer::Node(name("calypso")), ProbeOutcome::Refused);
        });
    }
}

#[test]
fn silence_needs_a_quorum_with_the_controller() {
    check("recreate", &["quorum-of-silence"], |n, _| {
        n.policy.quorum = 4;
    });
    check("reboot", &["quorum-of-silence"], |n, _| {
        probe(n, Observer::Controller, ProbeOutcome::Error);
    });
}

#[test]
fn the_provider_must_be_known_and_idle() {
    for action in ["reboot", "recreate"] {
        check(action, &["provider-known-and-idle"], |n, _| {
            machine(n, unknown("not-found"));
        });
        check(action, &["provider-known-and-idle"], |n, _| {
            machine(n, in_state(MachineState::Changing("restoring".into())));
        });
        check(action, &["provider-known-and-idle"], |n, _| {
            machine(
                n,
                iaso_engine::fact::MachineSeen::Known {
                    state: MachineState::Running,
                    locked: true,
                    pending: None,
                },
            );
        });
    }
}

#[test]
fn a_second_recreate_in_one_incident_is_vetoed_even_when_the_first_failed() {
    check("release", &["one-recreate"], |n, p| {
        n.policy.recreates_per_day = 9;
        let first = n
            .ledger
            .effects()
            .find(|e| e.effect.action.name() == "recreate")
            .expect("it was");
        effect(p).action = first.effect.action.clone();
    });
}

#[test]
fn the_password_is_stored_and_the_script_made_before_the_wipe() {
    check("recreate", &["password-stored-first"], |n, _| {
        forget(n, "store-password");
    });
    check("recreate", &["script-first"], |n, _| {
        forget(n, "prepare-script");
    });
}

#[test]
fn release_waits_for_the_fence() {
    check("release", &["fence-before-release"], |n, _| {
        forget(n, "recreate");
    });
}

#[test]
fn two_disruptions_at_a_time_are_one_too_many() {
    check("reboot", &["one-disruption-at-a-time"], |_, p| {
        let mut second = effect(p).clone();
        second.id = EffectId(format!("{}/9", second.incident));
        p.records.push(Record::Intended { effect: second });
    });
}

#[test]
fn a_person_s_word_and_the_policy_s_mode_are_kept() {
    check("reboot", &["paused-means-still"], |n, _| {
        n.ledger.paused.insert(None, "upgrade".into());
    });
    check("reboot", &["approval-first"], |n, _| {
        n.policy.reboot = Mode::Approve;
    });
    check("recreate", &["observe-acts-not"], |n, _| {
        n.policy.recreate = Mode::Observe;
    });
    check("recreate", &["no-means-no"], |n, _| {
        let incident = incident(n);
        let (who, reason) = ("ann".into(), "wait".into());
        n.journal(Record::Denied {
            incident,
            rung: Rung::Recreate,
            who,
            reason,
        });
    });
}

#[test]
fn an_id_is_used_once() {
    check("recreate", &["effect-id-once"], |n, p| {
        effect(p).id = n
            .ledger
            .effects()
            .next()
            .expect("there are some")
            .effect
            .id
            .clone();
    });
}

#[test]
fn local_data_is_kept_until_a_person_gives_it_up() {
    check("recreate", &["local-data-kept"], |n, _| {
        facts(n, "styx")
            .kube
            .as_mut()
            .expect("it was seen")
            .value
            .local_data = vec!["pvc-1".into()];
    });
}

#[test]
fn budgets_are_kept() {
    check("recreate", &["recreate-budget"], |n, _| {
        n.policy.recreates_per_day = 0;
    });
    check("reboot", &["reboot-budget"], |n, _| {
        n.policy.reboots_per_day = 0;
    });
}

#[test]
fn nothing_is_rebooted_or_wiped_in_a_storm_or_by_a_controller_that_is_cut_off() {
    check("reboot", &["controller-not-cut-off"], |n, _| {
        for facts in n.world.nodes.values_mut() {
            facts.heartbeat = Some(iaso_engine::time::Tick(1));
        }
        let now = n.now();
        for observer in [
            Observer::Node(name("calypso")),
            Observer::Node(name("tethys")),
        ] {
            facts(n, "styx").probes.remove(&observer);
        }
        n.policy.quorum = 1;
        n.world.since = now;
    });
    check("recreate", &["no-storm"], |n, _| {
        n.add("lethe", Role::Worker, true);
        n.add("acheron", Role::Worker, true);
        let dark = n.world.nodes[&name("styx")].clone();
        let well = n.world.nodes[&name("tethys")].clone();
        n.world.nodes.insert(name("lethe"), dark);
        n.world.nodes.insert(name("acheron"), well);
    });
}

#[test]
fn no_secret_store_no_recreate() {
    check("recreate", &["secret-store-works"], |n, _| {
        n.world.secret_store = Some("disk full".into());
    });
}
