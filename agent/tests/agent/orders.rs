//! An order is done at most once, over restarts too, and whoever gave it learns what became of it.

use std::time::Duration;

use iaso_components::{Says, compile};

use crate::support::{Agent, Controller, outcomes, reports};

const EVERY: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(30);

/// A controller that has assigned the plugin `p`, and an agent that has it.
async fn scene(applied: &str) -> (Controller, Agent) {
    let controller = Controller::start();
    let says = Says {
        code: "p.bad",
        severity: "critical",
        remedy: "mend",
        applied,
    };
    let plugin = controller.plugin("p", compile(&says.fixer()), EVERY);
    controller.assign(|assignment| assignment.plugins = vec![plugin]);
    let agent = Agent::start(&controller);
    let report = controller
        .until("the finding", |heard| reports(heard, "p").pop())
        .await;
    assert_eq!(report.fault, None);
    let finding = &report.findings[0];
    assert_eq!(
        (
            finding.code.as_str(),
            finding.severity.as_str(),
            finding.remedies.as_slice()
        ),
        ("p.bad", "critical", ["mend".to_owned()].as_slice())
    );
    (controller, agent)
}

#[tokio::test]
async fn the_same_order_again_is_answered_and_not_done_again_over_a_restart_too() {
    let (controller, mut agent) = scene("fixed").await;
    controller.order("o-1", "mend", LONG, 1);
    let first = controller.outcomes("o-1", 1).await.remove(0);
    assert_eq!(
        (first.result.as_str(), first.reason.as_str()),
        ("fixed", "as it says")
    );
    controller.order("o-1", "mend", LONG, 1);
    controller.outcomes("o-1", 2).await;
    agent.kill().await;
    agent.run();
    controller.until_session(2).await;
    controller.order("o-1", "mend", LONG, 1);
    let all = controller.outcomes("o-1", 3).await;
    // Done anew, it would have begun at another moment.
    for again in &all {
        assert_eq!(
            (again.started_unix_ms, &again.result),
            (first.started_unix_ms, &first.result)
        );
    }
    assert_eq!(agent.says("fix ordered"), 1);
}

#[tokio::test]
async fn an_order_cut_short_by_the_agents_death_has_failed_and_says_so_unasked() {
    let (controller, mut agent) = scene("loop").await;
    controller.order("o-1", "mend", LONG, 1);
    agent.until_says("fix ordered", 1).await;
    agent.kill().await;
    agent.run();
    let outcome = controller.outcomes("o-1", 1).await.remove(0);
    assert_eq!(outcome.result, "failed");
    assert!(
        outcome.reason.starts_with("interrupted"),
        "{}",
        outcome.reason
    );
    controller.order("o-1", "mend", LONG, 1);
    let again = controller.outcomes("o-1", 2).await.remove(1);
    assert_eq!(again.reason, outcome.reason);
    assert_eq!(agent.says("fix ordered"), 1, "it was not begun again");
}

#[tokio::test]
async fn an_order_of_a_former_leader_is_refused_over_a_restart_too() {
    let (controller, mut agent) = scene("fixed").await;
    // A newer leader shows itself by its assignment alone.
    controller.assign(|assignment| assignment.term = 7);
    controller.order("o-1", "mend", LONG, 6);
    let stale = controller.outcomes("o-1", 1).await.remove(0);
    assert_eq!(stale.result, "stale-term");
    agent.kill().await;
    agent.run();
    controller.until_session(2).await;
    controller.order("o-2", "mend", LONG, 6);
    assert_eq!(controller.outcomes("o-2", 1).await[0].result, "stale-term");
    controller.order("o-3", "mend", LONG, 7);
    assert_eq!(controller.outcomes("o-3", 1).await[0].result, "fixed");
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_expired_and_one_that_passes_in_the_act_is_a_failure() {
    let (controller, agent) = scene("loop").await;
    controller.order("o-1", "mend", Duration::ZERO, 1);
    let expired = controller.outcomes("o-1", 1).await.remove(0);
    assert_eq!(expired.result, "expired", "{}", expired.reason);
    controller.order("o-2", "mend", Duration::from_millis(400), 1);
    let failed = controller.outcomes("o-2", 1).await.remove(0);
    assert_eq!(failed.result, "failed", "{}", failed.reason);
    assert!(
        failed.reason.contains("nobody knows how far it got"),
        "{}",
        failed.reason
    );
    assert!(failed.duration_us < 5_000_000, "{} µs", failed.duration_us);
    assert_eq!(agent.says("fix ordered"), 2);
}

#[tokio::test]
async fn one_fix_at_a_time_and_what_nobody_can_do_is_refused() {
    let (controller, agent) = scene("loop").await;
    controller.order("o-1", "mend", LONG, 1);
    agent.until_says("fix ordered", 1).await;
    controller.order("o-2", "mend", LONG, 1);
    assert_eq!(controller.outcomes("o-2", 1).await[0].result, "busy");
    let first = controller.outcomes("o-1", 1).await.remove(0);
    assert_eq!(first.result, "failed", "a loop is ended: {}", first.reason);
    controller.assign(|assignment| assignment.plugins.clear());
    controller.order("o-3", "mend", LONG, 1);
    let refused = controller.outcomes("o-3", 1).await.remove(0);
    assert_eq!(refused.result, "refused");
    assert!(
        refused.reason.contains("no plugin `p` is assigned"),
        "{}",
        refused.reason
    );
}

#[tokio::test]
async fn an_order_that_no_record_could_hold_is_passed_over_and_the_agent_goes_on() {
    let (controller, _agent) = scene("fixed").await;
    controller.order("", "mend", LONG, 1);
    controller.order(&"x".repeat(1_000), "mend", LONG, 1);
    controller.order("o-1", "mend", LONG, 1);
    controller.outcomes("o-1", 1).await;
    let ids: Vec<String> = outcomes(&controller.heard())
        .into_iter()
        .map(|o| o.order_id)
        .collect();
    assert_eq!(ids, ["o-1"]);
}
