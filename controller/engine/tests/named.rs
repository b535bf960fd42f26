//! Golden traces of the cases that others get wrong: hung, flapping, latched, partly cut, felled together, and what the policy says of them.

#![allow(
    clippy::indexing_slicing,
    reason = "a test that indexes wrongly fails, as it should"
)]

mod night;

use iaso_engine::explain::explain;
use iaso_engine::fact::{Observation, Observer, ProbeOutcome, ProbeResult, Role};
use iaso_engine::policy::step::{Step, StepKind};
use iaso_engine::policy::window::{TimeOfDay, UtcOffset, Window};
use iaso_engine::policy::{Mode, Override};
use iaso_engine::record::{Diagnosis, Rung};
use night::{Night, Reach, critical, failed, name, unknown};

fn approve(night: &mut Night, rung: Rung) {
    night.person_says(rung, true, "ann", "I looked");
}

fn untouched(night: &Night) {
    let touched = ["reboot", "recreate", "start", "apply-fix"].map(|action| night.intended(action));
    assert_eq!(touched, [0; 4], "{}", night.trace());
}

fn hang(n: &mut Night) {
    n.host("styx").agent = false;
    n.host("styx").lease = false;
}

#[test]
fn a_hung_machine_that_answers_is_rebooted_after_a_while_and_never_wiped() {
    let mut night = Night::new();
    night.at.push((60, hang));
    night.after.insert("reboot", (40, |n| n.heal("styx")));
    let night = night.until_closed(1_500);
    insta::assert_snapshot!("hung", night.trace());
    assert!(night.closed());
    assert_eq!(
        (night.intended("reboot"), night.intended("recreate")),
        (1, 0)
    );
}

#[test]
fn a_hung_machine_that_a_reboot_does_not_wake_is_parked_with_its_disk() {
    let mut night = Night::new();
    night.policy.rejoin_secs = 300;
    night.at.push((60, hang));
    let night = night.run(2_000);
    insta::assert_snapshot!("hung_still", night.trace());
    assert_eq!(
        (night.intended("reboot"), night.intended("recreate")),
        (1, 0)
    );
}

#[test]
fn a_single_node_cluster_is_told_about_and_touched_only_by_fixes() {
    let mut night = Night::new();
    for other in ["styx", "calypso"] {
        night.inventory.nodes.remove(&name(other));
        night.hosts.remove(&name(other));
    }
    night.at.push((60, |n| {
        n.cut("tethys");
        n.api_trouble = Some("connection timed out".into());
    }));
    let night = night.run(1_500);
    insta::assert_snapshot!("single_node", night.trace());
    untouched(&night);
}

#[test]
fn a_gpu_worker_with_local_volumes_waits_for_a_person() {
    let mut night = Night::new();
    night.add("minos", Role::Worker, true);
    night.host("minos").local_data = vec!["volume models (local-path) of claim ml/models".into()];
    let ask = Override {
        recreate: Some(Mode::Approve),
        ..Override::default()
    };
    night.policy.nodes.insert(name("minos"), ask);
    night
        .replies
        .insert("reboot", vec![failed("the action ended in error")]);
    night.at.push((60, |n| n.cut("minos")));
    let night = night.run(1_500);
    insta::assert_snapshot!("gpu_worker", night.trace());
    assert_eq!(
        (night.intended("reboot"), night.intended("recreate")),
        (1, 0)
    );
}

#[test]
fn a_machine_that_a_fresh_disk_did_not_mend_is_not_wiped_again_without_a_person() {
    let mut night = Night::new();
    night.policy.recreates_per_day = 9;
    night
        .replies
        .insert("reboot", vec![failed("the action ended in error")]);
    night.at.push((60, |n| n.cut("styx")));
    night.after.insert(
        "recreate",
        (120, |n| {
            n.heal("styx");
            n.at.push((n.second + 600, |n| n.cut("styx")));
        }),
    );
    let night = night.run(6_000);
    insta::assert_snapshot!("replacement_loop", night.trace());
    assert_eq!(night.intended("recreate"), 1);
}

#[test]
fn a_node_that_comes_and_goes_after_its_reboot_is_parked_and_not_wiped() {
    let mut night = Night::new();
    night.policy.verify_secs = 300;
    night.at.push((60, |n| n.cut("styx")));
    night.after.insert(
        "reboot",
        (40, |n| {
            n.heal("styx");
            n.at.push((n.second + 100, |n| n.cut("styx")));
        }),
    );
    let night = night.run(2_500);
    insta::assert_snapshot!("comes_and_goes", night.trace());
    assert_eq!(night.intended("recreate"), 0);
}

#[test]
fn a_bad_roll_out_that_takes_two_of_three_is_held() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        for node in ["styx", "calypso"] {
            n.host(node).agent = false;
            n.host(node).lease = false;
        }
    }));
    let night = night.run(1_200);
    insta::assert_snapshot!("bad_roll_out", night.trace());
    untouched(&night);
    assert_eq!(night.intended("page"), 1);
}

#[test]
fn a_zone_that_fails_as_a_whole_is_held_though_few_are_down() {
    let mut night = Night::new();
    for other in ["lethe", "acheron", "minos", "rhea", "gaia", "eris"] {
        night.add(other, Role::Worker, true);
    }
    for node in ["styx", "lethe", "minos"] {
        let spec = night
            .inventory
            .nodes
            .get_mut(&name(node))
            .expect("it is there");
        spec.domains.insert("zone".into(), "fra1".into());
    }
    night.at.push((60, |n| {
        n.cut("styx");
        n.cut("lethe");
    }));
    let night = night.run(1_000);
    insta::assert_snapshot!("zone", night.trace());
    untouched(&night);
}

#[test]
fn after_a_storm_one_node_is_repaired_and_watched_before_the_next() {
    let mut night = Night::new();
    for other in ["lethe", "acheron", "minos"] {
        night.add(other, Role::Worker, true);
    }
    night.at.push((60, |n| {
        for node in ["styx", "lethe", "minos"] {
            n.cut(node);
        }
    }));
    night.at.push((400, |n| n.heal("minos")));
    night.after.insert(
        "reboot",
        (30, |n| {
            let dark = ["lethe", "styx"]
                .into_iter()
                .find(|h| n.hosts[&name(h)].reach == Reach::Nobody);
            if let Some(host) = dark {
                n.heal(host);
            }
        }),
    );
    let night = night.until_closed(2_500);
    insta::assert_snapshot!("canary", night.trace());
    assert!(night.closed(), "{}", night.trace());
    assert_eq!(night.intended("reboot"), 2);
}

#[test]
fn a_provider_that_answers_for_no_machine_is_one_page() {
    let mut night = Night::new();
    night.add("lethe", Role::Worker, true);
    night.add("acheron", Role::Worker, true);
    night.policy.storm_limit = 3;
    night.at.push((60, |n| {
        for node in ["tethys", "styx", "lethe", "acheron"] {
            n.host(node).machine = unknown("transport");
        }
        n.cut("styx");
        n.cut("lethe");
    }));
    let night = night.run(1_000);
    insta::assert_snapshot!("provider_outage", night.trace());
    untouched(&night);
}

#[test]
fn a_slow_node_whose_agent_stutters_is_never_touched() {
    let mut night = Night::new();
    night.at.push((60, |n| n.host("styx").heartbeat_every = 37));
    let night = night.run(1_500);
    insta::assert_snapshot!("slow_node", night.trace());
    untouched(&night);
}

#[test]
fn a_node_that_is_not_ready_for_long_is_told_about_and_one_that_boots_is_not() {
    let mut night = Night::new();
    night.at.push((60, |n| n.host("styx").not_ready = true));
    let booting = night.clone().run(1_200);
    assert_eq!(booting.trace(), "");
    let night = night.run(1_600);
    insta::assert_snapshot!("not_ready", night.trace());
    untouched(&night);
}

#[test]
fn a_latched_ready_is_no_sign_of_life() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.host("styx").latched = true;
        n.host("styx").lease = false;
    }));
    let night = night.run(600);
    insta::assert_snapshot!("latched_ready", night.trace());
    untouched(&night);
}

#[test]
fn a_node_that_nobody_reaches_though_its_agent_speaks_is_a_partition() {
    let mut night = Night::new();
    for second in (60..400).step_by(10) {
        night.at.push((second, |n| {
            for observer in [Observer::Controller, Observer::Node(name("tethys"))] {
                let seen = Observation::Probed {
                    target: name("styx"),
                    observer,
                    round: 1,
                    results: vec![ProbeResult {
                        kind: "tcp/22".into(),
                        outcome: ProbeOutcome::Timeout,
                        rtt_us: None,
                    }],
                };
                n.world.observe(n.now(), seen);
            }
            n.host("styx").reach = Reach::Nobody;
        }));
    }
    let night = night.run(400);
    insta::assert_snapshot!("one_way", night.trace());
    untouched(&night);
}

#[test]
fn an_agent_with_a_wild_clock_is_no_observer_and_says_so() {
    let mut night = Night::new();
    night.host("calypso").skew_ms = 95_000;
    night.policy.quorum = 3;
    night.at.push((60, |n| n.cut("styx")));
    let night = night.run(400);
    insta::assert_snapshot!("clock_skew", night.trace());
    untouched(&night);
    let told = explain(&night.situation(), &name("calypso")).expect("it is in the inventory");
    assert!(
        told.facts
            .iter()
            .any(|f| f.channel == "clock" && f.value.contains("95 s"))
    );
}

#[test]
fn a_node_that_never_joined_is_told_about_and_never_recreated() {
    let mut night = Night::new();
    night.add("lethe", Role::Worker, true);
    night.host("lethe").agent = false;
    night.host("lethe").lease = false;
    night.host("lethe").reach = Reach::Nobody;
    night.host("lethe").unknown_to_kube = true;
    let night = night.run(3_000);
    insta::assert_snapshot!("never_joined", night.trace());
    untouched(&night);
    assert_eq!(night.intended("page"), 1);
}

#[test]
fn an_opted_out_node_is_told_about_and_left_alone() {
    let mut night = Night::new();
    night.host("styx").opt_out = Some("training until Friday".into());
    night.at.push((60, |n| n.cut("styx")));
    let night = night.run(1_000);
    insta::assert_snapshot!("opt_out", night.trace());
    untouched(&night);
}

#[test]
fn a_repair_window_is_waited_for_and_then_used() {
    let mut night = Night::new();
    // The night begins on Saturday at 23:45 UTC.
    let time = |text: &str| TimeOfDay::try_from(text.to_owned()).expect("a time");
    night.policy.windows = vec![Window {
        days: Vec::new(),
        from: time("02:00"),
        to: time("04:00"),
        utc_offset: UtcOffset::try_from("+02:00".to_owned()).expect("an offset"),
        rungs: vec![StepKind::Reboot],
    }];
    night.at.push((60, |n| n.cut("styx")));
    night.after.insert("reboot", (40, |n| n.heal("styx")));
    let night = night.until_closed(2_500);
    insta::assert_snapshot!("window", night.trace());
    assert!(night.closed());
}

#[test]
fn a_ladder_of_the_policy_is_climbed_in_its_order_and_at_its_pace() {
    let mut night = Night::new();
    let reboot = Step {
        attempts: Some(2),
        cooldown_secs: Some(400),
        after_secs: Some(120),
        ..Step::new(StepKind::Reboot)
    };
    night
        .policy
        .ladder
        .insert(Diagnosis::Isolated, vec![reboot, Step::new(StepKind::Page)]);
    night.at.push((60, |n| n.cut("styx")));
    let night = night.run(2_500);
    insta::assert_snapshot!("own_ladder", night.trace());
    assert_eq!(
        (night.intended("reboot"), night.intended("recreate")),
        (2, 0)
    );
}

#[test]
fn a_server_is_not_rebooted_when_the_others_could_not_agree_without_it() {
    let mut night = Night::new();
    night.add("rhea", Role::Server, true);
    night.add("gaia", Role::Server, true);
    night.policy.storm_limit = 3;
    night.at.push((60, |n| {
        n.cut("rhea");
        n.host("gaia").agent = false;
    }));
    night.at.push((600, |n| approve(n, Rung::Reboot)));
    let night = night.run(560);
    insta::assert_snapshot!("etcd_quorum", night.trace());
    untouched(&night);
}

#[test]
fn a_service_that_dies_again_and_again_is_not_restarted_for_ever() {
    let mut night = Night::new();
    night.policy.flapping_times = 100;
    night.policy.fixes_per_day = 3;
    for k in 0..6 {
        night.at.push((60 + k * 300, |n| {
            n.host("styx").findings = vec![critical("k3s-agent.dead", &["restart"])];
        }));
    }
    night
        .after
        .insert("apply-fix", (5, |n| n.host("styx").findings.clear()));
    let night = night.run(2_000);
    insta::assert_snapshot!("fix_budget", night.trace());
    assert_eq!(night.intended("apply-fix"), 3);
}

#[test]
fn local_data_that_nobody_could_look_at_counts_as_there() {
    let mut night = Night::new();
    night.inventory.has_cluster = false;
    night
        .replies
        .insert("reboot", vec![failed("the action ended in error")]);
    night.at.push((60, |n| n.cut("styx")));
    let night = night.run(1_000);
    insta::assert_snapshot!("local_data_unknown", night.trace());
    assert_eq!(night.intended("recreate"), 0);
}

#[test]
fn every_diagnosis_has_a_runbook() {
    let all = iaso_engine::policy::outlook::WITH_RUNGS
        .iter()
        .chain(&iaso_engine::policy::outlook::ONLY_TOLD)
        .chain(&[Diagnosis::Unknown]);
    for diagnosis in all {
        let path = format!(
            "{}/../../docs/runbooks/{diagnosis}.md",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text.contains("## Do"), "{path} says what to do");
    }
}
