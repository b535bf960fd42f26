//! What the engine once did wrong, found by the checker's second reading of the design; each night ends right now.

mod night;

use iaso_engine::effect::{Action, Outcome};
use iaso_engine::id::EffectId;
use iaso_engine::ledger::Standing;
use iaso_engine::policy::Mode;
use iaso_engine::record::{Record, Rung};
use night::{Night, critical, failed, not_started};

fn approve(night: &mut Night, rung: Rung) {
    let incident = night.ledger.incidents.keys().next_back();
    let incident = incident.expect("one is open").clone();
    night.journal(Record::Approved {
        incident,
        rung,
        who: "ann".into(),
        reason: "go on".into(),
    });
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
