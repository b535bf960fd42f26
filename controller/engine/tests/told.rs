//! Nothing stays down without a word: facts that never stand still, orders that never arrive, a rung that is only observed.

mod night;

use iaso_engine::policy::Mode;
use night::*;

/// Catches an engine that waits for ever for facts to last: a network that loses probes makes a hung machine look partitioned by turns.
#[test]
fn facts_that_contradict_each_other_by_turns_are_told_once_and_nothing_is_done() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.host("styx").agent = false;
        n.host("styx").lease = false;
    }));
    for turn in 0..80 {
        night
            .at
            .push((120 + turn * 40, |n| n.host("styx").reach = Reach::PeersOnly));
        night
            .at
            .push((140 + turn * 40, |n| n.host("styx").reach = Reach::All));
    }
    let night = night.run(3_000);
    let trace = night.trace();
    assert_eq!((night.intended("reboot"), night.intended("page")), (0, 1));
    assert!(trace.contains("has not been well for 20 min"), "{trace}");
}

/// Catches an engine whose attempts are used up by orders that the agent never got.
#[test]
fn an_order_that_did_not_reach_the_agent_is_no_attempt_at_the_fix() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.host("styx").lease = false;
        n.host("styx").findings = vec![critical("k3s-agent.dead", &["restart"])];
    }));
    let lost = vec![not_started("unavailable"); 4];
    night
        .replies
        .insert("apply-fix", [lost, vec![done()]].concat());
    night.after.insert(
        "apply-fix",
        (5, |n| {
            n.host("styx").lease = true;
            n.host("styx").findings.clear();
        }),
    );
    let night = night.until_closed(1_500);
    assert!(night.closed(), "{}", night.trace());
    assert_eq!(
        (night.intended("apply-fix"), night.intended("page")),
        (5, 0)
    );
}

/// Orders that never arrive are not sent for ever either.
#[test]
fn orders_that_never_reach_the_agent_end_at_a_person() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.host("styx").lease = false;
        n.host("styx").findings = vec![critical("k3s-agent.dead", &["restart"])];
    }));
    night
        .replies
        .insert("apply-fix", vec![not_started("unavailable")]);
    let night = night.run(3_000);
    assert_eq!(
        (night.intended("apply-fix"), night.intended("page")),
        (7, 1)
    );
}

#[test]
fn a_rung_that_is_only_observed_is_told_once() {
    let mut night = Night::new();
    night.policy.recreate = Mode::Observe;
    night.at.push((60, |n| n.cut("styx")));
    let night = night.run(3_000);
    let trace = night.trace();
    assert_eq!((night.intended("recreate"), night.intended("page")), (0, 1));
    assert!(
        trace.contains("recreate would be next, and the policy only observes it"),
        "{trace}"
    );
}
