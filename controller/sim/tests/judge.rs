//! The judge on single nights whose right answer is known: each planted bug of the engine is caught where it does harm, and the engine as it
//! is passes the very same night.

use iaso_engine::fact::Role;
use iaso_engine::id::NodeName;
use iaso_engine::policy::Mode;
use iaso_sim::plant::Plant;
use iaso_sim::scenario::{
    CrashOn, Fault, Heal, Ix, NodeSetup, RebootManner, RecreateManner, SECOND, Scenario, Strike,
    Trouble,
};
use iaso_sim::sim::run;
use iaso_sim::verdict::Verdict;

fn cluster(count: usize) -> Scenario {
    Scenario::quiet((0..count).map(|number| {
        let name = NodeName::new(format!("n{number:03}")).expect("a valid name");
        let role = if number == 0 {
            Role::Server
        } else {
            Role::Worker
        };
        NodeSetup::well(name, role)
    }))
}

fn healed_by(reboot: bool, recreate: bool) -> Heal {
    Heal {
        reboot,
        recreate,
        ..Heal::default()
    }
}

/// A fault on some nodes, from 100 s on, until a second of the run.
fn strike(scenario: &mut Scenario, fault: Fault, nodes: &[usize], until: Option<u64>, heal: Heal) {
    scenario.strikes.push(Strike {
        at: 100 * SECOND,
        until: until.map(|secs| secs * SECOND),
        fault,
        nodes: nodes.iter().copied().map(Ix).collect(),
        heal,
        remedies: Vec::new(),
        cause: u32::try_from(scenario.strikes.len()).expect("few"),
    });
}

/// The engine passes this night, and with the bug it does not.
#[track_caller]
fn caught(scenario: &Scenario, plant: Plant, wrong: fn(&Verdict) -> usize) {
    let clean = run(scenario, Plant::None).verdict;
    let wrongs: Vec<_> = clean.wrongs().collect();
    assert!(clean.is_clean(), "without the bug: {wrongs:#?}");
    let planted = run(scenario, plant).verdict;
    assert!(wrong(&planted) > 0, "{plant:?} is not caught: {planted:#?}");
}

#[test]
fn a_hung_machine_is_rebooted_and_nothing_else() {
    let mut night = cluster(3);
    strike(&mut night, Fault::Hang, &[1], None, healed_by(true, true));
    let verdict = run(&night, Plant::None).verdict;
    assert!(
        verdict.is_clean() && verdict.missed.is_empty(),
        "{verdict:#?}"
    );
    assert_eq!((verdict.reboots, verdict.recreates), (1, 0));
    assert_eq!(verdict.recovered.len(), 1);
}

#[test]
fn one_observer_that_is_believed_alone_is_caught() {
    let mut night = cluster(4);
    let path = Fault::Path {
        controller: true,
        peers_percent: 0,
        session: true,
        api: true,
    };
    strike(&mut night, path, &[1], None, Heal::default());
    caught(&night, Plant::QuorumIgnored, |v| v.false_reboots.len());
    caught(&night, Plant::QuorumIgnored, |v| v.false_recreates.len());
}

#[test]
fn unknown_that_is_taken_for_failed_is_caught() {
    let mut night = cluster(3);
    strike(&mut night, Fault::Hang, &[1], None, healed_by(true, true));
    let trouble = Fault::ProviderTrouble(Trouble::RateLimited);
    strike(&mut night, trouble, &[], Some(400), Heal::default());
    caught(&night, Plant::UnknownIsFailed, |v| v.false_recreates.len());
}

#[test]
fn a_failed_recreate_that_is_forgotten_is_caught() {
    let mut night = cluster(3);
    strike(&mut night, Fault::Hang, &[1], None, healed_by(false, true));
    night.provider.recreate = RecreateManner::FailsBefore;
    night.policy.recreates_per_day = 5;
    caught(&night, Plant::OnlyDoneRecreatesCount, |v| {
        v.double_actions.len()
    });
}

#[test]
fn a_cordon_that_is_never_undone_is_caught() {
    let mut night = cluster(3);
    strike(&mut night, Fault::Hang, &[1], None, healed_by(false, true));
    caught(&night, Plant::CordonNeverUndone, |v| v.left_cordoned.len());
}

#[test]
fn local_data_that_is_forgotten_is_caught() {
    let mut night = cluster(3);
    night
        .nodes
        .iter_mut()
        .for_each(|node| node.local_data = true);
    strike(&mut night, Fault::Hang, &[1], None, healed_by(false, true));
    caught(&night, Plant::LocalDataForgotten, |v| {
        v.false_recreates.len()
    });
}

#[test]
fn an_approval_that_is_forgotten_is_caught() {
    let mut night = cluster(3);
    night.policy.reboot = Mode::Approve;
    strike(&mut night, Fault::Hang, &[1], None, healed_by(true, true));
    caught(&night, Plant::ApprovalForgotten, |v| v.false_reboots.len());
}

#[test]
fn a_storm_that_is_ignored_is_caught() {
    let mut night = cluster(7);
    strike(
        &mut night,
        Fault::Cut,
        &[1, 2, 3],
        Some(1_500),
        Heal::default(),
    );
    caught(&night, Plant::StormIgnored, |v| v.false_reboots.len());
}

#[test]
fn an_order_that_is_repeated_after_a_crash_is_caught() {
    let mut night = cluster(3);
    strike(&mut night, Fault::Hang, &[1], None, healed_by(true, true));
    night.crash_on.push(CrashOn {
        action: "reboot",
        sent: true,
        down: 5 * SECOND,
    });
    caught(&night, Plant::RepeatsAfterCrash, |v| v.double_actions.len());
}

#[test]
fn missing_patience_is_caught() {
    let mut night = cluster(3);
    strike(&mut night, Fault::Cut, &[1], Some(125), Heal::default());
    caught(&night, Plant::NoPatience, |v| v.false_reboots.len());
}

#[test]
fn a_provider_whose_reboot_does_nothing_is_climbed_past() {
    let mut night = cluster(3);
    night.provider.reboot = RebootManner::DoesNothing;
    strike(&mut night, Fault::Cut, &[1], None, healed_by(true, true));
    let verdict = run(&night, Plant::None).verdict;
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert_eq!((verdict.reboots, verdict.recreates), (1, 1));
}

#[test]
fn what_waits_for_a_yes_that_never_comes_is_missed_and_explained() {
    let mut night = cluster(3);
    night.policy.recreate = Mode::Approve;
    strike(&mut night, Fault::Hang, &[1], None, healed_by(false, true));
    let verdict = run(&night, Plant::None).verdict;
    assert!(verdict.is_clean(), "{verdict:#?}");
    let whys: Vec<_> = verdict.missed.iter().map(|(_, why)| *why).collect();
    assert_eq!(whys, ["approval"]);
}
