//! Golden traces: what the engine does, second by second, in nights that have names.

#![allow(
    clippy::indexing_slicing,
    reason = "a test that indexes wrongly fails, as it should"
)]

mod night;

use iaso_engine::effect::{Outcome, Yield};
use iaso_engine::explain::explain;
use iaso_engine::fact::{MachineState, Role};
use iaso_engine::policy::Mode;
use iaso_engine::policy::step::{Step, StepKind};
use iaso_engine::record::{Diagnosis, Record, Rung};
use iaso_engine::report::Report;
use night::{Night, Reach, critical, failed, in_state, name, not_started, unknown};

fn styx() -> Night {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("styx")));
    night
        .replies
        .insert("reboot", vec![failed("the action ended in error")]);
    night.after.insert("recreate", (120, |n| n.heal("styx")));
    night
}

#[test]
fn styx_isolated_reboot_fails_recreated_once_and_rejoined() {
    let night = styx().until_closed(1_500);
    insta::assert_snapshot!("styx", night.trace());
    assert!(night.closed());
    assert_eq!(night.recreated, 1);
}

#[test]
fn the_report_of_styx_tells_the_night() {
    let night = styx().until_closed(1_500);
    let report = Report::build(&night.entries, night.now()).expect("an incident was opened");
    insta::assert_snapshot!("styx_report", report.markdown());
    let json = serde_json::to_string(&report).expect("reports become JSON");
    assert_eq!(
        serde_json::from_str::<Report>(&json).expect("and come back"),
        report
    );
    let p = report.phases;
    let sum = p.detect_s + p.decide_s + p.reboot_s + p.recreate_s + p.rejoin_s + p.verify_s;
    assert_eq!(sum, report.until.since(report.since).as_secs());
}

#[test]
fn explain_answers_for_every_rung_and_gate() {
    let night = styx().run(140);
    let told = explain(&night.situation(), &name("styx")).expect("styx is in the inventory");
    insta::assert_snapshot!(
        "explain_styx",
        serde_json::to_string_pretty(&told).expect("JSON")
    );
    assert!(explain(&night.situation(), &name("nobody")).is_none());
}

#[test]
fn explain_answers_for_the_rescue_image_where_the_ladder_has_it() {
    let mut night = styx();
    let isolated = [StepKind::Reboot, StepKind::Rescue, StepKind::Recreate].map(Step::new);
    night
        .policy
        .ladder
        .insert(Diagnosis::Isolated, isolated.to_vec());
    let night = night.run(140);
    let told = explain(&night.situation(), &name("styx")).expect("styx is in the inventory");
    let rungs: Vec<&str> = told.rungs.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(rungs, ["reboot", "start", "rescue", "recreate", "page"]);
    assert!(told.rungs[2].why.contains("rung 2 of 3"), "{told:#?}");
}

#[test]
fn a_reboot_that_works_ends_the_incident_without_a_recreate() {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("styx")));
    night.after.insert("reboot", (40, |n| n.heal("styx")));
    let night = night.until_closed(1_500);
    insta::assert_snapshot!("reboot_works", night.trace());
    assert!(night.closed());
    assert_eq!(night.intended("recreate"), 0);
}

#[test]
fn a_killed_k3s_agent_is_restarted_and_nothing_else() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.host("styx").lease = false;
        n.host("styx").findings = vec![critical("k3s-agent.dead", &["restart", "killall"])];
    }));
    night.after.insert(
        "apply-fix",
        (5, |n| {
            n.host("styx").lease = true;
            n.host("styx").findings.clear();
        }),
    );
    let night = night.until_closed(1_500);
    insta::assert_snapshot!("k3s_agent_killed", night.trace());
    assert!(night.closed());
    assert_eq!(
        (night.intended("apply-fix"), night.intended("reboot")),
        (1, 0)
    );
}

#[test]
fn restart_that_does_not_help_climbs_to_killall_then_a_person() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.host("styx").lease = false;
        n.host("styx").findings = vec![critical("k3s-agent.dead", &["restart", "killall"])];
    }));
    let night = night.run(1_200);
    insta::assert_snapshot!("fixes_used_up", night.trace());
    assert_eq!(
        (
            night.intended("apply-fix"),
            night.intended("reboot"),
            night.intended("page")
        ),
        (4, 0, 1)
    );
}

/// Catches a plan in which one node does not see what another one's plan ended at the same moment: planning twice would add to it.
#[test]
fn two_nodes_with_a_fault_are_mended_one_after_the_other() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.host("tethys").findings = vec![critical("k3s-agent.dead", &["restart"])];
    }));
    night.at.push((70, |n| {
        n.host("styx").findings = vec![critical("k3s-agent.dead", &["restart"])];
    }));
    night.delays.insert("apply-fix", 45);
    let night = night.run(900);
    insta::assert_snapshot!("two_faults", night.trace());
    assert_eq!(night.intended("apply-fix"), 4);
}

#[test]
fn a_dns_fault_is_named_and_never_rebooted() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.host("styx").findings = vec![critical("coredns.upstream-servfail", &[])];
    }));
    let night = night.run(2_000);
    insta::assert_snapshot!("coredns", night.trace());
    assert_eq!(
        (night.intended("reboot"), night.intended("recreate")),
        (0, 0)
    );
}

#[test]
fn a_provider_that_answers_404_escalates_nothing() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.cut("styx");
        n.host("styx").machine = unknown("not-found");
    }));
    let night = night.run(3_000);
    insta::assert_snapshot!("provider_404", night.trace());
    assert_eq!(
        (night.intended("reboot"), night.intended("recreate")),
        (0, 0)
    );
}

#[test]
fn a_provider_that_refuses_the_token_for_the_reboot_never_climbs_to_recreate() {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("styx")));
    night
        .replies
        .insert("reboot", vec![not_started("unauthorized")]);
    let night = night.run(2_000);
    insta::assert_snapshot!("provider_401", night.trace());
    assert_eq!(night.intended("recreate"), 0);
}

#[test]
fn a_controller_that_is_cut_off_holds_and_touches_nothing() {
    let mut night = Night::new();
    night.at.push((60, |n| n.controller_cut = true));
    night.at.push((900, |n| n.controller_cut = false));
    let night = night.until_closed(1_500);
    insta::assert_snapshot!("controller_cut_off", night.trace());
    assert!(night.closed());
    assert_eq!(
        (night.intended("reboot"), night.intended("recreate")),
        (0, 0)
    );
}

#[test]
fn a_lost_agent_on_a_fine_node_is_a_page() {
    let mut night = Night::new();
    night.at.push((60, |n| n.host("styx").agent = false));
    let night = night.run(1_000);
    insta::assert_snapshot!("agent_lost", night.trace());
    assert_eq!((night.intended("reboot"), night.intended("page")), (0, 1));
}

#[test]
fn a_partial_partition_waits_and_pages() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.cut("styx");
        n.host("styx").reach = Reach::PeersOnly;
    }));
    let night = night.run(1_000);
    insta::assert_snapshot!("partial_partition", night.trace());
    assert_eq!((night.intended("reboot"), night.intended("page")), (0, 1));
}

#[test]
fn two_of_three_nodes_lost_are_held() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.cut("styx");
        n.cut("calypso");
    }));
    let night = night.run(1_500);
    insta::assert_snapshot!("two_of_three", night.trace());
    assert_eq!(night.intended("reboot"), 0);
}

#[test]
fn two_of_five_nodes_down_are_a_storm() {
    let mut night = Night::new();
    night.add("lethe", Role::Worker, true);
    night.add("acheron", Role::Worker, true);
    night.at.push((60, |n| {
        n.cut("styx");
        n.cut("lethe");
    }));
    let night = night.run(1_000);
    insta::assert_snapshot!("storm", night.trace());
    assert_eq!(night.intended("reboot"), 0);
}

#[test]
fn every_lease_stale_at_once_touches_nobody() {
    let mut night = Night::new();
    night.at.push((60, |n| n.every_lease_stale = true));
    night.at.push((600, |n| n.every_lease_stale = false));
    let night = night.run(900);
    assert_eq!(night.trace(), "");
}

/// Catches: a storm of stale leases in which nobody is touched, and nobody is told either.
#[test]
fn leases_that_stay_stale_are_one_page_and_touch_nobody() {
    let mut night = Night::new();
    night.at.push((60, |n| n.every_lease_stale = true));
    night.at.push((2_000, |n| n.every_lease_stale = false));
    let mut told = night.clone();
    told.at
        .push((60, |n| n.api_trouble = Some("timed out".into())));
    told.at.push((2_000, |n| n.api_trouble = None));
    let night = night.run(2_200);
    insta::assert_snapshot!("leases_stay_stale", night.trace());
    for night in [night, told.run(2_200)] {
        assert_eq!(night.intended("page"), 1, "{}", night.trace());
        assert_eq!(night.ledger.effects().count(), 1, "{}", night.trace());
        assert!(night.closed(), "{}", night.trace());
    }
}

/// Catches: a check that named a fault and fell silent, broke or cannot tell, and whose node is then called healthy.
#[test]
fn a_fault_that_nobody_takes_back_is_not_healed_by_silence() {
    let named = |n: &mut Night| {
        n.host("styx").findings = vec![critical("coredns.timeout", &[])];
    };
    let mut silent = Night::new();
    silent.at.push((60, named));
    silent.at.push((120, |n| n.host("styx").reports = false));
    let mut unsure = Night::new();
    unsure.at.push((60, named));
    unsure.at.push((120, |n| {
        let unknown = iaso_engine::fact::Severity::Unknown;
        n.host("styx").findings[0].severity = unknown;
    }));
    for mut night in [silent, unsure] {
        night = night.run(900);
        assert!(!night.closed(), "{}", night.trace());
        night.at.push((900, |n| {
            n.host("styx").findings.clear();
            n.host("styx").reports = true;
        }));
        let night = night.run(1_100);
        assert!(night.closed(), "{}", night.trace());
    }
}

#[test]
fn a_home_node_without_provider_ends_at_a_page() {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("calypso")));
    let night = night.run(1_000);
    insta::assert_snapshot!("home_node", night.trace());
    assert_eq!((night.intended("reboot"), night.intended("page")), (0, 1));
}

#[test]
fn an_isolated_server_is_rebooted_and_never_recreated() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.cut("tethys");
        n.api_trouble = Some("connection timed out".into());
    }));
    let night = night.run(2_500);
    insta::assert_snapshot!("server_isolated", night.trace());
    assert_eq!(
        (night.intended("reboot"), night.intended("recreate")),
        (1, 0)
    );
}

#[test]
fn a_k3s_agent_that_needs_twelve_minutes_is_not_recreated_again() {
    let mut night = styx();
    night.after.insert(
        "recreate",
        (60, |n| {
            n.heal("styx");
            n.host("styx").lease = false;
            n.at.push((n.second + 720, |n| n.host("styx").lease = true));
        }),
    );
    let night = night.until_closed(3_000);
    insta::assert_snapshot!("slow_k3s_agent", night.trace());
    assert!(night.closed());
    assert_eq!(night.recreated, 1);
}

#[test]
fn a_machine_that_never_comes_back_is_waited_for_and_not_wiped_again() {
    let mut night = styx();
    night.after.clear();
    let night = night.run(4_000);
    assert_eq!((night.recreated, night.closed()), (1, false));
    assert!(night.trace().contains("never recreates twice"));
}

#[test]
fn a_recreate_that_fails_is_parked_and_says_that_the_node_may_be_cordoned() {
    let mut night = styx();
    night
        .replies
        .insert("recreate", vec![failed("template not found")]);
    let night = night.run(5_000);
    insta::assert_snapshot!("recreate_fails", night.trace());
    assert_eq!(night.recreated, 1);
}

#[test]
fn a_leaked_password_is_drawn_anew() {
    let mut night = styx();
    let done = Outcome::Done {
        detail: "ok".into(),
        yielded: Yield::Nothing,
    };
    night
        .replies
        .insert("recreate", vec![not_started("invalid"), done]);
    let night = night.until_closed(3_000);
    insta::assert_snapshot!("leaked_password", night.trace());
    assert!(night.closed());
    assert_eq!((night.recreated, night.intended("store-password")), (1, 2));
}

#[test]
fn a_powered_off_machine_is_started() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.cut("styx");
        n.host("styx").machine = in_state(MachineState::Stopped);
    }));
    night.after.insert("start", (40, |n| n.heal("styx")));
    let night = night.until_closed(1_500);
    insta::assert_snapshot!("powered_off", night.trace());
    assert!(night.closed());
    assert_eq!(night.intended("reboot"), 0);
}

fn say(night: &mut Night, rung: Rung, yes: bool) {
    night.person_says(rung, yes, "ann", "I looked");
}

#[test]
fn local_data_is_not_wiped_before_a_person_says_so() {
    let mut night = styx();
    night.host("styx").local_data = vec!["pvc-1 (local-path, 20 GiB)".into()];
    night.at.push((900, |n| say(n, Rung::Recreate, true)));
    let night = night.until_closed(3_000);
    insta::assert_snapshot!("local_data", night.trace());
    assert!(night.closed());
}

#[test]
fn a_denied_recreate_is_parked_until_a_person_says_yes_or_it_recovers() {
    let mut night = styx();
    night.policy.recreate = Mode::Approve;
    night.at.push((600, |n| say(n, Rung::Recreate, false)));
    night.at.push((1_000, |n| n.heal("styx")));
    let night = night.until_closed(3_000);
    insta::assert_snapshot!("denied", night.trace());
    assert!(night.closed());
    assert_eq!(night.recreated, 0);
}

#[test]
fn a_paused_node_is_left_alone_until_resumed() {
    let mut night = Night::new();
    night.at.push((50, |n| {
        n.journal(Record::Paused {
            node: None,
            who: "ann".into(),
            reason: "upgrade".into(),
        });
    }));
    night.at.push((60, |n| n.cut("styx")));
    night.at.push((600, |n| {
        n.journal(Record::Resumed {
            node: None,
            who: "ann".into(),
            reason: "done".into(),
        });
    }));
    night.after.insert("reboot", (40, |n| n.heal("styx")));
    let night = night.until_closed(1_500);
    insta::assert_snapshot!("paused", night.trace());
    assert!(night.closed());
}

#[test]
fn an_observed_rung_is_recorded_and_not_taken() {
    let mut night = Night::new();
    night.policy.reboot = Mode::Observe;
    night.at.push((60, |n| n.cut("styx")));
    let night = night.run(1_000);
    insta::assert_snapshot!("observe", night.trace());
    assert_eq!(night.intended("reboot"), 0);
}

/// Catches an engine that a hasty policy can hurry: 60 s of darkness are too few for a wipe, whoever asked for them.
#[test]
fn nothing_is_wiped_within_ninety_seconds_of_its_agents_last_word() {
    let mut night = Night::new();
    night.policy.confirm_secs = 0;
    night.policy.agent_gone_secs = 10;
    night.policy.lease_stale_secs = 10;
    night
        .replies
        .insert("reboot", vec![failed("the action ended in error")]);
    night.at.push((60, |n| n.cut("styx")));
    let early = night.clone().run(148);
    assert_eq!(
        (early.intended("reboot"), early.intended("recreate")),
        (1, 0)
    );
    assert_eq!(night.run(160).intended("recreate"), 1);
}

#[test]
fn a_node_that_turns_out_well_before_the_wipe_is_uncordoned_again() {
    let mut night = styx();
    night.delays.insert("prepare-script", 60);
    night.after.insert("cordon", (5, |n| n.heal("styx")));
    let night = night.until_closed(3_000);
    insta::assert_snapshot!("undone", night.trace());
    assert!(night.closed());
    assert_eq!(night.recreated, 0);
    assert!(!night.hosts[&name("styx")].cordoned);
}

#[test]
fn a_flapping_node_is_never_touched_and_a_person_is_told() {
    let mut night = Night::new();
    for k in 0..8 {
        night.at.push((60 + k * 90, |n| n.cut("styx")));
        night.at.push((60 + k * 90 + 45, |n| n.heal("styx")));
    }
    let night = night.run(1_500);
    insta::assert_snapshot!("flapping", night.trace());
    assert_eq!((night.intended("reboot"), night.closed()), (0, true));
}

#[test]
fn a_controller_without_a_second_observer_never_reboots() {
    let mut night = Night::new();
    night.inventory.nodes.remove(&name("calypso"));
    night.hosts.remove(&name("calypso"));
    night.host("tethys").findings = vec![];
    night.policy.quorum = 3;
    night.at.push((60, |n| n.cut("styx")));
    let night = night.run(1_000);
    insta::assert_snapshot!("no_quorum", night.trace());
    assert_eq!((night.intended("reboot"), night.intended("page")), (0, 1));
}

#[test]
fn without_a_cluster_probes_and_provider_carry_the_night() {
    let mut night = styx();
    night.inventory.has_cluster = false;
    night.policy.local_data_expendable = true;
    let night = night.until_closed(1_500);
    insta::assert_snapshot!("no_cluster", night.trace());
    assert!(night.closed());
    assert_eq!(night.recreated, 1);
}

#[test]
fn a_controller_killed_at_any_moment_still_recreates_exactly_once() {
    let mut night = styx();
    night.snapshots = Some(Vec::new());
    let night = night.until_closed(1_500);
    assert!(night.closed());
    let mut seen = 0;
    for snapshot in night.snapshots.expect("they were asked for") {
        if seen == snapshot.entries.len() {
            continue;
        }
        seen = snapshot.entries.len();
        for sent in [false, true] {
            let mut again = snapshot.clone();
            again.snapshots = None;
            if sent {
                again.send_all();
            }
            again.crash();
            let end = again.second + 3_000;
            let again = again.until_closed(end);
            assert!(
                again.closed(),
                "killed after {seen} entries, sent: {sent}\n{}",
                again.trace()
            );
            assert_eq!(
                again.recreated,
                1,
                "killed after {seen} entries, sent: {sent}\n{}",
                again.trace()
            );
            assert!(
                !again.hosts[&name("styx")].cordoned,
                "left cordoned\n{}",
                again.trace()
            );
        }
    }
}
