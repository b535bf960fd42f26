//! What the engine once did wrong, found by the checker's second reading of the design; each night ends right now.

mod night;

use iaso_engine::effect::{Action, Outcome};
use iaso_engine::fact::Role;
use iaso_engine::id::EffectId;
use iaso_engine::ledger::Standing;
use iaso_engine::plan::plan;
use iaso_engine::policy::Mode;
use iaso_engine::record::{Record, Rung};
use night::{Night, Reach, critical, failed, name, not_started, stopped};
use std::time::Duration;

fn approve(night: &mut Night, rung: Rung) {
    night.person_says(rung, true, "ann", "go on");
}

fn waits_for_approval() -> Night {
    let mut night = Night::new();
    night.policy.fix = Mode::Approve;
    night.at.push((60, |n| {
        n.host("styx").findings = vec![critical("k3s-agent.dead", &["restart"])];
    }));
    night.at.push((230, |n| {
        approve(n, Rung::Fix("k3s-agent/restart".into()));
    }));
    night
}

#[test]
fn a_fix_that_was_approved_is_applied() {
    let night = waits_for_approval().run(400);
    assert!(night.intended("apply-fix") > 0, "{}", night.trace());
}

/// It applied the fix when the lease was unknown: nothing was known to be wrong any more.
#[test]
fn a_fix_is_not_applied_when_its_cause_went_away_while_it_waited() {
    let mut night = waits_for_approval();
    night.at.push((200, |n| {
        n.host("styx").findings.clear();
        n.api_trouble = Some("timed out".into());
    }));
    let night = night.run(400);
    assert_eq!(night.intended("apply-fix"), 0, "{}", night.trace());
}

#[test]
fn a_fix_is_not_applied_for_another_cause_than_the_one_it_was_named_for() {
    let mut night = waits_for_approval();
    night.at.push((200, |n| {
        n.host("styx").findings = vec![critical("coredns.timeout", &[])];
    }));
    let night = night.run(400);
    assert_eq!(night.intended("apply-fix"), 0, "{}", night.trace());
}

/// It ended the rung as not needed, and paged that no check says why.
#[test]
fn a_controller_that_just_started_waits_for_the_check_that_named_the_fix() {
    let mut night = waits_for_approval();
    night.at.push((60, |n| n.host("styx").lease = false));
    night.at.push((221, Night::crash));
    let night = night.run(300);
    let ended = night.entries.iter();
    let ended = ended.filter(|e| matches!(e.record, Record::RungEnded { .. }));
    assert_eq!(ended.count(), 0, "{}", night.trace());
    assert_eq!(night.intended("apply-fix"), 1, "{}", night.trace());
}

/// The second time it parked in silence: the page had the same words.
#[test]
fn whoever_is_parked_again_for_the_same_reason_is_told_again() {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("tethys")));
    night.replies.insert("reboot", vec![failed("error")]);
    let mut night = night.run(300);
    let parked = |n: &Night| {
        n.ledger
            .incidents
            .values()
            .all(|i| i.standing == Standing::Parked)
    };
    assert!(parked(&night), "{}", night.trace());
    let told = pages(&night);
    approve(&mut night, Rung::Reboot);
    let night = night.run(500);
    assert!(parked(&night), "{}", night.trace());
    assert_eq!(pages(&night), told + 1, "{}", night.trace());
}

fn pages(night: &Night) -> usize {
    let effects = night.ledger.effects();
    effects
        .filter(|e| matches!(e.effect.action, Action::Page { .. }))
        .count()
}

/// It closed the incident, and the driver gave the call up.
#[test]
fn an_incident_is_not_closed_while_a_call_that_did_begin_after_all_goes_on() {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("styx")));
    night.at.push((180, |n| n.heal("styx")));
    night
        .replies
        .insert("reboot", vec![not_started("transport")]);
    let mut night = night.run(100);
    while !watched(&night) {
        assert!(night.second < 400, "{}", night.trace());
        night.second += 1;
        night.tick();
    }
    let effect = last_reboot(&night);
    night.journal(Record::Resolved {
        effect: effect.clone(),
        outcome: Outcome::Started { operation: None },
    });
    // The provider goes on saying so.
    let going_on = Outcome::Started { operation: None };
    night.replies.insert("reboot", vec![going_on]);
    night.executed.insert(effect.clone());
    let end = night.second + 90;
    let night = night.run(end);
    assert!(watched(&night), "{}", night.trace());
    let mut night = night;
    night.journal(Record::Resolved {
        effect,
        outcome: failed("error"),
    });
    let night = night.run(end + 10);
    assert!(night.closed(), "{}", night.trace());
}

fn watched(night: &Night) -> bool {
    let mut standings = night.ledger.incidents.values().map(|i| i.standing);
    standings
        .next_back()
        .is_some_and(|s| matches!(s, Standing::Verifying(_)))
}

fn last_reboot(night: &Night) -> EffectId {
    let reboots = night.ledger.effects();
    let last = reboots.filter(|e| e.effect.action == Action::Reboot).last();
    last.expect("it was intended").effect.id.clone()
}

/// The provider's answer came after the machine had lived and died again, and it was wiped.
#[test]
fn a_machine_that_lived_while_its_reboot_was_in_doubt_is_not_wiped() {
    let mut night = Night::new();
    let lost = Outcome::InDoubt {
        detail: "no answer".into(),
    };
    night.replies.insert("reboot", vec![lost]);
    night.at.push((60, |n| n.cut("styx")));
    night.at.push((200, |n| n.heal("styx")));
    night.at.push((260, |n| n.cut("styx")));
    night.at.push((330, |n| {
        n.replies.remove("reboot");
    }));
    let night = night.run(1_500);
    assert_eq!(night.intended("reboot"), 1, "{}", night.trace());
    assert_eq!(night.intended("recreate"), 0, "{}", night.trace());
    assert!(pages(&night) > 0, "{}", night.trace());
}

/// It looked again only after the last word was old: what the provider said came and went, and never lasted.
#[test]
fn the_provider_is_asked_again_before_its_word_is_old() {
    let mut night = Night::new();
    night.policy.machine_fresh_secs = 20;
    night.policy.probe_round_secs = 40;
    night.policy.probe_fresh_secs = 120;
    night.policy.confirm_secs = 100;
    night.at.push((60, |n| n.cut("styx")));
    let mut night = night.run(120);
    for _ in 0..60 {
        night.second += 1;
        night.tick();
        let asked = night.world.nodes.get(&name("styx"));
        let asked = asked.and_then(|f| f.machine.as_ref()).map(|m| m.at);
        let half = asked.expect("it was asked").after(Duration::from_secs(10));
        let wake = plan(&night.situation()).next_wake;
        let wake = wake.expect("a silent node is looked at again");
        let soon = night.now().after(Duration::from_secs(1));
        // Once it is due it is asked at once, and the answer is awaited.
        assert!(half < soon || wake <= half, "{}", night.trace());
    }
}

/// A controller that had just started asked a person to give up data of which Kubernetes would say a moment later that there is none.
#[test]
fn nobody_is_asked_to_give_up_data_before_kubernetes_could_say_what_there_is() {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("styx")));
    while night.intended("prepare-script") == 0 {
        assert!(night.second < 900, "{}", night.trace());
        night.second += 1;
        night.tick();
    }
    night.crash();
    night.api_trouble = Some("timed out".into());
    let mut night = {
        let end = night.second + 60;
        night.run(end)
    };
    night.api_trouble = None;
    let night = {
        let end = night.second + 400;
        night.run(end)
    };
    assert_eq!(pages(&night), 0, "{}", night.trace());
    assert_eq!(night.recreated, 1, "{}", night.trace());
}

/// Its incident was opened while Kubernetes did not answer; that was taken for a proof that it had joined once, and it was powered on.
#[test]
fn a_node_that_never_joined_is_left_alone_when_kubernetes_was_away_meanwhile() {
    let mut night = Night::new();
    night.add("lethe", Role::Worker, true);
    night.api_trouble = Some("timed out".into());
    let lethe = night.host("lethe");
    (lethe.agent, lethe.lease, lethe.unknown_to_kube) = (false, false, true);
    lethe.reach = Reach::Nobody;
    lethe.machine = stopped();
    night.at.push((300, |n| n.api_trouble = None));
    let night = night.run(3_000);
    let acts = ["start", "reboot", "recreate"].map(|act| night.intended(act));
    assert_eq!(acts, [0, 0, 0], "{}", night.trace());
    assert!(pages(&night) > 0, "{}", night.trace());
}

/// It waited for the others for ever, and told nobody.
#[test]
fn a_person_is_told_when_a_hung_machine_waits_for_others_that_do_not_come_back() {
    let mut night = Night::new();
    night.host("calypso").cordoned = true;
    night.at.push((60, |n| {
        let styx = n.host("styx");
        (styx.agent, styx.lease) = (false, false);
    }));
    let night = night.run(1_000);
    assert_eq!(pages(&night), 0, "not yet\n{}", night.trace());
    let night = night.run(2_000);
    assert_eq!(pages(&night), 1, "{}", night.trace());
    assert_eq!(night.intended("reboot"), 0, "{}", night.trace());
}

/// Where answers are lost, a few silent rounds in a row were taken for a dead machine.
#[test]
fn what_answered_a_probe_a_moment_ago_is_not_rebooted_for_its_silence() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.cut("styx");
        n.host("styx").reach = Reach::PeersOnly;
    }));
    night
        .at
        .push((200, |n| n.host("styx").reach = Reach::Nobody));
    let night = night.run(480);
    assert_eq!(night.intended("reboot"), 0, "{}", night.trace());
    let night = night.run(640);
    assert_eq!(night.intended("reboot"), 1, "{}", night.trace());
}

/// It waited for a yes to the recreate, and did not think of the switch.
#[test]
fn what_turns_out_to_be_off_is_powered_on_before_anybody_is_asked_to_wipe_it() {
    let mut night = Night::new();
    night.host("styx").local_data = vec!["pvc-1".into()];
    night.at.push((60, |n| n.cut("styx")));
    night.at.push((500, |n| n.host("styx").machine = stopped()));
    night.after.insert("start", (20, |n| n.heal("styx")));
    let night = night.run(1_500);
    let acts = ["start", "recreate"].map(|act| night.intended(act));
    assert_eq!(acts, [1, 0], "{}", night.trace());
    assert!(night.closed(), "{}", night.trace());
}

/// A split that left one of two nodes its way to Kubernetes was taken for the fault of the other.
#[test]
fn two_nodes_that_nobody_reaches_are_a_storm_even_if_kubernetes_hears_one() {
    let mut night = Night::new();
    night.add("acheron", Role::Worker, true);
    night.add("lethe", Role::Worker, true);
    night.at.push((60, |n| {
        n.cut("styx");
        n.cut("lethe");
        n.host("lethe").lease = true;
    }));
    let night = night.run(900);
    assert_eq!(night.intended("reboot"), 0, "{}", night.trace());
    assert!(pages(&night) > 0, "{}", night.trace());
}

/// The provider called a machine stopped that a peer reached by turns, and it was powered on in a moment when nobody did.
#[test]
fn a_machine_that_answered_since_the_provider_called_it_stopped_is_not_powered_on_in_a_silent_moment()
 {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.cut("styx");
        n.host("styx").reach = Reach::PeersOnly;
        n.host("styx").machine = stopped();
    }));
    night
        .at
        .push((400, |n| n.host("styx").reach = Reach::Nobody));
    let before = night.clone().run(620);
    let trace = before.trace();
    assert_eq!(before.intended("start"), 0, "{trace}");
    assert!(
        trace.contains("it says stopped of a machine that answered since"),
        "{trace}"
    );

    night.after.insert("start", (40, |n| n.heal("styx")));
    let after = night.until_closed(2_000);
    assert_eq!(after.intended("start"), 1, "{}", after.trace());
    assert!(
        after.closed(),
        "silence that lasts is believed: {}",
        after.trace()
    );
}
