//! What the controller has not acknowledged is sent again; what it has is not.

use std::time::Duration;

use iaso_components::{Says, compile};

use crate::support::{Agent, Controller, Heard, reports};

const BAD: Says = Says {
    code: "p.bad",
    severity: "critical",
    remedy: "mend",
    applied: "fixed",
};
const WELL: Says = Says {
    severity: "ok",
    ..BAD
};

#[tokio::test]
async fn an_outcome_is_sent_to_every_session_until_it_is_acknowledged_and_then_to_none() {
    let mut controller = Controller::start();
    controller.acknowledges(false);
    let plugin = controller.plugin("p", compile(&WELL.fixer()), Duration::from_mins(1));
    controller.assign(|assignment| assignment.plugins = vec![plugin]);
    let mut agent = Agent::start(&controller);
    controller
        .until("the finding", |heard| reports(heard, "p").pop())
        .await;
    controller.order("o-1", "mend", Duration::from_secs(30), 1);
    let first = controller.outcomes("o-1", 1).await.remove(0);

    controller.die();
    controller.rise().await;
    let second = controller.outcomes("o-1", 2).await.remove(1);
    assert_eq!(second, first, "the same entry, with its sequence");

    // The agent's death changes nothing about what it owes.
    agent.kill().await;
    controller.acknowledges(true);
    agent.run();
    let third = controller.outcomes("o-1", 3).await.remove(2);
    assert_eq!(third, first);
    let at = controller.sessions();
    // A fact of the same session that comes after it: the acknowledgement has been read.
    controller.order("o-2", "mend", Duration::from_secs(30), 1);
    controller.outcomes("o-2", 1).await;

    controller.die();
    controller.rise().await;
    controller.until_session(at + 1).await;
    controller.order("o-3", "mend", Duration::from_secs(30), 1);
    controller.outcomes("o-3", 1).await;
    let last = controller.heard();
    let again = last.iter().filter(|h| h.session > at);
    let again: Vec<String> = again
        .filter_map(|h| Some(h.outcome()?.order_id.clone()))
        .filter(|id| id == "o-1")
        .collect();
    assert_eq!(again, [""; 0], "acknowledged, and sent again");
}

#[tokio::test]
async fn hours_of_reports_go_up_in_one_session_and_no_heartbeat_waits_behind_them() {
    let mut controller = Controller::start();
    controller.acknowledges(false);
    let compiled = compile(&BAD.fixer());
    let names = ["p", "q", "r", "s"];
    let plugins =
        names.map(|name| controller.plugin(name, compiled.clone(), Duration::from_millis(100)));
    controller.assign(|assignment| assignment.plugins = plugins.into());
    let _agent = Agent::start(&controller);
    let count = |heard: &[Heard], session: u32| {
        let of = heard.iter().filter(|h| h.session == session);
        of.filter(|h| h.report().is_some()).count()
    };
    // More than the queue to the socket holds, by far.
    controller
        .until("many reports", |heard| {
            (count(heard, 1) > 300).then_some(())
        })
        .await;
    controller.die();
    controller.acknowledges(true);
    controller.rise().await;
    controller
        .until("all of them again", |heard| {
            (count(heard, 2) > 300).then_some(())
        })
        .await;
    controller
        .until("a heartbeat after them", |heard| {
            let last = heard.iter().rposition(|h| h.report().is_some())?;
            let beat = heard.iter().rposition(|h| h.heartbeat().is_some())?;
            (beat > last && count(heard, 2) > 300).then_some(())
        })
        .await;
    assert_eq!(controller.sessions(), 2, "one session was enough");
    let sequences: Vec<u64> = controller
        .heard()
        .iter()
        .filter(|h| h.session == 2)
        .filter_map(|h| Some(h.report()?.sequence))
        .collect();
    assert!(sequences.is_sorted(), "in order");
    assert_eq!(sequences.first(), Some(&1), "from the first that was owed");
}

#[tokio::test]
async fn the_digest_of_the_heartbeat_changes_when_what_was_found_does() {
    let controller = Controller::start();
    let every = Duration::from_millis(200);
    let well = controller.plugin("p", compile(&WELL.fixer()), every);
    let bad = controller.plugin("p", compile(&BAD.fixer()), every);
    controller.assign(|assignment| assignment.plugins = vec![well.clone()]);
    let _agent = Agent::start(&controller);
    // The digest of heartbeats that came after the finding did.
    let digest_after = async |severity: &str, more: usize| {
        controller
            .until("a heartbeat after the finding", |heard| {
                let found = heard.iter().rposition(|h| {
                    h.report()
                        .is_some_and(|r| r.findings.iter().any(|f| f.severity == severity))
                })?;
                let digests: Vec<Vec<u8>> = heard[found..]
                    .iter()
                    .filter_map(|h| Some(h.heartbeat()?.findings_digest.clone()))
                    .collect();
                (digests.len() > more).then(|| digests[more].clone())
            })
            .await
    };
    let first = digest_after("ok", 1).await;
    assert_eq!(digest_after("ok", 3).await, first, "nothing changed");
    controller.assign(|assignment| assignment.plugins = vec![bad]);
    assert_ne!(digest_after("critical", 0).await, first);
    controller.assign(|assignment| assignment.plugins = vec![well]);
    controller
        .until("it to be well again", |heard| {
            let last = heard
                .iter()
                .rev()
                .find_map(|h| Some(h.heartbeat()?.findings_digest.clone()));
            (last == Some(first.clone())).then_some(())
        })
        .await;
}
