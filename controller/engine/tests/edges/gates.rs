//! Gates before a reboot and a wipe: whose word, how new, of how many.

use crate::night::moment::{before, intends};
use crate::night::{Night, failed, in_state, name};
use crate::{facts, peer, probe_at, styx};
use iaso_engine::diagnose::assess;
use iaso_engine::effect::{Action, Effect};
use iaso_engine::fact::{MachineState, Observation, Observer, ProbeOutcome, Role};
use iaso_engine::gate::{Question, answers};
use iaso_engine::id::{EffectId, IncidentId};
use iaso_engine::ledger::EffectState;
use iaso_engine::record::{Diagnosis, Record, Rung, Waiting};
use iaso_engine::time::Tick;

/// The moment before styx is rebooted, and since when facts must be newer.
fn reboot() -> (Night, Tick) {
    let (night, _) = before(styx(), intends("reboot"));
    let incident = night
        .ledger
        .open_incident(&name("styx"))
        .expect("it is open");
    let since = incident.running().expect("a rung runs").started;
    (night, since)
}

fn answer(night: &Night, rung: &Rung, since: Tick, gate: &str) -> Option<Waiting> {
    let situation = night.situation();
    let all = assess(&situation);
    let question = Question {
        situation: &situation,
        all: &all,
        node: &all.nodes[&name("styx")],
        policy: all.policy(&situation, &name("styx")),
        incident: night
            .ledger
            .open_incident(&name("styx"))
            .expect("it is open"),
        rung,
        since,
        claimed: None,
    };
    let mut said = answers(&question).into_iter();
    said.find(|(name, _)| *name == gate).expect("it is asked").1
}

fn shut(night: &Night, rung: &Rung, since: Tick, gate: &str) -> bool {
    answer(night, rung, since, gate).is_some()
}

const WORDS: [&str; 2] = ["fresh-probes", "quorum"];

/// The provider's word is certain: nobody need have probed, unless somebody hears it all the same.
#[test]
fn a_machine_that_is_off_needs_no_probes_unless_somebody_reaches_it() {
    let (mut night, since) = reboot();
    facts(&mut night, "styx").probes.clear();
    for gate in WORDS {
        assert!(shut(&night, &Rung::Reboot, since, gate), "{gate}: it runs");
    }
    let (node, now) = (name("styx"), night.now());
    let seen = in_state(MachineState::Stopped);
    night
        .world
        .observe(now, Observation::Machine { node, seen });
    for gate in WORDS {
        assert!(
            !shut(&night, &Rung::Reboot, since, gate),
            "{gate}: it is off"
        );
    }
    probe_at(&mut night, now, peer("calypso"), ProbeOutcome::Refused);
    for gate in WORDS {
        assert!(
            shut(&night, &Rung::Reboot, since, gate),
            "{gate}: it is heard"
        );
    }
}

/// One answer is no chorus: a machine that answers is rebooted only when a quorum has heard it since the decision.
#[test]
fn a_machine_that_answers_one_alone_is_not_rebooted() {
    let (mut night, since) = reboot();
    let now = night.now();
    facts(&mut night, "styx").probes.clear();
    probe_at(&mut night, now, Observer::Controller, ProbeOutcome::Reached);
    for gate in WORDS {
        assert!(
            shut(&night, &Rung::Reboot, since, gate),
            "{gate}: one of two"
        );
    }
    probe_at(&mut night, now, peer("calypso"), ProbeOutcome::Reached);
    for gate in WORDS {
        assert!(
            !shut(&night, &Rung::Reboot, since, gate),
            "{gate}: two of two"
        );
    }
    probe_at(&mut night, since, peer("calypso"), ProbeOutcome::Reached);
    assert!(
        shut(&night, &Rung::Reboot, since, "fresh-probes"),
        "known before"
    );
    assert!(!shut(&night, &Rung::Reboot, since, "quorum"));
    probe_at(
        &mut night,
        Tick(since.0 + 1),
        peer("calypso"),
        ProbeOutcome::Reached,
    );
    assert!(
        !shut(&night, &Rung::Reboot, since, "fresh-probes"),
        "a moment after"
    );
}

/// For a wipe one answer is new enough to know that there is no silence, and it is no quorum of anything.
#[test]
fn one_answer_ends_the_wait_for_probes_before_a_wipe_and_is_no_quorum() {
    let (mut night, since) = reboot();
    let now = night.now();
    probe_at(&mut night, now, peer("calypso"), ProbeOutcome::Refused);
    assert!(!shut(&night, &Rung::Recreate, since, "fresh-probes"));
    let said = answer(&night, &Rung::Recreate, since, "quorum");
    assert_eq!(said, Some(Waiting::Quorum { have: 0, need: 2 }));
    facts(&mut night, "styx").probes.clear();
    probe_at(&mut night, now, Observer::Controller, ProbeOutcome::Timeout);
    let said = answer(&night, &Rung::Recreate, since, "quorum");
    assert_eq!(said, Some(Waiting::Quorum { have: 1, need: 2 }));
}

/// Of few observers each one's word is waited for, but not for ever; of many it is not.
#[test]
fn where_observers_are_few_all_of_them_must_have_spoken() {
    let waits = |more: usize, late_ms: u64| {
        let (mut night, since) = reboot();
        let well = night.world.nodes[&name("tethys")].clone();
        for n in 0..more {
            night.add(&format!("other-{n}"), Role::Worker, true);
            night
                .world
                .nodes
                .insert(name(&format!("other-{n}")), well.clone());
        }
        let now = night.now();
        facts(&mut night, "styx").probes.clear();
        probe_at(&mut night, now, Observer::Controller, ProbeOutcome::Timeout);
        probe_at(&mut night, now, peer("calypso"), ProbeOutcome::Timeout);
        let since = Tick(since.0.min(now.0 - late_ms));
        shut(&night, &Rung::Reboot, since, "fresh-probes")
    };
    assert!(waits(0, 0), "tethys has not spoken");
    assert!(waits(3, 0), "five others");
    assert!(!waits(4, 0), "six others");
    assert!(waits(0, 60_000), "a moment before its time is over");
    assert!(!waits(0, 60_001));
}

fn as_server(night: &mut Night) {
    let spec = night.inventory.nodes.get_mut(&name("styx"));
    spec.expect("it is declared").role = Role::Server;
}

#[test]
fn a_person_s_yes_opens_the_servers_quorum() {
    let (mut night, since) = reboot();
    as_server(&mut night);
    assert!(shut(&night, &Rung::Reboot, since, "etcd-quorum"));
    night.person_says(Rung::Reboot, true, "ann", "I looked");
    assert!(!shut(&night, &Rung::Reboot, since, "etcd-quorum"));
}

/// Of two nodes the other one's absence holds the reboot of a machine that answers.
#[test]
fn of_two_nodes_one_that_answers_is_not_rebooted_while_the_other_is_away() {
    let away = |cordoned: bool| {
        let (mut night, since) = reboot();
        night.inventory.nodes.remove(&name("calypso"));
        let now = night.now();
        probe_at(&mut night, now, Observer::Controller, ProbeOutcome::Reached);
        let kube = facts(&mut night, "tethys")
            .kube
            .as_mut()
            .expect("it was seen");
        kube.value.unschedulable = cordoned;
        shut(&night, &Rung::Reboot, since, "disruption")
    };
    assert!(away(true) && !away(false));
}

/// After a storm only what was done to another node since then makes it a canary: a page does not, nor what was done before.
#[test]
fn a_canary_was_touched_after_the_storm_held_it() {
    let holds = |action: Action, intended_ago: u64| {
        let (mut night, since) = reboot();
        let incident = IncidentId("lethe-1".into());
        night.journal(Record::IncidentOpened {
            incident: incident.clone(),
            node: name("lethe"),
            since: night.now(),
            diagnosis: Diagnosis::Isolated,
            evidence: Vec::new(),
        });
        let (held, now) = (Tick(night.now().0 - 60_000), night.now());
        let other = night
            .ledger
            .incidents
            .get_mut(&incident)
            .expect("it is open");
        other.held = Some(held);
        other.effects.push(EffectState {
            effect: Effect {
                id: EffectId("lethe-1/1".into()),
                incident,
                node: name("lethe"),
                action,
                evidence: Vec::new(),
            },
            intended: Tick(now.0 - intended_ago),
            latest: Some((now, failed("error"))),
        });
        let own = night.ledger.incidents.values_mut();
        for incident in own.filter(|i| i.node == name("styx")) {
            incident.held = Some(held);
        }
        shut(&night, &Rung::Reboot, since, "canary")
    };
    assert!(holds(Action::Reboot, 60_000), "at the moment");
    assert!(!holds(Action::Reboot, 60_001), "before");
    let page = || Action::Page {
        message: "look".into(),
    };
    assert!(!holds(page(), 10_000), "nobody touched it");
}
