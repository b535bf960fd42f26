//! The planner that goes on, step by step: when it must look at a node again, and when it asks to be woken.

use crate::night::moment::before;
use crate::night::{Night, name};
use crate::{ago, facts, peer, planned, probe_at, styx, well};
use iaso_engine::fact::{Observer, PluginFault, ProbeOutcome};
use iaso_engine::id::NodeName;
use iaso_engine::plan::{Look, Plan, Planner};
use iaso_engine::record::{Diagnosis, Record};
use iaso_engine::time::Tick;
use iaso_engine::world::{AgentLink, World};
use std::collections::BTreeSet;

fn step(planner: &mut Planner, night: &Night, touched: &[&str]) -> Plan {
    let touched: BTreeSet<NodeName> = touched.iter().map(|n| name(n)).collect();
    planner.step(&night.situation(), touched)
}

/// Somebody who becomes fit to accuse is heard at once, of every node.
#[test]
fn an_observer_that_becomes_fit_makes_its_earlier_words_count_at_once() {
    let mut night = well();
    let broken = PluginFault {
        class: "trap".into(),
        message: "x".into(),
    };
    let accused = crate::night::critical("k3s-agent.dead", &[]);
    let run = facts(&mut night, "calypso").plugins.get_mut("k3s-agent");
    run.expect("it ran").value.findings = vec![accused];
    let (first, later) = (ago(&night, 40_000), ago(&night, 1_000));
    for at in [first, later] {
        probe_at(&mut night, at, Observer::Controller, ProbeOutcome::Timeout);
        probe_at(&mut night, at, peer("calypso"), ProbeOutcome::Timeout);
    }
    let mut planner = Planner::default();
    step(&mut planner, &night, &[]);
    let of = |planner: &Planner| planner.nodes()[&name("styx")].diagnosis;
    assert_eq!(
        of(&planner),
        Diagnosis::Healthy,
        "one observer is no quorum"
    );
    let run = facts(&mut night, "calypso").plugins.get_mut("k3s-agent");
    run.expect("it ran").value.fault = Some(broken);
    let plan = step(&mut planner, &night, &["calypso"]);
    assert_eq!(of(&planner), Diagnosis::PartialPartition);
    assert_eq!(plan.records, planned(&night).records);
}

/// A node that nothing more is heard of is looked at when its last word grows old, though nobody touches it.
#[test]
fn a_node_that_falls_silent_is_looked_at_when_its_word_grows_old() {
    let mut night = Night::new().run(5);
    let mut planner = Planner::default();
    step(&mut planner, &night, &[]);
    night.second = 40;
    let plan = step(&mut planner, &night, &[]);
    assert!(!plan.records.is_empty() || !plan.looks.is_empty());
    assert_eq!(plan.records, planned(&night).records);
}

/// The API server's word grows old before a node's own does: every node is looked at at that moment.
#[test]
fn an_api_server_s_silence_is_seen_at_its_own_moment() {
    for after_secs in [49, 50, 51] {
        let mut night = well();
        night.policy.agent_gone_secs = 3_600;
        let (mut planner, since) = (Planner::default(), night.now());
        for node in ["styx", "calypso", "tethys"] {
            let kube = facts(&mut night, node).kube.as_mut().expect("it was seen");
            kube.at = Tick(since.0 + 5_000);
            kube.value.lease_changed = Some(Tick(since.0 + 5_000));
        }
        night.world.kube_api.as_mut().expect("it was asked").at = since;
        step(&mut planner, &night, &[]);
        night.second += after_secs;
        step(&mut planner, &night, &[]);
        assert_eq!(planner.nodes(), &planned(&night).nodes, "{after_secs} s");
    }
}

/// What was decided and could not be written down is decided again.
#[test]
fn a_plan_that_was_not_journaled_is_made_again() {
    let closes = |r: &Record| matches!(r, Record::Closed { .. });
    let (night, _) = before(styx(), closes);
    let mut planner = Planner::default();
    let first = step(&mut planner, &night, &[]);
    assert!(first.records.iter().any(closes));
    planner.look_again();
    let again = step(&mut planner, &night, &[]);
    assert_eq!(again.records, first.records);
}

/// A controller that begins anew in the middle of an incident looks at its node at once, not when its silence has lasted.
#[test]
fn a_node_with_an_open_incident_is_looked_at_from_the_first_moment() {
    let (mut night, _) = before(styx(), crate::night::moment::intends("reboot"));
    night.world = World::new(night.now());
    let looks = planned(&night).looks;
    let styx = name("styx");
    for look in [Look::Probe(styx.clone()), Look::Machine(styx.clone())] {
        assert!(looks.contains(&look), "{look:?} of {looks:?}");
    }
}

/// A session that just ended is looked at again after a round of probes; a node not heard of yet when its silence counts.
#[test]
fn the_planner_is_woken_for_a_session_that_ended_and_for_a_node_never_heard_of() {
    let mut night = well();
    let now = night.now();
    let reason = "closed".into();
    facts(&mut night, "styx")
        .agent
        .as_mut()
        .expect("it was seen")
        .value = AgentLink::Lost { reason };
    let plan = planned(&night);
    assert_eq!(plan.records, []);
    assert_eq!(plan.next_wake, Some(Tick(now.0 + 10_000)));
    let mut night = Night::new();
    night.inventory.has_cluster = false;
    let wake = planned(&night).next_wake;
    assert_eq!(wake, Some(Tick(night.now().0 + 30_000)));
}
