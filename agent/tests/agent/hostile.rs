//! Whatever a plugin does, the operator reads what it was, the agent lives, and its neighbours run on time.

use std::time::Duration;

use iaso_components::{Hostile, OK_EMPTY, Says, checker, compile};

use crate::support::{Agent, Controller, Heard, reports};

const EVERY: Duration = Duration::from_millis(500);
/// A result that is sent on every run, so that the controller sees when it ran.
const NEIGHBOUR: Says = Says {
    code: "neighbour.bad",
    severity: "critical",
    remedy: "none",
    applied: "unchanged",
};

#[tokio::test]
async fn every_hostile_plugin_is_named_right_while_the_agent_lives_and_its_neighbour_is_on_time() {
    let controller = Controller::start();
    let mut plugins: Vec<_> = Hostile::COMPILED
        .map(|(hostile, _)| controller.plugin(hostile.name(), compile(&hostile.bytes()), EVERY))
        .into();
    let text = Hostile::NotWasm;
    plugins.push(controller.plugin(text.name(), text.bytes(), EVERY));
    plugins.push(controller.plugin("neighbour", compile(&NEIGHBOUR.fixer()), EVERY));
    controller.assign(|assignment| assignment.plugins = plugins);
    let mut agent = Agent::start(&controller);

    let expected = Hostile::COMPILED.into_iter().chain([(text, "not-wasm")]);
    for (hostile, class) in expected {
        let report = controller
            .until(hostile.name(), |heard| reports(heard, hostile.name()).pop())
            .await;
        let fault = report.fault.expect("it is broken");
        assert_eq!(fault.class, class, "{}: {}", hostile.name(), fault.message);
        assert!(!fault.message.is_empty());
        assert!(
            report.findings.is_empty(),
            "a broken plugin says nothing about the node"
        );
        if hostile == Hostile::Ungranted {
            assert!(
                fault.message.contains("needs grant `net.icmp`"),
                "{}",
                fault.message
            );
        }
    }

    // The loop computes for two seconds in each of its first runs: whoever waits for it is late by as much.
    let runs = controller
        .until("a dozen runs of the neighbour", |heard| {
            let runs = reports(heard, "neighbour");
            (runs.len() >= 12).then_some(runs)
        })
        .await;
    let begun: Vec<i64> = runs.iter().map(|run| run.started_unix_ms).collect();
    let longest = begun.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(
        longest < Some(1_500),
        "a run of every 500 ms came {longest:?} ms after the one before"
    );
    assert!(runs.iter().all(|run| run.fault.is_none()));

    let beats = |heard: &[Heard]| heard.iter().filter_map(Heard::heartbeat).count();
    let before = beats(&controller.heard());
    controller
        .until("another heartbeat", |heard| {
            (beats(heard) > before).then_some(())
        })
        .await;
    assert!(agent.is_alive());
    assert_eq!(controller.sessions(), 1, "it was never away");
}

#[tokio::test]
async fn an_assignment_that_cannot_be_used_is_a_fault_of_that_plugin_alone() {
    let controller = Controller::start();
    let good = controller.plugin("good", compile(&checker("", OK_EMPTY)), EVERY);
    let mut strange = good.clone();
    strange.name = "strange".into();
    strange.grants_json = r#"{"check": {"telepathy": true}}"#.into();
    controller.assign(|assignment| assignment.plugins = vec![strange, good]);
    let _agent = Agent::start(&controller);
    let strange = controller
        .until("the strange one", |heard| reports(heard, "strange").pop())
        .await;
    let fault = strange.fault.expect("it is refused");
    assert_eq!(fault.class, "refused");
    assert!(fault.message.contains("telepathy"), "{}", fault.message);
    let good = controller
        .until("the good one", |heard| reports(heard, "good").pop())
        .await;
    assert_eq!(good.fault, None);
}

#[tokio::test]
async fn a_plugin_that_could_not_be_fetched_is_broken_and_is_there_as_soon_as_it_can_be() {
    let controller = Controller::start();
    let compiled = compile(&checker("", OK_EMPTY));
    let assigned = controller.plugin("late", compiled.clone(), EVERY);
    controller.withdraw(&assigned.compiled_digest);
    controller.assign(|assignment| assignment.plugins = vec![assigned]);
    let _agent = Agent::start(&controller);
    let broken = controller
        .until("the fault", |heard| reports(heard, "late").pop())
        .await;
    assert_eq!(broken.fault.expect("it is broken").class, "host-error");
    controller.plugin("late", compiled, EVERY);
    controller
        .until("it to be there", |heard| {
            reports(heard, "late")
                .into_iter()
                .find(|run| run.fault.is_none())
        })
        .await;
    assert_eq!(controller.sessions(), 1);
}
