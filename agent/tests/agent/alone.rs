//! Cut off, the agent runs the engine by itself: what was delegated, as often as was delegated, and no word of it is lost.

use std::time::Duration;

use iaso_components::{Says, compile};
use iaso_proto::v1;

use crate::support::{Agent, Controller, Heard, reports};

const ACTS: &str = "acting alone";

fn delegation() -> v1::Delegation {
    v1::Delegation {
        after_ms: 500,
        rungs: vec!["p/mend".into()],
        attempts: 2,
        confirm_secs: 0,
        fix_wait_secs: 1,
        verify_secs: 1,
        act_on: vec!["*".into()],
    }
}

/// A controller that has delegated, and an agent whose plugin finds what its fix does not mend.
async fn scene(delegation: v1::Delegation, applied: &str) -> (Controller, Agent) {
    let controller = Controller::start();
    let says = Says {
        code: "p.bad",
        severity: "critical",
        remedy: "mend",
        applied,
    };
    let plugin = controller.plugin("p", compile(&says.fixer()), Duration::from_millis(200));
    controller.assign(|assignment| {
        assignment.plugins = vec![plugin];
        assignment.delegation = Some(delegation);
    });
    let agent = Agent::start(&controller);
    controller
        .until("the finding", |heard| reports(heard, "p").pop())
        .await;
    (controller, agent)
}

fn autonomous(heard: &[Heard]) -> Vec<v1::AutonomousAction> {
    heard
        .iter()
        .filter_map(Heard::autonomous)
        .cloned()
        .collect()
}

/// Longer than a third attempt would be waited for: what must not happen can only be waited for.
async fn long_enough_for_another() {
    tokio::time::sleep(Duration::from_secs(6)).await;
}

#[tokio::test]
async fn a_cut_off_agent_acts_twice_never_more_over_a_restart_and_tells_it_afterwards() {
    let (mut controller, mut agent) = scene(delegation(), "fixed").await;
    assert_eq!(agent.says(ACTS), 0, "the controller is there: it decides");
    controller.die();
    agent.until_says(ACTS, 1).await;
    // What was used is used, and the delegation is known, after a restart that never saw the controller.
    agent.kill().await;
    agent.run();
    agent.until_says(ACTS, 2).await;
    long_enough_for_another().await;
    assert_eq!(agent.says(ACTS), 2);

    controller.rise().await;
    let told = controller
        .until("both acts", |heard| {
            let told = autonomous(heard);
            (told.len() >= 2).then_some(told)
        })
        .await;
    controller.until_session(2).await;
    let told_in_all = autonomous(&controller.heard());
    assert_eq!(told, told_in_all);
    let outcomes: Vec<&v1::FixOutcome> =
        told.iter().filter_map(|act| act.outcome.as_ref()).collect();
    assert_eq!(outcomes.len(), 2);
    assert_ne!(outcomes[0].order_id, outcomes[1].order_id);
    for (act, outcome) in told.iter().zip(outcomes) {
        assert_eq!(
            (outcome.plugin.as_str(), outcome.fix.as_str()),
            ("p", "mend")
        );
        assert!(act.why.contains("p.bad"), "{}", act.why);
    }
    assert!(agent.is_alive());
}

#[tokio::test]
async fn an_act_cut_short_by_the_agents_death_is_told_as_such_and_counts() {
    let one = v1::Delegation {
        attempts: 1,
        ..delegation()
    };
    let (mut controller, mut agent) = scene(one, "loop").await;
    controller.die();
    agent.until_says(ACTS, 1).await;
    agent.kill().await;
    agent.run();
    long_enough_for_another().await;
    assert_eq!(agent.says(ACTS), 1);
    controller.rise().await;
    let told = controller
        .until("the act", |heard| autonomous(heard).pop())
        .await;
    let outcome = told.outcome.expect("an outcome");
    assert_eq!(outcome.result, "failed");
    assert!(
        outcome.reason.starts_with("interrupted"),
        "{}",
        outcome.reason
    );
}

#[tokio::test]
async fn without_a_delegation_or_for_another_fix_a_cut_off_agent_does_nothing() {
    let other = v1::Delegation {
        rungs: vec!["p/something-else".into()],
        ..delegation()
    };
    for delegation in [v1::Delegation::default(), other] {
        let (mut controller, agent) = scene(delegation, "fixed").await;
        controller.die();
        agent.until_says("no session", 1).await;
        long_enough_for_another().await;
        assert_eq!(agent.says(ACTS), 0);
    }
}

#[tokio::test]
async fn a_record_of_the_absence_that_cannot_be_read_leaves_no_attempts() {
    let (mut controller, mut agent) = scene(delegation(), "fixed").await;
    agent.kill().await;
    std::fs::write(agent.state().join("absence.json"), b"{").unwrap();
    controller.die();
    agent.run();
    agent.until_says("cannot be read", 1).await;
    long_enough_for_another().await;
    assert_eq!(agent.says(ACTS), 0);
    // A session gives new ones.
    controller.rise().await;
    controller.until_session(2).await;
    controller.die();
    agent.until_says(ACTS, 2).await;
}
