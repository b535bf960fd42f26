//! What must be true of whoever interrupts a node: form, freshness, turn and cause, each broken on purpose and vetoed by name.

use crate::before::night::{Night, critical, in_state, name};
use crate::before::{
    before, check, check_in, effect, facts, incident, instead, intends, machine, named, page, past,
    rejoining, sick, styx, the_incident,
};
use iaso_engine::fact::{MachineState, PluginFault, Role};
use iaso_engine::id::{EffectId, IncidentId};
use iaso_engine::plan::Plan;
use iaso_engine::record::{Closing, Record, Rung, RungResult};
use iaso_engine::time::Tick;
use iaso_engine::world::AgentLink;

#[test]
fn a_fix_that_a_check_names_is_let_through() {
    check_in(sick(), "apply-fix", &[], |_, _| {});
}

#[test]
fn an_effect_belongs_to_an_open_incident_of_its_own_node() {
    check("reboot", &["effect-of-its-incident"], |_, p| {
        effect(p).node = name("calypso");
    });
    check("cordon", &["effect-of-its-incident"], |_, p| {
        effect(p).incident = IncidentId("styx-99".into());
    });
    for id in ["styx-99/7", "7", ""] {
        let (night, mut plan) = before(styx(), intends("cordon"));
        instead(&mut plan, page());
        effect(&mut plan).id = EffectId(id.into());
        assert_eq!(named(&night, &plan), ["effect-of-its-incident"], "{id}");
    }
    check("cordon", &["effect-of-its-incident"], |_, p| {
        let of = effect(p).incident.clone();
        effect(p).id = EffectId(format!("{of}/x"));
    });
    check("uncordon", &["effect-of-its-incident"], |n, _| {
        n.inventory.nodes.remove(&name("styx"));
    });
}

#[test]
fn an_incident_that_this_plan_opens_may_be_acted_on() {
    let (night, plan) = before(styx(), |r| matches!(r, Record::IncidentOpened { .. }));
    let (_, mut paging) = before(styx(), intends("cordon"));
    instead(&mut paging, page());
    let Record::IncidentOpened { incident, .. } = &plan.records[0] else {
        unreachable!("it was asked for")
    };
    effect(&mut paging).id = EffectId(format!("{incident}/1"));
    effect(&mut paging).incident = incident.clone();
    let alone = paging.records.clone();
    let records = [plan.records, paging.records].concat();
    let both = Plan {
        records,
        ..Plan::default()
    };
    assert_eq!(named(&night, &both), [""; 0]);
    let without = Plan {
        records: alone,
        ..Plan::default()
    };
    assert_eq!(named(&night, &without), ["effect-of-its-incident"]);
}

fn after(record: fn(IncidentId) -> Record) -> impl Fn(&mut Night) {
    move |n| {
        let id = incident(n);
        n.journal(record(id));
    }
}

#[test]
fn parked_watched_and_closed_incidents_are_still() {
    let parked = after(|incident| Record::Parked {
        incident,
        why: "x".into(),
    });
    let watched = after(|incident| Record::Verifying {
        incident,
        why: "x".into(),
    });
    let closed = after(|incident| Record::Closed {
        incident,
        closing: Closing::Recovered,
        verified: Vec::new(),
    });
    let still = |action: &str, then: &dyn Fn(&mut Night), expect: &[&str]| {
        let (mut night, mut plan) = match action {
            "page" => before(styx(), intends("cordon")),
            action => before(styx(), intends(action)),
        };
        if action == "page" {
            instead(&mut plan, page());
        }
        then(&mut night);
        assert_eq!(named(&night, &plan), expect, "{action}");
    };
    for action in ["reboot", "cordon", "recreate", "release", "restore"] {
        still(action, &parked, &["parked-is-still"]);
        still(action, &watched, &["verifying-is-still"]);
        still(action, &closed, &["closed-is-over"]);
    }
    for action in ["uncordon", "cleanup"] {
        still(action, &parked, &[]);
        still(action, &watched, &["verifying-is-still"]);
    }
    still("page", &parked, &[]);
    still("page", &watched, &[]);
    still("page", &closed, &["closed-is-over"]);
}

#[test]
fn a_verification_that_fails_leads_back_where_it_came_from() {
    let failing = |parked: bool, expect: &[&str]| {
        let (mut night, mut plan) = before(styx(), intends("reboot"));
        let (id, now) = (incident(&mut night), night.now());
        the_incident(&mut night).parked = parked.then_some(now);
        after(|incident| Record::Verifying {
            incident,
            why: "x".into(),
        })(&mut night);
        let failed = Record::VerifyFailed {
            incident: id,
            why: "x".into(),
        };
        plan.records.insert(0, failed);
        assert_eq!(named(&night, &plan), expect, "parked before: {parked}");
    };
    failing(false, &[]);
    failing(true, &["parked-is-still"]);
}

#[test]
fn a_disruption_carries_evidence_and_belongs_to_a_rung() {
    check("reboot", &["evidence-carried"], |_, p| {
        effect(p).evidence.clear();
    });
    let ended = |rung: Rung, action: &str| {
        let (mut night, plan) = before(styx(), intends(action));
        let incident = incident(&mut night);
        night.journal(Record::RungEnded {
            incident,
            rung,
            result: RungResult::Moot,
            why: "x".into(),
        });
        assert_eq!(named(&night, &plan), ["effect-of-its-rung"], "{action}");
    };
    ended(Rung::Reboot, "reboot");
    for action in [
        "recreate",
        "remember",
        "cordon",
        "store-password",
        "prepare-script",
    ] {
        ended(Rung::Recreate, action);
    }
}

#[test]
fn a_rung_that_this_plan_ends_is_over() {
    let (mut night, mut plan) = before(styx(), intends("reboot"));
    let ended = Record::RungEnded {
        incident: incident(&mut night),
        rung: Rung::Reboot,
        result: RungResult::Moot,
        why: "x".into(),
    };
    plan.records.insert(0, ended);
    assert_eq!(named(&night, &plan), ["effect-of-its-rung"]);
}

#[test]
fn nothing_is_interrupted_while_the_journal_cannot_be_written() {
    for action in ["reboot", "recreate"] {
        check(action, &["journal-works"], |n, _| {
            n.world.store = Some("disk full".into());
        });
    }
}

#[test]
fn nothing_is_wiped_whose_agent_spoke_within_ninety_seconds() {
    check("recreate", &["silence-that-lasts"], |n, _| {
        n.policy.agent_gone_secs = 10;
        let lately = Tick(n.now().0 - 89_000);
        facts(n, "styx").heartbeat = Some(lately);
    });
    check("recreate", &[], |n, _| {
        let long_ago = Tick(n.now().0 - 90_000);
        facts(n, "styx").heartbeat = Some(long_ago);
    });
}

#[test]
fn a_wiped_machine_has_its_time_before_another_node_is_touched() {
    let beside = |age_secs: u64, running: bool, expect: &[&str]| {
        let (mut night, plan) = before(styx(), intends("reboot"));
        night.add("lethe", Role::Worker, true);
        let mut other = rejoining("lethe");
        let then = Tick(night.now().0 - age_secs * 1_000);
        for state in &mut other.effects {
            state.latest = state.latest.take().map(|(_, outcome)| (then, outcome));
        }
        if !running {
            other.rungs.last_mut().expect("it has some").ended =
                Some((then, RungResult::Recovered));
        }
        night.ledger.incidents.insert(other.id.clone(), other);
        assert_eq!(
            named(&night, &plan),
            expect,
            "{age_secs} s ago, running: {running}"
        );
    };
    beside(60, true, &["one-node-at-a-time"]);
    beside(1_199, true, &["one-node-at-a-time"]);
    beside(1_200, true, &[]);
    beside(60, false, &[]);
}

#[test]
fn an_agent_that_spoke_lately_or_had_no_time_to_is_not_silent() {
    for action in ["reboot", "recreate"] {
        check(action, &["silence-of-all"], |n, _| {
            let then = Tick(n.now().0 - 29_000);
            let facts = facts(n, "styx");
            facts.heartbeat = Some(then);
            facts.agent.as_mut().expect("it was seen").value = AgentLink::Lost {
                reason: "closed".into(),
            };
        });
        check(action, &["silence-of-all"], |n, _| {
            n.world.since = Tick(n.now().0 - 29_000);
            let facts = facts(n, "styx");
            facts.heartbeat = None;
            facts.agent = None;
        });
    }
}

#[test]
fn a_kubelet_that_renews_its_lease_forbids_reboot_and_recreate() {
    for action in ["reboot", "recreate"] {
        check(action, &["kubelet-is-silent"], |n, _| {
            let then = Tick(n.now().0 - 49_000);
            let kube = facts(n, "styx").kube.as_mut().expect("it was seen");
            kube.value.lease_changed = Some(then);
        });
    }
}

#[test]
fn facts_are_newer_than_the_decision_and_its_last_preparation() {
    for action in ["reboot", "recreate"] {
        check(action, &["looked-at-the-last-moment"], |n, _| {
            let since = decided(n);
            facts(n, "styx").machine.as_mut().expect("it was seen").at = since;
        });
        check(action, &["looked-at-the-last-moment"], |n, _| {
            let since = decided(n);
            for seen in facts(n, "styx").probes.values_mut() {
                seen.at = since;
            }
        });
        check(action, &[], |n, _| {
            let since = Tick(decided(n).0 + 1);
            let facts = facts(n, "styx");
            facts.machine.as_mut().expect("it was seen").at = since;
            for seen in facts.probes.values_mut() {
                seen.at = since;
            }
        });
    }
    check("reboot", &[], |n, _| {
        machine(n, in_state(MachineState::Stopped));
        facts(n, "styx").probes.clear();
    });
}

fn decided(night: &mut Night) -> Tick {
    let incident = the_incident(night);
    let rung = incident.rungs.last().expect("one was begun").started;
    let scripts = incident
        .effects
        .iter()
        .filter(|e| e.effect.action == iaso_engine::effect::Action::PrepareScript);
    let made = scripts.filter_map(iaso_engine::ledger::EffectState::done);
    made.fold(rung, Tick::max)
}

#[test]
fn a_node_that_is_declared_without_a_machine_is_no_provider_s() {
    for action in ["reboot", "recreate"] {
        check(action, &["provider-known-and-idle"], |n, _| {
            let node = n.inventory.nodes.get_mut(&name("styx"));
            node.expect("it is declared").machine = None;
        });
    }
}

#[test]
fn a_fix_needs_its_agent_and_a_fresh_finding_that_names_it() {
    check_in(sick(), "apply-fix", &["fix-needs-the-agent"], |n, _| {
        facts(n, "styx").agent = None;
    });
    let cause = &["fix-of-a-finding"];
    check_in(sick(), "apply-fix", cause, |n, _| {
        facts(n, "styx").plugins.clear();
    });
    check_in(sick(), "apply-fix", cause, |n, _| findings(n).clear());
    check_in(sick(), "apply-fix", cause, |n, _| {
        *findings(n) = vec![critical("k3s-agent.dead", &["killall"])];
    });
    check_in(sick(), "apply-fix", cause, |n, _| {
        findings(n)[0].severity = iaso_engine::fact::Severity::Warning;
    });
    check_in(sick(), "apply-fix", cause, |n, _| n.policy.act_on.clear());
    check_in(sick(), "apply-fix", cause, |n, _| {
        let then = Tick(n.now().0 - 180_000);
        let run = facts(n, "styx").plugins.get_mut("k3s-agent");
        run.expect("it ran").at = then;
    });
    check_in(sick(), "apply-fix", cause, |n, _| {
        let run = facts(n, "styx").plugins.get_mut("k3s-agent");
        run.expect("it ran").value.fault = Some(PluginFault {
            class: "trap".into(),
            message: "x".into(),
        });
    });
}

fn findings(night: &mut Night) -> &mut Vec<iaso_engine::fact::Finding> {
    let run = facts(night, "styx").plugins.get_mut("k3s-agent");
    &mut run.expect("it ran").value.findings
}

#[test]
fn fixes_are_counted_and_held_in_a_storm() {
    check_in(sick(), "apply-fix", &["fix-budget"], |n, _| {
        n.policy.fix_attempts = 0;
    });
    check_in(sick(), "apply-fix", &["no-storm"], |n, _| {
        for node in ["lethe", "acheron"] {
            n.add(node, Role::Worker, true);
            let mut dark = facts(n, "styx").clone();
            dark.probes.clear();
            dark.heartbeat = Some(Tick(1));
            dark.kube.as_mut().expect("it was seen").value.lease_changed = Some(Tick(1));
            n.world.nodes.insert(name(node), dark);
        }
    });
}

#[test]
fn an_intent_in_doubt_is_in_flight() {
    check("recreate", &["one-disruption-at-a-time"], |n, _| {
        past(n, "reboot").latest = None;
    });
}

#[test]
fn only_a_machine_that_the_provider_calls_stopped_is_started() {
    let off = || {
        let mut night = Night::new();
        night.at.push((60, |n| {
            n.cut("styx");
            n.host("styx").machine = in_state(MachineState::Stopped);
        }));
        night.after.insert("start", (30, |n| n.heal("styx")));
        night
    };
    check_in(&off(), "start", &[], |_, _| {});
    check_in(&off(), "start", &["start-only-when-stopped"], |n, _| {
        machine(n, in_state(MachineState::Running));
    });
    check_in(&off(), "start", &["looked-at-the-last-moment"], |n, _| {
        let since = decided(n);
        facts(n, "styx").machine.as_mut().expect("it was seen").at = since;
    });
}
